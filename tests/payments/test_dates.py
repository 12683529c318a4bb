"""Which date an unknown payment may bear, which day it is, and when our own clock cannot be right."""

from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

import gateway
from gateway import config
from gateway.clock import Now
from gateway.errors import ConfigurationError
from gateway.payments.dates import Clocks, Verdict, Window, day_of, nearest_s, uk_day
from gateway.payments.dates import check as check_types
from gateway.wire.fields import load

TYPES = load().types
S = 10**9
RELEASES = {"0.1.0": "2026-11-30"}
"""When each version was made. A new version has a day of its own."""


def at(text: str, mono_s: float = 0.0) -> Now:
    """A moment of UTC."""
    return Now(mono_s, int(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()) * S)


NOON = at("2026-11-22T12:00:00")
ORDINARY, UNUSUAL, REFUSED = Verdict.ORDINARY, Verdict.UNUSUAL, Verdict.REFUSED


def no_doubt(_now: Now) -> bool:
    return False


def doubt(_now: Now) -> bool:
    return True


def moved(days: int) -> str:
    """So many days from the twenty-second."""
    return f"{date(2026, 11, 22) + timedelta(days=days):%Y%m%d}"


@pytest.mark.parametrize(
    ("kind", "days", "sure", "unsure"),
    [
        ("10", -3, REFUSED, UNUSUAL),
        ("10", -2, ORDINARY, ORDINARY),
        ("10", 0, ORDINARY, ORDINARY),
        ("10", 1, ORDINARY, ORDINARY),
        ("10", 2, REFUSED, UNUSUAL),
        *(
            (kind, days, verdict, verdict)
            for kind in ("00", "20", "25", "30", "40", "50", "77")
            for days, verdict in ((-12, UNUSUAL), (-11, ORDINARY), (0, ORDINARY), (1, ORDINARY), (2, UNUSUAL))
        ),
    ],
)
def test_the_window_of_each_payment_type(kind: str, days: int, sure: Verdict, unsure: Verdict) -> None:
    """Synchronous: two days back, one ahead. Others: as long as FPIDs are remembered. In doubt nothing is refused."""
    for in_doubt, verdict in ((no_doubt, sure), (doubt, unsure)):
        window = Window(config.Dates(), TYPES, business_days=7)
        for _ in range(2):  # the second time it is known
            assert window.judge(kind, moved(days), NOON, in_doubt) is verdict


@pytest.mark.parametrize("kind", sorted(TYPES))
@pytest.mark.parametrize("day", ["00010101", "20240102", "20991231", "99991231"])
def test_a_date_far_away_is_ordinary_for_no_type(kind: str, day: str) -> None:
    window = Window(config.Dates(), TYPES, 7)
    assert window.judge(kind, day, NOON, no_doubt) is (REFUSED if kind == "10" else UNUSUAL)


def test_windows_are_settings_of_each_type() -> None:
    """One that is named has its own; the others keep theirs."""
    window = Window(config.Dates(back_days={"10": 0, "30": 5}, ahead_days={"30": 3}), TYPES, 7)
    judged = {(k, d): window.judge(k, moved(d), NOON, no_doubt) for k in ("10", "30", "40") for d in (-6, -1, 3)}
    assert [case for case, verdict in judged.items() if verdict is ORDINARY] == [
        ("30", -1), ("30", 3), ("40", -6), ("40", -1),
    ]  # fmt: skip


def test_a_window_of_a_type_that_there_is_not_is_refused() -> None:
    with pytest.raises(ConfigurationError, match=r"pair\.dates\.ahead_days\.78: is no payment type of the field table"):
        check_types(config.Pair(group="sip", dates=config.Dates(ahead_days={"78": 1})), TYPES)
    check_types(config.Pair(group="sip", dates=config.Dates(back_days={"30": 11})), TYPES)


