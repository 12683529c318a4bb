"""A history with a record of each kind, as the gateway would write it: what a kept journal of a new format is made of.

All of it is made up. Who adds a kind adds a record of it here; `tests/journal/kept.py` says what follows.
"""

import hashlib
from collections.abc import Iterable
from typing import NamedTuple

from msgspec.structs import replace

from gateway.payments import steps
from gateway.payments.steps import Kind
from gateway.payments.work import Install
from gateway.scheme.permits import Groups, Institution, Latest, Limit, Permits
from gateway.scheme.ring import Ring, Slot, Superseded
from gateway.wire.codec import Codec, fpid_of, join_mac
from gateway.wire.message import (
    Advice,
    NetworkRequest,
    PaymentRequest,
    PaymentResponse,
    ReversalRequest,
    Usm,
)
from hsm import reference

WALL_NS = 1_763_844_901_123_456_789
"""2025-11-22 20:55:01 UTC."""
SECOND_NS = 1_000_000_000
SEAL_KEY = b"a key of no HSM."
FILL = b"?" * 20_000
"""What stands for bytes that are no message: so that there are several segments, and they pack well."""

_CODEC = Codec()


class Entry(NamedTuple):
    """A record before it has a position."""

    time_ns: int
    kind: Kind
    link: int
    fpid: str
    body: bytes


class Unsealed(NamedTuple):
    """The place of a seal over all durable records: its body is made when the chain is known."""

    time_ns: int


Batch = list[Entry | Unsealed]


def seal(position: int, chain: bytes) -> bytes:
    """The body of a seal."""
    return steps.pack(steps.Seal(position, chain, "fps-seal", reference.mac("aes-cmac", SEAL_KEY, chain)))


def batches() -> list[Batch]:
    """The history, sync by sync. The last one is not to be durable: it is torn."""
    clock = _Clock()
    made: list[Batch] = [clock.records(_beginning())]
    for story in (_answered, _stood_in, _undelivered, _declined, _reversed, _forbidden):
        made += [clock.records([step]) for step in story()]
        made.append(clock.records([(Kind.UNPLACED, 2, "", FILL)]))
    made.append([Unsealed(clock.next())])
    made += [clock.records([step]) for story in (_settled, _unknown, _unsent, _cut_off) for step in story()]
    clock.to_the_next_day()
    made.append(clock.records(_bookkeeping()))
    made.append([*clock.records([(Kind.UNPLACED, 2, "", FILL)]), Unsealed(clock.next())])
    made.append(clock.records(_unfinished()))
    made.append(clock.records([(Kind.UNPLACED, 1, "", b"lost " * 300)]))
    return made


Step = tuple[Kind, int, str, bytes]


class _Clock:
    """A second for each record."""

    def __init__(self) -> None:
        self._now_ns = WALL_NS

    def next(self) -> int:
        self._now_ns += SECOND_NS
        return self._now_ns

    def to_the_next_day(self) -> None:
        self._now_ns += 86_400 * SECOND_NS

    def records(self, given: Iterable[Step]) -> Batch:
        return [Entry(self.next(), kind, link, fpid, body) for kind, link, fpid, body in given]


# --- messages


def _request(number: int, *, ours: bool = False) -> PaymentRequest:
    them, us = "200000", "300000"
    sender, receiver = (us, them) if ours else (them, us)
    request = PaymentRequest(
        mti="9200", processing_code="100000", amount=f"{number:014d}", date_sent="20251122", settlement_date="20251122",
        settlement_cycle="001", trn=f"KEPT{number:014d}", submitting_member=sender, creditor_account="12345678",
        debtor_agent=sender, debtor_account="87654321", charges="001003SHA", currency="826", creditor_agent=receiver,
        sender=sender, receiving_member=receiver, debtor_name="A PAYER", creditor_name="A PAYEE", reference="NOTHING",
    )  # fmt: skip
    return replace(request, settlement_date="", settlement_cycle="", receiving_member="") if ours else request


