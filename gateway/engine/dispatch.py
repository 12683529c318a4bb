"""The way of an authentic message to its story."""

from gateway import log
from gateway.clock import Now
from gateway.engine.arriving import Arriving
from gateway.engine.batch import Batch
from gateway.engine.hearing import Hearing
from gateway.engine.jobs import Incoming
from gateway.engine.keying import Keying
from gateway.engine.leaving import Leaving
from gateway.engine.shells import HubLink
from gateway.payments.dates import Clocks
from gateway.payments.steps import Kind
from gateway.payments.verify import REVERSAL_PROBLEM, UNREADABLE, names_a_payment
from gateway.wire.message import (
    Advice,
    Message,
    NetworkRequest,
    NetworkResponse,
    PaymentRequest,
    PaymentResponse,
    ReversalRequest,
    ReversalResponse,
    Usm,
)

_log = log.get("engine")

FRESH_S = 10.0
"""A message older than this was read late, because this machine slept: its time is not the hub's time now."""


class Dispatch:
    """Hands each message to its story, or says to the hub that it belongs to none."""

    def __init__(
        self, arriving: Arriving, leaving: Leaving, keying: Keying, hearing: Hearing, clocks: Clocks, batch: Batch
    ) -> None:
        self._arriving = arriving
        self._inbound = arriving.story
        self._settling = leaving.story.settling
        self._keying = keying
        self._news = hearing.story
        self._clocks = clocks
        self._batch = batch

    def take(self, incoming: Incoming, now: Now) -> None:
        """Hand on a message that the hub has signed."""
        message, link = incoming.message, incoming.link
        if isinstance(message, PaymentRequest):
            self._inbound.on_request(message, link, incoming.first_byte_s, now)
        elif isinstance(message, PaymentResponse | Advice):
            self._take_answer(message, link, now)
        elif isinstance(message, ReversalRequest):
            if names_a_payment(message):
                self._inbound.on_reversal(message, link, incoming.first_byte_s, now)
            else:
                self.reject(link, message.body, REVERSAL_PROBLEM, f"DE{message.fault}")
        elif isinstance(message, ReversalResponse):
            self._unplaced(link, message)
        elif message.fault:
            self.reject(link, message.body, UNREADABLE, f"DE{message.fault}")
        else:
            self._manage(message, link, now, fresh=now.mono_s - incoming.first_byte_s < FRESH_S)

    def _take_answer(self, message: PaymentResponse | Advice, link: HubLink, now: Now) -> None:
        """The hub says something about a payment of ours."""
        if isinstance(message, Advice):
            placed = self._settling.on_advice(message, link, now)
        elif message.fault:
            self.reject(link, message.body, UNREADABLE, f"DE{message.fault}")
            return
        else:
            placed = self._settling.on_response(message, link, now)
        if not placed:
            self._unplaced(link, message)

    def _manage(self, message: Message, link: HubLink, now: Now, *, fresh: bool) -> None:
        """Keys, news, or the session's own. Fresh: it shows what the hub's clock says now."""
        if fresh and isinstance(message, NetworkRequest | Usm):  # a response copies our own DE7
            self._clocks.heard(link.id, message.transmission_time, now)
        if isinstance(message, Usm):
            self._news.on_usm(message, link, now, fresh=fresh)
            return
        self._batch.record(Kind.MANAGEMENT_IN, message.body, "", link)
        if fresh and isinstance(message, NetworkRequest):
            self._news.on_request(message, link, now)
        if isinstance(message, NetworkRequest | NetworkResponse) and self._keying.story.takes(message):
            self._keying.take(message, link, now)
        else:
            link.manage(message, now)

    def _unplaced(self, link: HubLink, message: PaymentResponse | ReversalResponse | Advice) -> None:
        """A response to nothing that we sent, or an advice: recorded, logged, and it changes nothing."""
        self._batch.record(Kind.UNPLACED, message.body, "", link)
        self._batch.count("unplaced")
        code = message.function_code if isinstance(message, Advice) else message.action_code
        _log.warning("message belongs to nothing we know", link=link.site, mti=message.mti, code=code)

    def reject(self, link: HubLink, body: bytes, function_code: str, where: str) -> None:
        """Tell the hub by a 9624 that we can do nothing with this message. `where`: the field that is wrong."""
        _log.warning("message rejected", link=link.site, function_code=function_code, where=where, bytes=len(body))
        self._arriving.advise(link, body, function_code, where)
