"""The story of the scheme's news, as traces: this comes in, this goes out."""

import random

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.payments import steps
from gateway.payments.lasting import DAILY_S
from gateway.payments.steps import LASTING_KINDS, TOLD_KINDS, Kind
from gateway.scheme import news as story
from gateway.scheme import permits
from gateway.scheme.news import OUTCOMES, HandedOn, Lift, News, Replay
from gateway.scheme.permits import Latest, Permits, apply
from gateway.wire.message import Usm
from gateway.wire.usm import FUNCTIONS, event_of
from tests.fakes.news import CODEC, MEANINGS, OTHER, OWN, WALL_NS, Link, Shells, hearing, inbound, outbound, said, usm

SUSPENDED = usm("971", service_status="01")
AVAILABLE = usm("971", "1122210000", 2, service_status="00")


def words(news: News) -> str:
    """Why a payment of ours would be refused."""
    return ", ".join(permits.reasons(news.permits, outbound(), news._rules))


# --- by a link


def test_news_is_durable_before_it_counts_and_before_it_is_acknowledged() -> None:
    """USM; when that is durable, and not before: PERMITS, the 9834 on its link, a line."""
    news, shells = hearing()
    news.on_usm(SUSPENDED, Link(7), shells.now)
    assert shells.log == ["USM"]
    assert news.permits == Permits()
    assert news.may_stand_in(inbound())
    shells.sync(news)
    assert shells.log == ["USM", "PERMITS", "9834 000001 on 7", "say 971 applied"]
    assert said(shells.records[1]).message == SUSPENDED.body
    assert said(shells.records[1]).source == ""
    assert shells.records[1][2] == 7
    assert news.refusal(outbound()) == "9943"
    assert words(news) == "service suspended"
    assert not news.may_stand_in(inbound())


def test_news_over_two_links_is_applied_once_and_acknowledged_on_both() -> None:
    """The second is kept as a management message, since it is acknowledged; it is neither told nor recorded as news."""
    news, shells = hearing()
    news.on_usm(SUSPENDED, Link(1), shells.now)
    news.on_usm(SUSPENDED, Link(2), shells.now)
    shells.sync(news)
    assert shells.log == [
        "USM", "MANAGEMENT_IN",
        "PERMITS", "9834 000001 on 1", "say 971 applied",
        "9834 000001 on 2", "say 971 again",
    ]  # fmt: skip
    assert Kind.MANAGEMENT_IN not in TOLD_KINDS
    news.on_usm(SUSPENDED, Link(3), shells.now)
    shells.sync(news)
    assert shells.log[7:] == ["MANAGEMENT_IN", "9834 000001 on 3", "say 971 again"]


def test_the_same_news_under_another_message_id_is_the_same_news() -> None:
    """A hub that numbers what it sends per connection does not make two of one."""
    news, shells = hearing()
    news.on_usm(SUSPENDED, Link(1), shells.now)
    news.on_usm(usm("971", number=9, service_status="01"), Link(2), shells.now)
    shells.sync(news)
    assert shells.kinds().count("USM") == 1
    assert [report.outcome for report in shells.reports] == ["applied", "again"]
    assert "9834 000009 on 2" in shells.log


def test_old_news_does_not_undo_newer() -> None:
    """It is recorded, acknowledged, told and said; nothing is changed and no PERMITS is written."""
    news, shells = hearing()
    news.on_usm(AVAILABLE, Link(1), shells.now)
    shells.sync(news)
    shells.log.clear()
    news.on_usm(SUSPENDED, Link(1), shells.now)
    shells.sync(news)
    assert shells.log == ["USM", "9834 000001 on 1", "say 971 older"]
    assert shells.reports[-1].why == "older than what is known, by 4 min"
    assert news.refusal(outbound()) == ""


def test_unknown_values_change_nothing_and_are_said() -> None:
    """Loudly: it may be a suspension."""
    news, shells = hearing()
    news.on_usm(usm("971", service_status="77"), Link(1), shells.now)
    news.on_usm(usm("999", number=2), Link(1), shells.now)
    shells.sync(news)
    assert news.permits == Permits()
    assert [(r.function_code, r.why, r.urgent, r.outcome) for r in shells.reports] == [
        ("971", "unknown values in DE40", True, "unknown"),
        ("999", "unknown function", True, "unknown"),
    ]
    assert {what: count for what, count in news.counts.items() if count} == {
        ("971", "unknown"): 1, ("other", "unknown"): 1,
    }  # fmt: skip


