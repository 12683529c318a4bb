"""What the hub's clock says, heard by the engine: on every link it is doubt, on one alone it is nothing."""

import pytest

from gateway.payments.steps import Kind
from gateway.wire.message import Message, NetworkRequest, NetworkResponse, Usm
from tests.fakes.engine import FakeLink, World, codes, payment, sealed

OLD = "20240102"


def echo(time: str) -> Message:
    return NetworkRequest(mti="9804", transmission_time=time, message_id="000001", function_code="831")


def news(time: str) -> Message:
    return Usm(mti="9824", transmission_time=time, message_id="000001", function_code="981")


def response(time: str) -> Message:
    return NetworkResponse(
        mti="9814", transmission_time=time, message_id="000001", function_code="831", action_code="0000"
    )


@pytest.mark.parametrize(
    ("said", "doubt"),
    [
        ([echo("1119120000"), echo("1119120000")], True),
        ([echo("1119120000"), news("1119120000")], True),
        ([echo("1119120000"), echo("1122120000")], False),
        ([response("1119120000"), response("1119120000")], False),  # it copies our own time
    ],
)
def test_what_the_hubs_clock_says_on_each_link(said: list[Message], doubt: bool) -> None:  # noqa: FBT001 - a column
    """Where it differs on every link, a payment of another day is asked about with the mark; else it is refused."""
    world = World()
    links = [world.link, FakeLink(2)]
    for link, message in zip(links, said, strict=True):
        world.frames(sealed(message), link=link)
        world.settle()
    world.frames(payment(date_sent=OLD))
    world.settle()
    assert [ask.unusual_date for ask in world.processor.asked] == [True] * doubt
    assert [code for code in codes(world.link) if code.startswith("9210")] == ([] if doubt else ["9210/1930"])
    assert world.engine.clocks.trouble == "", "the hub's clock never makes us unready"


@pytest.mark.parametrize("lay_s", [0.0, 11.0])
def test_what_lay_here_while_the_machine_slept_says_nothing_of_the_hubs_clock(lay_s: float) -> None:
    """It showed what its time was then."""
    world = World()
    world.engine.frames(world.link, [(world.now_s - lay_s, sealed(echo("1119120000")))], world.now_s)
    world.turn()
    world.settle()
    assert world.engine.clocks.hub_differs(world.now) is not bool(lay_s)
    assert [message.mti for message in world.link.managed] == ["9804"], "it is answered all the same"


def test_a_link_that_ended_says_nothing_any_more() -> None:
    """The one that differs is gone: what the others say counts."""
    world = World()
    world.frames(sealed(echo("1119120000")))
    world.settle()
    assert world.engine.clocks.hub_differs(world.now)
    world.down(world.link)
    assert not world.engine.clocks.hub_differs(world.now)


def test_an_ordinary_payment_is_asked_about_without_a_mark() -> None:
    world = World()
    world.frames(payment())
    world.settle()
    assert [ask.unusual_date for ask in world.processor.asked] == [False]


def test_a_restart_knows_when_the_last_record_was_written() -> None:
    """By the journal: a clock that is two days earlier then cannot be right."""
    world = World()
    world.frames(payment())
    world.settle()
    after = world.restarted()
    assert after.engine.clocks.look(after.now) == ""
    earlier = after.now._replace(wall_ns=after.now.wall_ns - 2 * 86_400 * 10**9)
    assert "earlier than the journal's last record" in after.engine.clocks.look(earlier)
    after.past.record(*_record(earlier.wall_ns))
    assert after.past.recorded_ns > earlier.wall_ns, "what such a clock wrote is no measure"


def _record(wall_ns: int) -> tuple[Kind, int, str, bytes]:
    return Kind.MANAGEMENT_IN, wall_ns, "", b""
