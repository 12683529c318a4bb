"""A link with the hub, as the stories know it: a name on what came and left by it. Pure."""

from typing import Final, Protocol


class Link(Protocol):
    """One connection with the hub. What can be done with it is the engine's to know."""

    id: int
    """Unique for each connection: a reply leaves on the connection that brought its request, or not at all, and an
    answer is valid only on a connection that carried a request of its payment.
    """
    site: str
    """The hub's site that it leads to. A site has a clock, and its link a share of the new payments."""


class _Recorder:
    """Brings what no link brought."""

    id = 0
    site = ""


RECORDER: Final = _Recorder()
"""The link of the records that this process makes by itself."""
