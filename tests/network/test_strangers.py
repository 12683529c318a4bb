"""Places for clients that have proved nothing yet: who gets one, who has to go for it, and who is out of reach."""

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from gateway.network.strangers import (
    CONNECTIONS_MAX,
    CROWDED,
    EACH_WORK_PER_S,
    KNOWN_FOR_S,
    KNOWN_MAX,
    KNOWN_PLACES_MAX,
    LATE,
    PLACES_MAX,
    WITHIN_S,
    WORK_PER_S,
    Place,
    Strangers,
    origin,
)


class Crowd:
    """Clients that hold their places until they have to go, or prove themselves."""

    def __init__(self, nursery: trio.Nursery, strangers: Strangers) -> None:
        self._nursery = nursery
        self.strangers = strangers
        self.places: list[Place] = []
        self._prove: dict[int, trio.Event] = {}

    async def come(self, address: str, times: int = 1) -> list[Place]:
        """So many connections from there, one after the other."""
        for _ in range(times):
            await self._nursery.start(self._stay, address)
        return self.places[-times:]

    async def prove(self, place: Place) -> None:
        """It shows what is asked for."""
        self._prove[id(place)].set()
        await wait_all_tasks_blocked()

    async def _stay(self, address: str, *, task_status: trio.TaskStatus[None]) -> None:
        with self.strangers.place(address) as place:
            self.places.append(place)
            self._prove[id(place)] = trio.Event()
            task_status.started()
            await self._prove[id(place)].wait()
            place.proved()

    def gone(self) -> list[Place]:
        """Those that had to go."""
        return [place for place in self.places if place.why]

    @property
    def here(self) -> dict[str, int]:
        """How many still have a place, by address."""
        staying = [place.at for place in self.places if not place.why and not place.is_proved]
        return {at: staying.count(at) for at in dict.fromkeys(staying)}


@pytest.fixture
async def crowd(autojump_clock: MockClock, nursery: trio.Nursery) -> Crowd:
    """Nobody, yet."""
    return Crowd(nursery, Strangers())


async def test_a_crowd_at_one_address_pushes_out_its_own_oldest(crowd: Crowd) -> None:
    """And nobody else's, though somebody else's is older."""
    await crowd.come("10.0.0.1")
    await crowd.come("10.0.0.66", PLACES_MAX + 5)
    await wait_all_tasks_blocked()
    assert crowd.here == {"10.0.0.1": 1, "10.0.0.66": PLACES_MAX - 1}
    assert crowd.gone() == crowd.places[1:7]
    assert {place.why for place in crowd.gone()} == {CROWDED}
    assert (crowd.strangers.here, crowd.strangers.turned_away) == (PLACES_MAX, 6)


async def test_beside_any_crowd_one_from_elsewhere_gets_a_place(crowd: Crowd) -> None:
    """The oldest goes of the address that has most, until all have one each; then the oldest of all."""
    each = PLACES_MAX // 4
    for number in range(4):
        await crowd.come(f"10.0.0.{number}", each)
    await crowd.come("10.0.1.1", 3)
    assert crowd.here == {
        "10.0.0.0": each - 1, "10.0.0.1": each - 1, "10.0.0.2": each - 1, "10.0.0.3": each, "10.0.1.1": 3,
    }  # fmt: skip
    for number in range(PLACES_MAX):
        await crowd.come(f"10.0.2.{number}")
    assert len(crowd.here) == PLACES_MAX
    assert set(crowd.here.values()) == {1}
    await crowd.come("10.0.3.1")
    assert crowd.here["10.0.3.1"] == 1
    assert sum(crowd.here.values()) == crowd.strangers.here == PLACES_MAX


async def test_the_newest_always_gets_a_place(crowd: Crowd) -> None:
    """Whatever came before."""
    for number in range(3 * PLACES_MAX):
        (place,) = await crowd.come(f"10.0.{number % 7}.{number % 11}")
        assert not place.why


