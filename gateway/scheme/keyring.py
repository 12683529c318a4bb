"""THE STORY of a key change in band (docs/protocol.md section 7): every branch is here; no I/O.

    hub: 811 (key, wrapped) → every token unwraps and proves it → (durable) → 0000 → our 886 → hub: 0000 → in force

There are two keys: what the hub signs with, by which we verify (`Use.HUB`), and what we sign with (`Use.OWN`). Each has
one in use, at most one on trial (accepted, not in force yet), and those superseded a short while ago. A key is named by
a label that its check value is part of, so the same key gets the same label in every token, process and life.

* A key that the tokens cannot unwrap, or whose check value is another one, changes nothing: 1909.
* Our answer to an 811 leaves when the ring with the new key is durable, so that no crash makes us forget a key that we
  accepted. From then on the hub may sign with it at any moment: a new hub key is tried on what comes as soon as the
  tokens have it, the one before for `overlap_s` after the new one is in force.
* The verification (886) is sent again when it is refused or not responded to, also after a restart, and at most
  `verify_max` times: by any link that stands, signed on or not. Then the key before stays in force, the new one stays
  known (the hub may have switched), and people must look. The hub's own 886 about that key, or its 811 again, starts
  the verification anew.
* The hub may have put our own new key in force and its response be lost. Once its overlap is over it takes nothing
  that the key before signs, not even a sign-on. So every other verification of our own key is signed by that key
  itself, and one goes on every `REVIVE_EVERY_S` after we gave up.
* We sign with a new key of our own when the ring that says so is durable: a crash may take us back to a ring that we
  have not acted upon, and never behind one that we have. Where a key is in force once it was accepted (`in_force =
  "changed"`), one record says both.
* The same 811 again, on whatever link, gets the same answer and one more verification. Another key while one is on
  trial takes its place: the hub knows what it wants. It may sign with the first one until it has the second.
* The 811 of the key in use again, while another one is on trial, is most likely a late repeat. It is answered, and
  changes nothing: an 886 about it could be taken for a wrong one about the key on trial. A hub that wants the key in
  use back hears so when it refuses the other one: once that is given up, the key in use is verified again, too.
* A key that was superseded, in use or on trial, comes back only by an operator's act, never by a message alone: an 811
  has no date, so that one that was captured long ago is as authentic as on its day. It gets 1909. A hub that wants
  such a key again makes a new one. Where it cannot (it was restored from a backup), an operator allows that key, by
  its check value and for once (`on_allow`), or names it in the configuration.
* The same key under a new transport key (same label, other wrapped bytes) is proved by the tokens like any other, and
  the newer wrapping is what is remembered: a token that is made anew can unwrap no other.

Like the other stories it knows no link, token, clock or log: what is to be done leaves through `Commands`, what
happened comes in through the `on_` methods, and `now` is an argument.
"""

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import Enum, auto
from math import inf
from typing import Final, NamedTuple, Protocol

import msgspec

