"""Telling, on a mock clock: a journal in memory, and a processor that does to each notice what the test says."""

import math
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from itertools import pairwise
from random import Random

import msgspec
import pytest
import trio
import trio.testing

from gateway import config, metrics
from gateway.clock import Now
from gateway.errors import Refusal, Unavailable
from gateway.http.statuses import Told
from gateway.payments import steps
from gateway.payments.steps import Kind
from gateway.processor.addressees import the_processor
from gateway.processor.client import Client
from gateway.processor.forwarder import BURST_S, LOOK_EVERY_S, OLD_S, WINDOW_MAX, Forwarder
from gateway.processor.messages import Notice
from loadtest.processor.server import MockProcessor
from tests.conftest import Logged
from tests.fakes.processor import CODEC, PATIENCE_S, WALL_NS, Journal, Peer, asking, payment, settings

Clock = trio.testing.MockClock
OK = Told(204, 0.0, "status 204")
BUSY = Told(503, 0.0, "status 503")
GONE = Told(0, 0.0, "ConnectionRefusedError: Connection refused")
WRONG = Told(422, 0.0, "status 422")
TO = the_processor("node", CODEC)


class Teller:
    """Takes notices as the test says, and remembers when which came."""

    def __init__(self, verdict: Callable[[int], Told] = lambda _: OK, *, takes_s: float = 0.0) -> None:
        self.verdict = verdict
        self.takes_s = takes_s
        self.log: list[tuple[float, int]] = []
        self.taken: list[int] = []
        self.notices: list[Notice] = []
        self.under_way = self.under_way_peak = 0
        self.fpids: Counter[str] = Counter()

    async def tell(self, key: str, body: bytes) -> Told:
        """One notice."""
        notice = msgspec.json.decode(body, type=Notice)
        assert notice.id == key
        position = int(key.rpartition("/")[2])
        self.fpids[notice.FPID] += 1
        assert self.fpids[notice.FPID] == 1, "two notices about a payment at once"
        self.under_way += 1
        self.under_way_peak = max(self.under_way, self.under_way_peak)
        self.log.append((trio.current_time(), position))
        try:
            await trio.sleep(self.takes_s)
        finally:
            self.under_way -= 1
            self.fpids[notice.FPID] -= 1
        told = self.verdict(position)
        if told.acknowledged:
            self.taken.append(position)
            self.notices.append(notice)
        return told

    def times(self, position: int) -> list[float]:
        """When this notice was told."""
        return [at for at, told in self.log if told == position]


def clock() -> Now:
    """The mock clock, and a wall that stands still."""
    return Now(trio.current_time(), WALL_NS)


def moving() -> Now:
    """The mock clock, and a wall that goes with it."""
    return Now(trio.current_time(), WALL_NS + round(trio.current_time() * 1e9))


def forwarder(teller: Teller | Client, given: config.Processor | None = None) -> Forwarder:
    """A forwarder without luck: pauses are as long as they get."""
    return Forwarder(given or settings(), "node", teller, TO, clock=clock, luck=lambda: 1.0)


@asynccontextmanager
async def telling(journal: Journal, teller: Teller, **changes: object) -> AsyncIterator[Forwarder]:
    """A running forwarder, which remembers what the journal holds."""
    found = forwarder(teller, settings(**changes))  # type: ignore[arg-type]
    for record in journal.records:
        found.remember(record)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(found.run, journal)
        with trio.fail_after(PATIENCE_S):
            yield found
        nursery.cancel_scope.cancel()


async def all_done(journal: Journal, count: int) -> None:
    """Wait until so many notices are told or parked."""
    while len(journal.done) < count:
        await journal.news()


def parked_now() -> float | None:
    """What the alert looks at."""
    return metrics.REGISTRY.get_sample_value("fps_notices_parked")


# --- the straight line


async def test_a_stand_in_is_told(autojump_clock: Clock) -> None:
    """What stand-in decided is told as the journal has it, the TOLD record names it, and the cursor moves past both."""
    journal, teller = Journal(), Teller()
    async with telling(journal, teller) as found:
        await trio.sleep(1)
        position = journal.stand_in()
        await all_done(journal, 1)
        assert journal.records[-1].fpid == payment()[0]
        await trio.sleep(1)
        assert journal.done == {position: "TOLD"}
        assert journal.cursor > position
        assert journal.commits > 0
        statistics = found.statistics()
        assert (statistics["told"], statistics["in_window"], statistics["health"]) == (1, 0, "")
    notice = teller.notices[0]
    assert (notice.id, notice.kind, notice.FPID) == ("node/1", "STOOD_IN", payment()[0])
    assert notice.recorded == "2025-11-22T20:55:01.123456Z"


