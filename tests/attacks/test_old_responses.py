"""Attacker: on the path to the hub. It records what passes, and sends it again when it likes.

Attack: it keeps the hub's response (9814) to a request of ours. It then has the gateway start anew at a moment with the
same DE7: our clock was set back, or a year has passed. Message ids began at 000001 with every process, so the same
request got the same DE7 and DE11 as before, and the old response was taken for the hub's word on the new one.

Gain before: a new key that the hub had not accepted came into force, and from then on the hub believed nothing that we
sent; or the gateway took itself for signed on, and was not.
"""

import pytest

from gateway import config
from gateway.hub.exchanges import MessageIds
from gateway.hub.rules import Direction, Send
from gateway.hub.session import Session
from gateway.payments import steps
from gateway.wire.message import NetworkRequest, NetworkResponse
from tests.fakes.engine import CODEC, PAIR, World, sealed

OWN = PAIR.mac.own_key


def begun() -> World:
    """A gateway's first process."""
    world = World()
    world.engine.begin(steps.Started("node", "0", "0"))
    world.settle()
    return world


def again(world: World) -> World:
    """The next process, while our clock says what it said before."""
    after = world.restarted()
    after.settle()
    after.link.keys += [f"{OWN}.aaaaaa", f"{OWN}.bbbbbb"]
    return after


def change(world: World, letter: str) -> None:
    """The hub gives us a key to sign with: its 811, and the tokens have it."""
    data = "2" + letter * 48 + letter * 6
    world.frames(sealed(NetworkRequest(
        mti="9804", transmission_time="1122120000", message_id="000001", function_code="811", key_data=data,
    )))  # fmt: skip
    world.settle()
    world.engine.on_installed(f"{OWN}.{letter.lower() * 6}", True, "")
    world.turn()
    world.settle()


def response_to(request: NetworkRequest) -> bytes:
    """The hub's 9814: yes."""
    return sealed(NetworkResponse(
        mti="9814", transmission_time=request.transmission_time, message_id=request.message_id,
        function_code=request.function_code, action_code="0000",
    ))  # fmt: skip


def asked(world: World, function_code: str) -> NetworkRequest:
    """Our last request of this kind."""
    requests = [each for each in world.link.sent if isinstance(each, NetworkRequest)]
    return next(each for each in reversed(requests) if each.function_code == function_code)


def test_a_response_to_an_earlier_process_puts_no_key_in_force() -> None:
    """Only the hub's own response to our 886 about this key does."""
    first = again(begun())
    change(first, "A")
    captured = response_to(asked(first, "886"))
    first.frames(captured)
    first.settle()
    assert first.engine.keying.story.own == f"{OWN}.aaaaaa"
    second = again(first)
    change(second, "B")
    second.frames(captured)  # the hub has said nothing yet
    second.settle()
    assert second.engine.keying.story.own == f"{OWN}.aaaaaa"
    assert second.engine.counts["key_unplaced"] == 1
    second.frames(response_to(asked(second, "886")))
    second.settle()
    assert second.engine.keying.story.own == f"{OWN}.bbbbbb"


@pytest.mark.parametrize("direction", Direction)
def test_a_response_to_an_earlier_process_signs_nobody_on(direction: Direction) -> None:
    """Only the hub's own response to our sign-on does."""
    world = begun()
    captured = [CODEC.decode(response_to(each)) for each in sign_ons(session_of(world), world)]
    later = again(world)
    session = session_of(later)
    requests = sign_ons(session, later)
    for each in captured:
        session.manage(each, later.now)
    assert not session.signed_on(direction)
    for request in requests:
        session.manage(CODEC.decode(response_to(request)), later.now)
    assert session.signed_on(direction)


def session_of(world: World) -> Session:
    """A session of a link of this process."""
    ids: MessageIds = world.engine.arriving.message_ids
    return Session(config.Session(), ids)


def sign_ons(session: Session, world: World) -> list[NetworkRequest]:
    """What it asks when the connection stands."""
    session.start(world.now)
    return [
        each.message for each in session.take() if isinstance(each, Send) and isinstance(each.message, NetworkRequest)
    ]