from gateway import config
from gateway.clock import Now
from gateway.payments import steps
from gateway.payments.lasting import Lasting
from gateway.payments.links import RECORDER, Link
from gateway.payments.steps import Kind
from gateway.payments.work import Install
from gateway.scheme.ring import (
    ALLOWED_MAX,
    Allow,
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
from gateway.wire.codes import ACCEPTED, MALFUNCTION
from gateway.wire.keydata import KeyData, KeyLayout
from gateway.wire.message import Message, NetworkRequest, NetworkResponse

CHANGE: Final = "811"
ASK: Final = "885"
VERIFY: Final = "886"
FUNCTIONS: Final = frozenset({CHANGE, ASK, VERIFY})
"""The function codes (DE24) of what is the keyring's business."""

WAITING_MAX = 16
"""Requests that may wait for the same key: repeats of one 811. One more is refused."""
SUPERSEDED_MAX = 8
"""Superseded keys that are known at once; of more, the oldest goes before its time."""
REVIVE_EVERY_S = 60.0
"""A key of our own that was given up is verified again so often, for as long as it is on trial: each time by the other
key. A hub that has put it in force understands us again within twice that."""
SENT_MAX = 100
"""Verifications of one key that a response can come to: those sent last."""
_NS = 1_000_000_000


class Note(Enum):
    """What people may want to hear of."""

    CHANGED = auto()
    IN_FORCE = auto()
    REFUSED = auto()
    MALFORMED = auto()
    REPLACED = auto()
    REWRAPPED = auto()
    VERIFICATION_REFUSED = auto()
    VERIFICATION_UNANSWERED = auto()
    GIVEN_UP = auto()
    HUB_VERIFIED = auto()
    HUB_DISAGREES = auto()
    HUB_ASKED = auto()
    SUPERSEDED_AGAIN = auto()
    ALLOWED = auto()
    ASKED = auto()
    ASKING_REFUSED = auto()
    ASKING_UNANSWERED = auto()
    OVERLAP_OVER = auto()
    UNPLACED = auto()


SAID: Final[dict[Note, tuple[str, str]]] = {
    Note.CHANGED: ("info", "new key accepted: the tokens have it"),
    Note.IN_FORCE: ("warning", "new key in force"),
    Note.REFUSED: ("error", "new key refused"),
    Note.MALFORMED: ("error", "key message refused: its key data cannot be taken apart"),
    Note.REWRAPPED: ("info", "key in use came under another transport key: the tokens have it"),
    Note.REPLACED: ("warning", "key on trial replaced by another one"),
    Note.VERIFICATION_REFUSED: ("warning", "key verification refused by the hub"),
    Note.VERIFICATION_UNANSWERED: ("warning", "key verification unanswered"),
    Note.GIVEN_UP: ("error", "new key not verified: the key before stays in force"),
    Note.HUB_VERIFIED: ("info", "the hub verified a key"),
    Note.HUB_DISAGREES: ("error", "the hub verifies a key that we do not have"),
    Note.HUB_ASKED: ("warning", "the hub asks us for a key, which is its own to give"),
    Note.SUPERSEDED_AGAIN: ("error", "key refused: it was superseded, and comes back only by an operator's act"),
    Note.ALLOWED: ("warning", "an operator allows a superseded key to come back"),
    Note.ASKED: ("info", "new key asked for"),
    Note.ASKING_REFUSED: ("error", "the hub gives no new key"),
    Note.ASKING_UNANSWERED: ("error", "the request for a new key is unanswered"),
    Note.OVERLAP_OVER: ("info", "superseded key accepted no longer"),
    Note.UNPLACED: ("warning", "response about keys belongs to nothing we asked"),
}
"""How loud each note is, and how it is said."""


Done = Callable[[str], None]
"""Hears why an operator's order was refused, or nothing once it is durable."""


class Sent(NamedTuple):
    """How a response names the request that it is to, besides DE24."""

    transmission_time: str
    """DE7."""
    message_id: str
    """DE11."""


class Commands(Protocol):
    """What the story asks of the shells. None of these may call back at once: what comes of them comes later."""

    def record(self, kind: Kind, body: bytes, fpid: str, link: Link) -> int:
        """Append a record; returns its position."""

    def when_keys_recorded(self, position: int) -> None:
        """Bring `on_recorded` when everything up to `position` is durable."""

    def when_allowed(self, position: int, done: Done) -> None:
        """Call `done("")` when everything up to `position` is durable."""

    def transmit(self, link: Link, message: Message) -> None:
        """Send a response by this link, with a MAC by the key that is `own` now; lost when the link is gone."""

    def request(self, function_code: str, key_data: str, link: Link | None, sign_with: str = "") -> Sent | None:
        """Send a 9804 by this link, or, when it is gone or None, by any that stands; with a MAC by the key of the label
        `sign_with`, or else the one that is `own` now. Returns how its response names it; None when there is no link.
        """

    def hold(self, keys: tuple[Install, ...]) -> None:
        """From now on tokens must have these keys (and the seal key) to serve, and no others."""

    def install(self, key: Install) -> None:
        """Have every serving token take this key, too; bring `on_installed`."""

    def check_of(self, label: str) -> str:
        """The check value of a key as the tokens compute it, upper-case hex; empty when none has said."""

    def note_key(self, note: Note, label: str, detail: str = "") -> None:
        """Something worth a log line or a count (`SAID`); the label may be shown, and the detail."""


@dataclass(slots=True, eq=False)
class _Installing:
    """A key that the tokens are unwrapping, and the requests that wait for it."""

    key: Install
    waiting: list[tuple[Link, NetworkRequest]]
    position: int = 0
    """Where the ring with it is recorded, once the tokens have it."""


@dataclass(slots=True, eq=False)
class _Verification:
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


class Keyring:
    """Which keys are in use, and how they change."""

    def __init__(self, pair: config.Pair, commands: Commands, ring: Ring | None = None) -> None:
        self._do = commands
        self._keys = pair.keys
        self._layout = KeyLayout(pair.keys.layout)
        self._use_names = {Use.HUB: pair.keys.hub_use, Use.OWN: pair.keys.own_use}
        self._respond_within_s = pair.session.respond_within_s
        self._slots = {
            Use.HUB: slot_of(pair.mac.hub_key, ring.hub if ring else None),
            Use.OWN: slot_of(pair.mac.own_key, ring.own if ring else None),
        }
        self._signing = self._slots[Use.OWN].in_use
        self._switching: list[tuple[int, Install]] = []
        """Keys to sign with once the record at this position is durable."""
        self._verifiers: tuple[str, ...] = ()
        self._installing: dict[Use, _Installing] = {}
        self._recording: list[tuple[Use, _Installing]] = []
        self._verifying: dict[tuple[Use, str], _Verification] = {}
        """By use and label: the key on trial, or in use."""
        self._asked: dict[Use, tuple[Sent, float]] = {}
        """Our 885, and when it is unanswered."""
        self._ends_s: dict[tuple[Use, str], float] = {}
        """When a superseded key is accepted no longer: on the clock that nobody sets, unlike `Superseded.until_ns`."""
        self._refused: deque[tuple[Use, str]] = deque(maxlen=ALLOWED_MAX)
        """Check values of superseded keys that came again: some are known by their wrapped values only."""
        self._lasting = Lasting()
        self._refresh()

    def begin(self, now: Now) -> None:
        """At every start, before anything else: write the ring anew, tell the signer, take up what was under way."""
        for use, slot in self._slots.items():
            for old in slot.superseded:
                left_s = min(max((old.until_ns - now.wall_ns) / _NS, 0.0), self._keys.overlap_s)
                self._ends_s[use, old.key.label] = now.mono_s + left_s if old.until_ns else inf
            if slot.on_trial is not None and not slot.given_up:
                self._verifying[use, slot.on_trial.label] = _Verification(slot.on_trial, None, due_s=now.mono_s)
            elif slot.on_trial is not None and use is Use.OWN:
                # one attempt by each key, then slowly
                attempts = max(self._keys.verify_max - 2, 0)
                revived = _Verification(slot.on_trial, None, attempts, due_s=now.mono_s)
                self._verifying[use, slot.on_trial.label] = revived
        self._save(now)

    # --- what others ask

    @property
    def own(self) -> str:
        """The label of the key to sign with now."""
        return self._signing.label

    def verifiers(self) -> tuple[str, ...]:
        """The labels of the keys that what comes may be signed with, the likeliest first. Cheap: for every message."""
        return self._verifiers

    def takes(self, message: Message) -> bool:
        """Whether this message is the keyring's and not the session's."""
        return isinstance(message, NetworkRequest | NetworkResponse) and message.function_code in FUNCTIONS

    def statistics(self) -> dict[str, object]:
        """Labels only."""
        return {
            use.value: {
                "in_use": slot.in_use.label,
                "on_trial": slot.on_trial.label if slot.on_trial is not None else "",
                "given_up": slot.given_up,
                "superseded": [old.key.label for old in slot.superseded],
                "installing": self._installing[use].key.label if use in self._installing else "",
            }
            for use, slot in self._slots.items()
        }

    # --- what the hub says

    def on_request(self, message: NetworkRequest, link: Link, now: Now) -> None:
        """A 9804 that `takes` says is ours; verified, without a fault."""
        if message.function_code == ASK:
            self._do.note_key(Note.HUB_ASKED, "")
            self._respond(link, message, MALFUNCTION)
            return
        change = message.function_code == CHANGE
        data = self._layout.take_apart(
            message.key_data, self._keys.change_carries if change else self._keys.verify_carries
        )
        use = self._use_of(data) if data is not None else None
        if data is None or use is None:
            self._do.note_key(Note.MALFORMED, "")
            self._respond(link, message, MALFUNCTION)
        elif change:
            key = Install(f"{self._slots[use].base}.{data.check.lower()}", data.wrapped, data.check)
            self._change(use, key, link, message, now)
        else:
            self._verified_by_hub(use, data.check, link, message, now)

    def _use_of(self, data: KeyData) -> Use | None:
        """Which key it is about; a layout without a use is about the one that we sign with."""
        if not data.use:
            return Use.OWN
        return next((use for use, name in self._use_names.items() if name == data.use), None)

    def _change(self, use: Use, key: Install, link: Link, message: NetworkRequest, now: Now) -> None:
        """An 811: a new key, or one that we have."""
        slot, installing = self._slots[use], self._installing.get(use)
        if self._may_not_come_back(slot, key):
            self._refused.append((use, key.check))
            self._do.note_key(Note.SUPERSEDED_AGAIN, key.label, use.value)
            self._respond(link, message, MALFUNCTION)
            return
        if installing is not None and installing.key == key:
            self._wait(installing, link, message)
            return
        if installing is not None:  # the hub wants another one by now
            self._refuse(installing, "another key came")
            del self._installing[use]
        recording = next((new for of, new in self._recording if of is use and new.key == key), None)
        if recording is not None:
            self._wait(recording, link, message)
        elif key in {slot.on_trial, slot.in_use}:
            self._respond(link, message, ACCEPTED)
            self._verify(use, key, link, now)
        else:
            self._installing[use] = _Installing(key, [(link, message)])
            self._do.install(key)

    def _may_not_come_back(self, slot: Slot, key: Install) -> bool:
        """Of either use: a key that the hub once signed with is none for us, and the other way round."""
        have = {each.label for each in (slot.in_use, slot.on_trial) if each is not None}
        if key.label in have or is_allowed(slot, key):
            return False
        return any(was_superseded(each, key) for each in self._slots.values())

    def _wait(self, installing: _Installing, link: Link, message: NetworkRequest) -> None:
        if len(installing.waiting) < WAITING_MAX:
            installing.waiting.append((link, message))
        else:
            self._respond(link, message, MALFUNCTION)

    def _verified_by_hub(self, use: Use, check: str, link: Link, message: NetworkRequest, now: Now) -> None:
        """An 886 of the hub: it shows which key it has."""
        slot = self._slots[use]
        key = next((key for key in (slot.on_trial, slot.in_use) if key is not None and self._check(key) == check), None)
        if key is None:
            self._do.note_key(Note.HUB_DISAGREES, slot.in_use.label, use.value)
            self._respond(link, message, MALFUNCTION)
            return
        self._do.note_key(Note.HUB_VERIFIED, key.label)
        self._respond(link, message, ACCEPTED)
        if key is slot.on_trial and slot.given_up:
            self._verify(use, key, link, now)

    def _check(self, key: Install) -> str:
        width = self._layout.check_digits
        return key.check or self._do.check_of(key.label)[:width]

    def _with_check(self, key: Install) -> Install:
        return msgspec.structs.replace(key, check=self._check(key))

    def _respond(self, link: Link, message: NetworkRequest, code: str) -> None:
        self._do.transmit(
            link,
            NetworkResponse(
                mti="9814",
                transmission_time=message.transmission_time,
                message_id=message.message_id,
                function_code=message.function_code,
                action_code=code,
            ),
        )

    # --- a new key, step by step

    def on_installed(self, label: str, ok: bool, why: str, now: Now) -> None:  # noqa: FBT001 (the signer's result)
        """The tokens have a key of `Commands.install`, or have it not and why, in words."""
        wanted = [(use, new) for use, new in self._installing.items() if new.key.label == label]
        for use, new in wanted:
            del self._installing[use]
            if ok:
                self._accept(use, new, now)
            else:
                self._refuse(new, why)
        if not wanted or not ok:
            self._do.hold(self._held())  # nobody wants this one any more

    def _refuse(self, new: _Installing, why: str) -> None:
        self._do.note_key(Note.REFUSED, new.key.label, why)
        for link, message in new.waiting:
            self._respond(link, message, MALFUNCTION)

    def _accept(self, use: Use, new: _Installing, now: Now) -> None:
        """The tokens have it: on trial, or in force already; answered when that is durable."""
        slot = self._slots[use]
        if slot.in_use.label == new.key.label:  # the same key under another transport key
            self._slots[use] = msgspec.structs.replace(slot, in_use=new.key)
            self._do.note_key(Note.REWRAPPED, new.key.label)
            new.position = self._save(now)
        else:
            self._try(use, new.key)
            in_force = self._keys.in_force == "changed"
            new.position = self._put_in_force(use, now) if in_force else self._save(now)
        self._recording.append((use, new))
        self._do.when_keys_recorded(new.position)

    def _try(self, use: Use, key: Install) -> None:
        """Put it on trial, in the place of another one."""
        slot = used_up(self._slots[use], key)
        superseded = [old for old in slot.superseded if old.key.label != key.label]
        before = slot.on_trial
        if before is not None and before.label != key.label:
            slot = retire(slot, self._with_check(before))
            self._do.note_key(Note.REPLACED, before.label)
            # the hub may have begun to sign with it, and does so until it has the next one
            superseded.append(Superseded(before, 0))
            self._ends_s[use, before.label] = inf
        self._verifying = {place: each for place, each in self._verifying.items() if place[0] is not use}
        kept = tuple(superseded[-SUPERSEDED_MAX:])
        self._slots[use] = msgspec.structs.replace(slot, on_trial=key, given_up=False, superseded=kept)
        self._do.note_key(Note.CHANGED, key.label)

    def on_recorded(self, position: int, now: Now) -> None:
        """What `when_keys_recorded` asked for: the hub may hear that we have its key, and what ours signs."""
        done = [(use, new) for use, new in self._recording if new.position <= position]
        self._recording = [(use, new) for use, new in self._recording if new.position > position]
        for _, new in done:
            for link, message in new.waiting:
                self._respond(link, message, ACCEPTED)
        self._switch(position)
        for use, new in done:
            if new.key in {self._slots[use].on_trial, self._slots[use].in_use}:  # otherwise replaced meanwhile
                self._verify(use, new.key, new.waiting[-1][0], now)

    def _switch(self, position: int) -> None:
        """Sign with the key that the ring at this position says."""
        switched = [key for at, key in self._switching if at <= position]
        self._switching = [(at, key) for at, key in self._switching if at > position]
        if switched:
            self._signing = switched[-1]
            self._do.hold(self._held())

    def _put_in_force(self, use: Use, now: Now) -> int:
        """The key on trial takes the place of the one in use. Returns the record's position."""
        slot = self._slots[use]
        key = slot.on_trial
        assert key is not None
        known = retire(slot, self._with_check(slot.in_use))
        superseded = [old if old.until_ns else self._supersede(use, old.key, now) for old in slot.superseded]
        superseded.append(self._supersede(use, slot.in_use, now))
        kept = tuple(superseded[-SUPERSEDED_MAX:])
        self._slots[use] = Slot(
            slot.base, key, superseded=kept, retired=known.retired, forms=known.forms, allowed=known.allowed
        )
        self._do.note_key(Note.IN_FORCE, key.label, use.value)
        position = self._save(now)
        if use is Use.OWN:
            self._switching.append((position, key))
            self._do.when_keys_recorded(position)
        return position

    def _supersede(self, use: Use, key: Install, now: Now) -> Superseded:
        self._ends_s[use, key.label] = now.mono_s + self._keys.overlap_s
        return Superseded(key, now.wall_ns + round(self._keys.overlap_s * _NS))

    # --- our 886 and 885

    def _verify(self, use: Use, key: Install, link: Link | None, now: Now) -> None:
        """Prove a key to the hub, from the first attempt on."""
        slot = self._slots[use]
        anew = slot.given_up and key == slot.on_trial
        if key != slot.on_trial and slot.on_trial is not None and not slot.given_up:
            return  # see the top of the file
        if anew:
            self._slots[use] = msgspec.structs.replace(slot, given_up=False)
            self._save(now)
        running = self._verifying.get((use, key.label))
        if running is not None and running.key == key and running.due_s < inf and not anew:
            return  # it is on its way to the hub already
        verification = self._verifying[use, key.label] = _Verification(key, link)
        if running is not None:
            verification.sent = running.sent
        self._send_verification(use, verification, now)

    def _send_verification(self, use: Use, verification: _Verification, now: Now) -> None:
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
            if self._slots[use].given_up and verification.attempts >= self._keys.verify_max:
                every_s = REVIVE_EVERY_S
        verification.due_s = now.mono_s + every_s

    def on_response(self, message: NetworkResponse, _link: Link, now: Now) -> None:
        """A 9814 that `takes` says is ours. By whichever link: our message ids are the process's own."""
        accepted = message.action_code == ACCEPTED
        named = Sent(message.transmission_time, message.message_id)
        for (use, _label), verification in self._verifying.items():
            if message.function_code == VERIFY and named in verification.sent:
                self._verified(use, verification, accepted=accepted, code=message.action_code, now=now)
                return
        for use, (sent, _due_s) in self._asked.items():
            if message.function_code == ASK and named == sent:
                del self._asked[use]
                note = Note.ASKED if accepted else Note.ASKING_REFUSED
                self._do.note_key(note, self._slots[use].base, message.action_code)
                return
        self._do.note_key(Note.UNPLACED, "", message.function_code)

    def _verified(self, use: Use, verification: _Verification, *, accepted: bool, code: str, now: Now) -> None:
        if not accepted:
            verification.answered = True
            self._do.note_key(Note.VERIFICATION_REFUSED, verification.key.label, code)
            return  # again when it is due
        del self._verifying[use, verification.key.label]
        if verification.key == self._slots[use].on_trial:
            self._put_in_force(use, now)

    def ask(self, use: Use, now: Now) -> str:
        """Ask the hub for a new key (885), as an operator wants. Returns why not, in words, or nothing."""
        if use in self._asked:
            return "it is asked for already"
        if use in self._installing or (self._slots[use].on_trial is not None and not self._slots[use].given_up):
            return "a key change is under way"
        text = self._layout.put_together(KeyData(self._use_names[use]), self._keys.request_carries)
        sent = self._do.request(ASK, text, None)
        if sent is None:
            return "no link stands"
        self._asked[use] = (sent, now.mono_s + self._respond_within_s)
        return ""

    # --- what an operator allows

    def on_allow(self, order: Allow, done: Done, now: Now) -> None:
        """Let a superseded key come back, once. `done` hears why not, or, when the ring is durable, nothing."""
        use, check = Use(order.use), order.check.upper()
        slot = self._slots[use]
        refused = [each for of, each in self._refused if of is use]
        if not any(same_check(each, check) for each in (*slot.retired, *refused)):
            done("no key with this check value was superseded")
            return
        kept = tuple(each for each in slot.allowed if not same_check(each, check))
        if len(kept) == ALLOWED_MAX:
            done(f"{ALLOWED_MAX} keys are allowed to come back already")
            return
        self._do.record(Kind.KEY_ALLOWED, steps.pack(steps.KeyAllowed(use.value, check, order.reason)), "", RECORDER)
        self._slots[use] = msgspec.structs.replace(slot, allowed=(*kept, check))
        self._do.note_key(Note.ALLOWED, f"{slot.base}.{check.lower()}", use.value)
        self._do.when_allowed(self._save(now), done)

    # --- time

    def next_timer(self) -> float:
        """When to call `handle_timer`, on the clock of `Now.mono_s`; inf: not before something else happens."""
        verifying = [verification.due_s for verification in self._verifying.values()]
        asked = [due_s for _, due_s in self._asked.values()]
        return min([self._lasting.due_s, *verifying, *asked, *self._ends_s.values()])

    def handle_timer(self, now: Now) -> None:
        """Do what is due. Early or repeated calls do nothing."""
        for (use, _label), verification in list(self._verifying.items()):
            if verification.due_s <= now.mono_s:
                self._verification_due(use, verification, now)
        for use in [use for use, (_, due_s) in self._asked.items() if due_s <= now.mono_s]:
            del self._asked[use]
            self._do.note_key(Note.ASKING_UNANSWERED, self._slots[use].base)
        over = [place for place, end_s in self._ends_s.items() if end_s <= now.mono_s]
        for use, label in over:
            del self._ends_s[use, label]
            slot = self._slots[use]
            left = tuple(old for old in slot.superseded if old.key.label != label)
            self._slots[use] = msgspec.structs.replace(slot, superseded=left)
            self._do.note_key(Note.OVERLAP_OVER, label)
        if over or self._lasting.is_due(now):
            self._save(now)

    def _verification_due(self, use: Use, verification: _Verification, now: Now) -> None:
        if not verification.answered:
            verification.answered = True
            self._do.note_key(Note.VERIFICATION_UNANSWERED, verification.key.label)
        slot = self._slots[use]
        on_trial = verification.key == slot.on_trial
        for_ever = on_trial and use is Use.OWN
        if verification.attempts < self._keys.verify_max or (for_ever and slot.given_up):
            self._send_verification(use, verification, now)
            return
        # kept: a response may come late
        verification.due_s = now.mono_s + REVIVE_EVERY_S if for_ever else inf
        if on_trial:
            self._slots[use] = msgspec.structs.replace(slot, given_up=True)
            self._do.note_key(Note.GIVEN_UP, verification.key.label, use.value)
            self._save(now)

    # --- the ring

    def _save(self, now: Now) -> int:
        """After every change: what is derived from the ring, the tokens, the journal. Returns the record's position."""
        self._refresh()
        self._do.hold(self._held())
        self._lasting.written(now)
        ring = Ring(self._slots[Use.HUB], self._slots[Use.OWN])
        return self._do.record(Kind.KEYS, msgspec.msgpack.encode(ring), "", RECORDER)

    def _refresh(self) -> None:
        hub, known = self._slots[Use.HUB], set[tuple[Use, str]]()
        for use, slot in self._slots.items():
            known |= {(use, old.key.label) for old in slot.superseded}
        self._ends_s = {place: end_s for place, end_s in self._ends_s.items() if place in known}
        trial = [hub.on_trial] if hub.on_trial is not None else []
        newest_first = [old.key for old in reversed(hub.superseded)]
        self._verifiers = tuple(dict.fromkeys(key.label for key in (hub.in_use, *trial, *newest_first)))

    def _held(self) -> tuple[Install, ...]:
        """Every key that a token must have, each once."""
        found: dict[str, Install] = {}
        for slot in self._slots.values():
            trial = [slot.on_trial] if slot.on_trial is not None else []
            for key in (slot.in_use, *trial, *(old.key for old in slot.superseded)):
                found.setdefault(key.label, key)
        found.setdefault(self._signing.label, self._signing)
        return tuple(found.values())