async def test_only_what_is_to_be_told(autojump_clock: Clock) -> None:
    """Steps that nobody must hear of are passed over."""
    journal, teller = Journal(), Teller()
    for kind in Kind:
        if kind not in steps.TOLD_KINDS | {Kind.TOLD, Kind.PARKED}:
            journal.append(kind, b"", fpid="F" * 42)
    position = journal.stand_in()
    async with telling(journal, teller):
        await all_done(journal, 1)
    assert teller.taken == [position]


# --- order, per payment


async def test_order_per_payment(autojump_clock: Clock) -> None:
    """The second notice of a payment waits for the first; those of other payments pass."""
    journal = Journal()
    teller = Teller(lambda position: BUSY if position == 1 and trio.current_time() < 2 else OK)
    for number in (1, 2, 1, 2, 3, 1):
        journal.stand_in(number)
    async with telling(journal, teller):
        await all_done(journal, 6)
    assert [position for position in teller.taken if position in (1, 3, 6)] == [1, 3, 6]
    assert [position for position in teller.taken if position in (2, 4)] == [2, 4]
    assert sorted(teller.taken[:3]) == [2, 4, 5]


async def test_what_waits_for_a_parked_notice_goes_on(autojump_clock: Clock) -> None:
    """Parked is done, too."""
    journal = Journal()
    teller = Teller(lambda position: WRONG if position == 1 else OK)
    journal.stand_in(1)
    journal.stand_in(1)
    async with telling(journal, teller):
        await all_done(journal, 2)
    assert journal.done == {1: "PARKED", 2: "TOLD"}


async def test_order_whatever_happens(autojump_clock: Clock) -> None:
    """Under random failures every notice is told, each payment's in the journal's order (the teller checks: one at a
    time).
    """
    luck = Random(7)  # noqa: S311 - a test
    journal = Journal()
    teller = Teller(lambda _: luck.choice([OK, OK, OK, BUSY, GONE, WRONG]), takes_s=0.01)
    for _ in range(300):
        journal.stand_in(luck.randrange(20))
    async with telling(journal, teller, tell_pause_max_s=2.0):
        await all_done(journal, 300)
        await trio.sleep(1)
        assert journal.cursor == 301
    order = list(journal.done)
    for number in range(20):
        fpid = payment(number)[0]
        mine = [position for position in order if journal.records[position - 1].fpid == fpid]
        assert mine == sorted(mine)


# --- what is not acknowledged


async def test_growing_pauses(autojump_clock: Clock) -> None:
    """A notice that the processor cannot take now is told again after pauses that double up to the longest."""
    journal, teller = Journal(), Teller(lambda position: BUSY if position == 1 else OK)
    journal.stand_in(1)
    async with telling(journal, teller, tell_pause_s=0.5, tell_pause_max_s=4.0):
        for number in range(2, 80):
            await trio.sleep(0.25)
            journal.stand_in(number)
    pauses = [later - earlier for earlier, later in pairwise(teller.times(1))][:6]
    assert pauses == pytest.approx([0.5, 1, 2, 4, 4, 4], abs=0.06)


async def test_retry_after(autojump_clock: Clock) -> None:
    """The processor may ask for a longer pause, up to the longest of ours."""
    journal = Journal()
    teller = Teller(lambda position: Told(503, 3.0 if position == 1 else 3600.0, "") if position < 3 else OK)
    journal.stand_in(1)
    journal.stand_in(2)
    async with telling(journal, teller, tell_pause_s=0.5, tell_pause_max_s=5.0):
        for number in range(3, 60):
            journal.stand_in(number)
            await trio.sleep(0.2)
    assert teller.times(1)[1] - teller.times(1)[0] == pytest.approx(3, abs=0.06)
    assert teller.times(2)[1] - teller.times(2)[0] == pytest.approx(5, abs=0.06)


