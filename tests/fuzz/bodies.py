"""Any bodies in a journal that is whole: they are taken in or are `msgspec.DecodeError`."""

import msgspec

from gateway.engine.past import Past
from gateway.payments import steps
from gateway.payments.outcomes import Outcome
from gateway.payments.steps import BODIES, Kind
from gateway.scheme.permits import Permits
from gateway.scheme.ring import Ring
from gateway.wire.meanings import built_in
from tests.fuzz import good
from tests.fuzz.target import Dice, Target

KINDS = list(Kind)
FPIDS = ("", "A" * 42, "B" * 42, "short")
DAY_NS = 86_400 * 10**9
TIMES_NS = (1_763_844_901_000_000_000, 0, -1, -(1 << 63), (1 << 63) - 1)
RECORDS_MAX = 64


def plausible(said: msgspec.Struct) -> bool:
    """Whether a writer of ours could have made this: memory packs digests and codes by their widths."""
    code, field = getattr(said, "code", ""), getattr(said, "field", "")
    numbers = (
        not text or (text.isascii() and text.isdigit() and len(text) == width)
        for text, width in ((code, 4), (field, 3))
    )
    return len(getattr(said, "content", bytes(8))) == 8 and all(numbers)


def run(data: bytes) -> None:
    """What is read of a body can be written again; memory that a journal leaves can be asked."""
    dice = Dice(data)
    past = Past(7, good.CODEC, built_in())
    for _ in range(RECORDS_MAX):
        if not dice:
            break
        kind, fpid = dice.pick(KINDS), dice.pick(FPIDS)
        time_ns = TIMES_NS[0] + dice.upto(20) * DAY_NS if not dice.odds(8) else dice.pick(TIMES_NS)
        body = dice.take(dice.upto(65535))
        if kind in BODIES:
            try:
                said = steps.unpack(kind, body)
            except msgspec.DecodeError:
                said = None
            if said is not None:
                assert isinstance(said, BODIES[kind])
                assert steps.unpack(kind, steps.pack(said)) == said
                if not plausible(said):
                    continue
        try:
            past.record(kind, time_ns, fpid, body)
        except msgspec.DecodeError:
            continue
        outcome = past.inbound.outcomes.get(fpid)
        assert outcome is None or isinstance(outcome, Outcome)
        past.outbound.submissions.of_fpid(fpid)
    assert past.unfinished <= 2 * len(FPIDS)
    assert isinstance(past.news.permits, Permits)
    assert past.ring is None or isinstance(past.ring, Ring)


def made(kind: Kind) -> bytes:
    """A good body."""
    raw = next(iter(good.bodies()))
    if kind == Kind.PERMITS:
        return msgspec.msgpack.encode(Permits())
    if kind not in BODIES:
        return raw if kind not in {Kind.REPLIED, Kind.STOPPED, Kind.KEYS} else b""
    news = next(body for body in good.bodies() if body.startswith(b"9824"))
    values: dict[object, object] = {str: "1114", bytes: b"12345678", int: 7, bool: True, dict[str, str]: {"a": "b"}}
    fields = msgspec.structs.fields(BODIES[kind])
    said = BODIES[kind](*(news if field.name == "message" else values[field.type] for field in fields))
    return steps.pack(said)


def samples() -> list[bytes]:
    """One of each kind, and a payment's life."""
    each = {
        kind: bytes([number, 1, 0, 0]) + len(made(kind)).to_bytes(2, "big") + made(kind)
        for number, kind in enumerate(KINDS)
    }
    life = each[Kind.RECEIVED] + each[Kind.ANSWERED] + each[Kind.REPLIED] + each[Kind.REVERSED]
    return [*each.values(), life, each[Kind.SUBMITTED] + each[Kind.RETRIED] + each[Kind.SETTLED]]


TARGET = Target(run, samples, words=[b"\xc0", b"\x9a", b"\xdc", b"\xc4", b"\xd9", b"\xcf", b"\xa0"])
