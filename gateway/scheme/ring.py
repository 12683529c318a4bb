"""The ring of keys: which keys there are, of what use and standing. What is remembered of key changes; `keyring` is the
story of how it changes. Pure values.
"""

from enum import Enum
from typing import Literal

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from gateway.payments.work import Install
from gateway.strict_json import Reader

RETIRED_MAX = 256
"""Superseded keys that are remembered for ever: five years of one each week."""


class Use(Enum):
    """Who signs with a key."""

    HUB = "hub"
    OWN = "own"


class Superseded(Struct, frozen=True, array_like=True):
    """A key that another has replaced, and until when (wall clock) it is still accepted."""

    key: Install
    until_ns: int
    """0: until the key on trial is in force, and the overlap after it."""


class Slot(Struct, frozen=True, array_like=True):
    """The keys of one use."""

    base: str
    """The label in the configuration: the key of the ceremony. The labels of later keys begin with it."""
    in_use: Install
    on_trial: Install | None = None
    given_up: bool = False
    """The key on trial could not be verified. It is tried seldom or not at all until the hub begins again."""
    superseded: tuple[Superseded, ...] = ()
    retired: tuple[str, ...] = ()
    """Check values of every key that was ever superseded, the latest last. None comes back by a message alone."""


class Ring(Struct, frozen=True, array_like=True):
    """All that must be remembered about keys: the body of a KEYS record. It holds wrapped keys: never log one."""

    hub: Slot
    own: Slot


def unpack(body: bytes) -> Ring:
    """Read the body of a KEYS record. Raises `msgspec.DecodeError` when it is none."""
    return msgspec.msgpack.decode(body, type=Ring)


def slot_of(base: str, recorded: Slot | None) -> Slot:
    """The recorded slot; at the first start, or when the configuration names another key, a slot with that key.

    To name another key is an operator's act, even if it brings a superseded key back. The keys that it supersedes do
    not come back by a message either.
    """
    if recorded is None:
        return Slot(base, Install(base))
    # earlier versions recorded only the superseded keys that were still accepted
    recorded = replace(recorded, retired=retired(recorded, *(old.key.check for old in recorded.superseded)))
    if recorded.base == base:
        return recorded
    over = (recorded.in_use, *([recorded.on_trial] if recorded.on_trial is not None else []))
    return Slot(base, Install(base), retired=retired(recorded, *(key.check for key in over)))


def retired(slot: Slot, *checks: str) -> tuple[str, ...]:
    """The check values of all superseded keys, with these added. An empty one is left out."""
    known = dict.fromkeys((*slot.retired, *filter(None, checks)))
    return tuple(known)[-RETIRED_MAX:]


class _Wanted(Struct, frozen=True, forbid_unknown_fields=True):
    """What an operator sends to ask for a new key."""

    use: Literal["hub", "own"]


_wanted = Reader(_Wanted)


def wanted_of(body: bytes) -> Use:
    """Read `{"use": "hub"}` or `{"use": "own"}`. Raises `ValueError`, saying what is wrong."""
    try:
        return Use(_wanted(body).use)
    except msgspec.DecodeError as error:  # a validation error is one, too
        raise ValueError(str(error)) from error
