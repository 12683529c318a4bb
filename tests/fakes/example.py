"""The example of a configuration, edited as a person must: what it leaves open is filled in."""

from gateway.commands import config as config_command


def example(half: str | None = None) -> str:
    """Like `commands.config.example`, and right."""
    text = config_command.example(half)
    return text.replace('group = "choose one"', 'group = "sip"').replace(".example", ".fps.test")