# --- handed on


def test_what_a_process_hands_on_is_taken_when_it_is_durable() -> None:
    """USM with its source; then it counts and the process may forget it. Nothing is said to the hub."""
    news, shells = hearing()
    took: list[str] = []
    news.on_handed_on(HandedOn("usm-a/17", SUSPENDED.body), took.append, shells.now)
    assert shells.log == ["USM"]
    assert took == []
    shells.sync(news)
    assert took == [""]
    assert shells.log == ["USM", "PERMITS", "say 971 applied"]
    assert said(shells.records[1]).source == "usm-a/17"
    assert shells.reports[0].source == "usm-a/17"
    assert news.refusal(outbound()) == "9943"


def test_handed_on_again_is_taken_again() -> None:
    """While it waits for the disk it waits with it; later at once; no second record either way."""
    news, shells = hearing()
    took: list[str] = []
    for source in ("usm-a/17", "usm-a/17", "sip-a/3"):
        news.on_handed_on(HandedOn(source, SUSPENDED.body), took.append, shells.now)
    assert took == []
    shells.sync(news)
    assert took == ["", "", ""]
    news.on_handed_on(HandedOn("usm-a/17", SUSPENDED.body), took.append, shells.now)
    assert took == [""] * 4
    assert shells.kinds().count("USM") == 1


def test_by_a_link_and_handed_on() -> None:
    """In either order it is one piece of news, and both get their acknowledgement."""
    for first in ("link", "process"):
        news, shells = hearing()
        took: list[str] = []
        for way in ("link", "process") if first == "link" else ("process", "link"):
            if way == "link":
                news.on_usm(SUSPENDED, Link(1), shells.now)
            else:
                news.on_handed_on(HandedOn("usm-a/17", SUSPENDED.body), took.append, shells.now)
        shells.sync(news)
        assert took == [""]
        assert "9834 000001 on 1" in shells.log
        assert shells.kinds().count("USM") == 1
        assert [report.outcome for report in shells.reports if report.outcome != "again"] == ["applied"]


def test_what_is_no_news_is_refused() -> None:
    """Another message, bytes, a fault, a source that is none: refused for good, with a reason, and nothing recorded."""
    news, shells = hearing()
    before = len(shells.records)
    faulty = CODEC.decode(CODEC.encode(Usm(mti="9824", function_code="971", message_id="000001")) + b"0" * 16)
    assert faulty.fault == 7
    request = CODEC.encode(outbound(date_sent="20251122", trn="T", currency="826")) + b"0" * 16
    for raw, source in (
        (b"", "usm-a/1"), (b"junk", "usm-a/1"), (faulty.body, "usm-a/1"), (request, "usm-a/1"),
        (SUSPENDED.body, ""), (SUSPENDED.body, "x" * 201), (SUSPENDED.body, "a\nb"), (SUSPENDED.body, "é"),
    ):  # fmt: skip
        took: list[str] = []
        news.on_handed_on(HandedOn(source, raw), took.append, shells.now)
        assert len(took) == 1
        assert took[0]
    assert len(shells.records) == before


# --- why it was not applied


