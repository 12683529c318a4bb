"""THE STORY of a payment that leaves.

    submission → SUBMIT → (durable, MAC made) → TRANSMIT → the hub's answer → SETTLE → (durable) → REPORT

Around that line: the same key again waits for the same payment or hears its outcome; other content under the key, or
under its FPID, is a CONFLICT; what the scheme has told us that it would refuse is not taken. No answer, a lost link or
an answer that settles nothing PAUSE the payment. Then it leaves again (9201, and 9200 only where surely nothing left
before), on another link where there is one, a bounded number of times. `ejection` says which link that is, and how long
it is waited for; a link that brings fewer or slower answers than the others gets no new payments. After that the
payment is UNKNOWN when it may have left: never failed. Whatever comes later settles it: an answer on a connection that
still stands, or another round of repeats when the processor submits it again. An operator may stop all this: then
nothing leaves until the start.

The story has six chapters over one memory, `departures`; each branch is in one of them:

    taking       what the processor submits, and what it hears at once
    attempting   one attempt after the other, and the end of all
    awaiting     the timer, and links that are in doubt
    settling     what the hub says
    reporting    how it stands, once that is durable
    stopping     an operator's stop and start, of which `submitting` is the switch

`outbound_law` is the law: the chapters bring events and branch on the act that the law answers with. docs/fates.md
shows each way through it.

Like `inbound` the story knows no socket, disk, HSM, clock, log or task. Whatever leaves is commanded together with the
position of the record that must be durable first.
"""

from collections.abc import Callable

from gateway import config
from gateway.clock import Now
from gateway.payments.attempting import Attempting
from gateway.payments.awaiting import Awaiting
from gateway.payments.departure import Commands, Departure, Note
from gateway.payments.departures import Departures
from gateway.payments.ejection import Ejection
from gateway.payments.outbound_law import State
from gateway.payments.reporting import Reporting
from gateway.payments.settling import Settling
from gateway.payments.stopping import Stopping
from gateway.payments.submissions import Submissions, Unfinished
from gateway.payments.submitting import Submitting
from gateway.payments.taking import Taking
from gateway.payments.work import Standing
from gateway.wire.codec import Codec
from gateway.wire.message import PaymentRequest


class Outbound:
    """Holds the chapters, and takes up what a restart finds."""

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
        self._do = commands
        self.ejection = ejection
        departures = self._departures = Departures(submissions, commands)
        self.in_flight, self.unknown = departures.in_flight, departures.unknown
        switch = self.submitting = Submitting(commands)
        self.stopping = Stopping(pair.submit, departures, switch)
        self.reporting = Reporting(departures, switch, commands)
        self.attempting = Attempting(pair, departures, self.reporting, ejection, switch, commands)
        self.awaiting = Awaiting(pair.submit, departures, self.attempting, self.reporting, ejection, switch, commands)
        self.taking = Taking(payments_max, departures, self.attempting, commands, forbids)
        self.settling = Settling(
            pair.submit, codec.action_codes, departures, self.attempting, self.awaiting, self.reporting, ejection,
            commands,
        )  # fmt: skip

    def on_restart(self, unfinished: dict[str, Unfinished], now: Now) -> None:
        """Take up what the last process left under way: it may have left, and its connections are gone."""
        for fpid, left in unfinished.items():
            submitted_s = now.mono_s - self.stopping.age_s(left.submitted_ns, now)
            payment = Departure(
                left.key, fpid, left.content, left.covered, State.PAUSING, submitted_s,
                repeats=left.repeats, left=True, reason="restart",
            )  # fmt: skip
            payment.attempt, payment.durable = left.repeats + 1, True
            self._departures.enter(payment)
            # the links are only being dialled
            self._departures.set_timer(payment, now.mono_s + self._submit.pause_s)
            self._do.tell_outbound(Note.RESUMED, fpid)

    def look(self, key: str) -> Standing | None:
        """Where the payment of this key stands; None when there is none on disk."""
        return self._departures.look(key)

    def statistics(self) -> dict[str, object]:
        """How many payments there are of each sort, and each link's share."""
        return {
            "in_flight": len(self.in_flight),
            "unknown": len(self.unknown),
            "stopped": self.submitting.stopped,
            "cut_off": self.stopping.cut_off,
            "remembered": len(self._departures.remembered),
            "links": self.ejection.statistics(),
        }
