"""The beginning of the story of a payment that leaves: what the processor submits, and what it hears at once.

The same key again waits for the same payment or hears its outcome. Other content under the key, or under its FPID, is a
conflict. What the scheme would refuse, or nothing could send now, is not taken: nothing is recorded, nothing leaves.
"""

from collections.abc import Callable

from gateway.clock import Now
from gateway.payments import steps
from gateway.payments.attempting import Attempting
from gateway.payments.departure import Commands, Departure, Note
from gateway.payments.departures import Departures
from gateway.payments.links import RECORDER
from gateway.payments.outbound_law import Act, Event, State, step
from gateway.payments.steps import Kind
from gateway.payments.work import Standing, Submission
from gateway.wire.codec import fpid_of
from gateway.wire.message import PaymentRequest

VOID_LOOK = 16
"""Waiting submissions at which those that are void are removed."""


class Taking:
    """Takes submissions, or says why not."""

    def __init__(
        self,
        payments_max: int,
        departures: Departures,
        attempting: Attempting,
        commands: Commands,
        forbids: Callable[[PaymentRequest], str],
    ) -> None:
        """`forbids` says with which code the scheme would refuse a payment, or nothing."""
        self._payments_max = payments_max
        self._departures = departures
        self._step = departures.step
        self._attempting = attempting
        self._do = commands
        self._forbids = forbids

    def on_submission(self, submission: Submission, unavailable: str, now: Now) -> None:
        """A payment is submitted. `unavailable` says why none can be taken now, or nothing."""
        payment = self._departures.by_key.get(submission.key)
        known = self._departures.remembered.of_key(submission.key) if payment is None else None
        state, content = State.UNSUBMITTED, submission.content
        if payment is not None:
            state, content = payment.state, payment.content
        elif known is not None:
            state, content = known.standing.state, known.content
        # looked up only: what cannot be taken now moves nothing
        match step(state, Event.SUBMIT if content == submission.content else Event.CONFLICT).act:
            case Act.SUBMIT:
                self._take(submission, state, unavailable, now)
            case Act.AWAIT if payment is not None:
                self._await(payment, submission)
            case Act.REPORT_AGAIN if known is not None:
                self._do.tell_outbound(Note.SUBMITTED_AGAIN, known.standing.fpid)
                submission.report(known.standing)
            case Act.SEND_AGAIN:
                standing = known.standing if known is not None else payment.stands if payment else None
                self._take_up(submission, payment, standing, unavailable, now)
            case Act.REFUSE_CONFLICT:
                self._clash(submission, submission.key)
            case act:
                raise AssertionError(act)

    def on_durable(self, payment: Departure) -> None:
        """A request's record is durable: the submissions that wait hear so."""
        payment.durable = True
        if payment.waiting:
            standing = payment.stands
            waiting, payment.waiting = payment.waiting, [one for one in payment.waiting if one.wait and not one.void]
            for submission in waiting:
                submission.report(standing)

    # --- a payment that is new

    def _take(self, submission: Submission, state: State, unavailable: str, now: Now) -> None:
        """Never submitted before, or nothing of it ever left."""
        fpid = fpid_of(submission.request)
        namesake = self._departures.of_fpid(fpid) or self._departures.remembered.of_fpid(fpid)
        if namesake is not None and namesake.key != submission.key:
            self._clash(submission, namesake.key)
            return
        if unavailable := unavailable or self._full():
            self._do.tell_outbound(Note.UNAVAILABLE, "", unavailable)
            submission.refuse(unavailable)
            return
        if code := self._forbids(submission.request):
            # not taken, rather than settled: the other site may have sent it before it heard of this
            submission.code = code
            self._do.tell_outbound(Note.DECLINED, fpid, code)
            submission.refuse(f"the scheme would refuse it now: {code}")
            return
        payment = Departure(submission.key, fpid, submission.content, submission.covered, state, now.mono_s)
        payment.waiting.append(submission)
        self._departures.enter(payment)
        self._step(payment, Event.SUBMIT)
        body = steps.pack(steps.Submitted(submission.key, submission.content, submission.covered))
        position = self._do.record(Kind.SUBMITTED, body, fpid, RECORDER)
        self._attempting.begin(payment, payment.covered, position, now)
        self._do.tell_outbound(Note.SUBMITTED, fpid)

    def _full(self) -> str:
        if len(self._departures.in_flight) < self._payments_max:
            return ""
        self._do.tell_outbound(Note.FULL, "")
        return "too many payments are under way"

    # --- a payment that is known

    def _await(self, payment: Departure, submission: Submission) -> None:
        """The same key and content, while it is under way."""
        self._do.tell_outbound(Note.SUBMITTED_AGAIN, payment.fpid)
        if submission.wait or not payment.durable:
            if len(payment.waiting) % VOID_LOOK == VOID_LOOK - 1:
                payment.waiting = [one for one in payment.waiting if not one.void]
            payment.waiting.append(submission)
        if payment.durable:
            submission.report(payment.stands)

    def _take_up(
        self, submission: Submission, payment: Departure | None, standing: Standing | None, unavailable: str, now: Now
    ) -> None:
        """It is UNKNOWN, and the processor asks for another round."""
        if unavailable or self._full():
            # "unavailable" would say that nothing is recorded and nothing left
            assert standing is not None
            submission.report(standing)
            return
        if payment is None:  # an earlier process left it so
            fpid = fpid_of(submission.request)
            covered = submission.covered
            payment = Departure(submission.key, fpid, submission.content, covered, State.UNKNOWN, now.mono_s, left=True)
            payment.durable = True
        self._departures.begin_round(payment, now.mono_s)
        payment.waiting.append(submission)
        self._step(payment, Event.SUBMIT)
        self._attempting.repeat(payment, now)

    def _clash(self, submission: Submission, key: str) -> None:
        """It is not the payment that has this key and FPID; `key` is that one's."""
        submission.refused = "conflict"
        submission.why = (
            "this key was used for another payment"
            if key == submission.key
            else "another key was used for a payment with this TxId, type, date and currency"
        )
        self._do.tell_outbound(Note.CLASH, fpid_of(submission.request))
        submission.done(submission)