def _response(request: PaymentRequest, code: str) -> PaymentResponse:
    return PaymentResponse(
        mti="9210", processing_code="100000", date_sent="20251122", settlement_date="20251122", settlement_cycle="002",
        action_code=code, asynchronous="1", trn=request.trn, currency="826", sender=request.sender,
        redirected_agent="309999", redirected_account="87651234",
    )  # fmt: skip


def _whole(covered: bytes) -> bytes:
    """A key record with a MAC, which nothing reads any more."""
    return join_mac(covered, bytes(range(8)))


def _content(covered: bytes) -> bytes:
    return hashlib.blake2b(covered, digest_size=8).digest()


class _Payment:
    """One that came, and what is said of it."""

    def __init__(self, number: int) -> None:
        request = _request(number)
        self.fpid = fpid_of(request)
        self.covered = _CODEC.encode(request)
        self.raw = _whole(self.covered)
        self.content = _content(self.covered)
        self.request = request

    def received(self) -> Step:
        return Kind.RECEIVED, 1, self.fpid, self.raw

    def decided(self, kind: Kind, code: str, field: str = "") -> Step:
        reply = _CODEC.encode(_response(self.request, code))
        request = b"" if kind is Kind.ANSWERED else self.raw
        pence = int(self.request.amount) if kind is Kind.STOOD_IN else 0
        return self.step(kind, steps.Decision(code, field, self.content, reply, request, pence))

    def step(self, kind: Kind, body: object = None, link: int = 1) -> Step:
        return kind, link, self.fpid, steps.pack(body) if body is not None else b""

    def reversal(self) -> bytes:
        of = self.request
        return _whole(_CODEC.encode(ReversalRequest(
            mti="9420", processing_code="100000", amount=of.amount, date_sent="20251122", currency="826", trn=of.trn,
            sender=of.sender, action_code="4021", creditor_account="12345678", creditor_agent="300000",
            debtor_account="87654321", debtor_agent="200000",
        )))  # fmt: skip


# --- the stories


def _beginning() -> list[Step]:
    usm = Usm(mti="9824", function_code="971", transmission_time="1122205501", message_id="000001",
              date_sent="20251122", service_status="01")  # fmt: skip
    echo = NetworkRequest(mti="9804", transmission_time="1122205502", message_id="000002", function_code="831")
    return [
        (Kind.STARTED, 0, "", steps.pack(steps.Started("sip-a", "0.1.0", "0123456789abcdef"))),
        (Kind.STAND_IN_MODE, 0, "", steps.pack(steps.StandInMode("always", "timer"))),
        (Kind.MANAGEMENT_IN, 1, "", _whole(_CODEC.encode(echo))),
        (Kind.MANAGEMENT_OUT, 1, "", _CODEC.encode(replace(echo, message_id="000003"))),
        (Kind.USM, 1, "", steps.pack(steps.News(_whole(_CODEC.encode(usm))))),
        (Kind.USM, 0, "", steps.pack(steps.News(_whole(_CODEC.encode(replace(usm, message_id="000004"))), "usm-a/7"))),
        (Kind.USM, 1, "", steps.pack(steps.News(_whole(_CODEC.encode(replace(usm, message_id="000005")))))),
        (Kind.REJECTED, 1, "", steps.pack(steps.Rejected("650", "byte 3", b"no message", b"9624, not made"))),
    ]


def _answered() -> list[Step]:
    it = _Payment(1)
    return [
        it.received(),
        it.decided(Kind.ANSWERED, "0000"),
        it.step(Kind.REPLIED),
        (Kind.REPEATED, 2, it.fpid, it.raw),
        it.step(Kind.REFUSED, steps.Refused("1181", "011", it.raw, _CODEC.encode(_response(it.request, "1181")))),
    ]


def _stood_in() -> list[Step]:
    it = _Payment(2)
    return [
        it.received(),
        it.decided(Kind.STOOD_IN, "0083"),
        it.step(Kind.REPLIED),
        it.step(Kind.LATE_REFUSAL, steps.Late("1114", "0083", it.raw), link=0),
    ]


