"""The payments that stand-in may accept in the processor's stead. Pure: rules, a payment, a day in; a reason out.

The scheme lets the receiver answer with a qualified accept (will be credited, later) and process the payment
afterwards; 1909 is allowed only when even that cannot be done (docs/protocol.md section 5). Each bank decides which
payments it accepts unseen (`pair.stand_in`). A payment that the rules forbid waits longer for the processor than
others, until `pair.deadlines.decline_after_s`, because only a refusal is left then.

The mode is switched while the gateway runs, and by the configuration. The latest order counts: a switch is recorded
together with what the configuration said then, and holds over restarts as long as the configuration still says that.
A changed configuration with a restart is a newer order. Each process is switched on its own.

The day of the daily total is the date in UTC that the wall clock shows when stand-in accepts: the date of the STOOD_IN
record. What was counted stays counted under its day, over restarts too (the records hold it), and when the clock steps
to another date and back. Nothing is taken off again: a payment that is reversed later was accepted all the same.
"""

from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime, timedelta

from gateway import config
from gateway.config import StandInMode
from gateway.errors import ConfigurationError
from gateway.payments import steps
from gateway.wire.codec import Codec
from gateway.wire.codes import Codes
from gateway.wire.fields import PaymentType
from gateway.wire.message import PaymentRequest

STERLING = "826"
"""DE51 of the currency of all amounts in the rules."""
REASONS = ("date", "mode", "type", "sort-code", "currency", "amount", "daily-total", "news")
"""Why stand-in may not accept, in the order of judgement."""
DAYS_MAX = 32
"""Days whose totals are kept: those counted last. Days are not compared: a wall clock that is wrong for a while does
not make us forget the right day."""

MODES: dict[str, StandInMode] = {"timer": "timer", "always": "always", "never": "never"}
_DAY_NS = 86_400 * 10**9
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def pence_of(request: PaymentRequest) -> int:
    """DE6, in pence; 0 when it is not there."""
    amount = request.amount
    return int(amount) if amount.isascii() and amount.isdigit() else 0


class DailyTotal:
    """What stand-in accepted on each of the last days, in pence."""

    def __init__(self) -> None:
        self._days: dict[int, int] = {}

    def add(self, pence: int, wall_ns: int) -> None:
        """Count an amount under the day of its STOOD_IN record."""
        day = wall_ns // _DAY_NS
        total = self._days.pop(day, 0) + pence
        self._days[day] = total  # dictionaries keep their order: the day that was counted last is the last
        if len(self._days) > DAYS_MAX:
            del self._days[next(iter(self._days))]

    def on(self, wall_ns: int) -> int:
        """The total of a day, in pence."""
        return self._days.get(wall_ns // _DAY_NS, 0)


def check(pair: config.Pair, codec: Codec) -> None:
    """Check the settings against the tables. Raises `ConfigurationError` for types that never come here and for codes
    that the tables do not have.
    """
    mistakes = [*unknown_codes(pair, codec.action_codes), *strange_types(pair, codec.table.types)]
    if mistakes:
        raise ConfigurationError(mistakes)


def strange_types(pair: config.Pair, types: Mapping[str, PaymentType]) -> Iterator[str]:
    """Mistakes about types that never come here."""
    for index, code in enumerate(pair.stand_in.payment_types):
        here = f"pair.stand_in.payment_types[{index}]: {code}"
        if code not in types:
            yield f"{here} is no payment type of the field table"
        elif types[code].group != pair.group:
            yield f"{here} is of group {types[code].group}, and pair.group is {pair.group}"


def unknown_codes(pair: config.Pair, codes: Codes) -> Iterator[str]:
    """Mistakes about codes that the table does not have in their place."""
    code = pair.stand_in.code
    if code not in codes.qualified:
        known = ", ".join(codes.qualified)
        yield f"pair.stand_in.code: {code} is no qualified accept of the code table, which has {known}"
    for name in ("reversed_code", "refused_code"):
        code = getattr(pair, name)
        if not codes.refuses_alone(code):
            what = "has to say which field" if code in codes.receiver else "is no receiver's code in the code table"
            yield f"pair.{name}: {code} {what}"


class StandIn:
    """Judges by the rules, and counts what it refused."""

    def __init__(
        self, rules: config.StandIn, total: DailyTotal, may_stand_in: Callable[[PaymentRequest], bool]
    ) -> None:
        self._rules = rules
        self._total = total
        self._may_stand_in = may_stand_in
        self._types = frozenset(rules.payment_types)
        self._limited = bool(rules.amount_max or rules.daily_total_max)
        self.mode: StandInMode = rules.mode
        self.code = rules.code
        """DE26 of the qualified accept."""
        self.silent = rules.otherwise == "nothing"
        """A payment that may not be accepted is left unanswered in the end, instead of refused."""
        self.refused = dict.fromkeys(REASONS, 0)
        """Payments that the rules forbade, by reason."""

    def refusal(self, request: PaymentRequest, wall_ns: int) -> str:
        """Why stand-in may not accept this payment, of `REASONS`; empty when it may."""
        if self.mode == "never":
            return "mode"
        if self._types and request.processing_code[:2] not in self._types:
            return "type"
        if self._rules.sort_codes and not request.creditor_agent.startswith(self._rules.sort_codes):
            return "sort-code"
        if self._limited and (reason := self._above(request, wall_ns)):
            return reason
        if self._rules.withhold_while_suspended and not self._may_stand_in(request):
            return "news"
        return ""

    def _above(self, request: PaymentRequest, wall_ns: int) -> str:
        rules, pence = self._rules, pence_of(request)
        if request.currency != STERLING:
            return "currency"
        if rules.amount_max and pence > rules.amount_max:
            return "amount"
        if rules.daily_total_max and self._total.on(wall_ns) + pence > rules.daily_total_max:
            return "daily-total"
        return ""

    def accept(self, request: PaymentRequest, wall_ns: int) -> int:
        """Count what stand-in accepts; returns the amount in pence, for the record."""
        pence = pence_of(request)
        self._total.add(pence, wall_ns)
        return pence

    def take_up(self, recorded: steps.StandInMode | None) -> None:
        """At a start: the latest order counts, the journal's or, when it was changed since, the configuration's."""
        if recorded is not None and recorded.configured == self._rules.mode:
            self.mode = MODES.get(recorded.mode, self.mode)

    def order(self) -> steps.StandInMode:
        """For the journal: the mode, and what the configuration says meanwhile."""
        return steps.StandInMode(self.mode, self._rules.mode)

    def switched(self) -> str:
        """A mode that on-call should know of, in words; empty while it is the configured one."""
        configured = self._rules.mode
        return f"{self.mode}, by an operator: the configuration says {configured}" if self.mode != configured else ""

    def statistics(self, wall_ns: int) -> dict[str, object]:
        """The rules, the mode, the refusals; of the daily total only its share of the limit. No amounts."""
        rules = self._rules
        total = self._total.on(wall_ns)
        day = _EPOCH + timedelta(days=min(max(wall_ns // _DAY_NS, 0), 1_000_000))
        return {
            "mode": self.mode,
            "configured_mode": rules.mode,
            "code": rules.code,
            "otherwise": rules.otherwise,
            "payment_types": list(rules.payment_types) or "all",
            "sort_codes": len(rules.sort_codes) or "all",
            "amount_limited": bool(rules.amount_max),
            "day": f"{day:%Y-%m-%d}",
            "withhold_while_suspended": rules.withhold_while_suspended,
            "daily_total_percent": 100 * total // rules.daily_total_max if rules.daily_total_max else None,
            "refused": dict(self.refused),
        }
