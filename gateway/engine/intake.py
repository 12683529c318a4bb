"""Frames that a link read are decoded, and their MACs verified. No other part sees a message before it is authentic."""

from gateway import log
from gateway.clock import Now
from gateway.engine.batch import Batch
from gateway.engine.dispatch import Dispatch
from gateway.engine.jobs import Incoming
from gateway.engine.shells import HubLink, Journal
from gateway.errors import HubFault
from gateway.payments import steps
from gateway.payments.steps import Kind
from gateway.payments.verify import WRONG_MAC
from gateway.wire.codec import Codec, split_mac

_log = log.get("engine")

PAYMENT_CLASSES = (b"92", b"94")
"""The MTIs of messages about payments begin so."""
PAYMENT_RESPONSE = b"9210"


class Intake:
    """Frames in, authentic messages out."""

    def __init__(self, codec: Codec, journal: Journal, batch: Batch, dispatch: Dispatch, reply_within_s: float) -> None:
        self.verifying = 0
        """Messages whose MAC is being verified."""
        self._codec = codec
        self._journal = journal
        self._batch = batch
        self._dispatch = dispatch
        self._reply_within_s = reply_within_s

    def take_frames(self, link: HubLink, frames: list[tuple[float, bytes]]) -> None:
        """Decode each frame and have its MAC verified. `frames`: each with the time of its first byte."""
        if not self._journal.has_room():
            frames = self._without_payments(link, frames)
        decode, key, patience = self._codec.decode, self._batch.verifiers[0], self._reply_within_s
        for first_byte_s, body in frames:
            try:
                covered, mac = split_mac(body)
                message = decode(body)
            except HubFault as fault:
                self._batch.count("unreadable")
                self._disprove(link, body)
                self._dispatch.reject(link, body, fault.function_code, str(fault))
            else:
                incoming = Incoming(key, covered, mac, first_byte_s + patience, link, message, first_byte_s)
                incoming.urgent = body[:2] not in PAYMENT_CLASSES  # a sign-off must not wait behind a flood of payments
                self._batch.jobs.append(incoming)
                self.verifying += 1

    def _without_payments(self, link: HubLink, frames: list[tuple[float, bytes]]) -> list[tuple[float, bytes]]:
        """The disk does not keep up: we promise nothing about payments, and the hub will repeat or reverse them.

        Management goes on: it needs little room, and a gateway in trouble must be able to sign off. Answers to payments
        of ours go on, too: they make room.
        """
        kept, count = list[tuple[float, bytes]](), 0
        for frame in frames:
            if frame[1][:2] not in PAYMENT_CLASSES or frame[1][:4] == PAYMENT_RESPONSE:
                kept.append(frame)
            else:
                link.dropped(len(frame[1]))
                count += 1
        if count:
            self._batch.count("not_taken_in", count)
            _log.error("payments not taken in: too much waits for the disk", link=link.site, count=count)
        return kept

    def take_verified(self, incoming: Incoming, now: Now) -> None:
        """The signer is done with this message's MAC."""
        self.verifying -= 1
        if incoming.ok:
            incoming.link.proved(len(incoming.message.body))
            self._dispatch.take(incoming, now)
        elif incoming.error == "wrong-mac":
            if self._verify_again(incoming):
                return
            self._batch.count("wrong_mac")
            self._disprove(incoming.link, incoming.message.body)
            self._dispatch.reject(incoming.link, incoming.message.body, WRONG_MAC, "DE128")
        else:
            self._unverified(incoming)

    def _disprove(self, link: HubLink, body: bytes) -> None:
        """The sender of this has shown no key. While the hub may sign with one of several, it may have been the hub."""
        link.disproved(len(body), key_changes=len(self._batch.verifiers) > 1)

    def _verify_again(self, incoming: Incoming) -> bool:
        """While keys change, a message that one key did not sign may be signed by another, also by one that came since.
        Returns whether there is another key to try.
        """
        tried = (*incoming.tried, incoming.key)
        untried = [key for key in self._batch.verifiers if key not in tried]
        if not untried:
            return False
        again = Incoming(
            untried[0], incoming.data, incoming.mac, incoming.deadline_s, incoming.link, incoming.message,
            incoming.first_byte_s, tried,
        )  # fmt: skip
        again.urgent = incoming.urgent
        self._batch.jobs.append(again)
        self._batch.count("verified_by_another_key")
        self.verifying += 1
        return True

    def _unverified(self, incoming: Incoming) -> None:
        """No HSM could say whether the hub signed this message: it is recorded, and not acted upon."""
        self._batch.count("unverified")
        incoming.link.dropped(len(incoming.message.body))
        body = steps.pack(steps.Rejected("", "unverified: no HSM", incoming.message.body, b""))
        self._batch.record(Kind.REJECTED, body, "", incoming.link)
        _log.error("message not verified: no HSM", link=incoming.link.site, mti=incoming.message.mti)