@pytest.mark.parametrize(
    ("first", "then", "outcome", "why", "changes"),
    [
        (SUSPENDED, AVAILABLE, "applied", "", True),
        (AVAILABLE, SUSPENDED, "older", "older than what is known, by 4 min", False),
        (AVAILABLE, usm("971", "1119210000", date_sent="20251119", service_status="01"), "older",
         "older than what is known, by 3 days", False),
        (AVAILABLE, usm("971", "1122210000", 1, service_status="01"), "older",
         "older than what is known, by its number in the same second", False),
        (SUSPENDED, SUSPENDED, "again", "it was heard before", False),
        (SUSPENDED, usm("971", "1122210000", 2, service_status="01"), "same", "the same as before", True),
        (SUSPENDED, usm("971", "1122210000", 2, service_status="77"), "unknown", "unknown values in DE40", False),
        (SUSPENDED, usm("999", "1122210000", 2), "unknown", "unknown function", False),
        (SUSPENDED, usm("981", "1122210000", 2), "unchanged", "nothing in it limits a payment", False),
        (SUSPENDED, usm("977", "1122210000", 2, cap="0000000000000001"), "unchanged", "nothing in it limits a payment",
         False),
        (usm("975", sitl_new="0000000000000001"), usm("975", "1122210000", 2, sitl_status="01"), "applied", "", True),
        (SUSPENDED, usm("975", "1122210000", 2, sitl_status="01"), "applied", "", True),
        (usm("972", institution=OTHER, suspension="01", priority_groups="01"),
         usm("972", "1122210000", 2, institution=OTHER, suspension="00", priority_groups="42"), "applied",
         "unknown values in DE69", True),
    ],
)  # fmt: skip
def test_what_came_of_news_and_why(first: Usm, then: Usm, outcome: str, why: str, *, changes: bool) -> None:
    """Whether it changed anything, and if not, the reason and the difference."""
    news, shells = hearing()
    for number, message in enumerate((first, then)):
        before = news.permits
        news.on_usm(message, Link(number), shells.now)
        shells.sync(news)
    assert (shells.reports[-1].outcome, shells.reports[-1].why) == (outcome, why)
    assert (news.permits is not before) is changes
    assert sum(news.counts.values()) == 2
    function = then.function_code if then.function_code in FUNCTIONS else "other"
    assert news.counts[function, outcome] >= 1


