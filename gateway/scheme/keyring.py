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
* No clock decides, ours or the hub's. Only intervals are measured, on the clock that nobody sets.
* The same key under a new transport key (same label, other wrapped bytes) is proved by the tokens like any other, and
  the newer wrapping is what is remembered: a token that is made anew can unwrap no other.

How a change moves the ring is in `slots`, our 886 in `proving`; `keywork` has the commands and what people hear. Like
the other stories it knows no link, token, clock or log: what is to be done leaves through `Commands`, what
happened comes in through the `on_` methods, and `now` is an argument.
"""

from collections import deque
from dataclasses import dataclass
from typing import Final

from gateway import config
from gateway.clock import Now
from gateway.payments import steps
from gateway.payments.links import RECORDER, Link
from gateway.payments.steps import Kind
from gateway.payments.work import Install
from gateway.scheme.keywork import Commands, Done, Note, Sent
from gateway.scheme.proving import VERIFY, Proving
from gateway.scheme.ring import ALLOWED_MAX, Allow, Ring, Use, same_check
from gateway.scheme.slots import Slots
from gateway.wire.codes import ACCEPTED, MALFUNCTION
from gateway.wire.keydata import KeyData, KeyLayout
from gateway.wire.message import Message, NetworkRequest, NetworkResponse

CHANGE: Final = "811"
ASK: Final = "885"
FUNCTIONS: Final = frozenset({CHANGE, ASK, VERIFY})
"""The function codes (DE24) of what is the keyring's business."""

WAITING_MAX = 16
"""Requests that may wait for the same key: repeats of one 811. One more is refused."""


@dataclass(slots=True, eq=False)
class _Installing:
    """A key that the tokens are unwrapping, and the requests that wait for it."""

    key: Install
    waiting: list[tuple[Link, NetworkRequest]]
    position: int = 0
    """Where the ring with it is recorded, once the tokens have it."""


