"""News (9824) with any values, and what stands because of it, in any order."""

from msgspec import structs

from gateway import config
from gateway.processor.messages import encode
from gateway.processor.writing import news_of
from gateway.scheme.news import Known
from gateway.scheme.permits import Permits, Rules, apply, held, may_stand_in, merge, refusal
from gateway.wire.codec import join_mac
from gateway.wire.meanings import built_in
from gateway.wire.message import PaymentRequest, Usm
from gateway.wire.usm import FUNCTIONS, NewsEvent, event_of, sent_at
from tests.fuzz import good
from tests.fuzz.target import Dice, Target

MEANINGS = built_in()
RULES = Rules(config.News(own_institutions=("400000",), members={"200000": ("20", "21")}), MEANINGS)
FIELDS = [(number, name) for number, name in good.TABLE.attributes("9824") if name != "function_code"]
CODES = [*FUNCTIONS, "970", "982", "831"]
RECEIVED_NS = 1_763_844_901_000_000_000
PAYMENT = good.message("9200", full=True)
NEWS_MAX = 6


def usm_of(dice: Dice) -> Usm | None:
    """A 9824 as the hub could send it; None when it could not."""
    values = {"function_code": dice.pick(CODES)}
    for _ in range(dice.upto(255) % 8):
        number, name = dice.pick(FIELDS)
        field = good.TABLE.fields[number]
        if dice.odds(3):
            values[name] = dice.short().decode("cp1252", "replace")[: field.width]
        elif field.charset == "digits":
            values[name] = str(dice.upto(65535)).zfill(field.width)[-field.width :]
        else:
            values[name] = good.value_of(field)
    usm = structs.replace(good.message("9824", full=False), **values)
    assert isinstance(usm, Usm)
    try:
        body = join_mac(good.CODEC.encode(usm), good.MAC)
    except ValueError:
        return None
    read = good.CODEC.decode(body)
    assert isinstance(read, Usm)
    return None if read.fault else read


def run(data: bytes) -> None:
    """Any news is read; the same news in any order, any number of times, leaves the same."""
    dice, events, known = Dice(data), list[NewsEvent](), Known()
    while dice and len(events) < NEWS_MAX:
        usm = usm_of(dice)
        if usm is None:
            continue
        event = event_of(usm, MEANINGS, RECEIVED_NS)
        assert len(event.stamp) == 14 + 6 + 16
        assert event.stamp[:20].isdigit()
        assert len(sent_at(event)) == 19
        assert not [
            value for value in (usm.information, usm.institution_name) if len(value) > 3 and value in repr(event)
        ]
        encode(news_of(event))
        known.remember(event, RECEIVED_NS)
        events.append(event)
    forwards = backwards = Permits()
    for event in events:
        forwards = apply(forwards, event)
        assert apply(forwards, event) is forwards
        known.has(event, forwards)
    for event in reversed(events):
        backwards = apply(backwards, event)
    assert forwards == backwards, "the order of arrival matters"
    assert merge(forwards, backwards) == forwards
    assert merge(Permits(), forwards) == forwards
    assert isinstance(PAYMENT, PaymentRequest)
    assert set(held(forwards, RULES).values()) <= set(range(NEWS_MAX + 1))
    assert refusal(forwards, PAYMENT, RULES) in {*RULES.codes.values(), ""}
    may_stand_in(forwards, PAYMENT, RULES)


def samples() -> list[bytes]:
    """Each function, and one after another."""
    names = [name for _, name in FIELDS]
    said = bytes([4, names.index("institution"), 0, names.index("suspension"), 0, names.index("sitl_new"), 0, 1, 2])
    one = [bytes([number]) + said + b"\1\1\0" for number in range(len(CODES))]
    return [*one, b"".join(one[:6])]


TARGET = Target(run, samples, words=[b"00", b"01", b"99999999"])
