"""Key changes and the scheme's news as the engine carries them: with fakes for tokens, disk and links."""

import msgspec
import pytest

from gateway import config
from gateway.payments import steps
from gateway.payments.outbound_law import State
from gateway.scheme.news import HandedOn
from gateway.scheme.ring import Use
from gateway.wire.message import Message, NetworkRequest, NetworkResponse, Usm
from tests.fakes.engine import PAIR, World, codes, payment, response, sealed, submission

NEW = {"1": f"{PAIR.mac.hub_key}.abcdef", "2": f"{PAIR.mac.own_key}.abcdef"}
"""Use, as DE125 says it, and the label of the key with check value ABCDEF."""


@pytest.fixture
def world() -> World:
    """An engine that has begun."""
    one = World()
    one.engine.begin(steps.Started("node", "0", "0"))
    one.settle()
    one.link.keys.append(NEW["2"])
    return one


def from_hub(message: Message, key: str = PAIR.mac.hub_key) -> bytes:
    return sealed(message, key)


def change(use: str, message_id: str = "000001") -> bytes:
    """The hub's 811."""
    data = use + "00" * 24 + "ABCDEF"
    return from_hub(
        NetworkRequest(
            mti="9804", transmission_time="1122120000", message_id=message_id, function_code="811", key_data=data
        )
    )


def installed(world: World, use: str, *, ok: bool = True) -> None:
    assert [key.label for key in world.signer.installing] == [NEW[use]]
    world.signer.installing.clear()
    world.engine.on_installed(NEW[use], ok, "" if ok else "the check value is another one")
    world.turn()
    world.settle()


def verified(world: World) -> None:
    """The hub accepts our 886."""
    request = next(m for m in world.link.sent if isinstance(m, NetworkRequest) and m.function_code == "886")
    answer = NetworkResponse(
        mti="9814", transmission_time=request.transmission_time, message_id=request.message_id, function_code="886",
        action_code="0000",
    )  # fmt: skip
    world.frames(from_hub(answer))
    world.settle()


def test_a_new_key_of_ours_signs_from_the_moment_that_the_hub_has_verified_it(world: World) -> None:
    world.frames(change("2"))
    world.settle()
    assert world.link.sent == [], "nothing is answered before the tokens have it"
    installed(world, "2")
    assert codes(world.link) == ["9814/0000", "9804/886"]
    assert set(world.link.signed_by) == {PAIR.mac.own_key}
    verified(world)
    world.submit(submission())
    world.settle()
    assert world.link.signed_by[-1] == NEW["2"]
    assert world.journal.kinds()[-4:].count("KEYS") >= 1


def test_a_key_that_the_tokens_refuse_changes_nothing(world: World) -> None:
    world.frames(change("2"))
    world.settle()
    installed(world, "2", ok=False)
    assert codes(world.link) == ["9814/1909"]
    world.submit(submission())
    world.settle()
    assert world.link.signed_by[-1] == PAIR.mac.own_key


def test_messages_under_the_old_and_the_new_hub_key_verify_for_an_overlap(world: World) -> None:
    """From the moment that the tokens have the key until the overlap is over, and then the old one counts no more."""
    world.frames(change("1"))
    world.settle()
    installed(world, "1")
    verified(world)
    old, new = payment("OLD"), sealed_by_new(payment("NEW"))
    world.frames(old, new)
    world.settle()
    assert world.engine.counts["received"] == 2
    assert "wrong_mac" not in world.engine.counts
    world.later(PAIR.keys.overlap_s)
    world.turn()
    world.settle()
    world.frames(payment("LATE"), sealed_by_new(payment("NEWER")))
    world.settle()
    assert world.engine.counts["received"] == 3
    assert world.engine.counts["wrong_mac"] == 1


def sealed_by_new(body: bytes) -> bytes:
    """The same message under the hub's new key."""
    from tests.fakes.engine import CODEC

    return sealed(CODEC.decode(body), NEW["1"])


