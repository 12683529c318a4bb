"""Our proof of a key to the hub (886): sent until the hub has accepted it, or we give up.

`keyring` says in words when a proof begins, how often it is sent, and by which key it is signed.
"""

from collections import deque
from dataclasses import dataclass, field
from math import inf
from typing import Final

from gateway import config
from gateway.clock import Now
from gateway.payments.links import Link
from gateway.payments.work import Install
from gateway.scheme.keywork import Commands, Note, Sent
from gateway.scheme.ring import Use
from gateway.scheme.slots import Slots
from gateway.wire.codes import ACCEPTED
from gateway.wire.keydata import KeyData, KeyLayout
from gateway.wire.message import NetworkResponse

VERIFY: Final = "886"
REVIVE_EVERY_S = 60.0
"""A key of our own that was given up is verified again so often, for as long as it is on trial: each time by the other
key. A hub that has put it in force understands us again within twice that."""
SENT_MAX = 100
"""Verifications of one key that a response can come to: those sent last."""


@dataclass(slots=True, eq=False)
class Verification:
    """Our 886 about a key."""

    key: Install
    link: Link | None
    attempts: int = 0
    """Since it was begun or begun anew."""
    sent: deque[Sent] = field(default_factory=lambda: deque(maxlen=SENT_MAX))
    """Each attempt: a late response to an earlier one is one all the same."""
    answered: bool = True
    """The hub has responded to the last attempt."""
    due_s: float = 0.0
    """When the next attempt has its time; inf: there is none."""


class Proving:
    """The verifications that are under way."""

    def __init__(self, settings: config.Keys, commands: Commands, slots: Slots) -> None:
        self._do = commands
        self._keys = settings
        self._layout = KeyLayout(settings.layout)
        self._use_names = {Use.HUB: settings.hub_use, Use.OWN: settings.own_use}
        self._slots = slots
        self.under_way: dict[tuple[Use, str], Verification] = {}
        """By use and label: the key on trial, or in use."""

    def begin(self, now: Now) -> None:
        """At every start: take up what was under way."""
        for use, slot in self._slots.of.items():
            if slot.on_trial is not None and not slot.given_up:
                self.under_way[use, slot.on_trial.label] = Verification(slot.on_trial, None, due_s=now.mono_s)
            elif slot.on_trial is not None and use is Use.OWN:
                # one attempt by each key, then slowly
                attempts = max(self._keys.verify_max - 2, 0)
                revived = Verification(slot.on_trial, None, attempts, due_s=now.mono_s)
                self.under_way[use, slot.on_trial.label] = revived

    def verify(self, use: Use, key: Install, link: Link | None, now: Now) -> None:
        """Prove a key to the hub, from the first attempt on."""
        slot = self._slots.of[use]
        anew = slot.given_up and key == slot.on_trial
        if key != slot.on_trial and slot.on_trial is not None and not slot.given_up:
            return  # see the top of `keyring`
        if anew:
            self._slots.set_given_up(use, now, given_up=False)
        running = self.under_way.get((use, key.label))
        if running is not None and running.key == key and running.due_s < inf and not anew:
            return  # it is on its way to the hub already
        verification = self.under_way[use, key.label] = Verification(key, link)
        if running is not None:
            verification.sent = running.sent
        self._send(use, verification, now)

    def drop(self, use: Use) -> None:
        """Another key of this use comes: no proof of one before it counts."""
        self.under_way = {place: each for place, each in self.under_way.items() if place[0] is not use}

    def _send(self, use: Use, verification: Verification, now: Now) -> None:
        key = verification.key
        data = KeyData(self._use_names[use], key.wrapped, key.check)
        text = self._layout.put_together(data, self._keys.verify_carries)
        by_itself = use is Use.OWN and verification.attempts % 2 == 1
        sent = self._do.request(VERIFY, text, verification.link, key.label if by_itself else "")
        verification.link = None  # the next attempt goes by any link
        every_s = self._keys.verify_every_s
        if sent is not None:
            verification.sent.append(sent)
            verification.attempts += 1
            verification.answered = False
            if self._slots.of[use].given_up and verification.attempts >= self._keys.verify_max:
                every_s = REVIVE_EVERY_S
        verification.due_s = now.mono_s + every_s

    def on_response(self, message: NetworkResponse, now: Now) -> bool:
        """The hub's 9814 to an 886; False when it is none of ours."""
        named = Sent(message.transmission_time, message.message_id)
        place = next((place for place, each in self.under_way.items() if named in each.sent), None)
        if place is None:
            return False
        use, verification = place[0], self.under_way[place]
        if message.action_code != ACCEPTED:
            verification.answered = True
            self._do.note_key(Note.VERIFICATION_REFUSED, verification.key.label, message.action_code)
            return True  # again when it is due
        del self.under_way[place]
        if verification.key == self._slots.of[use].on_trial:
            self._slots.put_in_force(use, now)
        return True

    def next_timer(self) -> float:
        """When to call `handle_timer`; inf: not before something else happens."""
        return min((each.due_s for each in self.under_way.values()), default=inf)

    def handle_timer(self, now: Now) -> None:
        """Do what is due."""
        for (use, _label), verification in list(self.under_way.items()):
            if verification.due_s <= now.mono_s:
                self._due(use, verification, now)

    def _due(self, use: Use, verification: Verification, now: Now) -> None:
        if not verification.answered:
            verification.answered = True
            self._do.note_key(Note.VERIFICATION_UNANSWERED, verification.key.label)
        slot = self._slots.of[use]
        on_trial = verification.key == slot.on_trial
        for_ever = on_trial and use is Use.OWN
        if verification.attempts < self._keys.verify_max or (for_ever and slot.given_up):
            self._send(use, verification, now)
            return
        # kept: a response may come late
        verification.due_s = now.mono_s + REVIVE_EVERY_S if for_ever else inf
        if on_trial:
            self._do.note_key(Note.GIVEN_UP, verification.key.label, use.value)
            self._slots.set_given_up(use, now, given_up=True)
