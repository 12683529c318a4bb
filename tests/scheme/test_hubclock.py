"""When news was sent, as the hub's clocks say it: its two sites, their steps, duplicates, in any interleaving."""

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import count

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from gateway.scheme.hubclock import PROMPT_S, STEP_S, HubClock, behind, may_have_stepped
from gateway.scheme.news import HandedOn, News
from gateway.wire.message import NetworkRequest, Usm
from gateway.wire.usm import is_stamp, moment_s
from tests.fakes.news import OWN, WALL_NS, Link, Shells, hearing, usm

HOUR_S = 3600
SUSPENDED, AVAILABLE = "01", "00"
WORDS = {SUSPENDED: "suspended", AVAILABLE: "available"}


@dataclass
class Hub:
    """Two sites with a clock each, and one process of ours that hears both."""

    news: News
    shells: Shells
    zone_s: int = 0
    stepped_s: dict[str, int] = field(default_factory=lambda: {"a": 0, "b": 0})
    numbers: "count[int]" = field(default_factory=lambda: count(1))
    sent: list[tuple[str, Usm]] = field(default_factory=list)
    shown_with: list[tuple[str, str]] = field(default_factory=list)
    """What each message says, and when by its own clock."""

    @property
    def now_s(self) -> float:
        """Our clock, which is right."""
        return self.shells.wall_ns / 1e9

    def passes(self, seconds: float) -> None:
        """Time."""
        self.shells.wall_ns += round(seconds * 1e9)
        self.shells.mono_s += seconds

    def shown(self, site: str) -> datetime:
        """What a site's clock says."""
        clock = datetime.fromtimestamp(self.shells.wall_ns // 10**9, UTC)
        return clock + timedelta(seconds=self.zone_s + self.stepped_s[site])

    def made(self, site: str, status: str, function: str = "971") -> Usm:
        """News that this site sends now."""
        clock = self.shown(site)
        self.shown_with.append((f"{clock:%Y%m%d%H%M%S}", status))
        said = {"service_status": status} if function == "971" else {"suspension": status, "institution": OWN}
        return usm(function, f"{clock:%m%d%H%M%S}", next(self.numbers), date_sent=f"{clock:%Y%m%d}", **said)

    def hears(self, site: str, message: Usm) -> str:
        """It comes by the link of this site, and is durable; what came of it."""
        self.news.on_usm(message, Link(1 if site == "a" else 2, site), self.shells.now)
        self.shells.sync(self.news)
        return self.shells.reports[-1].outcome

    def says(self, site: str, status: str, function: str = "971") -> str:
        """It sends, and we hear."""
        message = self.made(site, status, function)
        self.sent.append((site, message))
        return self.hears(site, message)

    def echoes(self, site: str) -> None:
        """A request of the hub, which shows its clock."""
        time = f"{self.shown(site):%m%d%H%M%S}"
        echo = NetworkRequest(mti="9804", transmission_time=time, message_id="000001", function_code="831")
        self.news.on_request(echo, Link(1, site), self.shells.now)

    def restarts(self) -> None:
        """Our process: what it knows is what the journal holds."""
        self.news, _ = hearing(shells=self.shells)

    @property
    def word(self) -> str:
        """What stands of the service."""
        return self.news.permits.service.word


def hub(zone_s: int = 0) -> Hub:
    return Hub(*hearing(), zone_s=zone_s)


# --- the hour of October


@pytest.mark.parametrize("minutes", [1, 10, 59, 61, 200])
@pytest.mark.parametrize("sites", ["aa", "ab", "ba"])
@pytest.mark.parametrize("zone_s", [0, HOUR_S, -5 * HOUR_S])
def test_news_after_the_hour_of_october_is_newer_at_once(zone_s: int, sites: str, minutes: int) -> None:
    """By whichever site, however soon after it; and what follows it within the hour is newer still."""
    it = hub(zone_s)
    it.says(sites[0], SUSPENDED)
    it.passes(minutes * 60 + PROMPT_S)
    it.stepped_s = {"a": -HOUR_S, "b": -HOUR_S}
    for status in (AVAILABLE, SUSPENDED, AVAILABLE):
        assert it.says(sites[1], status) == "applied"
        assert it.word == WORDS[status]
        it.passes(2 * PROMPT_S)
    it.passes(HOUR_S)
    assert it.says(sites[0], SUSPENDED) == "applied"
    assert it.news.permits.service.stamp == f"{it.shown(sites[0]):%Y%m%d%H%M%S}" + it.news.permits.service.stamp[14:]


@pytest.mark.parametrize("pause_s", [1, 2, 30, 59])
@pytest.mark.parametrize("sites", ["aa", "ab"])
def test_however_soon_before_the_step_the_last_news_was(pause_s: int, sites: str) -> None:
    it = hub(HOUR_S)
    it.echoes("a")
    it.says(sites[0], SUSPENDED)
    it.passes(pause_s)
    it.stepped_s = {"a": -HOUR_S, "b": -HOUR_S}
    for status in (AVAILABLE, SUSPENDED, AVAILABLE):
        assert it.says(sites[1], status) == "applied"
        assert it.word == WORDS[status]
        it.passes(5)


@pytest.mark.parametrize("stepped", [False, True])
def test_what_is_sent_again_by_another_connection_is_as_old_as_it_was(*, stepped: bool) -> None:
    """Its connection broke; what came after it by the other one stands, however soon the hub sends it again."""
    it = hub(HOUR_S)
    it.echoes("a")
    it.echoes("b")
    if stepped:
        it.says("a", SUSPENDED)
        it.passes(600)
        it.stepped_s = {"a": -HOUR_S, "b": -HOUR_S}
        it.echoes("a")
        it.echoes("b")
    lost = it.made("b", SUSPENDED)
    it.passes(10)
    it.says("a", AVAILABLE)
    for pause_s in (1, 20, 100):
        it.passes(pause_s)
        assert it.hears("a", lost) in {"older", "again"}
        assert it.word == "available"


def test_sites_whose_clocks_step_one_after_the_other() -> None:
    """Each site has its own clock; the other one's step is not its own."""
    it = hub(HOUR_S)
    for site in "ab":
        it.says(site, SUSPENDED)
        it.passes(2 * PROMPT_S)
    it.stepped_s["a"] = -HOUR_S
    for site, status in (("a", AVAILABLE), ("b", SUSPENDED), ("a", AVAILABLE), ("b", SUSPENDED)):
        assert it.says(site, status) == "applied"
        it.passes(2 * PROMPT_S)
    it.stepped_s["b"] = -HOUR_S
    for site, status in (("b", AVAILABLE), ("a", SUSPENDED), ("b", AVAILABLE)):
        assert it.says(site, status) == "applied"
        it.passes(2 * PROMPT_S)


def test_a_step_of_any_size_that_the_hub_has_shown() -> None:
    """An echo is sent once: it says what its site's clock is now."""
    for step_s in (90, 1234, 2000, HOUR_S):
        it = hub()
        it.says("a", SUSPENDED)
        it.passes(2 * PROMPT_S)
        it.stepped_s["a"] = -step_s
        it.echoes("a")
        assert it.says("a", AVAILABLE) == "applied"


def test_sites_whose_clocks_differ() -> None:
    """What is sent later is newer, whose clock ever is ahead."""
    it = hub()
    it.stepped_s = {"a": 240, "b": -240}
    it.says("b", AVAILABLE)
    for site, status in (("a", SUSPENDED), ("b", AVAILABLE), ("a", SUSPENDED), ("b", AVAILABLE)):
        it.passes(2 * PROMPT_S)
        it.echoes(site)
        assert it.says(site, status) == "applied"


# --- what only looks like it


@pytest.mark.parametrize("late_s", [61, 600, 1800, HOUR_S - 90, HOUR_S + 90, 3 * HOUR_S])
def test_old_news_that_comes_late_is_old(late_s: int) -> None:
    """It was lost with a connection, say, and what came meanwhile says otherwise."""
    it = hub()
    lost = it.made("a", SUSPENDED)
    it.passes(min(late_s, 5))
    it.says("b", AVAILABLE)
    it.passes(late_s - min(late_s, 5))
    assert it.hears("a", lost) == "older"
    assert it.word == "available"
    assert it.shells.reports[-1].why == "older than what is known, by 5 s"


def test_what_two_sites_sent_within_a_minute_is_ordered_by_their_clocks() -> None:
    """It crossed."""
    it = hub()
    first = it.made("a", SUSPENDED)
    it.passes(2)
    assert it.says("b", AVAILABLE) == "applied"
    assert it.hears("a", first) == "older"


def test_a_step_that_nobody_has_shown_is_no_longer_than_it_is() -> None:
    """Later news looks old for so long, is said to be, by how much; and then it is newer."""
    it = hub()
    it.says("a", SUSPENDED)
    it.passes(2 * PROMPT_S)
    it.stepped_s["a"] = -900
    assert it.says("a", AVAILABLE) == "older"
    assert it.shells.reports[-1].why == "older than what is known, by 13 min"
    it.passes(780)
    assert it.says("a", AVAILABLE) == "applied"


def test_duplicates_change_nothing_after_a_step_either() -> None:
    """Whichever news comes again, by whichever site, and however late."""
    it = hub(HOUR_S)
    it.says("a", SUSPENDED)
    it.passes(10 * PROMPT_S)
    it.stepped_s = {"a": -HOUR_S, "b": -HOUR_S}
    it.says("a", AVAILABLE)
    standing = it.news.permits
    for late_s in (0, 10, 2 * PROMPT_S, HOUR_S):
        it.passes(late_s)
        for site, message in [("a", it.sent[0][1]), ("b", it.sent[0][1]), ("b", it.sent[1][1]), ("a", it.sent[1][1])]:
            assert it.hears(site, message) == "again"
        assert it.news.permits is standing


# --- where else it must hold


def test_a_restart_within_the_hour() -> None:
    """What stands is what stood, in every order; and the clock is known as it was."""
    it = hub(HOUR_S)
    it.says("a", SUSPENDED)
    it.passes(10 * PROMPT_S)
    it.restarts()
    it.stepped_s = {"a": -HOUR_S, "b": -HOUR_S}
    assert it.says("a", AVAILABLE) == "applied"
    standing = it.news.permits
    it.restarts()
    assert it.news.permits == standing
    assert it.word == "available"


def test_our_other_processes_order_it_as_we_do() -> None:
    """What we hand on has our stamp; they may have heard it in any order."""
    it = hub(HOUR_S)
    it.says("a", SUSPENDED)
    it.passes(10 * PROMPT_S)
    it.stepped_s["a"] = -HOUR_S
    it.says("a", AVAILABLE)
    first, second = (message.body for _, message in it.sent)
    stamp = it.news.permits.service.stamp
    for order in ((first, second), (second, first)):
        other, shells = hearing()
        shells.wall_ns = it.shells.wall_ns
        for body in order:
            took: list[str] = []
            other.on_handed_on(HandedOn("usm-a/1", body, stamp if body is second else ""), took.append, shells.now)
            shells.sync(other)
            assert took == [""]
        assert other.permits == it.news.permits


@pytest.mark.parametrize("stamp", ["x", "2" * 36, "20251301000000000001" + "0" * 16, "20991122205501000001" + "0" * 16])
def test_what_is_no_stamp_is_refused(stamp: str) -> None:
    """It would make all later news old."""
    news, shells = hearing()
    took: list[str] = []
    news.on_handed_on(HandedOn("usm-a/1", usm("971", service_status="01").body, stamp), took.append, shells.now)
    assert took == ["the stamp is none"]


def test_the_next_stamp_is_a_stamp() -> None:
    """Behind the one before, ahead of the next second's, whatever its number."""
    own = "20251026010500000007" + "ab" * 8
    for number in (1, 999_998):
        known = f"20251026015000{number:06}" + "ff" * 8
        after = behind(known, own)
        assert known < known + "+" < after < "20251026015001"
        assert is_stamp(after, WALL_NS)
        assert moment_s(after) == moment_s(known)
    assert may_have_stepped(known, own)
    for moment, after in (("20251026015000", "20251026015001"), ("20251231235959", "20260101000000")):
        assert behind(f"{moment}999999" + "ff" * 8, own) == f"{after}000000" + "ab" * 8


def test_of_a_clock_that_was_never_seen_nothing_is_known() -> None:
    """The other site's counts until a site has shown its own."""

    def seen() -> HubClock:
        clock = HubClock()
        clock.shows("a", 1000.0 + HOUR_S, 1000.0)
        return clock

    assert HubClock().sent_s("a", 1000.0, 1000.0, newer=False) is None
    assert seen().sent_s("b", 2000.0 + HOUR_S, 2000.0, newer=False) == 2000.0
    assert seen().sent_s("b", 1970.0 + HOUR_S, 2000.0, newer=False) == 1970.0
    assert seen().sent_s("b", 2030.0 + HOUR_S, 2000.0, newer=False) == 2000.0
    assert seen().sent_s("b", 2000.0, 2000.0, newer=False) == 2000.0, "it may have stepped"
    for off_s in (2 * PROMPT_S, -2 * PROMPT_S, 1800, -HOUR_S, 2 * HOUR_S):
        assert seen().sent_s("b", 2000.0 + HOUR_S - off_s, 2000.0, newer=False) is None
    assert STEP_S == HOUR_S


# --- any interleaving

EVENTS = st.lists(
    st.tuples(
        st.sampled_from(["says", "says", "says", "everywhere", "again", "lost", "found", "echoes", "restarts"]),
        st.sampled_from("ab"),
        st.sampled_from([SUSPENDED, AVAILABLE]),
        st.sampled_from([61.0, 75.0, 600.0, 1000.0, 4000.0]),
    ),
    max_size=25,
)


def played(it: Hub, events: list[tuple[str, str, str, float]], steps: dict[int, str]) -> None:
    """Play them, an hour's step of a site's clock before those of these numbers; hold what stands to what was sent."""
    lost: list[Usm] = []
    stands = it.word
    for number, (what, site, status, pause_s) in enumerate(events):
        it.passes(pause_s)
        if number in steps:
            it.stepped_s[steps[number]] = -HOUR_S
        if what == "says":
            it.says(site, status)
            stands = WORDS[status]
        elif what == "everywhere":
            message = it.made(site, status)
            it.hears(site, message)
            it.passes(3)
            it.hears("b" if site == "a" else "a", message)
            stands = WORDS[status]
        elif what == "again" and it.sent:
            assert it.hears(site, it.sent[number % len(it.sent)][1]) == "again"
        elif what == "lost":
            lost.append(it.made(site, status))
            it.passes(61)
            it.says(site, AVAILABLE)
            stands = "available"
        elif what == "found" and lost and not steps:
            assert it.hears(site, lost.pop()) in {"older", "again"}
        elif what == "echoes":
            it.echoes(site)
        elif what == "restarts":
            it.restarts()
        # the same words in the same second of the hour that comes twice are a repeat, to everybody
        assume(len(set(it.shown_with)) == len(it.shown_with))
        assert it.word == stands


@given(EVENTS)
def test_without_a_step_what_stands_is_what_was_sent_last(events: list[tuple[str, str, str, float]]) -> None:
    """By whichever site, with duplicates, restarts, and old news that comes after all."""
    played(hub(HOUR_S), events, {})


@given(EVENTS, st.integers(0, 24), st.integers(0, 24))
def test_with_steps_what_stands_is_what_was_sent_last(
    events: list[tuple[str, str, str, float]], a: int, b: int
) -> None:
    """Each site's clock steps back by the hour when it will; duplicates of before and after change nothing."""
    it = hub(HOUR_S)
    it.says("a", AVAILABLE)
    played(it, events, {a: "a"} | ({b: "b"} if b != a else {}))


@given(
    st.lists(
        st.tuples(st.sampled_from("ab"), st.sampled_from([SUSPENDED, AVAILABLE]), st.integers(1, 2000)), max_size=20
    ),
    st.integers(0, 20),
    st.integers(1, 2 * HOUR_S),
)
def test_a_step_makes_nothing_old_for_longer_than_it_is(said: list[tuple[str, str, int]], at: int, step_s: int) -> None:
    """Whatever its size, shown or not: news that is sent so long after it counts."""
    it = hub()
    since_s = 0.0
    for number, (site, status, pause_s) in enumerate(said):
        it.passes(pause_s)
        if number == at:
            it.stepped_s = {"a": -step_s, "b": -step_s}
            since_s = it.now_s
        outcome = it.says(site, status)
        if number < at or it.now_s > since_s + step_s:
            assert outcome in {"applied", "same"}
            assert it.word == WORDS[status]