def _undelivered() -> list[Step]:
    it, other = _Payment(3), _Payment(4)
    return [
        it.received(),
        it.decided(Kind.STOOD_IN, "0083"),
        it.step(Kind.UNDELIVERED, steps.Undelivered("link-lost", "0083", it.raw)),
        it.step(Kind.LATE_ANSWER, steps.Late("0000", "0083", it.raw), link=0),
        other.received(),
        other.step(Kind.ORPHANED, steps.Orphan(other.raw, other.content), link=0),
    ]


def _declined() -> list[Step]:
    it, other = _Payment(5), _Payment(6)
    return [
        it.received(),
        it.decided(Kind.DECLINED, "1909"),
        it.step(Kind.REPLIED),
        other.received(),
        other.step(Kind.UNANSWERED, steps.Orphan(other.raw, other.content)),
    ]


def _reversed() -> list[Step]:
    it, unseen = _Payment(7), _Payment(8)
    return [
        it.received(),
        it.decided(Kind.ANSWERED, "1114", "035"),
        it.step(Kind.REPLIED),
        it.step(Kind.REVERSED, steps.Reversal(it.reversal(), "REPLIED", "1114", it.content)),
        unseen.step(Kind.REVERSED, steps.Reversal(unseen.reversal(), "NEW", "", bytes(8))),
    ]


def _forbidden() -> list[Step]:
    it = _Payment(9)
    return [
        it.received(),
        it.decided(Kind.ANSWERED, "0000"),
        it.step(Kind.OVERRULED, steps.Late("1114", "0000", it.raw)),
        it.step(Kind.REPLIED),
    ]


def _ours(number: int) -> tuple[str, str, bytes, bytes]:
    """A payment that leaves: FPID, key, bytes, digest."""
    request = _request(number, ours=True)
    covered = _CODEC.encode(request)
    return fpid_of(request), f"key-{number}", covered, _content(covered)


def _settled() -> list[Step]:
    fpid, key, covered, content = _ours(21)
    request = _request(21, ours=True)
    raw, another = (_whole(_CODEC.encode(_response(request, code))) for code in ("0000", "1114"))
    return [
        (Kind.SUBMITTED, 0, fpid, steps.pack(steps.Submitted(key, content, covered))),
        (Kind.SETTLED, 1, fpid, steps.pack(steps.Settlement(key, content, "0000", "", "receiver", raw, covered))),
        (Kind.CONTRADICTED, 2, fpid, steps.pack(steps.Settlement(key, content, "1114", "", "hub", another, covered))),
    ]


def _unknown() -> list[Step]:
    fpid, key, covered, content = _ours(22)
    raw = _whole(_CODEC.encode(_response(_request(22, ours=True), "9909")))
    unknown = steps.Unsettled(key, content, "inconclusive", "9909", 2, covered)
    return [
        (Kind.SUBMITTED, 0, fpid, steps.pack(steps.Submitted(key, content, covered))),
        (Kind.INCONCLUSIVE, 1, fpid, raw),
        (Kind.RETRIED, 0, fpid, steps.pack(steps.Retry(2, covered.replace(b"9200", b"9201", 1)))),
        (Kind.UNKNOWN, 0, fpid, steps.pack(unknown)),
    ]


def _unsent() -> list[Step]:
    fpid, key, covered, content = _ours(23)
    unsent = steps.Unsettled(key, content, "no-link", "", 0, covered)
    return [
        (Kind.SUBMITTED, 0, fpid, steps.pack(steps.Submitted(key, content, covered))),
        (Kind.UNSENT, 0, fpid, steps.pack(unsent)),
    ]


def _cut_off() -> list[Step]:
    """By a stop of submitting; one was started again, and settled."""
    made: list[Step] = []
    for number in (24, 25):
        fpid, key, covered, content = _ours(number)
        made += [
            (Kind.SUBMITTED, 0, fpid, steps.pack(steps.Submitted(key, content, covered))),
            (Kind.UNKNOWN, 0, fpid, steps.pack(steps.Unsettled(key, content, "stopped", "", 1, covered))),
        ]
    raw = _whole(_CODEC.encode(_response(_request(25, ours=True), "0000")))
    return [
        *made,
        (Kind.RETRIED, 0, fpid, steps.pack(steps.Retry(2, covered, key, content))),
        (Kind.SETTLED, 1, fpid, steps.pack(steps.Settlement(key, content, "0000", "", "receiver", raw, covered))),
    ]