def test_what_was_found_ordinary_is_so_for_its_hour_alone() -> None:
    """At midnight a day goes out of the window."""
    window = Window(config.Dates(), TYPES, 7)
    before, after = at("2026-11-22T23:59:59"), at("2026-11-23T00:00:00")
    assert window.judge("10", moved(-2), before, no_doubt) is ORDINARY
    assert window.judge("10", moved(-2), after, no_doubt) is REFUSED


# --- which day it is


@given(st.integers(820_454_400, 2_145_830_400))
def test_the_day_is_that_of_the_united_kingdom(second: int) -> None:
    """As the time zone database has it."""
    local = datetime.fromtimestamp(second, ZoneInfo("Europe/London")).date()
    assert uk_day(second * S) == day_of(f"{local:%Y%m%d}")


@pytest.mark.parametrize("year", range(1996, 2038))
def test_summer_begins_and_ends_when_it_does(year: int) -> None:
    """Every hour of the days around it."""
    for month in (3, 10):
        for hours in range(24 * 10):
            moment = datetime(year, month, 23, tzinfo=UTC) + timedelta(hours=hours)
            local = moment.astimezone(ZoneInfo("Europe/London")).date()
            assert uk_day(int(moment.timestamp()) * S) == day_of(f"{local:%Y%m%d}"), moment


# --- our clock, and the hub's

RELEASED_NS = at("2026-11-01T00:00:00").wall_ns
RECORDED_NS = NOON.wall_ns
BEHIND = "the wall clock is more than a day earlier than the journal's last record"
BEFORE = "the wall clock is earlier than the release of this version"
AHEAD = "the wall clock is years later than the journal's last record"
LONG_AFTER = "the wall clock is many years later than the release of this version"


@pytest.mark.parametrize(
    ("moment", "recorded_ns", "trouble"),
    [
        ("2026-11-22T12:00:01", RECORDED_NS, ""),
        ("2026-11-22T11:00:00", RECORDED_NS, ""),  # an hour back: October, or a server whose clock is behind
        ("2026-11-21T12:00:00", RECORDED_NS, ""),
        ("2026-11-21T11:59:59", RECORDED_NS, BEHIND),
        ("2026-10-31T00:00:00", RECORDED_NS, BEHIND),
        ("2026-10-31T23:59:59", 0, BEFORE),
        ("2026-11-01T00:00:00", 0, ""),
        ("2028-11-22T12:00:00", RECORDED_NS, ""),  # a journal that was away for long
        ("2028-11-24T12:00:01", RECORDED_NS, AHEAD),
        ("2036-11-01T00:00:00", 0, ""),
        ("2038-01-19T03:14:07", 0, LONG_AFTER),
        ("1970-01-01T00:00:00", 0, BEFORE),
    ],
)
def test_when_our_clock_cannot_be_right(moment: str, recorded_ns: int, trouble: str) -> None:
    """By the last record and the release; and it is well by itself when the clock is."""
    clocks = Clocks(7200.0, recorded_ns, RELEASED_NS)
    assert clocks.look(at(moment)) == clocks.trouble == trouble
    assert clocks.in_doubt(at(moment)) == bool(trouble)
    assert clocks.look(at(moment)) == trouble, "looking again changes nothing"
    if trouble:
        assert clocks.look(NOON) == "", "well by itself once the clock is"


def test_a_clock_that_creeps_is_followed() -> None:
    """What was right a moment ago is what the next look is held to, backwards too."""
    clocks = Clocks(7200.0, RECORDED_NS)
    for hours in (20, 40, 60, 80):
        assert clocks.look(Now(0, RECORDED_NS - hours * 3600 * S)) == ""
    assert clocks.look(Now(0, RECORDED_NS - 200 * 3600 * S)) == BEHIND


def test_without_a_journal_and_a_release_every_clock_may_be_right() -> None:
    assert Clocks(7200.0).look(Now(0, 1)) == ""


