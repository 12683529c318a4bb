"""A parked notice is told once more, or dropped, when a person says so; until then it counts as parked."""

import pytest
import trio
import trio.testing
from trio.testing import MockClock

from gateway import metrics
from gateway.errors import Refusal, Unavailable
from gateway.http.statuses import Told
from gateway.payments import steps
from gateway.payments.steps import Kind
from tests.fakes.processor import WALL_NS, Journal
from tests.processor.teller import BUSY, GONE, OK, WRONG, Teller, all_done, forwarder, parked_now, telling

# --- restarts


async def test_how_many_are_parked_is_shown_for_as_long_as_they_are(autojump_clock: MockClock) -> None:
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


async def test_a_parked_notice_is_told_again_when_a_person_says_so(autojump_clock: MockClock) -> None:
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
    verdict: Told, error: type[Exception], said: str, parked_by: str, autojump_clock: MockClock
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


async def test_later_notices_of_the_payment_wait_for_one_that_is_told_again(autojump_clock: MockClock) -> None:
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


async def test_one_that_waits_for_its_turn_is_not_overtaken(autojump_clock: MockClock) -> None:
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


async def test_a_person_who_gives_up_holds_nobody_up(autojump_clock: MockClock) -> None:
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
async def test_only_what_is_parked_is_told_again(position: int, autojump_clock: MockClock) -> None:
    """Not what was told, is no notice, or is not there; the processor hears nothing of it."""
    journal, teller = Journal(), Teller(lambda position: WRONG if position == 1 else OK)
    journal.stand_in(1)
    journal.stand_in(2)
    async with telling(journal, teller) as found:
        await all_done(journal, 2)
        with pytest.raises(Refusal, match=f"^position {position}: no notice to processor is parked there$"):
            await found.tell_again(position)
    assert len(teller.log) == 2


async def test_what_the_journal_keeps_no_more_is_parked_no_more(autojump_clock: MockClock) -> None:
    """Retention took the record: nobody can be told of it, so it is said and not counted any longer."""
    journal, teller = Journal(), Teller(lambda _: WRONG)
    journal.stand_in(1)
    async with telling(journal, teller) as found:
        await all_done(journal, 1)
        journal.gone_before = 2
        with pytest.raises(Refusal, match="the journal does not keep it any more"):
            await found.tell_again(1)
        assert parked_now() == 0


async def test_nothing_is_told_again_without_room_for_its_record(autojump_clock: MockClock) -> None:
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


# --- a person has a parked notice dropped, or has a look

STATUSES = {1: 400, 2: 409, 3: 422}


async def test_a_dropped_notice_is_never_told_again(autojump_clock: MockClock) -> None:
    """It has its record, with the reason; it is parked no more and cannot be told again, after a restart neither."""
    journal, teller = Journal(), Teller(lambda _: WRONG)
    journal.stand_in(1)
    async with telling(journal, teller) as found:
        await all_done(journal, 1)
        dropped = metrics.NOTICES.outcomes["dropped"]._value.get()
        await found.drop(1, "settled by hand")
        assert metrics.NOTICES.outcomes["dropped"]._value.get() == dropped + 1
        assert (parked_now(), found.statistics()["parked_positions"], found.statistics()["dropped"]) == (0, [], 1)
        for order in (found.tell_again(1), found.drop(1, "again")):
            with pytest.raises(Refusal, match="no notice to processor is parked there"):
                await order
    last = journal.records[-1]
    assert (last.kind, last.fpid) == (Kind.DROPPED, journal.records[0].fpid)
    assert steps.unpack(Kind.DROPPED, last.body) == steps.Dropped(1, "settled by hand", "processor")
    again = Teller()
    async with telling(journal, again) as found:
        await trio.sleep(1000)
        assert parked_now() == 0
        with pytest.raises(Refusal):
            await found.tell_again(1)
    assert again.log == []


async def test_a_notice_is_dropped_once_that_is_durable(autojump_clock: MockClock) -> None:
    """Until then nobody is told that it is done, and it is told to nobody all the same."""
    journal, teller = Journal(), Teller(lambda _: WRONG)
    journal.stand_in(1)
    synced, order = trio.Event(), trio.Event()

    async def until_durable(_position: int) -> None:
        await synced.wait()

    journal.until_durable = until_durable  # type: ignore[assignment,method-assign]  # a disk that takes its time
    async with telling(journal, teller) as found, trio.open_nursery() as nursery:
        await all_done(journal, 1)

        async def drop() -> None:
            await found.drop(1, "settled by hand")
            order.set()

        nursery.start_soon(drop)
        await trio.testing.wait_all_tasks_blocked()
        assert not order.is_set()
        with pytest.raises(Refusal):
            await found.tell_again(1)
        synced.set()
        await order.wait()
    assert len(teller.log) == 1


@pytest.mark.parametrize("why", ["never parked", "being told again", "no room", "not open"])
async def test_what_is_not_parked_or_cannot_be_recorded_is_not_dropped(why: str, autojump_clock: MockClock) -> None:
    """The person hears why; nothing is recorded, and it stays as it is."""
    journal, teller = Journal(), Teller(lambda position: WRONG if position == 1 else OK)
    journal.stand_in(1)
    journal.stand_in(2)
    if why == "not open":
        with pytest.raises(Unavailable, match="not open yet"):
            await forwarder(teller).drop(1, "settled by hand")
        with pytest.raises(Unavailable, match="not open yet"):
            await forwarder(teller).parked(10)
        return
    async with telling(journal, teller) as found, trio.open_nursery() as nursery:
        await all_done(journal, 2)
        position, said = 1, "being told again"
        if why == "never parked":
            position, said = 2, "no notice to processor is parked there"
        elif why == "no room":
            journal.room, said = False, "no room"
        else:
            teller.verdict, teller.takes_s = lambda _: OK, 5.0
            nursery.start_soon(found.tell_again, 1)
            await trio.testing.wait_all_tasks_blocked()
        with pytest.raises(Unavailable if why == "no room" else Refusal, match=said):
            await found.drop(position, "settled by hand")
    assert not any(record.kind is Kind.DROPPED for record in journal.records)


@pytest.mark.parametrize("restarted", [False, True])
async def test_what_is_parked_is_listed_for_people(autojump_clock: MockClock, *, restarted: bool) -> None:
    """Which, of what kind, why and since when, the latest so many; nothing of the payment. After a restart the same."""
    journal, teller = Journal(), Teller(lambda position: Told(STATUSES[position], 0.0, ""))
    for number in (1, 2, 4):
        journal.stand_in(number)
    async with telling(journal, teller) as found:
        await all_done(journal, 3)
        if not restarted:
            listed = await found.parked(2)
    if restarted:
        async with telling(journal, Teller()) as found:
            await trio.testing.wait_all_tasks_blocked()
            listed = await found.parked(2)
    positions = [each.position for each in listed]
    assert positions == [position for position in journal.done if journal.done[position] == "PARKED"][-2:]
    assert [each[1:] for each in listed] == [("processor", "STOOD_IN", STATUSES[at], WALL_NS) for at in positions]
    journal.gone_before = 100
    async with telling(journal, Teller()) as found:
        await trio.testing.wait_all_tasks_blocked()
        assert [each.kind for each in await found.parked(2)] == ["", ""]
