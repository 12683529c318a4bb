"""Each notice is told until it is acknowledged or refused for good, in order for each payment, at a bounded pace."""

import math
from itertools import pairwise
from random import Random

import pytest
import trio
import trio.testing
from trio.testing import MockClock

from gateway import metrics
from gateway.http.statuses import Told
from gateway.payments import steps
from gateway.payments.steps import Kind
from gateway.processor.forwarder import BURST_S, LOOK_EVERY_S, OLD_S, WINDOW_MAX, Forwarder
from loadtest.processor.server import MockProcessor
from tests.conftest import Logged
from tests.fakes.processor import Journal, Peer, asking, payment, settings
from tests.processor.teller import BUSY, GONE, OK, TO, WRONG, Teller, all_done, forwarder, moving, telling

# --- the straight line


async def test_a_stand_in_is_told(autojump_clock: MockClock) -> None:
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


async def test_only_what_is_to_be_told(autojump_clock: MockClock) -> None:
    """Steps that nobody must hear of are passed over."""
    journal, teller = Journal(), Teller()
    for kind in Kind:
        if kind not in steps.TOLD_KINDS | {Kind.TOLD, Kind.PARKED, Kind.DROPPED}:
            journal.append(kind, b"", fpid="F" * 42)
    position = journal.stand_in()
    async with telling(journal, teller):
        await all_done(journal, 1)
    assert teller.taken == [position]


# --- order, per payment


async def test_order_per_payment(autojump_clock: MockClock) -> None:
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


async def test_what_waits_for_a_parked_notice_goes_on(autojump_clock: MockClock) -> None:
    """Parked is done, too."""
    journal = Journal()
    teller = Teller(lambda position: WRONG if position == 1 else OK)
    journal.stand_in(1)
    journal.stand_in(1)
    async with telling(journal, teller):
        await all_done(journal, 2)
    assert journal.done == {1: "PARKED", 2: "TOLD"}


async def test_order_whatever_happens(autojump_clock: MockClock) -> None:
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


async def test_growing_pauses(autojump_clock: MockClock) -> None:
    """A notice that the processor cannot take now is told again after pauses that double up to the longest."""
    journal, teller = Journal(), Teller(lambda position: BUSY if position == 1 else OK)
    journal.stand_in(1)
    async with telling(journal, teller, tell_pause_s=0.5, tell_pause_max_s=4.0):
        for number in range(2, 80):
            await trio.sleep(0.25)
            journal.stand_in(number)
    pauses = [later - earlier for earlier, later in pairwise(teller.times(1))][:6]
    assert pauses == pytest.approx([0.5, 1, 2, 4, 4, 4], abs=0.06)


async def test_retry_after(autojump_clock: MockClock) -> None:
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


async def test_a_notice_that_is_refused_is_parked(autojump_clock: MockClock, logged: Logged) -> None:
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


async def test_one_notice_that_is_never_taken_holds_nobody_up(autojump_clock: MockClock) -> None:
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


async def test_a_notice_that_is_never_taken_is_seen(autojump_clock: MockClock, logged: Logged) -> None:
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


async def test_an_old_backlog_is_no_flood_of_lines(autojump_clock: MockClock, logged: Logged) -> None:
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


async def test_many_notices_that_are_never_taken(autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch) -> None:
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


async def test_one_probe_at_a_time(autojump_clock: MockClock, logged: Logged) -> None:
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


async def test_refusals_do_not_mean_away(autojump_clock: MockClock) -> None:
    """A processor that refuses one notice after the other is there."""
    journal, teller = Journal(), Teller(lambda _: WRONG)
    for number in range(100):
        journal.stand_in(number)
    async with telling(journal, teller) as found:
        await all_done(journal, 100)
        assert found.health() == ""
        assert trio.current_time() < 1


@pytest.mark.parametrize("status", [401, 403, 404])
async def test_whoever_stands_in_front_refuses_no_notice(autojump_clock: MockClock, status: int) -> None:
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


async def test_notices_that_are_never_taken_do_not_use_up_every_probe(autojump_clock: MockClock) -> None:
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


async def test_a_processor_that_refuses_every_second_notice_is_told_at_full_pace(autojump_clock: MockClock) -> None:
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


async def test_the_pace(autojump_clock: MockClock) -> None:
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


async def test_a_pace_finer_than_timers(autojump_clock: MockClock) -> None:
    """A high pace is reached though no timer is so fine."""
    journal, teller = Journal(), Teller()
    for number in range(5000):
        journal.stand_in(number)
    async with telling(journal, teller, tell_per_s=5000.0):
        await all_done(journal, 5000)
        assert trio.current_time() == pytest.approx(1, rel=0.1)


async def test_connections(autojump_clock: MockClock) -> None:
    """No more notices are under way than there are connections for them."""
    journal, teller = Journal(), Teller(takes_s=0.1)
    for number in range(100):
        journal.stand_in(number)
    async with telling(journal, teller, tell_connections=4):
        await all_done(journal, 100)
    assert teller.under_way_peak == 4


async def test_the_window_is_bounded(autojump_clock: MockClock) -> None:
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


async def test_payments_first(autojump_clock: MockClock) -> None:
    """While the journal has no room, nothing is told: what is told must be written down."""
    journal, teller = Journal(room=False), Teller()
    journal.stand_in()
    async with telling(journal, teller):
        await trio.sleep(10)
        assert teller.log == []
        journal.room = True
        await all_done(journal, 1)


async def test_a_restart(autojump_clock: MockClock) -> None:
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


async def test_killed_between_acknowledged_and_written(autojump_clock: MockClock) -> None:
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


async def test_stopped_while_telling(autojump_clock: MockClock) -> None:
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


async def test_quiet_times_move_the_cursor(autojump_clock: MockClock) -> None:
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


async def test_over_the_client(autojump_clock: MockClock) -> None:
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
