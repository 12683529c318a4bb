"""What receivers say to the payments that the hub sends: is it right, in time, on the right connection, and the same as
before? `deliveries` has the payments. Pure.
"""

from collections import Counter

from loadtest.hub.deliveries import Deliveries
from loadtest.hub.parties import Delivery, Link
from loadtest.hub.switch import Switch
from loadtest.ledger.entries import HubEvent
from loadtest.traffic.judge import QUALIFIED, Heard


class Responses:
    """Takes 9210s and 9430s."""

    def __init__(self, switch: Switch, deliveries: Deliveries) -> None:
        self.codes: Counter[str] = Counter()
        """Payments that were answered in time, by code."""
        self._switch = switch
        self._deliveries = deliveries
        self._counts = switch.counts

    def response(self, link: Link, heard: Heard, now_s: float) -> None:
        """Take a 9210 from this link."""
        payment = link.waiting.get(heard.fpid)
        if payment is None or now_s > payment.deadline_s:
            self._response_out_of_turn(link, heard, now_s)
            return
        if not self._as_asked(link, payment, heard, now_s):
            return  # no response at all, to the hub: its patience runs on
        del link.waiting[payment.id]
        if payment.expected is not None:
            right = (heard.code, heard.field) == payment.expected
            why = "" if right else f"9210 says {heard.code} {heard.field}".strip()
            self._deliveries.mischief_over(payment, why, now_s)
            return
        latency = self._deliveries.latency
        latency["intended"].record(now_s - payment.intended_s)
        latency["stood_in" if heard.code in QUALIFIED else "decided"].record(now_s - payment.sent_s)
        self.codes[heard.code] += 1
        self._counts["replied"] += 1
        self._switch.book(
            HubEvent(
                "replied", payment.fpid, now_s, payment.intended_s, link.number, link.site, "9210", heard.code, False,
                "", payment.party.member,
            )
        )  # fmt: skip
        if heard.code[:1] == "1" and self._switch.must_accept(heard.fpid[18:20].decode()):
            self._fault(link, f"said {heard.code} to a payment that must be accepted", now_s, payment)
        if payment.conclude is not None:
            self._deliveries.conclude(payment, heard, now_s)
        self._deliveries.done_with(payment)

    def _payment_of(self, link: Link, heard: Heard) -> Delivery | None:
        """The payment that a response means, also one whose other fields are not copied."""
        fpid = heard.fpid
        known = self._deliveries.find(fpid)
        return known or next((one for one in link.waiting.values() if one.id[:18] == fpid[:18]), None)

    def _response_out_of_turn(self, link: Link, heard: Heard, now_s: float) -> None:
        """Judge an unexpected 9210: late, on the wrong link, twice, or about nothing."""
        payment = self._payment_of(link, heard)
        if payment is None:
            self._switch.fault(link, "9210 for a payment that was never sent", now_s)
        elif link.number not in payment.links:
            self._fault(link, "9210 on another connection than its request's", now_s, payment)
        elif payment.expected is not None:
            self._fault(link, "9210 for a message of mischief, too late", now_s, payment)
        elif self._as_asked(link, payment, heard, now_s):
            if payment.replies > len(payment.links):
                self._fault(link, "9210 more often than it was asked for", now_s, payment)
                return
            # on another connection it may have left before, or by another site, which cannot know
            if link.number in payment.undone and heard.code[:1] == "0":
                self._fault(link, f"said {heard.code} after it had answered the reversal", now_s, payment)
            self._counts["late"] += 1
            self._deliveries.note("replied", payment, now_s, link, mti="9210", code=heard.code, late=True)

    def _as_asked(self, link: Link, payment: Delivery, heard: Heard, now_s: float) -> bool:
        """Whether the response copies the right fields, and repeats its earlier content."""
        payment.replies += 1
        if (heard.key, heard.tail) != payment.ends:
            self._fault(link, "a field that the response must copy is not copied", now_s, payment)
            return False
        if (heard.code == "1930") != bool(heard.field):
            self._fault(link, "DE44 goes with 1930, and only with it", now_s, payment)
            return False
        if payment.expected is None:
            before = next((code for node, code in payment.said if node == link.node), None)
            if before is None:
                payment.said = (*payment.said, (link.node, heard.code))
            elif before != heard.code:
                self._fault(link, f"said {before} first and {heard.code} then", now_s, payment)
            payment.code = heard.code
        return True

    def reversed(self, link: Link, heard: Heard, now_s: float) -> None:
        """Take a 9430 from this link."""
        payment = link.reversing.pop(heard.fpid, None)
        if payment is None:
            payment = next((one for one in link.reversing.values() if one.id[:18] == heard.fpid[:18]), None)
            if payment is not None:
                del link.reversing[payment.id]
        known = payment or self._payment_of(link, heard)
        if known is None or not known.reversals:
            self._fault(link, "9430 for a payment that was not reversed", now_s, known)
            return
        known.undone = (*known.undone, link.number)
        if link.number not in known.reversals:
            self._fault(link, "9430 on another connection than its reversal's", now_s, known)
        elif known.undone.count(link.number) > known.reversals.count(link.number):
            self._fault(link, "9430 more often than it was asked for", now_s, known)
        if payment is None:
            return  # it is late: another reversal waits, or was answered
        if (heard.key, heard.tail) != payment.ends:
            self._fault(link, "a field that the 9430 must copy is not copied", now_s, payment)
        elif heard.code != "0000":
            self._fault(link, f"9430 says {heard.code}: a reversal is always answered positively", now_s, payment)
        self._counts["reversed"] += 1
        self._deliveries.note("reversed", payment, now_s, link, mti="9430", code=heard.code)
        self._deliveries.done_with(payment)

    def _fault(self, link: Link, why: str, now_s: float, payment: Delivery | None) -> None:
        self._switch.fault(link, why, now_s, payment.fpid if payment else "")