async def test_a_notice_that_is_refused_is_parked(autojump_clock: Clock, logged: Logged) -> None:
    """Parked is written down with its status and seen by people; it is told no more, and no payment is in the line."""
    journal, teller = Journal(), Teller(lambda _: WRONG)
    position = journal.stand_in(1)
    async with telling(journal, teller) as found:
        await all_done(journal, 1)
        assert found.statistics()["parked_positions"] == [position]
        assert found.statistics()["parked"] == 1
        await trio.sleep(1000)
    assert len(teller.log) == 1
    assert steps.unpack(Kind.PARKED, journal.records[-1].body) == steps.Parked(position, 422)
    line = logged("notice refused and parked")[0]
    assert (line["position"], line["status"], line["step"], line["level"]) == (position, 422, "STOOD_IN", "warning")
    assert "SECRET" not in str(logged())
    assert payment(1)[0] not in str(logged())


async def test_one_notice_that_is_never_taken_holds_nobody_up(autojump_clock: Clock) -> None:
    """The others go past it at full pace, many more than fit into the window; only the cursor stays."""
    journal, teller = Journal(), Teller(lambda position: BUSY if position == 3 else OK)
    for number in range(WINDOW_MAX + 1000):
        journal.stand_in(number)
    async with telling(journal, teller, tell_pause_max_s=5.0) as found:
        await all_done(journal, WINDOW_MAX + 999)
        await trio.sleep(1)
        assert trio.current_time() < 6
        assert journal.cursor == 3
        assert found.statistics()["lowest_position"] == 3
        assert found.statistics()["in_window"] == 1


async def test_a_notice_that_is_never_taken_is_seen(autojump_clock: Clock, logged: Logged) -> None:
    """Its age can be read while the others go past it; it is said once that it is old, and not before the limit."""
    said = "notice not acknowledged for long"

    def oldest_s() -> float | None:
        return metrics.REGISTRY.get_sample_value("fps_notice_oldest_age_seconds")

    journal, teller = Journal(), Teller(lambda position: BUSY if position in {1, 3} else OK)
    found = Forwarder(settings(), "node", teller, TO, clock=moving, luck=lambda: 1.0)
    for number in range(10):
        journal.stand_in(number)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(found.run, journal)
        await trio.sleep(OLD_S - 1)
        assert len(journal.done) == 8
        assert oldest_s() == pytest.approx(OLD_S - 1)
        assert found.statistics()["oldest_age_s"] == oldest_s()
        assert logged(said) == []
        await trio.sleep(1000 * LOOK_EVERY_S)
        line = logged(said)[0]
        assert len(logged(said)) == 1
        assert (line["position"], line["step"], line["level"]) == (1, "STOOD_IN", "warning")
        assert OLD_S < line["age_s"] <= OLD_S + LOOK_EVERY_S
        assert payment(0)[0] not in str(logged())

        teller.verdict = lambda position: BUSY if position == 3 else OK
        await trio.sleep(10 * LOOK_EVERY_S)
        assert [line["position"] for line in logged(said)] == [1, 3]

        teller.verdict = lambda _: OK
        await trio.sleep(60)
        assert (oldest_s(), found.statistics()["oldest_age_s"]) == (0, 0)
        assert found._timer.deadline == math.inf
        nursery.cancel_scope.cancel()
    assert oldest_s() == 0


async def test_an_old_backlog_is_no_flood_of_lines(autojump_clock: Clock, logged: Logged) -> None:
    """After hours without a processor one line says so, and telling what has gathered adds none for each."""
    journal, teller = Journal(), Teller(lambda _: GONE if trio.current_time() < 3 * OLD_S else OK)
    found = Forwarder(settings(), "node", teller, TO, clock=moving, luck=lambda: 1.0)
    for number in range(2000):
        journal.stand_in(number)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(found.run, journal)
        await all_done(journal, 2000)
        nursery.cancel_scope.cancel()
    assert len(logged("notice not acknowledged for long")) <= 2


