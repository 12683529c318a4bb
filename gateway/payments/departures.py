"""The memory of the story of a payment that leaves: payments under way, and those that are UNKNOWN."""

from gateway.payments.departure import Commands, Departure
from gateway.payments.outbound_law import Act, Event, step
from gateway.payments.submissions import Submissions
from gateway.payments.work import Standing


class Departures:
    """The payments under way, those that are UNKNOWN while an answer may come, and what is remembered of all others."""

    def __init__(self, submissions: Submissions, commands: Commands) -> None:
        self.remembered = submissions
        self.in_flight: dict[str, Departure] = {}
        """By FPID. A drain waits for these."""
        self.unknown: dict[str, Departure] = {}
        """By FPID: an answer may still come on a connection of theirs, or a stop cut their attempts off."""
        self.by_key: dict[str, Departure] = {}
        """Payments in flight and unknown."""
        self.standing_links: set[int] = set()
        """Connections that carried a request and have not gone."""
        self._do = commands

    @staticmethod
    def step(payment: Departure, event: Event) -> Act:
        """Take a payment one step on: the one place that does."""
        row = step(payment.state, event)
        payment.state = row.to
        return row.act

    def enter(self, payment: Departure) -> None:
        """It is under way from here on."""
        self.in_flight[payment.fpid] = self.by_key[payment.key] = payment

    def of_fpid(self, fpid: str) -> Departure | None:
        """The payment under way, or unknown, with this FPID."""
        return self.in_flight.get(fpid) or self.unknown.get(fpid)

    def look(self, key: str) -> Standing | None:
        """Where the payment of this key stands; None when there is none on disk."""
        payment = self.by_key.get(key)
        if payment is not None and payment.durable:
            return payment.stands
        known = self.remembered.of_key(key)
        return known.standing if known is not None else None

    def set_timer(self, payment: Departure, at_s: float) -> None:
        """Bring DEADLINE at that time, and at no other."""
        payment.due_s = at_s
        self._do.set_alarm(payment, at_s)

    # --- another round

    def begin_round(self, payment: Departure, at_s: float) -> None:
        """It was UNKNOWN, and gets all its attempts anew, counted from then on."""
        self.unknown.pop(payment.fpid, None)
        payment.submitted_s, payment.repeats, payment.pauses = at_s, 0, 0
        payment.standing = payment.outcome = None
        self.enter(payment)

    def take_up_again(self, payment: Departure, since_s: float, at_s: float) -> None:
        """A stop had cut it off: it gets another round, counted from `since_s`, with its first attempt at `at_s`."""
        payment.reason = "no-answer"
        self.begin_round(payment, since_s)
        self.step(payment, Event.STARTED)
        self.set_timer(payment, at_s)
