"""The hub's answers to a payment that leaves: the one that settles it, and those that settle nothing.

An answer counts only on a connection that carried a request of its payment, and only from somebody who may say what
became of it. A second answer is compared with the first, which stands.
"""

from math import inf

from gateway import config
from gateway.clock import Now
from gateway.payments import steps
from gateway.payments.attempting import Attempting
from gateway.payments.awaiting import Awaiting
from gateway.payments.departure import Commands, Departure, Note
from gateway.payments.departures import Departures
from gateway.payments.ejection import Ejection
from gateway.payments.links import Link
from gateway.payments.outbound_law import Act, Event, step
from gateway.payments.reporting import Reporting
from gateway.payments.steps import Kind
from gateway.payments.submissions import standing_of
from gateway.payments.work import Standing
from gateway.wire.codec import fpid_of
from gateway.wire.codes import Codes
from gateway.wire.message import Advice, PaymentResponse

SPEAKERS = {"1": "receiver", "9": "hub"}
"""Who refuses, by the first digit of DE26 (docs/protocol.md section 5)."""


class Settling:
    """Gives each payment its outcome, from what the hub answers."""

    def __init__(
        self,
        settings: config.Submit,
        codes: Codes,
        departures: Departures,
        attempting: Attempting,
        awaiting: Awaiting,
        reporting: Reporting,
        ejection: Ejection,
        commands: Commands,
    ) -> None:
        self._inconclusive = frozenset(settings.inconclusive_codes)
        self._of_request = frozenset(settings.request_codes)
        self._codes = codes
        self._departures = departures
        self._step = departures.step
        self._attempting = attempting
        self._awaiting = awaiting
        self._reporting = reporting
        self._ejection = ejection
        self._do = commands

    def on_response(self, response: PaymentResponse, link: Link, now: Now) -> bool:
        """A 9210 came. False when it belongs to nothing that this connection carried."""
        fpid, code = fpid_of(response), response.action_code
        change = self._ejection.answered(link, fpid, now.mono_s, useful=code not in self._inconclusive)
        if change is not None:
            self._awaiting.on_change(change)
        payment = self._departures.of_fpid(fpid)
        if payment is None:
            return self._on_settled(fpid, response, link)
        if link.id not in payment.links:
            return False
        by = self._speaker(code, alone=not payment.left_before and payment.link_before_id == link.id)
        if not by and self._is_of_earlier(payment, link):
            payment.inconclusive = code
            self._keep(payment, code, response.body, link)
            return True
        act = self._step(payment, Event.CONCLUSIVE if by else Event.INCONCLUSIVE)
        if act is Act.COMPARE:
            self._compare(payment.outcome, payment.key, payment.content, response, link)
        elif act is Act.SETTLE:
            if self._departures.unknown.pop(fpid, None) is not None:
                self._departures.enter(payment)
            self._settle(payment, by, response, link)
        else:
            if act is not Act.NOTHING:
                payment.inconclusive = code
            self._keep(payment, code, response.body, link)
            if act is Act.PAUSE:
                self._attempting.pause(payment, "inconclusive", now)
        return True

    def on_advice(self, advice: Advice, link: Link, now: Now) -> bool:
        """A 9624 came. False when it names nothing that this connection carried."""
        fpid = fpid_of(advice) if advice.trn else ""
        payment = self._departures.in_flight.get(fpid)
        if payment is None or payment.outcome is not None or link.id not in payment.links:
            return False
        self._ejection.answered(link, fpid, now.mono_s, useful=False)
        self._keep(payment, advice.function_code, advice.body, link)
        if not self._is_of_earlier(payment, link) and self._step(payment, Event.INCONCLUSIVE) is Act.PAUSE:
            self._attempting.pause(payment, "inconclusive", now)
        return True

    def _speaker(self, code: str, *, alone: bool) -> str:
        """The one who says the outcome by this code, `receiver` or `hub`; empty when it settles nothing. Alone: no
        other request of the payment left.
        """
        if self._codes.accepts(code):
            return "receiver"
        if code in self._inconclusive or (code in self._of_request and not alone):
            return ""
        return SPEAKERS.get(code[:1], "")

    @staticmethod
    def _is_of_earlier(payment: Departure, link: Link) -> bool:
        """Whether what this link brings is about an earlier attempt: the present one may still be answered."""
        return payment.link is not None and payment.link is not link

    def _keep(self, payment: Departure, code: str, body: bytes, link: Link) -> None:
        """Record what settles nothing."""
        self._do.record(Kind.INCONCLUSIVE, body, payment.fpid, link)
        self._do.tell_outbound(Note.INCONCLUSIVE, payment.fpid, code)

    def _settle(self, payment: Departure, by: str, response: PaymentResponse, link: Link) -> None:
        """Give a payment its outcome: the one place."""
        payment.due_s, payment.under_way, payment.link = inf, 0, None
        settlement = steps.Settlement(
            payment.key, payment.content, response.action_code, response.field_in_error, by, response.body,
            payment.covered,
        )  # fmt: skip
        payment.outcome = standing_of(payment.fpid, settlement, response)
        self._reporting.record(payment, Kind.SETTLED, steps.pack(settlement), link)

    # --- another answer

    def _on_settled(self, fpid: str, response: PaymentResponse, link: Link) -> bool:
        """It is at rest, and no connection is held for it: there must be an outcome to compare with."""
        known = self._departures.remembered.of_fpid(fpid)
        if known is None or not known.standing.by:  # only an outcome was said by somebody
            return False
        conclusive = self._speaker(response.action_code, alone=False)
        step(known.standing.state, Event.CONCLUSIVE if conclusive else Event.INCONCLUSIVE)
        self._compare(known.standing, known.key, known.content, response, link)
        return True

    def _compare(
        self, standing: Standing | None, key: str, content: bytes, response: PaymentResponse, link: Link
    ) -> None:
        """Hold another answer to the one that settled it."""
        assert standing is not None
        code = response.action_code
        by = self._speaker(code, alone=False)
        if not by or code == standing.code:
            self._do.record(Kind.UNPLACED, response.body, standing.fpid, link)
            self._do.tell_outbound(Note.ANSWERED_AGAIN, standing.fpid, code)
            return
        body = steps.Settlement(key, content, code, response.field_in_error, by, response.body, b"")
        self._do.record(Kind.CONTRADICTED, steps.pack(body), standing.fpid, link)
        self._do.tell_outbound(Note.CONTRADICTED, standing.fpid, code)