def test_a_key_that_came_while_a_message_was_verified_is_tried_too(world: World) -> None:
    """The hub signs with its new key at once: what is at the tokens under the old one must not be called wrong."""
    world.frames(sealed_by_new(payment()))
    early = world.signer.batches.pop()
    world.frames(change("1"))
    world.settle()
    world.signer.batches.append(early)
    jobs = world.signer.done()
    installed(world, "1")
    world.engine.on_macs(jobs)
    world.turn()
    world.settle()
    assert world.engine.counts["received"] == 1
    assert "wrong_mac" not in world.engine.counts


@pytest.mark.parametrize("durable", [True, False])
def test_a_restart_in_the_middle_is_safe(world: World, *, durable: bool) -> None:
    """What was accepted is remembered and proved to the hub again; what was not durable was never accepted."""
    world.frames(change("2"))
    world.settle()
    world.engine.on_installed(NEW["2"], True, "")
    world.turn()
    if durable:
        world.settle()
    again = world.restarted(after_s=1.0)
    assert [key.label for key in again.signer.held].count(NEW["2"]) == durable
    again.link.keys.append(NEW["2"])
    again.later(PAIR.keys.verify_every_s)
    again.settle()
    assert ("9804/886" in codes(again.link)) == durable


def heard_by_a_strict_hub(world: World) -> None:
    """The hub understands our new key alone, and responds to what it understands."""
    asked = [
        message for message, key in zip(world.link.sent, world.link.signed_by, strict=True)
        if key == NEW["2"] and isinstance(message, NetworkRequest) and message.function_code == "886"
    ]  # fmt: skip
    world.frames(
        from_hub(
            NetworkResponse(
                mti="9814", transmission_time=asked[-1].transmission_time, message_id=asked[-1].message_id,
                function_code="886", action_code="0000",
            )
        )
    )  # fmt: skip
    world.settle()


def test_a_hub_that_put_our_key_in_force_and_was_not_heard_understands_us_again(world: World) -> None:
    """Its 0000 was lost, we were away longer than its overlap: it takes what the new key signs, and nothing else."""
    world.frames(change("2"))
    world.settle()
    installed(world, "2")
    again = world.restarted(after_s=120.0)
    again.link.keys.append(NEW["2"])
    for _ in range(2):
        again.later(PAIR.keys.verify_every_s)
        again.settle()
    assert again.link.signed_by == [PAIR.mac.own_key, NEW["2"]]
    heard_by_a_strict_hub(again)
    again.submit(submission())
    again.settle()
    assert again.link.signed_by[-1] == NEW["2"]


def test_nothing_is_signed_by_a_new_key_before_that_is_durable(world: World) -> None:
    """A crash would take us back to the key before, while the hub has seen the new one at work."""
    world.frames(change("2"))
    world.settle()
    installed(world, "2")
    request = world.link.sent[-1]
    assert isinstance(request, NetworkRequest)
    answer = NetworkResponse(
        mti="9814", transmission_time=request.transmission_time, message_id=request.message_id, function_code="886",
        action_code="0000",
    )  # fmt: skip
    world.frames(from_hub(answer))
    while world.signer.batches:
        world.macs()
    assert world.journal.durable < len(world.journal.records)
    echo = NetworkRequest(mti="9804", transmission_time="1122120000", message_id="000099", function_code="831")
    world.engine.transmit(world.link, echo)
    world.turn()
    while world.signer.batches:
        world.macs()
    assert world.link.signed_by[-1] == PAIR.mac.own_key
    world.settle()
    world.engine.transmit(world.link, echo)
    world.settle()
    assert world.link.signed_by[-1] == NEW["2"]


