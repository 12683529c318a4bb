"""Attacker: on the path to the hub. It records a key change, the 811 and what answers it, and sends it again later.

Attack: an 811 has no date that can be trusted, and a MAC that stays right for as long as the hub signs with the same
key. The attacker sends an old one after that key was superseded: soon, after a restart, after many changes, or when the
disk's old segments have gone.

Gain before: our signing key rolled back to the old one, and the hub believed nothing that we sent, until people came.
Since superseded keys are known it took 257 later changes, or a hub whose old key was offered as ours.
"""

import pytest

from gateway import config
from gateway.payments import steps
from gateway.payments.lasting import DAILY_S
from gateway.payments.steps import Kind
from gateway.wire.message import NetworkRequest, NetworkResponse
from tests.fakes.engine import World, sealed

CHANGES = 300
"""More than were remembered once."""


def world_with(in_force: str) -> World:
    """A gateway whose first process has begun."""
    pair = config.Pair(group="sip", keys=config.Keys(in_force=in_force))  # type: ignore[arg-type]
    world = World(pair)
    world.engine.begin(steps.Started("node", "0", "0"))
    world.settle()
    return world


def captured(number: int, use: str = "2") -> bytes:
    """The hub's 811 of this key, as it was on its day."""
    check = f"{number:06X}"
    return sealed(NetworkRequest(
        mti="9804", transmission_time="1122120000", message_id=f"{number:06}", function_code="811",
        key_data=use + check * 8 + check,
    ))  # fmt: skip


def changed(world: World, number: int) -> bytes:
    """A key change from its 811 to its end. Returns the hub's 9814."""
    label = f"{world.pair.mac.own_key}.{number:06x}"
    world.link.keys.append(label)
    world.frames(captured(number))
    world.settle()
    world.signer.installing.clear()
    world.engine.on_installed(label, True, "")
    world.turn()
    world.settle()
    asked = [each for each in world.link.sent if isinstance(each, NetworkRequest) and each.function_code == "886"][-1]
    response = sealed(NetworkResponse(
        mti="9814", transmission_time=asked.transmission_time, message_id=asked.message_id, function_code="886",
        action_code="0000",
    ))  # fmt: skip
    world.frames(response)
    world.settle()
    assert world.engine.keying.story.own == label
    return response


def replay(world: World, *messages: bytes) -> str:
    """What the attacker sends; returns the label of the key that signs afterwards."""
    for message in messages:
        world.frames(message)
        world.settle()
    for key in list(world.signer.installing):
        world.link.keys.append(key.label)
        world.engine.on_installed(key.label, True, "")
        world.turn()
        world.settle()
    return world.engine.keying.story.own


@pytest.mark.parametrize("in_force", ["verified", "changed"])
def test_an_old_811_and_its_9814_do_not_roll_our_key_back(in_force: str) -> None:
    """At once, after the overlap, after a restart, and when only what a day has written anew is left of the journal."""
    world = world_with(in_force)
    response = changed(world, 1)
    changed(world, 2)
    now = f"{world.pair.mac.own_key}.000002"
    assert replay(world, captured(1), response) == now
    world.later(world.pair.keys.overlap_s)
    world.settle()
    assert replay(world, captured(1), response) == now
    count = len(world.journal.records)
    world.later(DAILY_S)
    world.settle()
    world.journal.records = [
        (kind, body, fpid) if at >= count else (Kind.STARTED, b"", "")
        for at, (kind, body, fpid) in enumerate(world.journal.records)
    ]
    later = world.restarted()
    later.settle()
    later.link.keys.append(now)
    assert replay(later, captured(1), response) == now
    assert later.engine.counts["key_superseded_again"] == 1


def test_not_after_many_changes_either() -> None:
    """Nor is a key of ours taken for the hub's."""
    world = world_with("changed")
    for number in range(1, CHANGES + 1):
        changed(world, number)
    last = f"{world.pair.mac.own_key}.{CHANGES:06x}"
    assert replay(world, captured(1)) == last
    assert not world.signer.installing
    assert replay(world, captured(1, use="1")) == last
    assert world.engine.keying.story.verifiers() == (world.pair.mac.hub_key,)
    assert world.engine.counts["key_superseded_again"] == 2


def test_a_key_change_that_was_held_back_is_given_up() -> None:
    """The attacker keeps an 811 from us and delivers it when the hub uses a newer key: the hub does not accept it."""
    world = world_with("verified")
    changed(world, 2)
    now = f"{world.pair.mac.own_key}.000002"
    assert replay(world, captured(1)) == now
    for _ in range(world.pair.keys.verify_max + 1):
        world.later(world.pair.keys.verify_every_s)
        world.settle()
    assert world.engine.counts["key_given_up"] == 1
    assert world.engine.keying.story.own == now
    changed(world, 3)
