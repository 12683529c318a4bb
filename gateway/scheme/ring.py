"""The ring of keys: which keys there are, of what use and standing. What is remembered of key changes; `keyring` is the
story of how it changes. Pure values.
"""

from enum import Enum
from hashlib import blake2b
from typing import Annotated, Literal

import msgspec
from msgspec import Meta, Struct
from msgspec.structs import replace

from gateway.payments.work import Install

RETIRED_MAX = 512
"""Superseded keys that are remembered: ten years of one each week. An older one could come back only if the hub had
signed with one and the same key all that time."""
ALLOWED_MAX = 8
"""Superseded keys that may come back at once."""


class Use(Enum):
    """Who signs with a key."""

    HUB = "hub"
    OWN = "own"


class Superseded(Struct, frozen=True, array_like=True):
    """A key that another has replaced, and until when it was to be accepted, by the wall clock of its day."""

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
    forms: tuple[str, ...] = ()
    """Fingerprints of the wrapped values in which those keys came: they are known also when check values are made in
    another way, or shown with other digits, than at the time."""
    allowed: tuple[str, ...] = ()
    """Check values of superseded keys that an operator has allowed to come back, each once."""


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
    recorded = retire(recorded, *(old.key for old in recorded.superseded))
    if recorded.base == base:
        return recorded
    over = (recorded.in_use, *([recorded.on_trial] if recorded.on_trial is not None else []))
    kept = retire(recorded, *over)
    return Slot(base, Install(base), retired=kept.retired, forms=kept.forms, allowed=kept.allowed)


def retire(slot: Slot, *keys: Install) -> Slot:
    """The slot, with these keys known as superseded: by their check values, where they have one, and their forms."""
    checks = dict.fromkeys((*slot.retired, *[key.check for key in keys if key.check]))
    forms = dict.fromkeys((*slot.forms, *[form_of(key) for key in keys if key.wrapped]))
    return replace(slot, retired=tuple(checks)[-RETIRED_MAX:], forms=tuple(forms)[-RETIRED_MAX:])


def form_of(key: Install) -> str:
    """A fingerprint of the wrapped value in which a key came."""
    return blake2b(key.wrapped, digest_size=8).hexdigest()


def was_superseded(slot: Slot, key: Install) -> bool:
    """Whether this is a key that was superseded, as far as its check value and its wrapped value tell."""
    return any(same_check(check, key.check) for check in slot.retired) or form_of(key) in slot.forms


def is_allowed(slot: Slot, key: Install) -> bool:
    """Whether an operator has allowed this key to come back."""
    return any(same_check(check, key.check) for check in slot.allowed)


def used_up(slot: Slot, key: Install) -> Slot:
    """The slot when this key has come: it was allowed for this once."""
    return replace(slot, allowed=tuple(check for check in slot.allowed if not same_check(check, key.check)))


def same_check(one: str, other: str) -> bool:
    """Whether two check values are those of one key, however many digits each has. An empty one is nobody's."""
    return bool(one and other) and (one.startswith(other) or other.startswith(one))


class Allow(Struct, frozen=True, forbid_unknown_fields=True):
    """An operator's order to let a superseded key come back, once."""

    use: Literal["hub", "own"]
    check: Annotated[str, Meta(pattern=r"^(?:[0-9A-Fa-f]{2}){2,8}\Z", description="4 to 16 hex digits")]
    """The check value of the key, as the log line about its refusal has it behind the dot of the label."""
