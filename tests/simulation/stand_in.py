"""What stand-in may accept, judged anew by what the journal holds: amounts, days, and what the scheme's news says."""

from collections import Counter
from collections.abc import Iterable
from typing import Any

import msgspec

from gateway import config
from gateway.journal.record import Record
from gateway.payments.steps import Kind
from gateway.wire.codec import Codec
from gateway.wire.message import PaymentRequest
from loadtest.ledger.promises import Invariant

DAY_NS = 86_400 * 10**9
STERLING = "826"
SUSPENDED = "suspended"

_unpack = msgspec.msgpack.Decoder().decode


def judge(check: Invariant, rules: config.StandIn, codec: Codec, journals: Iterable[tuple[str, list[Record]]]) -> None:
    """Hold every STOOD_IN record of every node against the rules."""
    for node, records in journals:
        _Node(check, rules, codec, node).read(records)


class _Node:
    """One node's journal, read from its beginning."""

    def __init__(self, check: Invariant, rules: config.StandIn, codec: Codec, node: str) -> None:
        self._check = check
        self._rules = rules
        self._codec = codec
        self._node = node
        self._requests: dict[str, PaymentRequest] = {}
        self._accepted = Counter[int]()
        """Pence, by day."""
        self._said: dict[str, tuple[str, str]] = {}
        """Of each institution the stamp of the latest word, and the word."""
        self._mode: str = rules.mode

    def read(self, records: list[Record]) -> None:
        for record in records:
            if record.kind is Kind.RECEIVED:
                message = self._codec.decode(record.body)
                assert isinstance(message, PaymentRequest)
                self._requests[record.fpid] = message
            elif record.kind is Kind.PERMITS:
                self._permit(_unpack(record.body))
            elif record.kind is Kind.STAND_IN_MODE:
                self._mode = _unpack(record.body)[0]
            elif record.kind is Kind.STOOD_IN:
                self._stand_in(record)
            elif record.kind in {Kind.DECLINED, Kind.UNANSWERED}:
                self._withhold(record)

    def _permit(self, permits: list[Any]) -> None:
        institutions: dict[str, Any] = permits[2] if len(permits) > 2 else {}
        said = {name: (str(one[0][0]), str(one[0][1])) for name, one in institutions.items()}
        for name, (stamp, _) in self._said.items():
            kept = said.get(name, ("", ""))[0] >= stamp
            self._check.check(kept, f"{self._node}: what the scheme said of an institution is forgotten")
        self._said = said

    def _stand_in(self, record: Record) -> None:
        request = self._requests[record.fpid]
        kind = self._codec.table.types.get(request.processing_code[:2])
        day, pence = record.time_ns // DAY_NS, int(request.amount)
        before = self._accepted[day]
        self._accepted[day] += pence
        if kind is not None and kind.must_accept:
            return
        rules = self._rules
        limited = rules.amount_max or rules.daily_total_max
        wrong = (
            "another currency" if limited and request.currency != STERLING
            else "above the most for a payment" if rules.amount_max and pence > rules.amount_max
            else "above the most for a day" if rules.daily_total_max and before + pence > rules.daily_total_max
            else "its sender is suspended" if rules.withhold_while_suspended and self._is_suspended(request)
            else ""
        )  # fmt: skip
        self._check.check(not wrong, f"position {record.position} of {self._node}: stood in for, and {wrong}")

    def _withhold(self, record: Record) -> None:
        """Where no rule forbids it, stand-in accepts: whatever the scheme's news says of who may submit."""
        rules, request = self._rules, self._requests[record.fpid]
        forbidden = self._mode == "never" or rules.amount_max or rules.daily_total_max
        forbidden = forbidden or (rules.withhold_while_suspended and self._is_suspended(request))
        self._check.check(
            bool(forbidden), f"position {record.position} of {self._node}: {record.kind.name}, which no rule asks for"
        )

    def _is_suspended(self, request: PaymentRequest) -> bool:
        return self._said.get(request.sender, ("", ""))[1] == SUSPENDED
