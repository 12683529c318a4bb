"""The scheme's news through the whole engine: what a 9824 changes for payments that come and those that leave."""

from datetime import UTC, datetime, timedelta

import msgspec
import pytest

from gateway import config
from gateway.payments.steps import Kind
from gateway.scheme.news import HandedOn, Lift
from gateway.wire.message import NetworkRequest, Usm
from tests.fakes.engine import PAIR, World, codes, payment, sealed, submission


def news(function: str = "971", at: str = "0921142000", number: int = 1, **fields: str) -> bytes:
    """A 9824 as it comes, authentic."""
    return sealed(Usm(mti="9824", function_code=function, transmission_time=at, message_id=f"{number:06}", **fields))  # type: ignore[arg-type]  # by name


SUSPENDED = news(service_status="01")
AVAILABLE = news(at="0921143000", number=2, service_status="00")


@pytest.fixture
def world() -> World:
    return World()


def heard(world: World, *messages: bytes) -> None:
    """These come, and all that follows is done."""
    world.frames(*messages)
    world.settle()


def stood_in_for(world: World, trn: str) -> list[str]:
    """A payment of the hub comes, the processor is silent for ever: the codes of what is replied."""
    already = len(world.link.sent)
    world.frames(payment(trn))
    world.settle()
    for _ in range(9):
        world.later(1.0)
        world.settle()
    return codes(world.link)[already:]


def test_a_suspension_declines_what_leaves_and_its_end_lets_it_leave(world: World) -> None:
    """Not taken, with 9943, and never sent; later payments leave."""
    heard(world, SUSPENDED)
    first = submission("key-1", "OUT1")
    world.submit(first)
    world.settle()
    assert (first.standing, first.refused, first.code) == (None, "unavailable", "9943")
    assert world.link.sent == []
    heard(world, AVAILABLE)
    world.submit(submission("key-2", "OUT2"))
    world.settle()
    assert codes(world.link) == ["9200/"]


def test_news_counts_when_it_is_durable(world: World) -> None:
    """A payment that is submitted before that leaves; and the hub gets no 9834 before."""
    world.frames(SUSPENDED)
    world.macs()
    assert world.journal.kinds()[-1] == "USM"
    world.submit(submission())
    assert world.link.managed == []
    world.settle()
    assert codes(world.link) == ["9200/"]
    assert [message.mti for message in world.link.managed] == ["9824"]


SUSPENSIONS = {
    "the service": news(service_status="01"),
    "we": news("972", institution="200000", suspension="01"),
    "nobody by name": news("972", suspension="01"),
    "the sender": news("972", institution="040004", suspension="01"),
    "our groups": news("972", institution="200000", priority_groups="99"),
    "settlement": news("979", settlement_process="002"),
    "our cap": news("974", cap_status="01"),
}
WITHHELD = {"the service", "we", "nobody by name", "the sender"}


@pytest.mark.parametrize("withheld", [False, True], ids=["by default", "withheld"])
@pytest.mark.parametrize("what", SUSPENSIONS)
def test_what_the_hub_sends_is_stood_in_for_whatever_is_suspended(what: str, *, withheld: bool) -> None:
    """The hub has admitted it. A setting withholds stand-in while the service, we or the sender are suspended; then
    what nobody decides gets 1909 at the last moment. Either way the processor is asked.
    """
    stand_in = config.StandIn(withhold_while_suspended=withheld)
    ours = config.News(own_institutions=("200000",))
    world = World(msgspec.structs.replace(PAIR, stand_in=stand_in, news=ours))
    heard(world, SUSPENSIONS[what])
    expected = "1909" if withheld and what in WITHHELD else stand_in.code
    assert stood_in_for(world, "A") == [f"9210/{expected}"]
    assert len(world.processor.asked) == 1


def test_stand_in_is_withheld_until_news_says_otherwise() -> None:
    """Also after a restart."""
    world = World(msgspec.structs.replace(PAIR, stand_in=config.StandIn(withhold_while_suspended=True)))
    heard(world, SUSPENDED)
    again = world.restarted()
    again.settle()
    assert stood_in_for(again, "B") == ["9210/1909"]
    heard(again, AVAILABLE)
    assert stood_in_for(again, "C") == [f"9210/{PAIR.stand_in.code}"]


