"""The example of a configuration, edited as a person must: what it leaves open is filled in."""

from gateway import config_command


def example(half: str | None = None) -> str:
    """Like `config_command.example`, and right."""
    text = config_command.example(half)
    return text.replace('group = "choose one"', 'group = "sip"').replace(".example", ".fps.test")
