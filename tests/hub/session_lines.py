"""The parts that the playbooks of a session share."""

from typing import Any

from gateway.hub.rules import Send


def sends(session: Any) -> list[Any]:
    """The messages that it sends now."""
    return [action for action in session.take() if isinstance(action, Send)]


SIGNED_ON = """
    0    start                    -> 9804 891 000001, 9804 881 000002
    0.1  < 9814 891 000001 0000   -> +receive
    0.1  < 9814 881 000002 0000   -> +submit
"""
