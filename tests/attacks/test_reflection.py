"""Attacker: on the path to the hub. It has no key, but it has what we send.

Attack: it sends our own messages back to us, on their link or on another one.

Gain: none where the hub's key and ours differ: each is a message with a wrong MAC. Nothing made them differ, though: no
check compared them. With one key for both, our own 9200 was a payment to us, taken in and asked about, and our own echo
the hub's. Now tokens in which they are one do not serve, and a link is not even dialled.
"""

from typing import Any

import pytest
import trio.testing
from msgspec.structs import replace

from gateway import config
from gateway.clock import system_clock
from gateway.config.rules import check_pair
from gateway.payments import steps
from gateway.payments.steps import Kind
from gateway.scheme.ring import Use
from gateway.signer.pool import Signer
from gateway.wire.codec import join_mac
from gateway.wire.message import Message, NetworkRequest, ReversalRequest, UsmAcknowledgement
from tests.conftest import Logged
from tests.fakes.engine import CODEC, PAIR, FakeLink, World, mac_of, payment, sealed, submission
from tests.fakes.token import FakeTokens


def ours() -> list[Message]:
    """One of each kind that we send."""
    world = World()
    world.engine.begin(steps.Started("node", "0", "0"))
    world.settle()
    stamp: dict[str, Any] = {"transmission_time": "1122120000", "message_id": "000001"}
    world.frames(payment(), payment("BAD", currency="978"), b"no message")
    world.settle()
    world.answer()
    world.settle()
    world.submit(submission())
    world.settle()
    world.later(PAIR.submit.answer_within_s)
    world.settle()
    reversed_ = ReversalRequest(mti="9420", trn="TRN9", processing_code="100000", date_sent="20261122", currency="826",
                                sender="040004", action_code="4021")  # fmt: skip
    change = "2" + "00" * 24 + "ABCDEF"
    world.frames(
        sealed(reversed_),
        sealed(NetworkRequest(mti="9804", function_code="885", key_data="2", **stamp)),
        sealed(NetworkRequest(mti="9804", function_code="811", key_data=change, **stamp)),
    )
    world.settle()
    why = world.engine.control.ask_for_key(Use.HUB)
    assert not why
    world.engine.on_installed(f"{PAIR.mac.own_key}.abcdef", True, "")
    world.turn()
    for function_code in ("831", "881", "882", "891", "892"):
        world.engine.transmit(world.link, NetworkRequest(mti="9804", function_code=function_code, **stamp))
    acknowledged = UsmAcknowledgement(mti="9834", function_code="971", action_code="0000", **stamp)
    world.settle()
    return [*world.link.sent, acknowledged]


def test_every_kind_that_we_send_is_tried() -> None:
    """Payments and their repeats, answers, advices, and all that manages links, keys and news."""
    kinds = {(each.mti, getattr(each, "function_code", "")) for each in ours()}
    assert {mti for mti, _ in kinds} == {"9200", "9201", "9210", "9430", "9624", "9804", "9814", "9834"}
    assert {code for mti, code in kinds if mti == "9804"} == {"831", "881", "882", "891", "892", "885", "886"}


@pytest.mark.parametrize("other", [False, True], ids=["same-link", "other-link"])
def test_our_own_message_is_one_with_a_wrong_mac(logged: Logged, *, other: bool) -> None:
    """Recorded, counted, said, and a 9624 but to a 9624. Nothing else comes of it: no other record, no question."""
    for number, message in enumerate(ours(), 1):
        world = World()
        world.engine.begin(steps.Started("node", "0", "0"))
        world.settle()
        world.submit(submission())
        world.settle()
        covered = CODEC.encode(message)
        link = FakeLink(id=2) if other else world.link
        before, keys = len(world.journal.records), world.engine.keying.story.statistics()
        sent, said = len(link.sent), len(logged("message rejected"))
        world.frames(join_mac(covered, mac_of(PAIR.mac.own_key, covered)), link=link)
        world.settle()
        assert [kind for kind, _, _ in world.journal.records[before:]] == [Kind.REJECTED], number
        assert world.engine.counts["wrong_mac"] == 1
        advised = [(each.mti, getattr(each, "function_code", "")) for each in link.sent[sent:]]
        assert advised == ([] if message.mti == "9624" else [("9624", "690")])
        assert [line["function_code"] for line in logged("message rejected")[said:]] == ["690"]
        assert (world.processor.asked, link.managed) == ([], [])
        assert world.engine.keying.story.statistics() == keys


async def test_with_one_key_for_both_ends_nothing_is_dialled(autojump_clock: trio.testing.MockClock) -> None:
    """No token serves, so no MAC can be made, and links are closed (`running.holding`)."""
    pair = config.Mac()
    for key, serving in ((bytes([2] * 16), 1), (bytes([1] * 16), 0)):
        values = {pair.own_key: bytes([1] * 16), pair.hub_key: key, pair.seal_key: bytes([3] * 16)}
        tokens = FakeTokens(["t"], values)
        token = config.Token(name="t", label="t", module="none", pin_file="none")
        signer = Signer((token,), pair, system_clock, on_done=lambda _jobs: None, open_worker=tokens.open)
        async with trio.open_nursery() as nursery:
            await nursery.start(signer.run)
            assert signer.serving == serving
            nursery.cancel_scope.cancel()


@pytest.mark.parametrize("place", ["own_key", "seal_key", "transport_key"])
def test_one_label_for_two_uses_is_no_configuration(place: str) -> None:
    """Said before any token is asked."""
    pair = config.Pair(group="sip")
    assert list(check_pair(pair)) == []
    part = "keys" if place == "transport_key" else "mac"
    changed = replace(getattr(pair, part), **{place: pair.mac.hub_key})
    found = list(check_pair(replace(pair, **{part: changed})))
    assert found == [(f"pair.{part}.{place}", "must be another key than pair.mac.hub_key")]
