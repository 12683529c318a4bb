"""The keys as they stand: which sign and verify, which tokens must hold, and what is recorded of them.

`keyring` and `proving` say when one is put on trial, in force or back; how that changes the ring is here. Every change
ends in `save`. We sign with a new key of our own when the record that says so is durable (`switch`).

A superseded key is accepted for `overlap_s` on the clock that nobody sets, and after a restart for as long again: the
wall clock, which may be wrong, is not asked.
"""

from math import inf
from typing import Final

import msgspec
from msgspec.structs import replace

from gateway import config
from gateway.clock import Now
from gateway.payments.lasting import Lasting
from gateway.payments.links import RECORDER
from gateway.payments.steps import Kind
from gateway.payments.work import Install
from gateway.scheme.keywork import Commands, Note
from gateway.scheme.ring import (
    ALLOWED_MAX,
    Ring,
    Slot,
    Superseded,
    Use,
    is_allowed,
    retire,
    same_check,
    slot_of,
    used_up,
    was_superseded,
)
from gateway.wire.keydata import KeyLayout

SUPERSEDED_MAX: Final = 8
"""Superseded keys that are accepted at once; of more, the oldest goes before its time."""
_NS = 1_000_000_000


class Slots:
    """The slots of both uses."""

    def __init__(self, pair: config.Pair, commands: Commands, ring: Ring | None) -> None:
        self._do = commands
        self._overlap_s = pair.keys.overlap_s
        self._check_digits = KeyLayout(pair.keys.layout).check_digits
        self.of = {
            Use.HUB: slot_of(pair.mac.hub_key, ring.hub if ring else None),
            Use.OWN: slot_of(pair.mac.own_key, ring.own if ring else None),
        }
        self.signing = self.of[Use.OWN].in_use
        self.verifiers: tuple[str, ...] = ()
        """The labels of the keys that what comes may be signed with, the likeliest first."""
        self._switching: list[tuple[int, Install]] = []
        """Keys to sign with once the record at this position is durable."""
        self._ends_s: dict[tuple[Use, str], float] = {}
        """When a superseded key is accepted no longer."""
        self._lasting = Lasting()
        self._refresh()

    def begin(self, now: Now) -> None:
        """At every start: write the ring anew, tell the signer."""
        for use, slot in self.of.items():
            for old in slot.superseded:
                self._ends_s[use, old.key.label] = now.mono_s + self._overlap_s if old.until_ns else inf
        self.save(now)

    def check(self, key: Install) -> str:
        """A key's check value, with as many digits as it has in DE125; empty when no token has said."""
        return key.check or self._do.check_of(key.label)[: self._check_digits]

    def is_barred(self, use: Use, key: Install) -> bool:
        """Whether this key was superseded and may not come back. Of either use: a key that the hub once signed with is
        none for us, and the other way round.
        """
        slot = self.of[use]
        have = {each.label for each in (slot.in_use, slot.on_trial) if each is not None}
        if key.label in have or is_allowed(slot, key):
            return False
        return any(was_superseded(each, key) for each in self.of.values())

    def allow(self, use: Use, check: str) -> bool:
        """Let a superseded key come back, once. Whether there was a place for it."""
        slot = self.of[use]
        kept = tuple(each for each in slot.allowed if not same_check(each, check))
        if len(kept) == ALLOWED_MAX:
            return False
        self.of[use] = replace(slot, allowed=(*kept, check))
        return True

    def rewrap(self, use: Use, key: Install) -> None:
        """The key in use came under another transport key."""
        self.of[use] = replace(self.of[use], in_use=key)
        self._do.note_key(Note.REWRAPPED, key.label)

    def put_on_trial(self, use: Use, key: Install) -> None:
        """In the place of another one."""
        slot = used_up(self.of[use], key)
        superseded = [old for old in slot.superseded if old.key.label != key.label]
        before = slot.on_trial
        if before is not None and before.label != key.label:
            slot = self._retire(slot, before)
            self._do.note_key(Note.REPLACED, before.label)
            # the hub may have begun to sign with it, and does so until it has the next one
            superseded.append(Superseded(before, 0))
            self._ends_s[use, before.label] = inf
        kept = tuple(superseded[-SUPERSEDED_MAX:])
        self.of[use] = replace(slot, on_trial=key, given_up=False, superseded=kept)
        self._do.note_key(Note.CHANGED, key.label)

    def put_in_force(self, use: Use, now: Now) -> int:
        """The key on trial takes the place of the one in use. Returns the record's position."""
        slot = self.of[use]
        key = slot.on_trial
        assert key is not None
        superseded = [old if old.until_ns else self._supersede(use, old.key, now) for old in slot.superseded]
        superseded.append(self._supersede(use, slot.in_use, now))
        known = self._retire(slot, slot.in_use)
        self.of[use] = Slot(
            slot.base, key, superseded=tuple(superseded[-SUPERSEDED_MAX:]),
            retired=known.retired, forms=known.forms, allowed=known.allowed,
        )  # fmt: skip
        self._do.note_key(Note.IN_FORCE, key.label, use.value)
        position = self.save(now)
        if use is Use.OWN:
            self._switching.append((position, key))
            self._do.when_keys_recorded(position)
        return position

    def set_given_up(self, use: Use, now: Now, *, given_up: bool) -> None:
        """Whether the key on trial could not be verified."""
        self.of[use] = replace(self.of[use], given_up=given_up)
        self.save(now)

    def _retire(self, slot: Slot, key: Install) -> Slot:
        return retire(slot, replace(key, check=self.check(key)))

    def _supersede(self, use: Use, key: Install, now: Now) -> Superseded:
        self._ends_s[use, key.label] = now.mono_s + self._overlap_s
        return Superseded(key, now.wall_ns + round(self._overlap_s * _NS))

    # --- the disk and time

    def switch(self, position: int) -> None:
        """Everything up to here is durable: sign with the key that the ring there says."""
        switched = [key for at, key in self._switching if at <= position]
        self._switching = [(at, key) for at, key in self._switching if at > position]
        if switched:
            self.signing = switched[-1]
            self._do.hold(self.held())

    def next_timer(self) -> float:
        """When to call `handle_timer`; inf: not before something else happens."""
        return min([self._lasting.due_s, *self._ends_s.values()])

    def handle_timer(self, now: Now) -> None:
        """Let go of keys whose overlap is over; record the ring once a day."""
        over = [place for place, end_s in self._ends_s.items() if end_s <= now.mono_s]
        for use, label in over:
            del self._ends_s[use, label]
            slot = self.of[use]
            self.of[use] = replace(slot, superseded=tuple(old for old in slot.superseded if old.key.label != label))
            self._do.note_key(Note.OVERLAP_OVER, label)
        if over or self._lasting.is_due(now):
            self.save(now)

    def save(self, now: Now) -> int:
        """After every change: what is derived from the ring, the tokens, the journal. Returns the record's position."""
        self._refresh()
        self._do.hold(self.held())
        self._lasting.written(now)
        ring = Ring(self.of[Use.HUB], self.of[Use.OWN])
        return self._do.record(Kind.KEYS, msgspec.msgpack.encode(ring), "", RECORDER)

    def _refresh(self) -> None:
        hub, known = self.of[Use.HUB], set[tuple[Use, str]]()
        for use, slot in self.of.items():
            known |= {(use, old.key.label) for old in slot.superseded}
        self._ends_s = {place: end_s for place, end_s in self._ends_s.items() if place in known}
        trial = [hub.on_trial] if hub.on_trial is not None else []
        newest_first = [old.key for old in reversed(hub.superseded)]
        self.verifiers = tuple(dict.fromkeys(key.label for key in (hub.in_use, *trial, *newest_first)))

    def held(self) -> tuple[Install, ...]:
        """Every key that a token must have, each once."""
        found: dict[str, Install] = {}
        for slot in self.of.values():
            trial = [slot.on_trial] if slot.on_trial is not None else []
            for key in (slot.in_use, *trial, *(old.key for old in slot.superseded)):
                found.setdefault(key.label, key)
        found.setdefault(self.signing.label, self.signing)
        return tuple(found.values())
