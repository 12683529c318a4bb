"""The control socket's requests, on a hub with connections, as a participant sees what comes of them."""

from typing import Any

import pytest
import trio

from gateway.wire.codec import fpid_of
from gateway.wire.message import PaymentResponse, Usm, UsmAcknowledgement
from loadtest.hub.steering import CONTROLS, Steering
from tests.loadtest.conftest import BETA, payment_request


async def submit(participant: Any, **changed: str) -> None:
    await participant.send(participant.codec.encode(payment_request(**changed)))


async def answer(participant: Any) -> tuple[str, str]:
    message = await participant.next()
    assert isinstance(message, PaymentResponse)
    return message.trn, message.action_code


async def test_every_request_is_explained(autojump_clock: object, scene: Any) -> None:
    """`--help` leaves none out."""
    assert all(f'"do":"{name}"' in CONTROLS for name in Steering(scene.hub)._does)


async def test_a_payment_crosses_from_one_participant_to_the_other(autojump_clock: object, scene: Any) -> None:
    """Through sockets, framing and both queues, there and back."""
    one, two = await scene.dial(), await scene.dial(name="two")
    await submit(one, creditor_agent=BETA)
    asked = await two.payment()
    assert fpid_of(asked) == fpid_of(payment_request())
    await two.respond(asked, "0083")
    assert await answer(one) == ("A1", "0083")
    assert (await scene.steer({"do": "statistics"}))["submitted_codes"] == {"0083": 1}


async def test_load_goes_to_whom_it_is_meant_for(autojump_clock: object, scene: Any) -> None:
    """To several at once, with TRNs of their own; and for each its own institution."""
    one, two = await scene.dial(), await scene.dial(name="two")
    for name in ("one", "two"):
        await scene.steer(
            {"do": "start", "rate": 10, "duration": 0.2, "model": "constant", "participant": name, "type": "30"}
        )
    seen = set()
    for participant, institution in ((one, "600002"), (two, BETA)):
        for _ in range(2):
            payment = await participant.payment()
            assert (payment.receiving_member, payment.processing_code) == (institution, "300000")
            seen.add(payment.trn)
            await participant.respond(payment)
    assert len(seen) == 4
    await scene.steer({"do": "finish"})


async def test_a_fault_on_demand_and_no_more_of_them(autojump_clock: object, scene: Any) -> None:
    """`drop` hangs up after the request, which was carried out; `none` takes back what was ordered."""
    one = await scene.dial()
    await scene.steer({"do": "inject", "what": "drop"})
    await scene.steer({"do": "inject", "what": "swallow", "count": 5, "participant": "one"})
    await submit(one)
    with pytest.raises(trio.EndOfChannel):
        await one.next()
    await scene.steer({"do": "inject", "what": "none"})
    again = await scene.dial()
    await submit(again, mti="9201")
    assert await answer(again) == ("A1", "0000")
    assert [event.event for event in scene.said("relayed")] == ["relayed"]


async def test_late_and_slow_answers_come_when_they_are_due(autojump_clock: object, scene: Any) -> None:
    """Not only at the next tick."""
    one = await scene.dial()
    await scene.steer({"do": "bank", "rule": "slow=0.25"})
    before_s = trio.current_time()
    await submit(one)
    assert await answer(one) == ("A1", "0000")
    assert trio.current_time() - before_s == pytest.approx(0.25, abs=0.02)
    await scene.steer({"do": "bank", "rule": "accept", "bank": "bank"})
    await scene.steer({"do": "inject", "what": "late", "after_s": 3})
    await submit(one, trn="A2")
    await submit(one, trn="A3")
    assert [await answer(one), await answer(one)] == [("A3", "0000"), ("A2", "0000")]


async def test_finishing_waits_for_answers_that_are_due(autojump_clock: object, scene: Any) -> None:
    """A book that ends has an outcome for everything."""
    one = await scene.dial()
    await scene.steer({"do": "bank", "rule": "slow=5"})
    await submit(one)
    await trio.sleep(0.1)
    await scene.steer({"do": "finish"})
    assert [event.event for event in scene.events][-2:] == ["answered", "end"]


async def test_news_is_sent_and_its_acknowledgement_awaited(autojump_clock: object, scene: Any) -> None:
    """By control, to one participant."""
    one = await scene.dial()
    assert await scene.steer(
        {"do": "usm", "function": "972", "fields": {"67": "01", "100": "600002"}, "participant": "one"}
    ) == {"sent": 1}
    news = await one.next()
    assert isinstance(news, Usm)
    await one.send(
        one.codec.encode(
            UsmAcknowledgement(
                mti="9834", transmission_time=news.transmission_time, message_id=news.message_id,
                function_code="972", action_code="0000",
            )
        )
    )  # fmt: skip
    await submit(one)
    assert await answer(one) == ("A1", "9944")
    assert (await scene.steer({"do": "statistics"}))["pending_news"] == 0


async def test_a_site_is_taken_from_one_participant_only(autojump_clock: object, scene: Any) -> None:
    """The other goes on."""
    await scene.dial("a")
    two = await scene.dial("a", name="two")
    assert await scene.steer({"do": "close", "site": "a", "participant": "one"}) == {"dropped": 1}
    await submit(two, sender=BETA, debtor_agent=BETA)
    assert await answer(two) == ("A1", "0000")
    refused = await scene.dial("a", sign_on=False)
    with pytest.raises(trio.EndOfChannel):
        await refused.next()
    await scene.steer({"do": "open", "site": "a", "participant": "one"})
    await scene.dial("a")


async def test_one_link_is_held_down(autojump_clock: object, scene: Any) -> None:
    """Of one process at one site: its other links, and the other process's, go on; opening the site opens it, too."""
    close = {"do": "close", "site": "a", "participant": "one", "node": "sip-a"}
    await scene.dial("a", node="sip-a")
    await scene.dial("b", node="sip-a")
    await scene.dial("a", node="sip-b")
    assert await scene.steer(close | {}) == {"dropped": 1}
    refused = await scene.dial("a", node="sip-a", sign_on=False)
    with pytest.raises(trio.EndOfChannel):
        await refused.next()
    await scene.steer({"do": "open", "site": "a", "participant": "one", "node": "sip-b"})
    refused = await scene.dial("a", node="sip-a", sign_on=False)
    with pytest.raises(trio.EndOfChannel):
        await refused.next()
    await scene.dial("a", node="sip-b")
    await scene.steer({"do": "open", "site": "a"})
    await scene.dial("a", node="sip-a")


@pytest.mark.parametrize(
    "request_of_somebody",
    [
        {"do": "dance"},
        {"do": "start", "rate": 1, "duration": 1, "participant": "bank"},
        {"do": "start", "rate": 1, "duration": 1, "type": "1"},
        {"do": "inject", "what": "nothing"},
        {"do": "inject", "what": "late", "count": 0},
        {"do": "bank", "rule": "accept", "bank": "one"},
        {"do": "key", "use": "hub"},
        {"do": "usm", "function": "900"},
        {"do": "drop"},
    ],
)
async def test_what_cannot_be_done_is_refused(
    autojump_clock: object, scene: Any, request_of_somebody: dict[str, Any]
) -> None:
    """With a ValueError or, when it has the wrong members, a TypeError: both are told to whoever asks."""
    with pytest.raises((ValueError, TypeError)):
        await scene.steer(request_of_somebody)