async def test_many_notices_that_are_never_taken(autojump_clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    """Even when they fill nearly all of the window, those behind them are read and told."""
    monkeypatch.setattr("gateway.processor.forwarder.WINDOW_MAX", 64)
    monkeypatch.setattr("gateway.processor.forwarder.BATCH_MAX", 16)
    stuck = 60
    journal, teller = Journal(), Teller(lambda position: BUSY if position <= stuck else OK)
    for number in range(stuck + 100):
        journal.stand_in(number)
    async with telling(journal, teller, tell_pause_s=0.001, tell_pause_max_s=0.002, tell_per_s=1e6):
        await all_done(journal, 100)


# --- a processor that is away


async def test_one_probe_at_a_time(autojump_clock: Clock, logged: Logged) -> None:
    """When nobody answers one notice at a time is tried, with growing pauses; when one is taken all go at full pace."""
    journal = Journal()
    teller = Teller(lambda _: GONE if trio.current_time() < 100 else OK, takes_s=0.01)
    for number in range(500):
        journal.stand_in(number)
    async with telling(journal, teller, tell_pause_s=0.5, tell_pause_max_s=30.0) as found:
        await trio.sleep(100)
        probes = [at for at, _ in teller.log if at > 0.1]
        pauses = [later - earlier for earlier, later in pairwise(probes)]
        assert pauses[:6] == pytest.approx([1, 2, 4, 8, 16, 30], abs=0.1)
        assert len(teller.log) < 20
        assert found.health() == "processor takes no notices"
        assert 0 < found.statistics()["pause_s"] <= 30
        back_s = trio.current_time()
        await all_done(journal, 500)
        first_s = min(at for at, _ in teller.log if at > back_s)
        assert trio.current_time() - first_s < 2
        assert found.health() == ""
    assert len(logged("notices are not taken")) == 1
    assert len(logged("notices are taken again")) == 1


async def test_refusals_do_not_mean_away(autojump_clock: Clock) -> None:
    """A processor that refuses one notice after the other is there."""
    journal, teller = Journal(), Teller(lambda _: WRONG)
    for number in range(100):
        journal.stand_in(number)
    async with telling(journal, teller) as found:
        await all_done(journal, 100)
        assert found.health() == ""
        assert trio.current_time() < 1


@pytest.mark.parametrize("status", [401, 403, 404])
async def test_whoever_stands_in_front_refuses_no_notice(autojump_clock: Clock, status: int) -> None:
    """An ingress without its route, or a credential that is wrong for a while, parks nothing: all is told later."""
    journal = Journal()
    teller = Teller(lambda _: Told(status, 0.0, f"status {status}") if trio.current_time() < 60 else OK, takes_s=0.01)
    for number in range(500):
        journal.stand_in(number)
    async with telling(journal, teller, tell_pause_max_s=5.0) as found:
        await trio.sleep(59)
        assert len(teller.log) < 40
        assert found.health() == "processor takes no notices"
        await all_done(journal, 500)
        assert set(journal.done.values()) == {"TOLD"}


async def test_notices_that_are_never_taken_do_not_use_up_every_probe(autojump_clock: Clock) -> None:
    """Fifty that get a 404 for ever open the breaker again and again; a new one is told at the next probe."""
    journal = Journal()
    teller = Teller(lambda position: Told(404, 0.0, "status 404") if position <= 50 else OK)
    for number in range(50):
        journal.stand_in(number)
    async with telling(journal, teller, tell_pause_max_s=5.0):
        await trio.sleep(300)
        for number in range(50, 60):
            journal.stand_in(number)
        await trio.sleep(11)
        assert sorted(teller.taken) == list(range(51, 61))


# --- pace and bounds


async def test_a_processor_that_refuses_every_second_notice_is_told_at_full_pace(autojump_clock: Clock) -> None:
    """Those that it never takes are told again with pauses of their own, and keep nobody back: each of the others is
    told within a second of its record.
    """
    journal, due = Journal(), dict[int, float]()
    teller = Teller(lambda position: OK if position in due else BUSY)
    async with telling(journal, teller):
        for number in range(60):
            position = len(journal.records) + 1
            if number % 2:
                due[position] = trio.current_time()
            assert journal.stand_in(number) == position
            await trio.sleep(20)
    late = {position: teller.times(position)[0] - due_s for position, due_s in due.items()}
    assert max(late.values()) <= 1.0


async def test_the_pace(autojump_clock: Clock) -> None:
    """No second sees more notices than allowed, but for a small burst; and the pace is reached."""
    journal, teller = Journal(), Teller()
    for number in range(1000):
        journal.stand_in(number)
    async with telling(journal, teller, tell_per_s=100.0):
        await all_done(journal, 1000)
        assert trio.current_time() == pytest.approx(10, rel=0.05)
    times = [at for at, _ in teller.log]
    for start in range(10):
        assert sum(start <= at < start + 1 for at in times) <= 100 + 100 * BURST_S + 1


async def test_a_pace_finer_than_timers(autojump_clock: Clock) -> None:
    """A high pace is reached though no timer is so fine."""
    journal, teller = Journal(), Teller()
    for number in range(5000):
        journal.stand_in(number)
    async with telling(journal, teller, tell_per_s=5000.0):
        await all_done(journal, 5000)
        assert trio.current_time() == pytest.approx(1, rel=0.1)


async def test_connections(autojump_clock: Clock) -> None:
    """No more notices are under way than there are connections for them."""
    journal, teller = Journal(), Teller(takes_s=0.1)
    for number in range(100):
        journal.stand_in(number)
    async with telling(journal, teller, tell_connections=4):
        await all_done(journal, 100)
    assert teller.under_way_peak == 4


async def test_the_window_is_bounded(autojump_clock: Clock) -> None:
    """With a long backlog on disk memory holds a window of it."""
    journal, teller = Journal(), Teller(lambda _: GONE)
    for number in range(3 * WINDOW_MAX):
        journal.stand_in(number)
    async with telling(journal, teller) as found:
        await trio.sleep(1000)
        assert found.statistics()["in_window"] == WINDOW_MAX
        assert found.statistics()["backlog_at_least"] == 3 * WINDOW_MAX
        teller.verdict = lambda _: OK
        await all_done(journal, 3 * WINDOW_MAX)
        assert found.statistics()["backlog_at_least"] == 0


async def test_payments_first(autojump_clock: Clock) -> None:
    """While the journal has no room, nothing is told: what is told must be written down."""
    journal, teller = Journal(room=False), Teller()
    journal.stand_in()
    async with telling(journal, teller):
        await trio.sleep(10)
        assert teller.log == []
        journal.room = True
        await all_done(journal, 1)


# --- restarts


async def test_how_many_are_parked_is_shown_for_as_long_as_they_are(autojump_clock: Clock) -> None:
    """A metric, for an alert: each as it is refused, all again after a restart, and one less when the processor has
    acknowledged it after all.
    """
    journal = Journal()
    refused = {2, 5}
    for number in range(8):
        journal.stand_in(number)
    async with telling(journal, Teller(lambda position: WRONG if position in refused else OK)):
        await all_done(journal, 8)
        assert parked_now() == 2
    async with telling(journal, Teller()) as found:
        await trio.testing.wait_all_tasks_blocked()
        assert parked_now() == 2, "a restart forgets none"
        assert sorted(found.statistics()["parked_positions"]) == [2, 5]
    del journal.done[2]
    journal.append(Kind.TOLD, steps.pack(steps.Told(2, "processor")), wall_ns=WALL_NS)
    async with telling(journal, Teller()) as found:
        await trio.testing.wait_all_tasks_blocked()
        assert parked_now() == 1
        assert found.statistics()["parked_positions"] == [5]
    del journal.done[5]
    journal.append(Kind.TOLD, steps.pack(steps.Told(5, "processor")), wall_ns=WALL_NS)
    async with telling(journal, Teller()):
        await trio.testing.wait_all_tasks_blocked()
        assert parked_now() == 0


# --- a person has a parked notice told again


async def test_a_parked_notice_is_told_again_when_a_person_says_so(autojump_clock: Clock) -> None:
    """Under the same id; acknowledged, it has its TOLD after all, and is parked no more, after a restart neither."""
    journal, teller = Journal(), Teller(lambda position: WRONG if position == 1 else OK)
    journal.stand_in(1)
    journal.stand_in(2)
    async with telling(journal, teller) as found:
        await all_done(journal, 2)
        teller.verdict = lambda _: OK
        await found.tell_again(1)
        assert parked_now() == 0
        assert found.statistics()["parked_positions"] == []
        await trio.sleep(1)
    assert (len(teller.times(1)), len(teller.times(2))) == (2, 1)
    assert journal.done == {1: "TOLD", 2: "TOLD"}
    assert steps.unpack(Kind.TOLD, journal.records[-1].body) == steps.Told(1, "processor")
    again = Teller()
    async with telling(journal, again):
        await trio.sleep(1)
        assert parked_now() == 0
    assert again.log == []


@pytest.mark.parametrize("parked_by", ["this process", "the one before"])
@pytest.mark.parametrize(
    ("verdict", "error", "said"),
    [
        (Told(409, 0.0, "status 409"), Refusal, "position 1: refused again, with status 409; it stays parked"),
        (BUSY, Unavailable, "position 1: status 503; it stays parked"),
        (GONE, Unavailable, "position 1: ConnectionRefusedError: Connection refused; it stays parked"),
    ],
)
async def test_what_is_not_acknowledged_stays_parked(
    verdict: Told, error: type[Exception], said: str, parked_by: str, autojump_clock: Clock
) -> None:
    """The person hears why, at once; nothing is recorded, nothing is tried by itself, and they may ask again."""
    journal, teller = Journal(), Teller(lambda _: WRONG)
    journal.stand_in(1)
    if parked_by == "the one before":
        async with telling(journal, teller):
            await all_done(journal, 1)
    async with telling(journal, teller) as found:
        await all_done(journal, 1)
        await trio.testing.wait_all_tasks_blocked()
        records, told = len(journal.records), len(teller.log)
        teller.verdict = lambda _: verdict
        for _ in range(3):
            with pytest.raises(error) as caught:
                await found.tell_again(1)
            assert str(caught.value) == said
        await trio.sleep(1000)
        assert len(teller.log) == told + 3
        assert len(journal.records) == records
        assert parked_now() == 1
        assert found.statistics()["parked_positions"] == [1]
        teller.verdict = lambda _: OK
        await found.tell_again(1)
        assert parked_now() == 0


async def test_later_notices_of_the_payment_wait_for_one_that_is_told_again(autojump_clock: Clock) -> None:
    """There are never two at once about one payment, whoever asks; those about others go past. The fake looks."""
    journal, teller = Journal(), Teller(lambda position: WRONG if position == 1 else OK)
    journal.stand_in(1)
    async with telling(journal, teller) as found, trio.open_nursery() as nursery:
        await all_done(journal, 1)
        teller.verdict, teller.takes_s = lambda _: OK, 5.0
        nursery.start_soon(found.tell_again, 1)
        await trio.sleep(1)
        with pytest.raises(Refusal, match="another notice about the same payment is being told"):
            await found.tell_again(1)
        later, other = journal.stand_in(1), journal.stand_in(2)
        await all_done(journal, 3)
    assert teller.times(other)[0] < 5.0
    assert teller.times(later)[0] >= 5.0
    assert len(teller.log) == 4


async def test_one_that_waits_for_its_turn_is_not_overtaken(autojump_clock: Clock) -> None:
    """While a later notice of the payment is being told, a parked one is not told beside it."""
    journal, teller = Journal(), Teller(lambda position: WRONG if position == 1 else BUSY)
    journal.stand_in(1)
    async with telling(journal, teller) as found:
        await all_done(journal, 1)
        later = journal.stand_in(1)
        await trio.sleep(1)
        with pytest.raises(Refusal, match="another notice about the same payment is being told"):
            await found.tell_again(1)
        teller.verdict = lambda _: OK
        await all_done(journal, 2)
        await found.tell_again(1)
    assert journal.done == {1: "TOLD", later: "TOLD"}


async def test_a_person_who_gives_up_holds_nobody_up(autojump_clock: Clock) -> None:
    """Cancelled while it is told, it stays parked, and the payment's other notices go on."""
    journal, teller = Journal(), Teller(lambda _: WRONG)
    journal.stand_in(1)
    async with telling(journal, teller) as found:
        await all_done(journal, 1)
        teller.verdict, teller.takes_s = lambda _: OK, 5.0
        with trio.move_on_after(1):
            await found.tell_again(1)
        assert parked_now() == 1
        later = journal.stand_in(1)
        while later not in journal.done:
            await journal.news()
        await found.tell_again(1)
        assert parked_now() == 0


@pytest.mark.parametrize("position", [2, 3, 4, 10**15])
async def test_only_what_is_parked_is_told_again(position: int, autojump_clock: Clock) -> None:
    """Not what was told, is no notice, or is not there; the processor hears nothing of it."""
    journal, teller = Journal(), Teller(lambda position: WRONG if position == 1 else OK)
    journal.stand_in(1)
    journal.stand_in(2)
    async with telling(journal, teller) as found:
        await all_done(journal, 2)
        with pytest.raises(Refusal, match=f"^position {position}: no notice to processor is parked there$"):
            await found.tell_again(position)
    assert len(teller.log) == 2


async def test_what_the_journal_keeps_no_more_is_parked_no_more(autojump_clock: Clock) -> None:
    """Retention took the record: nobody can be told of it, so it is said and not counted any longer."""
    journal, teller = Journal(), Teller(lambda _: WRONG)
    journal.stand_in(1)
    async with telling(journal, teller) as found:
        await all_done(journal, 1)
        journal.gone_before = 2
        with pytest.raises(Refusal, match="the journal does not keep it any more"):
            await found.tell_again(1)
        assert parked_now() == 0


async def test_nothing_is_told_again_without_room_for_its_record(autojump_clock: Clock) -> None:
    """Payments need it; and before the journal is open there is nothing to tell from."""
    journal, teller = Journal(), Teller(lambda _: WRONG)
    journal.stand_in(1)
    with pytest.raises(Unavailable, match="not open yet"):
        await forwarder(teller).tell_again(1)
    async with telling(journal, teller) as found:
        await all_done(journal, 1)
        journal.room = False
        with pytest.raises(Unavailable, match="no room"):
            await found.tell_again(1)
        assert parked_now() == 1
    assert len(teller.log) == 1


async def test_a_restart(autojump_clock: Clock) -> None:
    """What has a TOLD or PARKED record is not told again, wherever the cursor was; what has none, is."""
    journal = Journal()
    teller = Teller(lambda position: BUSY if position == 2 else WRONG if position == 5 else OK)
    for number in range(8):
        journal.stand_in(number)
    async with telling(journal, teller):
        await all_done(journal, 7)
        await trio.sleep(1)
    assert journal.cursor == 2
    again = Teller()
    async with telling(journal, again) as found:
        assert found.statistics()["parked_positions"] == [5]
        await all_done(journal, 8)
        new = journal.stand_in(9)
        await all_done(journal, 9)
    assert [position for _, position in again.log] == [2, new]


async def test_killed_between_acknowledged_and_written(autojump_clock: Clock) -> None:
    """A notice whose TOLD record was lost is told again, under the same id."""
    journal, teller = Journal(), Teller()
    journal.stand_in()
    async with telling(journal, teller):
        await all_done(journal, 1)
    assert journal.records.pop().kind is Kind.TOLD
    journal.done.clear()
    journal.cursor = 1
    again = Teller()
    async with telling(journal, again):
        await all_done(journal, 1)
    assert [notice.id for notice in again.notices] == [notice.id for notice in teller.notices] == ["node/1"]


async def test_stopped_while_telling(autojump_clock: Clock) -> None:
    """What is in flight when the forwarder is cancelled stays to be told; what was told is written down first."""
    journal, teller = Journal(), Teller(takes_s=0.0)
    journal.stand_in(1)
    async with telling(journal, teller):
        await all_done(journal, 1)
        commits = journal.commits
        teller.takes_s = 5.0
        journal.stand_in(2)
        await trio.testing.wait_all_tasks_blocked()
        assert teller.under_way == 1
    assert journal.commits == commits + 1
    assert journal.done == {1: "TOLD"}
    assert journal.cursor == 2 + 1
    again = Teller()
    async with telling(journal, again):
        await all_done(journal, 2)
    assert again.taken == [3]


async def test_quiet_times_move_the_cursor(autojump_clock: Clock) -> None:
    """The cursor is written soon after, not with each notice; and the alarm is not set when there is nothing to do."""
    journal, teller = Journal(), Teller()
    for number in range(200):
        journal.stand_in(number)
    async with telling(journal, teller) as found:
        await all_done(journal, 200)
        await trio.sleep(1)
        assert journal.commits <= 10
        assert journal.cursor == 201
        assert found._timer.deadline == math.inf


# --- with the real client


async def test_over_the_client(autojump_clock: Clock) -> None:
    """A backlog goes out through the client to a processor that fails now and then; each notice counts once."""
    journal = Journal()
    mock = MockProcessor("mix:fast=6,status:503=1,half=1,malformed=1")
    for number in range(200):
        journal.stand_in(number % 50)

    async def script(peer: Peer) -> None:
        await mock.serve(peer._stream)

    async with asking(script) as world:
        found = forwarder(world.client)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(found.run, journal)
            await trio.sleep(20)
            mock.set_mode("fast")
            await all_done(journal, 200)
            nursery.cancel_scope.cancel()
    assert mock.counts["noticed"] == 200
    assert set(journal.done.values()) == {"TOLD"}
    by_payment: dict[str, list[int]] = {}
    for event in mock.events():
        if event.acknowledged:
            by_payment.setdefault(event.fpid, []).append(event.position)
    assert all(positions == sorted(positions) for positions in by_payment.values())
    assert len(by_payment) == 50
    mock.book.close()