def test_in_force_when_accepted_is_one_record() -> None:
    """However a crash falls, we come back with what we said and what we sign with in step."""
    world = World(msgspec.structs.replace(PAIR, keys=config.Keys(in_force="changed")))
    world.engine.begin(steps.Started("node", "0", "0"))
    world.settle()
    world.link.keys.append(NEW["2"])
    world.frames(change("2"))
    world.settle()
    world.engine.on_installed(NEW["2"], True, "")
    world.turn()
    world.sync()
    while world.signer.batches:
        world.macs()
    assert list(zip(codes(world.link), world.link.signed_by, strict=True)) == [
        ("9814/0000", PAIR.mac.own_key), ("9804/886", NEW["2"]),
    ]  # fmt: skip
    again = world.restarted(after_s=1.0)
    again.link.keys.append(NEW["2"])
    again.submit(submission())
    again.settle()
    assert again.link.signed_by[-1] == NEW["2"]


def test_an_operator_asks_for_a_key(world: World) -> None:
    assert world.engine.control.ask_for_key(Use.OWN) == ""
    world.turn()
    world.settle()
    assert codes(world.link) == ["9804/885"]
    assert world.engine.control.ask_for_key(Use.OWN), "once is enough"


# --- news


def news(function: str, message_id: str = "000009", **fields: str) -> bytes:
    return from_hub(
        Usm(mti="9824", transmission_time="1122120000", message_id=message_id, function_code=function, **fields)  # type: ignore[arg-type]
    )


def test_what_the_scheme_suspends_is_refused_here_and_stood_in_for(world: World) -> None:
    """What we submit is refused from the moment that the news is durable, also after a restart, until news says
    otherwise. What the hub sends is stood in for as ever.
    """
    world.frames(news("971", service_status=suspended()))
    world.settle()
    one = submission(wait=True)
    world.submit(one)
    world.settle()
    assert (one.standing, one.refused, one.code) == (None, "unavailable", "9943")
    world.frames(payment())
    world.settle()
    world.later(PAIR.deadlines.stand_in_after_s)
    world.settle()
    assert world.engine.counts["stood_in"] == 1
    again = world.restarted()
    other = submission("key-2", "OUT2", wait=True)
    again.submit(other)
    again.settle()
    assert (other.standing, other.code) == (None, "9943")


def suspended() -> str:
    """The value of DE40 that means it."""
    from gateway.wire import meanings

    return next(value for value, word in meanings.built_in().service_status.items() if word == "suspended")


def test_news_of_another_process_counts_like_our_own(world: World) -> None:
    """Recorded, applied, acknowledged to who handed it on, and not to the hub."""
    taken: list[str] = []
    world.engine.control.on_handed_on(HandedOn("usm-a/12", news("971", service_status=suspended())), taken.append)
    world.turn()
    assert taken == []
    world.settle()
    assert taken == [""]
    assert world.link.managed == []
    one = submission(wait=True)
    world.submit(one)
    world.settle()
    assert (one.standing, one.code) == (None, "9943")


def test_a_payment_goes_on_while_keys_change(world: World) -> None:
    """Sent under the old key, answered under the new one of the hub."""
    one = submission(wait=True)
    world.submit(one)
    world.settle()
    request = world.link.sent[0]
    world.frames(change("1"))
    world.settle()
    installed(world, "1")
    verified(world)
    world.frames(sealed_by_new(response(request)))
    world.settle()
    assert one.standing is not None
    assert one.standing.state is State.SETTLED


def test_a_wrong_mac_is_held_against_the_hub_less_while_its_key_changes(world: World) -> None:
    """From the moment that the tokens have the new key until the overlap of the old one is over: it may be the hub."""
    wrong = payment()[:-4] + b"0000"

    def verdict() -> str:
        world.frames(wrong)
        world.settle()
        return world.link.verdicts[-1][0]

    assert verdict() == "disproved"
    world.frames(change("1"))
    world.settle()
    installed(world, "1")
    assert verdict() == "disproved while keys change"
    verified(world)
    assert verdict() == "disproved while keys change"
    world.later(PAIR.keys.overlap_s)
    world.turn()
    world.settle()
    assert verdict() == "disproved"
