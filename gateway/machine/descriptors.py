"""Who may have which descriptor, so that a crowd cannot take the last one.

The system always gives the lowest number that is free. So a part that closes each descriptor of its own above a mark
never holds one there, and those above are free for all others, as long as these need no more than there are. Nobody
counts.

The limit is asked for each time: it may be changed while we run (prlimit).
"""

import os
import resource
from math import inf
from typing import NamedTuple


class Kept(NamedTuple):
    """How many of the highest are kept from whom. 0: none."""

    clients: int = 0
    """From the door's clients: for all that follow, and for connections to the processor."""
    questions: int = 0
    """From connections to the processor, the peers and the sibling: for the journal, the hub, the tokens, the ops
    server."""


def limit() -> float:
    """How many descriptors this process may have."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return inf if soft == resource.RLIM_INFINITY else soft


def is_kept(descriptor: int, kept: int) -> bool:
    """Whether this one is among the highest so many."""
    return bool(kept) and descriptor >= limit() - kept


def next_is_kept(kept: int) -> bool:
    """Whether the next one that is opened will be. Raises `OSError` when there is none at all."""
    if not kept:
        return False
    descriptor = os.dup(0)
    os.close(descriptor)
    return is_kept(descriptor, kept)
