"""THE STORY of a payment that leaves: every branch is here.

    submission → SUBMIT → (durable, MAC made) → TRANSMIT → the hub's answer → SETTLE → (durable) → REPORT

Around that line: the same key again waits for the same payment or hears its outcome; other content under the key, or
under its FPID, is a CONFLICT; what the scheme has told us that it would refuse is not taken. No answer, a lost link or
an answer that settles nothing PAUSE the payment; then it leaves again (9201, and 9200 only where surely nothing left
before), on another link where there is one, a bounded number of times. Which link that is, and how long it is waited
for, `ejection` says: one that brings fewer or slower answers than the others gets no new payments. After that it is
UNKNOWN when it may have left: never failed. Whatever comes later settles it: an answer on a connection that still
stands, or another round of repeats when the processor submits it again. An operator may stop all this: then nothing
leaves until the start. `outbound_law` is the law: this file brings events and branches on the act that the law answers
with. docs/fates.md shows each way through it.

Like `inbound` it knows no socket, disk, HSM, clock, log or task. Whatever leaves is commanded together with the
position of the record that must be durable first.
"""

from collections.abc import Callable, Sequence
from math import inf
from typing import Protocol

from gateway import config
from gateway.backoff import backoff_s
from gateway.clock import Now
from gateway.payments import steps
from gateway.payments.departure import Departure, Note
from gateway.payments.ejection import Change, Ejection
from gateway.payments.links import RECORDER, Link
from gateway.payments.outbound_law import RESTS, Act, Event, State, step
from gateway.payments.steps import Kind
from gateway.payments.submissions import Known, Submissions, Unfinished, standing_of
from gateway.payments.submitting import STOPPED, Submitting
from gateway.payments.work import Standing, Submission
from gateway.wire.codec import Codec, fpid_of
from gateway.wire.message import Advice, PaymentRequest, PaymentResponse

__all__ = ["Commands", "Departure", "Note", "Outbound"]

REPEAT = b"9201"
REQUEST = b"9200"
SPEAKERS = {"1": "receiver", "9": "hub"}
"""Who refuses, by the first digit of DE26 (docs/protocol.md section 5)."""
LINGER_S = 30.0
"""How long an UNKNOWN payment stays in memory after its last connection went: an answer that was read before may still
wait for its MAC to be verified."""
CLOCK_STEP_S = 1.0
"""A record that is further in the future than this was written by another clock."""
VOID_LOOK = 16
"""Waiting submissions at which those that are void are removed."""
TAKEN_UP_PER_S = 1000
"""Payments that are taken up again each second after a stop: all at once would not fit into a link's buffer."""


class Commands(Protocol):
    """What the story has the shells do. Each call only notes it for the end of this wake-up."""

    def record(self, kind: Kind, body: bytes, fpid: str, link: Link) -> int:
        """Append a record; returns its position."""

    def when_settled(self, position: int, payment: Departure) -> None:
        """Call `on_recorded` with this position when everything up to it is durable."""

    def depart(self, payment: Departure, covered: bytes, position: int, until_s: float) -> None:
        """Make the MAC of a request; call `on_durable` when `position` is, and bring READY when both are done, else
        UNSENT.
        """

    def hand(self, payment: Departure, link: Link, body: bytes, until_s: float) -> bool:
        """Put a request into the link's buffer; False: the link is gone. Brings `on_unsent` when it goes before the
        request was written, `on_link_down` when it goes after.
        """

    def submitters(self) -> Sequence[Link]:
        """The links that are signed on to submit."""

    def set_alarm(self, payment: Departure, at_s: float) -> None:
        """Bring DEADLINE at that time, unless `payment.due_s` is another one by then."""

    def tell_outbound(self, note: Note, fpid: str, detail: str = "", since_s: float = 0.0) -> None:
        """Log or count an event."""

    def tell_share(self, change: Change) -> None:
        """A link gets no new payments any more, or gets them again."""