def test_news_of_nobody_we_know_is_said_to_be_that(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is held against it, and there is no room to remember it: nothing is recorded as a change."""
    monkeypatch.setattr(permits, "INSTITUTIONS_MAX", 1)
    news, shells = hearing()
    news.on_usm(usm("972", institution=OTHER, suspension="01"), Link(1), shells.now)
    shells.sync(news)
    shells.log.clear()
    news.on_usm(usm("972", "1122210000", 2, institution="999999", suspension="00"), Link(1), shells.now)
    shells.sync(news)
    assert shells.log == ["USM", "9834 000002 on 1", "say 972 stranger"]
    assert shells.reports[-1].why == "about nobody we know"


def test_every_count_is_there_from_the_start() -> None:
    """An alert waits for some of them."""
    news, _ = hearing()
    assert set(news.counts) == {(function, outcome) for function in (*FUNCTIONS, "other") for outcome in OUTCOMES}
    assert set(news.counts.values()) == {0}


# --- an operator lifts something

HELD = {
    ("service", ""): usm("971", service_status="01"),
    ("settlement", ""): usm("979", settlement_process="002"),
    ("standing", OWN): usm("972", institution=OWN, suspension="01"),
    ("standing", ""): usm("972", suspension="01"),
    ("groups", OTHER): usm("972", institution=OTHER, priority_groups="99"),
    ("threshold", OWN): usm("973", institution=OWN, cap_status="01"),
    ("cap", OWN): usm("974", institution=OWN, cap_status="01"),
    ("sitl", OWN): usm("975", institution=OWN, sitl_new="0000000000000001"),
    ("stl", OWN): usm("976", institution=OWN, stl_new="0000000000000001"),
}
LATER = {place: msgspec.structs.replace(message, transmission_time="1122210000") for place, message in HELD.items()}


def codes(news: News) -> tuple[str, str]:
    """What a payment of ours is refused with, and why."""
    return news.refusal(outbound()), words(news)


@pytest.mark.parametrize("place", HELD, ids=" ".join)
def test_an_operator_lifts_what_news_has_set(place: tuple[str, str]) -> None:
    """Durable before it counts and before the operator hears so; over a restart; the same news again does not set it
    again, whichever way it comes, and later news does.
    """
    what, institution = place
    news, shells = hearing()
    news.on_usm(HELD[place], Link(1), shells.now)
    shells.sync(news)
    held = codes(news)
    shells.log.clear()
    took: list[str] = []
    news.on_lift(Lift(what, institution), "the scheme says so", took.append)  # type: ignore[arg-type]  # of the table
    assert shells.log == ["LIFTED"]
    assert (took, codes(news)) == ([], held)
    shells.sync(news)
    assert took == [""]
    assert shells.log == ["LIFTED", "PERMITS", f"say lifted {what} {institution}".rstrip()]
    assert codes(news) == ("", "")
    assert not any(news.held().values())
    lifted = steps.unpack(Kind.LIFTED, next(body for kind, body, _ in shells.records if kind is Kind.LIFTED))
    assert lifted == steps.Lifted(
        what, institution, event_of(HELD[place], MEANINGS, WALL_NS).stamp, "the scheme says so"
    )

    for end in range(len(shells.records), 1, -1):
        records = shells.records[:end]
        after, _ = hearing(shells=Shells(records=list(records)))
        assert (codes(after) == ("", "")) is (Kind.LIFTED in [kind for kind, _, _ in records] or held == ("", ""))
    news.on_usm(HELD[place], Link(2), shells.now)
    news.on_handed_on(HandedOn("usm-a/1", HELD[place].body), took.append, shells.now)
    shells.sync(news)
    assert codes(news) == ("", "")
    news.on_usm(LATER[place], Link(1), shells.now)
    shells.sync(news)
    assert (codes(news), shells.reports[-1].outcome) == (held, "applied")
    assert restarted(shells) == news.permits


def test_only_what_is_held_can_be_lifted() -> None:
    """And only once; another institution's is another thing."""
    news, shells = hearing()
    news.on_usm(usm("972", institution=OTHER, suspension="01", priority_groups="01"), Link(1), shells.now)
    news.on_usm(AVAILABLE, Link(1), shells.now)
    shells.sync(news)
    before = len(shells.records)
    refused: list[str] = []
    for what, institution in (("service", ""), ("settlement", ""), ("standing", OWN), ("standing", ""), ("cap", OTHER)):
        news.on_lift(Lift(what, institution), "r", refused.append)  # type: ignore[arg-type]  # of the table
    assert refused == ["nothing of this is held against payments"] * 5
    assert len(shells.records) == before
    for _ in range(2):
        news.on_lift(Lift("standing", OTHER), "r", refused.append)
    shells.sync(news)
    assert refused[5:] == ["nothing of this is held against payments", ""]
    assert news.permits.institutions[OTHER].groups.names == ("1",)


def test_news_that_comes_while_a_lift_waits_for_the_disk_overrules_it() -> None:
    """In whichever order they become durable."""
    news, shells = hearing()
    news.on_usm(SUSPENDED, Link(1), shells.now)
    shells.sync(news)
    news.on_lift(Lift("service"), "r", lambda _: None)
    news.on_usm(LATER["service", ""], Link(1), shells.now)
    shells.sync(news)  # the news first, then the lift
    assert news.permits.service.word == "suspended"
    assert restarted(shells) == news.permits


def test_what_is_held_in_words() -> None:
    """For /ready: a fact, and no institution's name."""
    news, shells = hearing()
    assert news.health() == ""
    for message in HELD.values():
        news.on_usm(message, Link(1), shells.now)
    news.on_usm(usm("972", institution="400000", suspension="01"), Link(1), shells.now)
    shells.sync(news)
    assert news.health() == (
        "service suspended, settlement suspended, we are suspended, our net sender cap reached, "
        "our net sender threshold reached, 1 other institutions suspended"
    )


# --- restarts and days


def test_the_permits_are_recorded_at_the_start_and_once_a_day() -> None:
    """A record of a lasting kind must not go with its segment."""
    assert Kind.PERMITS in LASTING_KINDS
    news, shells = hearing()
    assert shells.kinds() == ["PERMITS"]
    assert news.next_timer() == DAILY_S
    shells.mono_s = DAILY_S - 1
    news.handle_timer(shells.now)
    assert shells.kinds() == ["PERMITS"]
    shells.mono_s = DAILY_S
    news.handle_timer(shells.now)
    assert shells.kinds() == ["PERMITS", "PERMITS"]
    assert news.next_timer() == 2 * DAILY_S


def test_a_restart_between_the_record_and_what_follows() -> None:
    """News that is on disk counts after a restart, whether or not PERMITS was; the hub's repeat is acknowledged."""
    news, shells = hearing()
    news.on_usm(SUSPENDED, Link(1), shells.now)
    assert shells.kinds() == ["PERMITS", "USM"]
    shells.waiting.clear()
    again, shells = hearing(shells=shells)
    assert again.refusal(outbound()) == "9943"
    assert shells.kinds() == ["PERMITS", "USM", "PERMITS"]
    again.on_usm(SUSPENDED, Link(1), shells.now)
    shells.sync(again)
    assert shells.log == ["MANAGEMENT_IN", "9834 000001 on 1", "say 971 again"]


def test_what_another_field_table_cannot_read_is_left_to_the_permits() -> None:
    """A journal outlives its tables."""
    replay = Replay(MEANINGS, CODEC)
    replay.record(Kind.USM, 0, steps.pack(steps.News(b"9824 in another tongue")))
    assert replay.permits == Permits()


def test_only_the_latest_news_is_known(monkeypatch: pytest.MonkeyPatch) -> None:
    """Memory is bounded; what is forgotten and comes again is news once more, and changes nothing."""
    monkeypatch.setattr(story, "REMEMBERED_MAX", 3)
    news, shells = hearing()
    for number in range(1, 6):
        news.on_usm(usm("971", f"112221000{number}", number, service_status="01"), Link(1), shells.now)
    shells.sync(news)
    news.on_usm(usm("971", "1122210001", 1, service_status="01"), Link(2), shells.now)
    shells.sync(news)
    assert shells.kinds().count("USM") == 6
    assert shells.reports[-1].outcome == "older"
    assert len(news._known.contents) == len(news._known.sent_s) == 3


def test_what_is_said_again_after_it_was_undone_is_news() -> None:
    """Suspended, available, suspended within one second: the third is recorded, told, and outlives a kill."""
    news, shells = hearing()
    for number, status in enumerate(("01", "00", "01"), 1):
        news.on_usm(usm("971", "1122210000", number, service_status=status), Link(1), shells.now)
        shells.sync(news)
    assert news.permits.service.word == "suspended"
    assert shells.kinds().count("USM") == 3
    assert restarted(shells) == news.permits


def test_permits_are_known_after_the_news_that_made_them_has_gone_with_its_segment() -> None:
    replay = Replay(MEANINGS, CODEC)
    stands = Permits(service=Latest("2026-11-22", "suspended"))
    replay.record(Kind.PERMITS, 0, steps.pack(stands))
    assert replay.permits == stands


# --- any order, any way

PIECES = [
    usm(function, f"1122{hour}0000", number, **fields)
    for hour in ("00", "01", "02")
    for number, (function, fields) in enumerate(
        [
            ("971", {"service_status": "00"}),
            ("971", {"service_status": "01"}),
            ("972", {"institution": OWN, "suspension": "01", "priority_groups": "01"}),
            ("972", {"institution": OTHER, "suspension": "00", "priority_groups": "99"}),
            ("974", {"cap_status": "01", "institution": OWN}),
            ("974", {"cap_status": "00", "institution": OWN}),
            ("975", {"sitl_new": "0000000000010000", "sitl_status": "00"}),
            ("976", {"stl_new": "0000000000020000"}),
            ("979", {"settlement_process": "002"}),
        ],
        1,
    )
]


def restarted(shells: Shells) -> Permits:
    """What a start finds."""
    replay = Replay(MEANINGS, CODEC)
    for kind, body, _ in shells.records:
        replay.record(kind, shells.wall_ns, body)
    return replay.permits


@given(st.lists(st.tuples(st.integers(0, len(PIECES) - 1), st.booleans(), st.booleans()), max_size=40))
def test_the_journal_and_memory_agree(script: list[tuple[int, bool, bool]]) -> None:
    """Whatever comes, by whichever way, synced or not: what a restart finds is what memory held, of what is durable."""
    news, shells = hearing()
    for number, (piece, by_link, sync) in enumerate(script):
        if by_link:
            news.on_usm(PIECES[piece], Link(number), shells.now)
        else:
            news.on_handed_on(HandedOn("usm-a/1", PIECES[piece].body), lambda _: None, shells.now)
        if sync:
            shells.sync(news)
    shells.sync(news)
    assert restarted(shells) == news.permits
    again, _ = hearing(shells=shells)
    assert again.permits == news.permits
    assert again._known == news._known


@given(st.lists(st.tuples(st.integers(0, len(PIECES) - 1), st.booleans(), st.booleans()), max_size=40))
def test_killed_after_any_record(script: list[tuple[int, bool, bool]]) -> None:
    """Wherever the journal ends, a start finds all that the news in it says: nothing that is durable is forgotten."""
    news, shells = hearing()
    for number, (piece, by_link, sync) in enumerate(script):
        if by_link:
            news.on_usm(PIECES[piece], Link(number), shells.now)
        else:
            news.on_handed_on(HandedOn("usm-a/1", PIECES[piece].body), lambda _: None, shells.now)
        if sync and shells.waiting:  # the first alone: the rest became durable a moment later
            news.on_recorded(shells.waiting.pop(0), shells.now)
    expected = Permits()
    for end, (kind, _, _) in enumerate(shells.records, 1):
        if kind == Kind.USM:
            message = CODEC.decode(said(shells.records[end - 1]).message)
            assert isinstance(message, Usm)
            expected = apply(expected, event_of(message, MEANINGS, shells.wall_ns))
        assert restarted(Shells(records=shells.records[:end])) == expected


@given(st.permutations(range(len(PIECES))), st.randoms(use_true_random=False))
def test_the_order_of_arrival_does_not_matter(order: list[int], luck: random.Random) -> None:
    """Two processes that hear the same in other orders, some of it twice, come to the same permits."""

    def after(pieces: list[int]) -> Permits:
        news, shells = hearing()
        for number, piece in enumerate(pieces):
            news.on_usm(PIECES[piece], Link(number), shells.now)  # one connection would be an order of its own
            shells.sync(news)
        return news.permits

    assert after(order + luck.choices(order, k=5)) == after(list(range(len(PIECES))))


# --- what people look at


def everything(news: News) -> str:
    """All that may be shown."""
    return f"{news.statistics()} {news.permits!r} {news.held()}"


def test_no_amount_or_name_is_shown() -> None:
    """Neither in a report nor in the statistics nor in a repr."""
    news, shells = hearing()
    news.on_usm(usm("975", sitl_new="0000000000987654", sitl_previous="0000000000876543"), Link(1), shells.now)
    news.on_usm(usm("978", number=2, cap="0000000000765432", institution_name="SECRET BANK"), Link(1), shells.now)
    news.on_usm(usm("980", number=3, returned_fpid="SECRETTRN", information="SECRET"), Link(1), shells.now)
    shells.sync(news)
    shown = everything(news) + str(shells.reports) + str(shells.waiting)
    for secret in ("987654", "876543", "765432", "SECRET"):
        assert secret not in shown


def test_the_statistics() -> None:
    """Who is suspended, what is held, what was heard last of each function."""
    news, shells = hearing()
    news.on_usm(usm("972", institution=OTHER, suspension="01"), Link(1), shells.now)
    news.on_usm(usm("972", number=2, institution=OWN, suspension="00", priority_groups="01"), Link(1), shells.now)
    shells.sync(news)
    found = news.statistics()
    assert found["suspended"] == [OTHER]
    assert found["held"] == {
        "service": 0, "settlement": 0, "own": 0, "own-groups": 1, "cap": 0, "threshold": 0, "others": 1,
    }  # fmt: skip
    assert found["counts"] == {"972 applied": 2}
    assert found["latest"]["972"] == {
        "what": "institution status", "sent": "2025-11-22T20:55:01", "state": "available", "institution": OWN,
    }  # fmt: skip
    assert msgspec.json.encode(found)


def test_who_is_woken() -> None:
    """Our own suspension, a reached cap, a failure: an error. Another bank's suspension, good news: a warning."""
    for message, urgent in (
        (SUSPENDED, True),
        (AVAILABLE, False),
        (usm("972", institution=OWN, suspension="01"), True),
        (usm("972", suspension="01"), True),
        (usm("972", institution=OTHER, suspension="01"), False),
        (usm("973", cap_status="01"), True),
        (usm("974", cap_status="00"), False),
        (usm("975", sitl_new="0000000000000001"), False),
        (usm("980"), True),
        (usm("981"), True),
    ):
        news, shells = hearing()
        news.on_usm(message, Link(1), shells.now)
        shells.sync(news)
        assert shells.reports[0].urgent is urgent, message.function_code