async def test_strangers_take_nothing_of_an_address_where_somebody_has_proved_himself(crowd: Crowd) -> None:
    """It has places of its own for as long as it is known."""
    (first,) = await crowd.come("10.0.0.1")
    await crowd.prove(first)
    assert (first.is_proved, first.why, crowd.strangers.here) == (True, "", 0)
    genuine = await crowd.come("10.0.0.1", KNOWN_PLACES_MAX)
    for number in range(2 * PLACES_MAX):
        await crowd.come(f"10.6.0.{number}", 2)
    assert not any(place.why for place in genuine)
    assert crowd.strangers.here == CONNECTIONS_MAX
    await crowd.come("10.0.0.1")
    assert genuine[0].why == CROWDED


async def test_time_is_short(crowd: Crowd, autojump_clock: MockClock) -> None:
    """Silence has an end."""
    (place,) = await crowd.come("10.0.0.1")
    autojump_clock.jump(WITHIN_S)
    await wait_all_tasks_blocked()
    assert (place.why, crowd.strangers.here, crowd.strangers.turned_away) == (LATE, 0, 0)


async def test_an_address_is_forgotten(crowd: Crowd, autojump_clock: MockClock) -> None:
    """After a day without a proof, and the one whose proof is oldest when there are too many."""

    async def is_known(address: str) -> bool:
        """Whether nobody has to go for one from there, though strangers have taken every place of theirs."""
        await crowd.come("10.9.9.9", PLACES_MAX)
        before = crowd.strangers.turned_away
        await crowd.come(address)
        return crowd.strangers.turned_away == before

    (place,) = await crowd.come("10.0.0.1")
    assert not await is_known("10.0.0.1")
    await crowd.prove(place)
    assert await is_known("10.0.0.1")
    autojump_clock.jump(KNOWN_FOR_S)
    await wait_all_tasks_blocked()
    assert not await is_known("10.0.0.1")
    for number in range(KNOWN_MAX + 1):
        (place,) = await crowd.come(f"10.1.{number // 200}.{number % 200}")
        await crowd.prove(place)
    assert not await is_known("10.1.0.0")
    assert await is_known("10.1.0.1")


async def test_the_work_for_strangers_is_paced(crowd: Crowd, autojump_clock: MockClock) -> None:
    """So many handshakes begin in a second with one address, so many with all; the others wait for the next second, or
    for one of their address to prove itself.
    """
    autojump_clock.autojump_threshold = float("inf")
    strangers, begun = Strangers(), list[str]()

    async def begin(address: str) -> None:
        with strangers.place(address) as place:
            await place.turn()
            begun.append(address)

    async with trio.open_nursery() as nursery:
        for _ in range(EACH_WORK_PER_S + 10):
            nursery.start_soon(begin, "10.0.0.1")
            nursery.start_soon(begin, "10.0.0.2")
        await wait_all_tasks_blocked()
        assert (begun.count("10.0.0.1"), begun.count("10.0.0.2")) == (EACH_WORK_PER_S, EACH_WORK_PER_S)
        strangers.is_known_from_now("10.0.0.1")
        await wait_all_tasks_blocked()
        assert (begun.count("10.0.0.1"), begun.count("10.0.0.2")) == (EACH_WORK_PER_S + 10, EACH_WORK_PER_S)
        autojump_clock.jump(1.0)
        await wait_all_tasks_blocked()
        assert begun.count("10.0.0.2") == EACH_WORK_PER_S + 10
        begun.clear()
        autojump_clock.jump(1.0)
        for number in range(PLACES_MAX):
            nursery.start_soon(begin, f"10.1.0.{number}")
        await wait_all_tasks_blocked()
        assert len(begun) == WORK_PER_S
        autojump_clock.jump(1.0)
    assert len(begun) == PLACES_MAX
    assert strangers.turned_away == 0


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("10.0.0.1", "10.0.0.1", True),
        ("10.0.0.1", "10.0.0.2", False),
        ("::ffff:10.0.0.1", "10.0.0.1", True),
        ("2001:db8::1", "2001:db8::ffff:1", True),
        ("2001:db8::1", "2001:db8:0:1::1", False),
        ("fe80::1%eth0", "fe80::2%eth0", True),
        ("", "", True),
        ("", "10.0.0.1", False),
    ],
)
def test_what_counts_as_one_address(one: str, other: str, same: bool) -> None:  # noqa: FBT001 - a column of the table
    """A network's holder has as many IPv6 addresses as he likes."""
    assert (origin(one) == origin(other)) is same