@pytest.mark.parametrize(
    ("said", "differs"),
    [
        ({1: "1122120000"}, False),
        ({1: "1122130000", 2: "1122110000"}, False),  # an hour: the time zone is not said
        ({1: "1119120000"}, True),
        ({1: "1119120000", 2: "1125120000"}, True),
        ({1: "1119120000", 2: "1122120000"}, False),  # one alone changes nothing
        ({1: "9999999999"}, False),  # says no time
        ({}, False),
    ],
)
def test_the_hubs_clock_differs_when_it_does_so_on_every_link(said: dict[int, str], differs: bool) -> None:  # noqa: FBT001 - a column
    """It is doubt, and never trouble."""
    clocks = Clocks(7200.0, RECORDED_NS)
    for link, text in said.items():
        clocks.heard(link, text, NOON)
    assert clocks.look(NOON) == ""
    assert clocks.hub_differs(NOON) == clocks.in_doubt(NOON) == differs
    for link in said:
        clocks.gone(link)
    assert not clocks.hub_differs(NOON)


def test_a_step_of_our_clock_shows_at_once() -> None:
    """The hub need not say anything again: its time goes on by our monotonic clock."""
    clocks = Clocks(7200.0)
    clocks.heard(1, "1122120000", NOON)
    later = Now(600.0, NOON.wall_ns + 600 * S)
    assert not clocks.hub_differs(later)
    assert clocks.hub_differs(later._replace(wall_ns=later.wall_ns + 3 * 86_400 * S))


def test_a_clock_that_is_set_by_days_while_we_run_is_in_doubt_until_the_hub_says_the_same() -> None:
    """Nobody needs to have heard the hub before: payments of the right day must not be refused for our clock."""
    clocks = Clocks(7200.0, RECORDED_NS)
    clocks.look(NOON)
    day_later = Now(1.0, NOON.wall_ns + 86_401 * S)
    assert not clocks.in_doubt(day_later), "a day is no more than the window bears"
    ahead = Now(2.0, NOON.wall_ns + 3 * 86_400 * S)
    assert clocks.in_doubt(ahead), "also before anybody has looked"
    assert clocks.look(ahead) == ""
    assert clocks.in_doubt(ahead)
    clocks.heard(1, "1122120002", ahead)
    assert clocks.in_doubt(ahead), "a hub that differs lifts no doubt"
    clocks.heard(1, "1125120000", ahead)
    assert not clocks.in_doubt(ahead)


def test_the_hub_vouches_for_our_clock_where_the_journals_was_wrong() -> None:
    """A clock was months ahead for a while and is right again. One that is a whole year wrong agrees with DE7, too."""
    for days, trouble in ((90, ""), (365, BEHIND)):
        clocks = Clocks(7200.0, RECORDED_NS + days * 86_400 * S)
        assert clocks.look(NOON) == BEHIND
        clocks.heard(1, "1122120000", NOON)
        assert clocks.look(NOON) == trouble
        clocks = Clocks(7200.0, RECORDED_NS + days * 86_400 * S)
        clocks.heard(1, "1001120000", NOON)
        assert clocks.look(NOON) == BEHIND, "a hub that says otherwise vouches for nothing"


@pytest.mark.parametrize(
    ("said", "moment", "apart_s"),
    [
        ("1231235959", "2026-01-01T00:00:01", -2),
        ("0101000001", "2025-12-31T23:59:59", 2),
        ("0229000000", "2028-02-29T00:00:10", -10),
        ("0229000000", "2026-02-28T00:00:00", None),
        ("0230000000", "2026-02-28T00:00:00", None),
        ("", "2026-02-28T00:00:00", None),
    ],
)
def test_the_year_that_the_hub_does_not_say_is_the_nearest(said: str, moment: str, apart_s: float | None) -> None:
    now = at(moment)
    its_s = nearest_s(said, now.wall_ns)
    assert (None if its_s is None else its_s - now.wall_ns / S) == apart_s


def test_a_version_has_a_day() -> None:
    """Who makes a new version says when: one of before its own release has a clock that is wrong."""
    assert RELEASES[gateway.__version__] == gateway.__released__
    assert list(RELEASES.values()) == sorted(RELEASES.values())
    assert date.fromisoformat(gateway.__released__) <= datetime.now(tz=UTC).date()