class Keyring:
    """Which keys are in use, and how they change."""

    def __init__(self, pair: config.Pair, commands: Commands, ring: Ring | None = None) -> None:
        self._do = commands
        self._keys = pair.keys
        self._layout = KeyLayout(pair.keys.layout)
        self._use_names = {Use.HUB: pair.keys.hub_use, Use.OWN: pair.keys.own_use}
        self._respond_within_s = pair.session.respond_within_s
        self._slots = Slots(pair, commands, ring)
        self._proving = Proving(pair.keys, commands, self._slots)
        self._installing: dict[Use, _Installing] = {}
        self._recording: list[tuple[Use, _Installing]] = []
        self._asked: dict[Use, tuple[Sent, float]] = {}
        """Our 885, and when it is unanswered."""
        self._refused: deque[tuple[Use, str]] = deque(maxlen=ALLOWED_MAX)
        """Check values of superseded keys that came again: some are known by their wrapped values only."""

    def begin(self, now: Now) -> None:
        """At every start, before anything else: write the ring anew, tell the signer, take up what was under way."""
        self._proving.begin(now)
        self._slots.begin(now)

    # --- what others ask

    @property
    def own(self) -> str:
        """The label of the key to sign with now."""
        return self._slots.signing.label

    def verifiers(self) -> tuple[str, ...]:
        """The labels of the keys that what comes may be signed with, the likeliest first. Cheap: for every message."""
        return self._slots.verifiers

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
            for use, slot in self._slots.of.items()
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
            key = Install(f"{self._slots.of[use].base}.{data.check.lower()}", data.wrapped, data.check)
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
        slot, installing = self._slots.of[use], self._installing.get(use)
        if self._slots.is_barred(use, key):
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
            self._proving.verify(use, key, link, now)
        else:
            self._installing[use] = _Installing(key, [(link, message)])
            self._do.install(key)

    def _wait(self, installing: _Installing, link: Link, message: NetworkRequest) -> None:
        if len(installing.waiting) < WAITING_MAX:
            installing.waiting.append((link, message))
        else:
            self._respond(link, message, MALFUNCTION)

    def _verified_by_hub(self, use: Use, check: str, link: Link, message: NetworkRequest, now: Now) -> None:
        """An 886 of the hub: it shows which key it has."""
        slot = self._slots.of[use]
        key = next(
            (key for key in (slot.on_trial, slot.in_use) if key is not None and self._slots.check(key) == check), None
        )
        if key is None:
            self._do.note_key(Note.HUB_DISAGREES, slot.in_use.label, use.value)
            self._respond(link, message, MALFUNCTION)
            return
        self._do.note_key(Note.HUB_VERIFIED, key.label)
        self._respond(link, message, ACCEPTED)
        if key is slot.on_trial and slot.given_up:
            self._proving.verify(use, key, link, now)

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
            self._do.hold(self._slots.held())  # nobody wants this one any more

    def _refuse(self, new: _Installing, why: str) -> None:
        self._do.note_key(Note.REFUSED, new.key.label, why)
        for link, message in new.waiting:
            self._respond(link, message, MALFUNCTION)

    def _accept(self, use: Use, new: _Installing, now: Now) -> None:
        """The tokens have it: on trial, or in force already; answered when that is durable."""
        slot = self._slots.of[use]
        if slot.in_use.label == new.key.label:  # the same key under another transport key
            self._slots.rewrap(use, new.key)
            new.position = self._slots.save(now)
        else:
            self._proving.drop(use)
            self._slots.put_on_trial(use, new.key)
            in_force = self._keys.in_force == "changed"
            new.position = self._slots.put_in_force(use, now) if in_force else self._slots.save(now)
        self._recording.append((use, new))
        self._do.when_keys_recorded(new.position)

    def on_recorded(self, position: int, now: Now) -> None:
        """What `when_keys_recorded` asked for: the hub may hear that we have its key, and what ours signs."""
        done = [(use, new) for use, new in self._recording if new.position <= position]
        self._recording = [(use, new) for use, new in self._recording if new.position > position]
        for _, new in done:
            for link, message in new.waiting:
                self._respond(link, message, ACCEPTED)
        self._slots.switch(position)
        for use, new in done:
            if new.key in {self._slots.of[use].on_trial, self._slots.of[use].in_use}:  # otherwise replaced meanwhile
                self._proving.verify(use, new.key, new.waiting[-1][0], now)

    # --- what the hub answers, and our 885

    def on_response(self, message: NetworkResponse, _link: Link, now: Now) -> None:
        """A 9814 that `takes` says is ours. By whichever link: our message ids are the process's own."""
        if message.function_code == VERIFY and self._proving.on_response(message, now):
            return
        named = Sent(message.transmission_time, message.message_id)
        use = next((use for use, (sent, _due_s) in self._asked.items() if named == sent), None)
        if message.function_code == ASK and use is not None:
            del self._asked[use]
            note = Note.ASKED if message.action_code == ACCEPTED else Note.ASKING_REFUSED
            self._do.note_key(note, self._slots.of[use].base, message.action_code)
            return
        self._do.note_key(Note.UNPLACED, "", message.function_code)

    def ask(self, use: Use, now: Now) -> str:
        """Ask the hub for a new key (885), as an operator wants. Returns why not, in words, or nothing."""
        if use in self._asked:
            return "it is asked for already"
        slot = self._slots.of[use]
        if use in self._installing or (slot.on_trial is not None and not slot.given_up):
            return "a key change is under way"
        text = self._layout.put_together(KeyData(self._use_names[use]), self._keys.request_carries)
        sent = self._do.request(ASK, text, None)
        if sent is None:
            return "no link stands"
        self._asked[use] = (sent, now.mono_s + self._respond_within_s)
        return ""

    # --- what an operator allows

    def on_allow(self, order: Allow, reason: str, done: Done, now: Now) -> None:
        """Let a superseded key come back, once, for this reason. `done` hears why not, or nothing: the ring is
        durable.
        """
        use, check = Use(order.use), order.check.upper()
        slot = self._slots.of[use]
        refused = [each for of, each in self._refused if of is use]
        if not any(same_check(each, check) for each in (*slot.retired, *refused)):
            done("no key with this check value was superseded")
            return
        if not self._slots.allow(use, check):
            done(f"{ALLOWED_MAX} keys are allowed to come back already")
            return
        self._do.record(Kind.KEY_ALLOWED, steps.pack(steps.KeyAllowed(use.value, check, reason)), "", RECORDER)
        self._do.note_key(Note.ALLOWED, f"{slot.base}.{check.lower()}", use.value)
        self._do.when_allowed(self._slots.save(now), done)

    # --- time

    def next_timer(self) -> float:
        """When to call `handle_timer`, on the clock of `Now.mono_s`; inf: not before something else happens."""
        return min(
            [self._slots.next_timer(), self._proving.next_timer(), *(due_s for _, due_s in self._asked.values())]
        )

    def handle_timer(self, now: Now) -> None:
        """Do what is due. Early or repeated calls do nothing."""
        self._proving.handle_timer(now)
        for use in [use for use, (_, due_s) in self._asked.items() if due_s <= now.mono_s]:
            del self._asked[use]
            self._do.note_key(Note.ASKING_UNANSWERED, self._slots.of[use].base)
        self._slots.handle_timer(now)