@pytest.mark.parametrize("lay_s", [0.0, 3600.0])
def test_news_that_lay_here_is_no_news_after_a_step_of_the_hubs_clock(world: World, lay_s: float) -> None:
    """What is an hour old by its own word came an hour ago: the machine slept, and later news was read before it. Where
    it comes just now, the hub's clock has stepped.
    """
    now = datetime.fromtimestamp(world.now.wall_ns // 10**9, UTC)

    def at(ago_s: int) -> str:
        return (now - timedelta(seconds=ago_s)).strftime("%m%d%H%M%S")

    heard(world, news(at=at(0), number=1, function="974", cap_status="00"))  # shows what the hub's clock is
    heard(world, news(at=at(30), number=2, service_status="01"))
    world.engine.frames(world.link, [(world.now_s - lay_s, news(at=at(3600), number=3, service_status="00"))], 0.0)
    world.turn()
    world.settle()
    assert world.engine.news.permits.service.word == ("suspended" if lay_s else "available")


def test_a_restart_remembers(world: World) -> None:
    """Killed right after the 9834: what was said stands."""
    heard(world, SUSPENDED)
    again = world.restarted()
    again.settle()
    declined = submission()
    again.submit(declined)
    again.settle()
    assert (declined.standing, declined.code) == (None, "9943")


def test_what_another_process_hands_on_counts_like_our_own(world: World) -> None:
    """Taken when it is durable, and nothing is said to the hub."""
    took: list[str] = []
    world.engine.control.on_handed_on(HandedOn("usm-a/5", SUSPENDED), took.append)
    world.turn()
    assert took == []
    world.settle()
    assert took == [""]
    assert world.link.managed == []
    declined = submission()
    world.submit(declined)
    world.settle()
    assert (declined.standing, declined.code) == (None, "9943")


def test_a_malformed_usm_is_rejected(world: World) -> None:
    """A missing DE7: 9624/650, no news."""
    heard(world, sealed(Usm(mti="9824", function_code="971", message_id="000001", service_status="01")))
    assert codes(world.link) == ["9624/650"]
    assert Kind.USM.name not in world.journal.kinds()
    assert world.link.managed == []


def test_the_statistics_say_it(world: World) -> None:
    """Among the engine's."""
    heard(world, SUSPENDED)
    shown = world.engine.statistics()["news"]
    assert isinstance(shown, dict)
    assert (shown["service"], shown["held"]["service"]) == ("suspended", 1)


def test_an_operator_lifts_a_suspension_and_what_is_submitted_leaves(world: World) -> None:
    """When that is durable, and after a restart; news that is sent later suspends again."""
    heard(world, SUSPENDED)
    done: list[str] = []
    world.engine.control.on_lift(Lift("service"), "the scheme says so by telephone", done.append)
    world.turn()
    declined = submission("key-1", "OUT1")
    world.submit(declined)
    world.settle()
    assert done == [""]
    assert declined.code == "9943"
    again = world.restarted()
    again.settle()
    again.submit(submission("key-2", "OUT2"))
    again.settle()
    assert codes(again.link) == ["9200/"]
    heard(again, news(at="0921143000", number=2, service_status="01"))
    declined = submission("key-3", "OUT3")
    again.submit(declined)
    again.settle()
    assert declined.code == "9943"


def test_an_echo_of_the_hub_shows_its_clock(world: World) -> None:
    """News after a step of a quarter of an hour is newer all the same."""

    def clock(step_s: int) -> str:
        return f"{datetime.fromtimestamp(world.now.wall_ns // 10**9 + step_s, UTC):%m%d%H%M%S}"

    heard(world, news(at=clock(0), service_status="01"))
    known = world.engine.news._known
    known.sent_s.update(dict.fromkeys(known.sent_s, 0.0))  # long ago
    echo = NetworkRequest(mti="9804", transmission_time=clock(-900), message_id="000002", function_code="831")
    heard(world, sealed(echo))
    heard(world, news(at=clock(-899), number=3, service_status="00"))
    assert world.engine.news.permits.service.word == "available"
