"""Carries out the commands of `keyring`: key changes through the shells."""

from collections.abc import Callable
from math import inf
from typing import Any

from gateway import config, log
from gateway.clock import Now
from gateway.engine.batch import Batch
from gateway.engine.shells import HubLink, Links, Signer, hub_link
from gateway.hub.exchanges import MessageIds, transmission_time
from gateway.payments.links import Link
from gateway.payments.steps import Kind
from gateway.payments.work import Install
from gateway.scheme import keywork
from gateway.scheme.keyring import Keyring
from gateway.scheme.keywork import SAID, Done, Note, Sent
from gateway.scheme.ring import Allow, Ring, Use
from gateway.wire.message import Message, NetworkRequest, NetworkResponse

_log = log.get("keys")


class Keying(keywork.Commands):
    """Carries key changes through the shells, and tells the batch which keys are to be used."""

    def __init__(
        self, pair: config.Pair, ring: Ring | None, batch: Batch, signer: Signer, ids: MessageIds,
        transmit: Callable[[HubLink, Message, str], None],
    ) -> None:  # fmt: skip
        self.links: Links
        """`Engine.join` gives them."""
        self._batch = batch
        self._signer = signer
        self._ids = ids
        self._transmit = transmit
        self.story = Keyring(pair, self, ring)
        self.due_s = inf
        """When `take_timer` has something to do."""
        self._show()

    # --- what happened

    def begin(self, now: Now) -> None:
        """Before anything else."""
        self.story.begin(now)
        self._show()

    def take(self, message: NetworkRequest | NetworkResponse, link: Link, now: Now) -> None:
        """Hand the keyring a message of its own."""
        if isinstance(message, NetworkRequest):
            self.story.on_request(message, link, now)
        else:
            self.story.on_response(message, link, now)
        self._show()

    def take_installed(self, label: str, why: str, now: Now, *, ok: bool) -> None:
        """The tokens have a key, or have it not and why."""
        self.story.on_installed(label, ok, why, now)
        self._show()

    def take_timer(self, now: Now) -> None:
        """Let what is due happen."""
        if self.due_s <= now.mono_s:
            self.story.handle_timer(now)
            self._show()

    def ask(self, use: Use, now: Now) -> str:
        """Ask the hub for a new key; returns why not."""
        why = self.story.ask(use, now)
        self._show()
        return why

    def allow(self, order: Allow, reason: str, done: Done, now: Now) -> None:
        """An operator lets a superseded key come back, once."""
        self.story.on_allow(order, reason, done, now)
        self._show()

    def _show(self) -> None:
        self._batch.own_key = self.story.own
        self._batch.verifiers = self.story.verifiers()
        self.due_s = self.story.next_timer()

    # --- Commands

    def record(self, kind: Kind, body: bytes, fpid: str, link: Link) -> int:
        """See `keywork.Commands`; so are all that follow."""
        return self._batch.record(kind, body, fpid, link)

    def when_keys_recorded(self, position: int) -> None:
        """Bring it back when it is durable."""

        def durable(now: Now) -> None:
            self.story.on_recorded(position, now)
            self._show()

        self._batch.wait_for_disk(position, durable)

    def when_allowed(self, position: int, done: Done) -> None:
        """Tell the operator when it is durable."""
        self._batch.wait_for_disk(position, lambda _now: done(""))

    def transmit(self, link: Link, message: Message) -> None:
        """Send a response."""
        self._transmit(hub_link(link), message, self.story.own)

    def request(self, function_code: str, key_data: str, link: Link | None, sign_with: str = "") -> Sent | None:
        """Send a 9804."""
        standing = self.links.links
        going = next((one for one in standing if one is link), standing[0] if standing else None)
        if going is None:
            return None
        sent = Sent(transmission_time(self._batch.now), self._ids.take())
        request = NetworkRequest(
            mti="9804", transmission_time=sent.transmission_time, message_id=sent.message_id,
            function_code=function_code, key_data=key_data,
        )  # fmt: skip
        self._transmit(going, request, sign_with or self.story.own)
        return sent

    def hold(self, keys: tuple[Install, ...]) -> None:
        """Tell the tokens."""
        self._signer.hold(keys)

    def install(self, key: Install) -> None:
        """Have the tokens take a key."""
        self._signer.install(key)

    def check_of(self, label: str) -> str:
        """What the tokens compute."""
        return self._signer.check_of(label)

    def note_key(self, note: Note, label: str, detail: str = "") -> None:
        """Say it, count it."""
        self._batch.count("key_" + note.name.lower())
        level, text = SAID[note]
        say: Callable[..., Any] = getattr(_log, level)
        say(text, key_label=label, detail=detail)
