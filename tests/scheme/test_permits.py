"""What the scheme lets us do: every function, every reason, every unknown value."""

import itertools
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway import config
from gateway.journal.writer import open_journal
from gateway.payments import steps
from gateway.payments.steps import Kind
from gateway.scheme import permits
from gateway.scheme.permits import HELD, Institution, Permits, Rules, apply, held, may_stand_in, reasons, refusal
from gateway.wire.message import PaymentRequest, Usm
from gateway.wire.usm import FUNCTIONS, event_of
from tests.fakes.disk import FakeDisk
from tests.fakes.journal import ID, SETTINGS
from tests.fakes.news import DAY_NS, MEANINGS, OTHER, OWN, WALL_NS, inbound, outbound, usm

RULES = Rules(config.News(own_institutions=(OWN,)), MEANINGS)


def after(*messages: Usm, before: Permits | None = None) -> Permits:
    """What stands after these, in this order."""
    standing = before or Permits()
    for message in messages:
        standing = apply(standing, event_of(message, MEANINGS, WALL_NS))
    return standing


# --- what each function does: to a payment of ours, to one of each other type, to stand-in

SIP, SOP, RETURN = "10", "30", "20"

PLAYBOOK: list[tuple[str, Usm, str, str, bool]] = [
    # what is said                the message                    a SIP of ours: code, reason; stand-in, where withheld?
    ("service suspended", usm("971", service_status="01"), "9943", "service suspended", False),
    ("service available", usm("971", service_status="00"), "", "", True),
    ("service unknown", usm("971", service_status="42"), "", "", True),
    ("service says nothing", usm("971"), "", "", True),
    ("we are suspended", usm("972", institution=OWN, suspension="01"), "9944", "sender suspended", False),
    ("nameless suspension", usm("972", suspension="01"), "9944", "sender suspended", False),
    ("they are suspended", usm("972", institution=OTHER, suspension="01"), "9945", "receiver suspended", False),
    ("a third is suspended", usm("972", institution="999999", suspension="01"), "", "", True),
    ("we are available", usm("972", institution=OWN, suspension="00"), "", "", True),
    ("suspension unknown", usm("972", institution=OWN, suspension="42"), "", "", True),
    ("they take no SIP", usm("972", institution=OTHER, priority_groups="06"), "9912", "group unavailable", True),
    ("they take SIPs only", usm("972", institution=OTHER, priority_groups="01"), "", "", True),
    ("we take no SIP", usm("972", institution=OWN, priority_groups="06"), "", "", True),
    ("we take nothing", usm("972", institution=OWN, priority_groups="99"), "", "", True),
    ("groups unknown", usm("972", institution=OWN, priority_groups="42"), "", "", True),
    ("threshold reached", usm("973", cap_status="01"), "", "", True),
    ("cap reached", usm("974", cap_status="01"), "9942", "cap reached", True),
    ("our cap reached", usm("974", institution=OWN, cap_status="01"), "9942", "cap reached", True),
    ("their cap reached", usm("974", institution=OTHER, cap_status="01"), "", "", True),
    ("cap below", usm("974", cap_status="00"), "", "", True),
    ("cap unknown", usm("974", cap_status="42"), "", "", True),
    ("SITL below the amount", usm("975", sitl_new="0000000000012344"), "9940", "above SITL", True),
    ("SITL is the amount", usm("975", sitl_new="0000000000012345"), "", "", True),
    ("SITL lifted", usm("975", sitl_new="0000000000000001", sitl_status="01"), "", "", True),
    ("SITL unknown", usm("975", sitl_new="0000000000000001", sitl_status="42"), "", "", True),
    ("SITL without an amount", usm("975", sitl_status="00"), "", "", True),
    ("their SITL", usm("975", institution=OTHER, sitl_new="0000000000000001"), "", "", True),
    ("STL below the amount", usm("976", stl_new="0000000000012344"), "9941", "above STL", True),
    ("STL is the amount", usm("976", stl_new="0000000000012345"), "", "", True),
    ("threshold change", usm("977", cap="0000000000000001"), "", "", True),
    ("cap change", usm("978", cap="0000000000000001"), "", "", True),
    ("cap change, reached", usm("978", cap="0000000000000001", cap_status="01"), "9942", "cap reached", True),
    ("settlement suspended", usm("979", settlement_process="002"), "", "settlement suspended", True),
    ("settlement normal", usm("979", settlement_process="000"), "", "", True),
    ("settlement unknown", usm("979", settlement_process="999"), "", "", True),
    ("return failed", usm("980", return_code="00000001"), "", "", True),
    ("performance", usm("981", response_time="00012000"), "", "", True),
    ("no function", usm("999"), "", "", True),
]


