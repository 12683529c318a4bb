"""The rare turns of a key change, through the engine: what the hub does wrong or not at all, and how people hear it."""

import pytest

from gateway.payments import steps
from gateway.scheme.ring import Allow, Use
from gateway.wire.message import NetworkRequest, NetworkResponse
from tests.conftest import Logged
from tests.fakes.engine import PAIR, World, codes, sealed

OWN = PAIR.mac.own_key
NEW, NEWER = f"{OWN}.abcdef", f"{OWN}.123456"


@pytest.fixture
def world() -> World:
    """An engine that has begun."""
    one = World()
    one.engine.begin(steps.Started("node", "0", "0"))
    one.settle()
    one.link.keys += [NEW, NEWER]
    return one


def ask(world: World, function_code: str, key_data: str = "") -> None:
    """A 9804 of the hub."""
    world.frames(
        sealed(
            NetworkRequest(
                mti="9804", transmission_time="1122120000", message_id="000001", function_code=function_code,
                key_data=key_data,
            )
        )
    )  # fmt: skip
    world.settle()


def respond(world: World, function_code: str, code: str, message_id: str = "") -> None:
    """The hub's 9814 to our last request, or to this id."""
    requests = [message for message in world.link.sent if isinstance(message, NetworkRequest)]
    number = message_id or requests[-1].message_id
    copied = next((one.transmission_time for one in requests if one.message_id == number), "1122120000")
    world.frames(
        sealed(
            NetworkResponse(
                mti="9814", transmission_time=copied, message_id=number, function_code=function_code,
                action_code=code,
            )
        )
    )  # fmt: skip
    world.settle()


def change(world: World, check: str = "ABCDEF") -> None:
    """The hub gives us a key to sign with, and the tokens have it."""
    ask(world, "811", "2" + check * 8 + check)
    world.engine.on_installed(f"{OWN}.{check.lower()}", True, "")
    world.turn()
    world.settle()


def keys(world: World) -> dict[str, object]:
    """How our key stands."""
    shown = world.engine.statistics()["keys"]
    assert isinstance(shown, dict)
    own = shown["own"]
    assert isinstance(own, dict)
    return own


def test_key_data_that_cannot_be_taken_apart_is_refused(world: World, logged: Logged) -> None:
    """1909, and the tokens are asked for nothing."""
    ask(world, "811", "2" + "XY" * 24 + "ABCDEF")
    assert codes(world.link) == ["9814/1909"]
    assert not world.signer.installing
    (line,) = logged("key message refused: its key data cannot be taken apart")
    assert (line["component"], line["level"]) == ("keys", "error")


def test_a_key_that_comes_while_another_is_on_trial_takes_its_place(world: World, logged: Logged) -> None:
    """What the hub signs by the one before is still taken: it may have begun to."""
    change(world)
    change(world, "123456")
    assert keys(world)["on_trial"] == NEWER
    assert keys(world)["superseded"] == [NEW]
    (line,) = logged("key on trial replaced by another one")
    assert (line["level"], line["key_label"]) == ("warning", NEW)
    respond(world, "886", "0000")
    assert keys(world)["in_use"] == NEWER


def test_a_verification_that_the_hub_refuses_is_sent_again_and_then_given_up(world: World, logged: Logged) -> None:
    """Each refusal is said; the key before stays in force, and that is an error line."""
    change(world)
    for _ in range(PAIR.keys.verify_max):
        respond(world, "886", "9909")
        world.later(PAIR.keys.verify_every_s)
        world.settle()
    assert len(logged("key verification refused by the hub")) == PAIR.keys.verify_max
    (line,) = logged("new key not verified: the key before stays in force")
    assert (line["level"], line["key_label"]) == ("error", NEW)
    assert (keys(world)["in_use"], keys(world)["given_up"]) == (OWN, True)


def test_a_key_that_we_do_not_have_is_not_verified(world: World, logged: Logged) -> None:
    """The hub holds another one than we: 1909, and people must look."""
    ask(world, "886", "2FFFFFF")
    assert codes(world.link) == ["9814/1909"]
    (line,) = logged("the hub verifies a key that we do not have")
    assert (line["level"], line["detail"]) == ("error", "own")


def test_the_hub_is_given_no_key(world: World, logged: Logged) -> None:
    """Keys are its own to give: an 885 of the hub is refused."""
    ask(world, "885", "2")
    assert codes(world.link) == ["9814/1909"]
    assert [line["level"] for line in logged("the hub asks us for a key, which is its own to give")] == ["warning"]


def test_a_hub_that_gives_no_key_may_be_asked_again(world: World, logged: Logged) -> None:
    assert world.engine.control.ask_for_key(Use.OWN) == ""
    world.turn()
    world.settle()
    respond(world, "885", "9909")
    (line,) = logged("the hub gives no new key")
    assert (line["level"], line["detail"]) == ("error", "9909")
    assert world.engine.control.ask_for_key(Use.OWN) == ""


def test_a_request_for_a_key_that_nobody_answers_may_be_made_again(world: World, logged: Logged) -> None:
    """When its time is over, and the answer that comes later belongs to nothing."""
    assert world.engine.control.ask_for_key(Use.OWN) == ""
    world.turn()
    world.settle()
    world.later(PAIR.session.respond_within_s)
    world.settle()
    assert [line["level"] for line in logged("the request for a new key is unanswered")] == ["error"]
    respond(world, "885", "0000")
    (line,) = logged("response about keys belongs to nothing we asked")
    assert (line["level"], line["detail"]) == ("warning", "885")
    assert world.engine.control.ask_for_key(Use.OWN) == ""


def test_a_superseded_key_that_comes_again_is_refused_and_said(world: World, logged: Logged) -> None:
    """Captured once, it is authentic for ever: people must hear that somebody sends it."""
    for check in ("ABCDEF", "123456"):
        change(world, check)
        respond(world, "886", "0000")
    ask(world, "811", "2" + "ABCDEF" * 9)
    assert codes(world.link)[-1] == "9814/1909"
    (line,) = logged("key refused: it was superseded, and comes back only by an operator's act")
    assert (line["component"], line["level"]) == ("keys", "error")


def test_an_operator_allows_a_superseded_key(world: World, logged: Logged) -> None:
    """Ordered at once, done when it is durable; a line and a count, without the operator's words."""
    for check in ("ABCDEF", "123456"):
        change(world, check)
        respond(world, "886", "0000")
    done: list[str] = []
    world.engine.control.on_allow(Allow("own", "abcdef"), "as Jo Bloggs says", done.append)
    world.turn()
    assert world.journal.kinds()[-2:] == ["KEY_ALLOWED", "KEYS"]
    assert done == []
    world.settle()
    assert done == [""]
    (line,) = logged("an operator allows a superseded key to come back")
    assert (line["level"], line["key_label"], line["detail"]) == ("warning", NEW, "own")
    assert "Bloggs" not in str(logged())
    assert world.engine.counts["key_allowed"] == 1
    change(world, "ABCDEF")
    assert keys(world)["on_trial"] == NEW