class Outbound:
    """The payments under way, and what happens to them."""

    def __init__(
        self,
        pair: config.Pair,
        payments_max: int,
        submissions: Submissions,
        codec: Codec,
        commands: Commands,
        ejection: Ejection,
        forbids: Callable[[PaymentRequest], str] = lambda _request: "",
    ) -> None:
        """`forbids` says with which code the scheme would refuse a payment, or nothing."""
        self._submit = pair.submit
        self._prepare_within_s = pair.session.respond_within_s
        self._inconclusive = frozenset(pair.submit.inconclusive_codes)
        self._of_request = frozenset(pair.submit.request_codes)
        self._payments_max = payments_max
        self._submissions = submissions
        self._codec = codec
        self._do = commands
        self._forbids = forbids
        self.ejection = ejection
        self.submitting = Submitting(commands)
        self.in_flight: dict[str, Departure] = {}
        """By FPID. A drain waits for these."""
        self.unknown: dict[str, Departure] = {}
        """By FPID: an answer may still come on a connection of theirs, or a stop cut their attempts off."""
        self._standing_links: set[int] = set()
        """Connections that carried a request and have not gone."""
        self._keys: dict[str, Departure] = {}
        """Payments in flight and unknown, by key."""

    # --- what the processor wants

    def on_submission(self, submission: Submission, unavailable: str, now: Now) -> None:
        """A payment is submitted. `unavailable` says why none can be taken now, or nothing."""
        payment = self._keys.get(submission.key)
        known = self._submissions.of_key(submission.key) if payment is None else None
        state, content = State.UNSUBMITTED, submission.content
        if payment is not None:
            state, content = payment.state, payment.content
        elif known is not None:
            state, content = known.standing.state, known.content
        # looked up only: what cannot be taken now moves nothing
        match step(state, Event.SUBMIT if content == submission.content else Event.CONFLICT).act:
            case Act.SUBMIT:
                self._on_new(submission, state, unavailable, now)
            case Act.AWAIT if payment is not None:
                self._await(payment, submission)
            case Act.REPORT_AGAIN if known is not None:
                self._do.tell_outbound(Note.SUBMITTED_AGAIN, known.standing.fpid)
                _done(submission, known.standing)
            case Act.SEND_AGAIN:
                standing = known.standing if known is not None else self._standing(payment) if payment else None
                self._take_up(submission, payment, standing, unavailable, now)
            case Act.REFUSE_CONFLICT:
                self._clash(submission, submission.key)
            case act:
                raise AssertionError(act)

    def _on_new(self, submission: Submission, state: State, unavailable: str, now: Now) -> None:
        """Never submitted before, or nothing of it ever left."""
        fpid = fpid_of(submission.request)
        namesake = self.in_flight.get(fpid) or self.unknown.get(fpid) or self._submissions.of_fpid(fpid)
        if namesake is not None and namesake.key != submission.key:
            self._clash(submission, namesake.key)
            return
        if unavailable := unavailable or self._full():
            self._unavailable(submission, unavailable)
            return
        if code := self._forbids(submission.request):
            # not taken, rather than settled: the other site may have sent it before it heard of this
            submission.code = code
            self._do.tell_outbound(Note.DECLINED, fpid, code)
            _refuse(submission, f"the scheme would refuse it now: {code}")
            return
        payment = Departure(submission.key, fpid, submission.content, submission.covered, state, now.mono_s)
        payment.waiting.append(submission)
        self._enter(payment)
        self._step(payment, Event.SUBMIT)
        body = steps.pack(steps.Submitted(submission.key, submission.content, submission.covered))
        position = self._do.record(Kind.SUBMITTED, body, fpid, RECORDER)
        payment.attempt += 1
        self._attempt(payment, payment.covered, position, now)
        self._do.tell_outbound(Note.SUBMITTED, fpid)

    def _attempt(self, payment: Departure, covered: bytes, position: int, now: Now) -> None:
        """An attempt begins."""
        payment.under_way = payment.attempt
        self._do.depart(payment, covered, position, now.mono_s + self._prepare_within_s)

    def _full(self) -> str:
        if len(self.in_flight) < self._payments_max:
            return ""
        self._do.tell_outbound(Note.FULL, "")
        return "too many payments are under way"

    def _unavailable(self, submission: Submission, why: str) -> None:
        self._do.tell_outbound(Note.UNAVAILABLE, "", why)
        _refuse(submission, why)

    def _await(self, payment: Departure, submission: Submission) -> None:
        """The same key and content, while it is under way."""
        self._do.tell_outbound(Note.SUBMITTED_AGAIN, payment.fpid)
        if submission.wait or not payment.durable:
            if len(payment.waiting) % VOID_LOOK == VOID_LOOK - 1:
                payment.waiting = [one for one in payment.waiting if not one.void]
            payment.waiting.append(submission)
        if payment.durable:
            _done(submission, self._standing(payment))

    def _take_up(
        self, submission: Submission, payment: Departure | None, standing: Standing | None, unavailable: str, now: Now
    ) -> None:
        """It is UNKNOWN, and the processor asks for another round."""
        if unavailable or self._full():
            # "unavailable" would say that nothing is recorded and nothing left
            assert standing is not None
            _done(submission, standing)
            return
        if payment is None:  # an earlier process left it so
            fpid = fpid_of(submission.request)
            covered = submission.covered
            payment = Departure(submission.key, fpid, submission.content, covered, State.UNKNOWN, now.mono_s, left=True)
            payment.durable = True
        self._begin_round(payment, now.mono_s)
        payment.waiting.append(submission)
        self._step(payment, Event.SUBMIT)
        self._send_again(payment, now)

    def _begin_round(self, payment: Departure, at_s: float) -> None:
        """It was UNKNOWN, and gets all its attempts anew."""
        self.unknown.pop(payment.fpid, None)
        payment.submitted_s, payment.repeats, payment.pauses = at_s, 0, 0
        payment.standing = payment.outcome = None
        self._enter(payment)

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

    def look(self, key: str) -> Standing | None:
        """Where the payment of this key stands; None when there is none on disk."""
        payment = self._keys.get(key)
        if payment is not None and payment.durable:
            return self._standing(payment)
        known = self._submissions.of_key(key)
        return known.standing if known is not None else None

    # --- the way out

    def on_durable(self, payment: Departure) -> None:
        """A request's record is durable: the submissions that wait hear so."""
        payment.durable = True
        if payment.waiting:
            standing = self._standing(payment)
            waiting, payment.waiting = payment.waiting, [one for one in payment.waiting if one.wait and not one.void]
            for submission in waiting:
                _done(submission, standing)

    def on_ready(self, payment: Departure, attempt: int, body: bytes, now: Now) -> None:
        """A request is durable and has its MAC: it leaves, if there is a link and still a reason."""
        if attempt != payment.under_way:  # answered meanwhile
            return
        self._step(payment, Event.READY)
        # a person stopped it meanwhile, or the disk took its time
        if why := STOPPED if self.submitting.stopped else "too-old" if self._is_old(payment, now) else "":
            self._interrupt(payment, Event.SEND_FAILED, why, now)
            return
        link = self._next_link(payment, now)
        until_s = now.mono_s + self._submit.answer_within_s
        if link is None or not self._do.hand(payment, link, body, until_s):
            self._interrupt(payment, Event.SEND_FAILED, "no-link", now)
            return
        self.ejection.sent(link, payment.fpid, now.mono_s, new=payment.attempt == 1)
        payment.link, payment.link_before_id = link, link.id
        payment.left_before, payment.left = payment.left, True
        payment.is_first_here = link.id not in payment.links
        payment.links.add(link.id)
        self._standing_links.add(link.id)
        payment.sent_s = now.mono_s
        self._set_timer(payment, now.mono_s + self.ejection.patience_s(link))
        self._do.tell_outbound(Note.TRANSMITTED, payment.fpid)

    def _next_link(self, payment: Departure, now: Now) -> Link | None:
        links = self._do.submitters()
        if not links:
            return None
        if payment.attempt == 1:
            return self.ejection.deal(links, now.mono_s)
        return self.ejection.deal_again(links, payment.link_before_id, silent=payment.reason != "inconclusive")

    def on_unsent(self, payment: Departure, attempt: int, reason: str, now: Now, *, surely: bool = True) -> None:
        """This attempt's request did not leave (no link, no MAC, the link went first); or, not surely, may have."""
        if attempt != payment.under_way:
            return
        if surely and payment.link is not None:
            payment.left = payment.left_before
            if payment.is_first_here:  # it carried none: whatever the hub says there is about something else
                payment.links.discard(payment.link.id)
        self._interrupt(payment, Event.SEND_FAILED if surely else Event.LOST, reason, now)

    def on_link_down(self, link: Link, now: Now) -> None:
        """A connection is gone, and with it every answer that it could have brought."""
        self.ejection.link_down(link, now.mono_s)
        for payment in [p for p in self.in_flight.values() if p.link is link]:
            self._interrupt(payment, Event.LOST, "link-lost", now)
        if link.id in self._standing_links:
            self._standing_links.discard(link.id)
            for payment in self.unknown.values():
                self._let_go(payment, now)

    def _let_go(self, payment: Departure, now: Now) -> None:
        """It is UNKNOWN: without a connection that could bring an answer it need not be held for much longer, unless it
        waits for a start.
        """
        if payment.due_s == inf and payment.reason != STOPPED and not payment.links & self._standing_links:
            self._set_timer(payment, now.mono_s + LINGER_S)

    def on_deadline(self, payment: Departure, now: Now) -> None:
        """Its timer fired: no answer came in time, or its pause is over."""
        payment.due_s = inf
        match self._step(payment, Event.DEADLINE):
            case Act.LET_GO:
                del self.unknown[payment.fpid], self._keys[payment.key]
            case Act.JUDGE_WAIT:
                if not self._waits_on(payment, now):
                    self._interrupt(payment, Event.NO_ANSWER, "no-answer", now)
            case Act.JUDGE_PAUSE:
                self._judge_pause(payment, now)
            case act:
                raise AssertionError(act)

    def _judge_pause(self, payment: Departure, now: Now) -> None:
        """Its pause is over: see whether there is another attempt, and a link for it."""
        exhausted = payment.repeats >= self._submit.repeats_max or self._is_old(payment, now)
        if exhausted or self.submitting.stopped:
            payment.reason = payment.reason if exhausted else STOPPED
            self._give_up(payment)
        elif not self._do.submitters():
            self._interrupt(payment, Event.NO_LINK, "no-link", now)
        else:
            self._step(payment, Event.DUE)
            self._send_again(payment, now)

    def _waits_on(self, payment: Departure, now: Now) -> bool:
        """A repeat was due early, as its link is in doubt; and now there is no better one: it waits in full."""
        until_s = payment.sent_s + self._submit.answer_within_s
        waits = now.mono_s < until_s and not self._is_doubted(payment)
        if waits:
            self._set_timer(payment, until_s)
        return waits

    def _is_doubted(self, payment: Departure) -> bool:
        """Whether its link is in doubt, and another one is not."""
        link = payment.link
        assert link is not None
        doubted = self.ejection.patience_s(link) < self._submit.answer_within_s
        return doubted and self.ejection.another(self._do.submitters(), link)

    def judge_links(self, now: Now) -> None:
        """See which link brings fewer or slower answers than the others."""
        for change in self.ejection.judge(self._do.submitters(), now.mono_s):
            self._on_change(change)

    def _on_change(self, change: Change) -> None:
        """Repeat by another link the payments of an ejected one, once they have waited as for a link on trial."""
        self._do.tell_share(change)
        if change.ejected:
            for payment in self.in_flight.values():
                link = payment.link
                if link is not None and link.site == change.site:
                    self._set_timer(payment, payment.sent_s + self.ejection.patience_s(link))

    def _is_old(self, payment: Departure, now: Now) -> bool:
        return now.mono_s - payment.submitted_s >= self._submit.repeat_for_s

    def _interrupt(self, payment: Departure, event: Event, reason: str, now: Now) -> None:
        """This attempt is over: the next one has its time."""
        self._step(payment, event)
        self._pause(payment, reason, now, at_once=event is Event.NO_ANSWER)

    def _pause(self, payment: Departure, reason: str, now: Now, *, at_once: bool = False) -> None:
        """The next attempt has its time, which is at once where waiting was long already, or nothing may leave."""
        payment.under_way, payment.link, payment.reason = 0, None, reason
        self._do.tell_outbound(Note.PAUSED, payment.fpid, reason)
        if at_once or self.submitting.stopped:
            payment.pauses = 0
            self._set_timer(payment, now.mono_s)
            return
        pause_s = backoff_s(payment.pauses, self._submit.pause_s, self._submit.pause_max_s)
        payment.pauses += 1
        self._set_timer(payment, now.mono_s + pause_s)

    def _send_again(self, payment: Departure, now: Now) -> None:
        payment.repeats += 1
        payment.attempt += 1
        payment.due_s = inf
        covered = (REPEAT if payment.left else REQUEST) + payment.covered[4:]
        body = steps.pack(steps.Retry(payment.attempt, covered, payment.key, payment.content))
        position = self._do.record(Kind.RETRIED, body, payment.fpid, RECORDER)
        self._attempt(payment, covered, position, now)
        self._do.tell_outbound(Note.RETRIED, payment.fpid, payment.reason)

    def _give_up(self, payment: Departure) -> None:
        """Nothing more is sent by ourselves: unknown when it may have left, never failed."""
        act = self._step(payment, Event.EXHAUSTED if payment.left else Event.NEVER_LEFT)
        unknown = act is Act.GIVE_UP
        unsettled = steps.Unsettled(
            payment.key, payment.content, payment.reason, payment.inconclusive, payment.attempt, payment.covered
        )
        kind, note = (Kind.UNKNOWN, Note.UNKNOWN) if unknown else (Kind.UNSENT, Note.UNSENT)
        self._do.tell_outbound(note, payment.fpid, payment.reason)
        payment.outcome = Standing(payment.fpid, RESTS[kind], payment.inconclusive)
        self._record_standing(payment, kind, steps.pack(unsettled), RECORDER)

    def _record_standing(self, payment: Departure, kind: Kind, body: bytes, link: Link) -> None:
        """Record how it stands. Nobody hears of it before that is durable."""
        payment.recording = self._do.record(kind, body, payment.fpid, link)
        self._do.when_settled(payment.recording, payment)

    # --- what the hub says

    def on_response(self, response: PaymentResponse, link: Link, now: Now) -> bool:
        """A 9210 came. False when it belongs to nothing that this connection carried."""
        fpid = fpid_of(response)
        change = self.ejection.answered(link, fpid, now.mono_s, useful=response.action_code not in self._inconclusive)
        if change is not None:
            self._on_change(change)
        payment = self.in_flight.get(fpid) or self.unknown.get(fpid)
        if payment is None:
            return self._on_settled(fpid, response, link)
        if link.id not in payment.links:
            return False
        code = response.action_code
        by = self._speaker(code, alone=not payment.left_before and payment.link_before_id == link.id)
        if not by and self._is_of_earlier(payment, link):
            payment.inconclusive = code
            self._keep(payment, code, response.body, link)
            return True
        act = self._step(payment, Event.CONCLUSIVE if by else Event.INCONCLUSIVE)
        if act is Act.COMPARE:
            self._compare(payment.outcome, payment.key, payment.content, response, link)
        elif act is Act.SETTLE:
            if self.unknown.pop(fpid, None) is not None:
                self._enter(payment)
            self._settle(payment, code, response.field_in_error, by, response, link)
        else:
            if act is not Act.NOTHING:
                payment.inconclusive = code
            self._keep(payment, code, response.body, link)
            if act is Act.PAUSE:
                self._pause(payment, "inconclusive", now)
        return True

    @staticmethod
    def _is_of_earlier(payment: Departure, link: Link) -> bool:
        """Whether what this link brings is about an earlier attempt: the present one may still be answered."""
        return payment.link is not None and payment.link is not link

    def _keep(self, payment: Departure, code: str, body: bytes, link: Link) -> None:
        """Record what settles nothing."""
        self._do.record(Kind.INCONCLUSIVE, body, payment.fpid, link)
        self._do.tell_outbound(Note.INCONCLUSIVE, payment.fpid, code)

    def _speaker(self, code: str, *, alone: bool) -> str:
        """Who says what became of the payment; empty when this code does not. Alone: no other request of it left."""
        if self._codec.action_codes.accepts(code):
            return "receiver"
        if code in self._inconclusive or (code in self._of_request and not alone):
            return ""
        return SPEAKERS.get(code[:1], "")

    def on_advice(self, advice: Advice, link: Link, now: Now) -> bool:
        """A 9624 came. False when it names nothing that this connection carried."""
        fpid = fpid_of(advice) if advice.trn else ""
        payment = self.in_flight.get(fpid)
        if payment is None or payment.outcome is not None or link.id not in payment.links:
            return False
        self.ejection.answered(link, fpid, now.mono_s, useful=False)
        self._keep(payment, advice.function_code, advice.body, link)
        if not self._is_of_earlier(payment, link) and self._step(payment, Event.INCONCLUSIVE) is Act.PAUSE:
            self._pause(payment, "inconclusive", now)
        return True

    def _on_settled(self, fpid: str, response: PaymentResponse, link: Link) -> bool:
        """It is at rest, and no connection is held for it: there must be an outcome to compare with."""
        known = self._submissions.of_fpid(fpid)
        if known is None or not known.standing.by:  # only an outcome was said by somebody
            return False
        conclusive = self._speaker(response.action_code, alone=False)
        step(known.standing.state, Event.CONCLUSIVE if conclusive else Event.INCONCLUSIVE)
        self._compare(known.standing, known.key, known.content, response, link)
        return True

    def _compare(
        self, standing: Standing | None, key: str, content: bytes, response: PaymentResponse, link: Link
    ) -> None:
        """Another answer to what has one."""
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

    def _settle(
        self, payment: Departure, code: str, field_in_error: str, by: str, response: PaymentResponse, link: Link
    ) -> None:
        """Give a payment its outcome: the one place."""
        payment.due_s, payment.under_way, payment.link = inf, 0, None
        settlement = steps.Settlement(
            payment.key, payment.content, code, field_in_error, by, response.body, payment.covered
        )
        payment.outcome = standing_of(payment.fpid, settlement, response)
        self._record_standing(payment, Kind.SETTLED, steps.pack(settlement), link)

    def on_recorded(self, payment: Departure, position: int, now: Now) -> None:
        """How it stands is durable, unless an answer came meanwhile: then a later record says it."""
        if position != payment.recording:
            return
        act = self._step(payment, Event.RECORDED)
        standing = payment.standing = payment.outcome
        assert standing is not None
        if act is Act.REPORT:
            self._do.tell_outbound(Note.SETTLED, payment.fpid, standing.code, payment.submitted_s)
        self._rest(payment, standing, now)
        if act is Act.REPORT_UNKNOWN and (payment.links or payment.reason == STOPPED):
            self.unknown[payment.fpid] = self._keys[payment.key] = payment
            if payment.reason == STOPPED and not self.submitting.stopped:
                self._take_up_again(payment, now.mono_s, now.mono_s)
            else:
                self._let_go(payment, now)

    # --- an operator stops and starts submitting

    def stop(self, now: Now) -> int:
        """Nothing leaves from here on; returns the position of the record that makes this last.

        What never left becomes UNSENT. What may have left waits for the answer to its present attempt, and is UNKNOWN
        without one, until `start`.
        """
        position = self.submitting.stop(now)
        for payment in self.in_flight.values():
            if payment.state is State.PAUSING:
                self._set_timer(payment, now.mono_s)
        return position

    def on_recalled(self, payment: Departure, attempt: int, now: Now) -> None:
        """The stop took this attempt's request back out of the link's buffer."""
        if attempt == payment.under_way and payment.link is not None:
            self.ejection.unsent(payment.link, payment.fpid, now.mono_s)
        self.on_unsent(payment, attempt, STOPPED, now)

    def start(self, position: int, now: Now) -> int | None:
        """The start recorded there is durable; returns how many payments are repeated now that the stop had cut off;
        None: another order came after it.
        """
        if not self.submitting.on_recorded(position):
            return None
        cut_off = [payment for payment in self.unknown.values() if payment.reason == STOPPED]
        for number, payment in enumerate(cut_off):
            self._take_up_again(payment, now.mono_s, now.mono_s + number / TAKEN_UP_PER_S)
        return len(cut_off)

    def _take_up_again(self, payment: Departure, since_s: float, at_s: float) -> None:
        """It gets another round of attempts, counted from `since_s`, of which the first one is due at `at_s`."""
        payment.reason = "no-answer"
        self._begin_round(payment, since_s)
        self._step(payment, Event.STARTED)
        self._set_timer(payment, at_s)

    # --- memory

    def on_restart(self, unfinished: dict[str, Unfinished], now: Now) -> None:
        """Take up what the last process left under way: it may have left, and its connections are gone."""
        for fpid, left in unfinished.items():
            submitted_s = now.mono_s - self._age_s(left.submitted_ns, now)
            payment = Departure(
                left.key, fpid, left.content, left.covered, State.PAUSING, submitted_s,
                repeats=left.repeats, left=True, reason="restart",
            )  # fmt: skip
            payment.attempt, payment.durable = left.repeats + 1, True
            self._enter(payment)
            # the links are only being dialled
            self._set_timer(payment, now.mono_s + self._submit.pause_s)
            self._do.tell_outbound(Note.RESUMED, fpid)

    def on_restart_cut_off(self, cut_off: dict[str, Unfinished], now: Now) -> None:
        """Take up what a stop had cut off: it waits for the start, or, where that is recorded already, is repeated."""
        for fpid, left in cut_off.items():
            payment = Departure(
                left.key, fpid, left.content, left.covered, State.UNKNOWN, now.mono_s, left=True, reason=STOPPED,
                attempt=left.repeats + 1, durable=True,
            )  # fmt: skip
            known = self._submissions.of_key(left.key)
            payment.standing = known.standing if known is not None else Standing(fpid, State.UNKNOWN)
            self.unknown[fpid] = self._keys[left.key] = payment
            if not self.submitting.stopped:
                age_s = self._age_s(self.submitting.since_ns, now)
                self._take_up_again(payment, now.mono_s - age_s, now.mono_s + self._submit.pause_s)

    def _age_s(self, since_ns: int, now: Now) -> float:
        """How long ago that was, by the wall clock."""
        age_s = (now.wall_ns - since_ns) / 1e9
        # less than nothing: the clock was ahead then, or is behind now, and nobody knows how old it is
        return self._submit.repeat_for_s if age_s < -CLOCK_STEP_S else age_s

    def statistics(self) -> dict[str, object]:
        """How many payments there are of each sort, and each link's share."""
        return {
            "in_flight": len(self.in_flight),
            "unknown": len(self.unknown),
            "stopped": self.submitting.stopped,
            "cut_off": sum(payment.reason == STOPPED for payment in self.unknown.values()),
            "remembered": len(self._submissions),
            "links": self.ejection.statistics(),
        }

    def _enter(self, payment: Departure) -> None:
        self.in_flight[payment.fpid] = self._keys[payment.key] = payment

    def _rest(self, payment: Departure, standing: Standing, now: Now) -> None:
        """Nothing of ours is under way any more: remember where it stands, and tell the submissions that wait."""
        del self.in_flight[payment.fpid], self._keys[payment.key]
        self._submissions.put(Known(payment.key, payment.content, standing), now.wall_ns)
        waiting, payment.waiting = payment.waiting, []
        for submission in waiting:
            _done(submission, standing)

    @staticmethod
    def _standing(payment: Departure) -> Standing:
        return payment.standing or Standing(payment.fpid, State.WAITING)

    def _set_timer(self, payment: Departure, at_s: float) -> None:
        payment.due_s = at_s
        self._do.set_alarm(payment, at_s)

    @staticmethod
    def _step(payment: Departure, event: Event) -> Act:
        """Take a payment one step on: the one place that does."""
        row = step(payment.state, event)
        payment.state = row.to
        return row.act


def _refuse(submission: Submission, why: str) -> None:
    """Nothing is recorded, nothing leaves."""
    submission.refused, submission.why = "unavailable", why
    submission.done(submission)


def _done(submission: Submission, standing: Standing) -> None:
    if not submission.void:
        submission.standing = standing
        submission.done(submission)