@pytest.mark.parametrize(
    ("message", "code", "reason", "stands"), [row[1:] for row in PLAYBOOK], ids=[r[0] for r in PLAYBOOK]
)
def test_each_function(message: Usm, code: str, reason: str, stands: bool) -> None:  # noqa: FBT001 - a table
    """What each function, with each meaning, does to a SIP of ours and to stand-in for one of theirs."""
    standing = after(message)
    assert refusal(standing, outbound(SIP), RULES) == code
    assert list(reasons(standing, outbound(SIP), RULES)) == ([reason] if reason else [])
    assert may_stand_in(standing, inbound(SIP), RULES) is stands


def test_the_playbook_has_every_function() -> None:
    """None is forgotten."""
    assert {row[1].function_code for row in PLAYBOOK} == set(FUNCTIONS) | {"999"}
    assert sorted(FUNCTIONS) == [str(code) for code in range(971, 982)]


@pytest.mark.parametrize("message", [row[1] for row in PLAYBOOK], ids=[row[0] for row in PLAYBOOK])
def test_nothing_stands_twice(message: Usm) -> None:
    """The same again changes nothing: the very same permits come back."""
    once = after(message)
    assert after(message, before=once) is once


@pytest.mark.parametrize(
    ("value", "names"), MEANINGS.priority_groups.items(), ids=[f"DE69={value}" for value in MEANINGS.priority_groups]
)
@pytest.mark.parametrize("kind", ["00", "10", "20", "25", "30", "40", "50", "77"])
def test_every_group_with_every_type(value: str, names: tuple[str, ...], kind: str) -> None:
    """A type is taken when its group is, or when it is in none: theirs, for what we submit. Ours limit nothing."""
    taken = kind == "77" or MEANINGS.group_of(kind) in names
    ours = after(usm("972", institution=OWN, priority_groups=value))
    theirs = after(usm("972", institution=OTHER, priority_groups=value))
    assert may_stand_in(ours, inbound(kind), RULES)
    assert refusal(ours, outbound(kind), RULES) == ""
    assert refusal(theirs, outbound(kind), RULES) == ("" if taken else "9912")
    assert may_stand_in(theirs, inbound(kind), RULES)


@pytest.mark.parametrize("kind", ["00", "10", "20", "25", "30", "40", "50"])
def test_which_types_a_limit_is_for(kind: str) -> None:
    """The table says it; a return is above no limit."""
    sitl = after(usm("975", sitl_new="0000000000000001"))
    stl = after(usm("976", stl_new="0000000000000001"))
    assert refusal(sitl, outbound(kind), RULES) == ("9940" if kind in MEANINGS.limits.sitl else "")
    assert refusal(stl, outbound(kind), RULES) == ("9941" if kind in MEANINGS.limits.stl else "")
    assert "20" not in MEANINGS.limits.stl