def _bookkeeping() -> list[Step]:
    """Records that are told and others, records that last, and a clean stop."""
    hub = Slot("fps-hub", Install("fps-hub"), Install("fps-hub.1a2b3c", b"wrapped by nobody", "1A2B3C"))
    own = Slot("fps-own", Install("fps-own.4d5e6f", b"nor this", "4D5E6F"), None, False, (
        Superseded(Install("fps-own"), WALL_NS),), ("A1B2C3", "B2C3D4"), ("0123456789abcdef",), ("B2C3D4",),
    )  # fmt: skip
    stamp = "20251122205501"
    one = Institution(
        Latest(stamp, "suspended"), Groups(stamp, ("sip",)), Latest(stamp, "reached"), Latest(stamp, "reached"),
        Limit(stamp, 100), Limit(stamp, 200),
    )  # fmt: skip
    permits = Permits(Latest(stamp, "open"), Latest(stamp, "closed"), {"200000": one})
    stepped = Usm(mti="9824", function_code="971", transmission_time="1122195501", message_id="000006",
                  date_sent="20251122", service_status="00")  # fmt: skip
    return [
        (Kind.TOLD, 0, "", steps.pack(steps.Told(5))),
        (Kind.TOLD, 0, "", steps.pack(steps.Told(5, "peer-usm"))),
        (Kind.PARKED, 0, "", steps.pack(steps.Parked(18, 422))),
        (Kind.KEYS, 0, "", steps.pack(Ring(hub, own))),
        (Kind.PERMITS, 0, "", steps.pack(permits)),
        (Kind.USM, 1, "", steps.pack(steps.News(_whole(_CODEC.encode(stepped)), "", stamp + "000002" + "0" * 16))),
        (Kind.LIFTED, 0, "", steps.pack(steps.Lifted("cap", "200000", stamp, "the hub says so by telephone"))),
        (Kind.STAND_IN_MODE, 0, "", steps.pack(steps.StandInMode("never", "timer"))),
        (Kind.MESSAGE_IDS, 0, "", steps.pack(steps.MessageIds(20_000))),
        (Kind.KEY_ALLOWED, 0, "", steps.pack(steps.KeyAllowed("own", "B2C3D4", "the hub was restored from a backup"))),
        (Kind.PARKED, 0, "", steps.pack(steps.Parked(13, 404))),
        (Kind.DROPPED, 0, "", steps.pack(steps.Dropped(13, "settled by hand"))),
        (Kind.SUBMIT_MODE, 0, "", steps.pack(steps.SubmitMode(True, WALL_NS))),
        (Kind.ACT, 0, "", steps.pack(steps.Act("drain", "done", "anna", "uid 1000 by socket", "a new version", {}))),
        (Kind.CONFIGURED, 0, "", steps.pack(steps.Configured({"node.name": '"sip-a"'}))),
        (Kind.STOPPED, 0, "", b""),
        (Kind.STARTED, 0, "", steps.pack(steps.Started("sip-a", "0.1.0", "0123456789abcdef"))),
    ]


def _unfinished() -> list[Step]:
    """The state that a kill leaves between two steps."""
    received, decided = _Payment(31), _Payment(32)
    fpid, key, covered, content = _ours(41)
    again, again_key, again_covered, again_content = _ours(22)
    advice = Advice(mti="9624", function_code="650", trn="NONE")
    return [
        received.received(),
        decided.received(),
        decided.decided(Kind.STOOD_IN, "0083"),
        (Kind.SUBMITTED, 0, fpid, steps.pack(steps.Submitted(key, content, covered))),
        (Kind.RETRIED, 0, again, steps.pack(steps.Retry(3, again_covered, again_key, again_content))),
        (Kind.UNPLACED, 1, "", _whole(_CODEC.encode(advice))),
    ]
