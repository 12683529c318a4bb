"""Keeps descriptors for the parts that need them most, so that a crowd cannot take the last one.

The system always gives the lowest free number. So a part that closes each of its descriptors above a mark never holds
one there, and the numbers above are free for all others, as long as these need no more. Nothing has to be counted.

The limit is read each time: it may be changed while we run (prlimit).
"""

import os
import resource
from math import inf
from typing import NamedTuple


class Kept(NamedTuple):
    """How many of the highest descriptors are kept from each part. 0: none."""

    clients: int = 0
    """Kept from the door's clients: for the parts below, and for connections to the processor."""
    questions: int = 0
    """Kept from connections to the processor, the peers and the sibling: for the journal, the hub, the tokens, the ops
    server."""


def limit() -> float:
    """How many descriptors this process may have."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return inf if soft == resource.RLIM_INFINITY else soft


def is_kept(descriptor: int, kept: int) -> bool:
    """Whether this descriptor is among the `kept` highest."""
    return bool(kept) and descriptor >= limit() - kept


def next_is_kept(kept: int) -> bool:
    """Whether the next descriptor will be. Raises `OSError` when there is none at all."""
    if not kept:
        return False
    descriptor = os.dup(0)
    os.close(descriptor)
    return is_kept(descriptor, kept)