def test_the_unit_of_amounts_is_data() -> None:
    """In pounds, a limit of 123 lets 123.00 pass."""
    limits = msgspec.structs.replace(MEANINGS.limits, unit_pence=100)
    pounds = msgspec.structs.replace(MEANINGS, limits=limits)
    standing = apply(Permits(), event_of(usm("975", sitl_new="0000000000000123"), pounds, WALL_NS))
    assert refusal(standing, outbound(amount=12300), RULES) == ""
    assert refusal(standing, outbound(amount=12301), RULES) == "9940"


# --- which code, for which reason

EVERYTHING = after(
    usm("971", service_status="01"),
    usm("972", institution=OWN, suspension="01"),
    usm("972", institution=OTHER, suspension="01", priority_groups="99"),
    usm("975", sitl_new="0000000000000001"),
    usm("976", stl_new="0000000000000001"),
    usm("974", cap_status="01"),
    usm("979", settlement_process="002"),
)


def test_what_weighs_most_comes_first() -> None:
    """Everything that stands against a payment is said, in the order in which it decides on the code."""
    found = list(reasons(EVERYTHING, outbound(), RULES))
    assert found == [
        "service suspended", "sender suspended", "receiver suspended", "group unavailable", "above SITL", "above STL",
        "cap reached", "settlement suspended",
    ]  # fmt: skip
    assert set(found) == set(RULES.codes)


@pytest.mark.parametrize("count", range(9))
def test_codes_are_configuration(count: int) -> None:
    """A reason without a code leaves it to the next one; without any, everything is left to the hub."""
    names = [field.name for field in msgspec.structs.fields(config.News) if field.name.endswith("_code")]
    assert len(names) == 8
    order = ["service_suspended_code", "sender_suspended_code", "receiver_suspended_code", "group_unavailable_code",
             "above_sitl_code", "above_stl_code", "cap_reached_code", "settlement_suspended_code"]  # fmt: skip
    codes = {name: f"9{number:03}" if number >= count else "" for number, name in enumerate(order)}
    rules = Rules(config.News(own_institutions=(OWN,), **codes), MEANINGS)  # type: ignore[arg-type]  # by name
    assert refusal(EVERYTHING, outbound(), rules) == (f"9{count:03}" if count < 8 else "")


def test_the_default_codes() -> None:
    """Those of the protocol note."""
    news = config.News()
    assert (news.service_suspended_code, news.sender_suspended_code, news.receiver_suspended_code) == (
        "9943", "9944", "9945",
    )  # fmt: skip
    assert (news.above_sitl_code, news.above_stl_code, news.cap_reached_code) == ("9940", "9941", "9942")
    for bad in ("0000", "1100", "994", "99400", "x"):
        with pytest.raises(msgspec.ValidationError):
            msgspec.convert({"cap_reached_code": bad}, config.News)


# --- who is who


def test_an_institution_may_answer_for_sort_codes() -> None:
    """News about an id reaches payments by the sort codes that the configuration gives it."""
    rules = Rules(config.News(own_institutions=("WE",), members={"THEY": ("30", "4011"), "WE": ("20",)}), MEANINGS)
    they = after(usm("972", institution="THEY", suspension="01"))
    for sort_code, code in (("300000", "9945"), ("401199", "9945"), ("401299", ""), ("THEY", "9945")):
        assert refusal(they, outbound(creditor_agent=sort_code), rules) == code
    assert refusal(they, outbound(creditor_agent="999999", receiving_member="300001"), rules) == "9945"
    assert not may_stand_in(they, inbound(sender="301234"), rules)
    we = after(usm("972", institution="WE", suspension="01"))
    assert refusal(we, outbound(sender="209999"), rules) == "9944"
    assert refusal(we, outbound(sender=""), rules) == "9944"
    assert not may_stand_in(we, inbound(receiving_member=""), rules)


def test_without_configuration_the_payment_says_who_we_are() -> None:
    """DE98 of what we submit, DE99 of what comes."""
    rules = Rules(config.News(), MEANINGS)
    standing = after(usm("972", institution=OWN, suspension="01"))
    assert refusal(standing, outbound(), rules) == "9944"
    assert not may_stand_in(standing, inbound(), rules)
    assert may_stand_in(standing, inbound(receiving_member="999999"), rules)


# --- order


@pytest.mark.parametrize("order", list(itertools.permutations(range(4))))
def test_the_latest_stands_whatever_came_last(order: tuple[int, ...]) -> None:
    """By DE7, then DE11, whatever the order of arrival."""
    said = [
        usm("971", "1122100000", 5, service_status="01"),
        usm("971", "1122110000", 1, service_status="00"),
        usm("971", "1122120000", 3, service_status="01"),
        usm("971", "1122120000", 4, service_status="00"),
    ]
    assert after(*(said[number] for number in order)).service.word == "available"


def test_each_thing_has_its_own_latest_news() -> None:
    """Later news about another institution, another thing, or in an unknown value does not hide what was said."""
    standing = after(
        usm("972", "1122100000", institution=OWN, suspension="01"),
        usm("972", "1122110000", institution=OTHER, suspension="00"),
        usm("972", "1122120000", institution=OWN, priority_groups="01"),
        usm("972", "1122130000", institution=OWN, suspension="42"),
    )
    assert standing.institutions[OWN].standing.word == "suspended"
    assert standing.institutions[OWN].groups.names == ("1",)


@pytest.mark.parametrize(
    ("first", "then"),
    [
        (usm("971", "1231235959", date_sent="20251231", service_status="01"),
         usm("971", "0101000001", date_sent="20260101", service_status="00")),
        (usm("971", "1231235959", date_sent="20260101", service_status="01"),
         usm("971", "0101000001", date_sent="20251231", service_status="00")),
    ],
)  # fmt: skip
def test_around_new_year(first: Usm, then: Usm) -> None:
    """DE7 has no year: DE12's, or the one beside it that brings it nearest."""
    received_ns = WALL_NS + 40 * DAY_NS
    standing = Permits()
    for message in (then, first):
        standing = apply(standing, event_of(message, MEANINGS, received_ns))
    assert standing.service.word == "available"
    assert standing.service.stamp.startswith("20260101000001")


def test_without_a_date_the_day_of_arrival_gives_the_year() -> None:
    """And around New Year the year beside it."""
    new_year_ns = 1_767_225_700_000_000_000  # 2026-01-01 00:01:40
    message = usm("971", "1231235950", date_sent="", service_status="01")
    assert event_of(message, MEANINGS, new_year_ns).stamp.startswith("20251231235950")
    assert event_of(usm("971", "0101000130", date_sent="")
                    , MEANINGS, new_year_ns).stamp.startswith("20260101000130")  # fmt: skip


def test_a_moment_far_ahead_is_not_believed() -> None:
    """One wrong clock at the hub does not make all later news old; a zone's hour ahead is fine."""
    wrong = usm("971", "1122205501", date_sent="20351122", service_status="01")
    right = usm("971", "1122205601", service_status="00")
    assert after(wrong).service.stamp.startswith("20251122205501")
    assert after(wrong, right).service.word == "available"
    assert event_of(usm("971", "1122215501"), MEANINGS, WALL_NS).stamp.startswith("20251122215501")


# --- bounds


def test_institutions_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """Those go first that nothing is held against, the ones longest without news before the others."""
    monkeypatch.setattr(permits, "INSTITUTIONS_MAX", 3)
    standing = after(
        usm("972", "1122100000", institution="A", suspension="01"),
        usm("972", "1122110000", institution="B", suspension="00"),
        usm("972", "1122120000", institution="C", suspension="00"),
        usm("972", "1122130000", institution="D", suspension="00"),
    )
    assert set(standing.institutions) == {"A", "C", "D"}


def test_all_that_may_stand_fits_into_the_smallest_segment() -> None:
    """It is one record, which a start writes before anything else: one too large would end every start."""
    said: list[tuple[str, dict[str, Any]]] = [
        ("972", {"suspension": "01", "priority_groups": "06"}),
        ("973", {"cap_status": "01"}),
        ("974", {"cap_status": "01"}),
        ("975", {"sitl_new": "9" * 16}),
        ("976", {"stl_new": "9" * 16}),
    ]
    standing = Permits()
    for number in range(permits.INSTITUTIONS_MAX + 1):
        standing = after(*[usm(what, institution=f"{number:08}", **more) for what, more in said], before=standing)
    assert len(standing.institutions) == permits.INSTITUTIONS_MAX
    fake = FakeDisk()
    journal = open_journal(SETTINGS, fake, driver=None, journal_id=ID)
    journal.append(Kind.PERMITS, steps.pack(standing), wall_ns=WALL_NS)


def test_what_is_held_is_a_closed_set() -> None:
    """The gauge's labels, whatever stands."""
    for standing in (Permits(), EVERYTHING):
        assert tuple(held(standing, RULES)) == HELD
    assert not any(held(Permits(), RULES).values())
    assert held(EVERYTHING, RULES) == {
        "service": 1, "settlement": 1, "own": 1, "own-groups": 0, "cap": 1, "threshold": 0, "others": 1,
    }  # fmt: skip


def test_permits_on_disk() -> None:
    """They read back as they were, and with fields that a later gateway adds; no amount is in their repr."""
    body = msgspec.msgpack.encode(EVERYTHING)
    assert msgspec.msgpack.decode(body, type=Permits) == EVERYTHING
    longer = msgspec.msgpack.encode([*msgspec.msgpack.decode(body), "new"])
    assert msgspec.msgpack.decode(longer, type=Permits) == EVERYTHING
    assert msgspec.msgpack.decode(b"\x90", type=Permits) == Permits()
    large = after(usm("975", sitl_new="0000000000987654"))
    assert "987654" not in repr(large)


# --- anything at all

TEXTS = st.text(max_size=20) | st.sampled_from(["00", "01", "02", "99", "000", OWN, OTHER, "1231235959", "20251122"])
NAMES = [name for name in Usm.__struct_fields__ if name not in {"mti", "body", "fault", "mac", "function_code"}]


@st.composite
def usms(draw: st.DrawFn) -> Usm:
    """Anything that could stand in a 9824, and much that could not."""
    values: dict[str, Any] = draw(st.dictionaries(st.sampled_from(NAMES), TEXTS, max_size=len(NAMES)))
    return Usm(mti="9824", function_code=draw(st.sampled_from([*FUNCTIONS, "999", ""])), **values)


@given(st.lists(usms(), max_size=6), st.sampled_from(["10", "", "x", "25"]), TEXTS, TEXTS)
def test_nothing_raises(messages: list[Usm], kind: str, amount: str, code: str) -> None:
    """Whatever a message holds is news or nothing; whatever a payment holds has an answer."""
    rules = Rules(config.News(own_institutions=(OWN,), members={OTHER: ("30",)}), MEANINGS)
    standing = after(*messages)
    request = PaymentRequest(mti="9200", processing_code=kind, amount=amount, sender=code, creditor_agent=code)
    assert refusal(standing, request, rules) in {"", *rules.codes.values()}
    assert may_stand_in(standing, request, rules) in {True, False}
    assert set(held(standing, rules)) == set(HELD)
    assert msgspec.msgpack.decode(msgspec.msgpack.encode(standing), type=Permits) == standing


@given(st.lists(usms(), max_size=6), st.randoms(use_true_random=False))
def test_any_order(messages: list[Usm], luck: object) -> None:
    """The same messages in any order, and again, leave the same."""
    shuffled = messages * 2
    luck.shuffle(shuffled)  # type: ignore[attr-defined]  # a Random
    assert after(*shuffled) == after(*messages)


def test_an_institution_without_news() -> None:
    """Nothing is held against it."""
    assert Institution().free
    assert Institution().latest == ""
