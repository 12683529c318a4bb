"""The mock hub, as a participant that is written with the gateway's codec sees it."""

from collections.abc import Callable
from typing import Any

import pytest
import trio

from gateway.wire.codec import Codec, fpid_of
from gateway.wire.message import Advice, NetworkRequest, NetworkResponse, PaymentResponse
from loadtest.hub import mischief
from loadtest.ledger.oracle import fpid_hash


async def test_sign_on_is_per_direction_and_sign_off_ends_it(autojump_clock: object, scene: Any) -> None:
    """881 and 891 are two exchanges; payments go only where 891 was, and stop at 892."""
    participant = await scene.dial(sign_on=False)
    response = await participant.manage("881", "000042")
    assert isinstance(response, NetworkResponse)
    assert (response.message_id, response.function_code, response.action_code) == ("000042", "881", "0000")
    scene.hub.start(10, 1, "constant")
    await trio.sleep(2)
    assert scene.scheme.counts["withheld"] == 10
    await participant.manage("891")
    scene.hub.start(10, 0.3, "constant")
    for _ in range(3):
        await participant.respond(await participant.payment())
    assert (await participant.manage("892")).mti == "9814"
    scene.hub.start(10, 1, "constant")
    await trio.sleep(2)
    assert scene.scheme.counts["withheld"] == 20
    assert not scene.scheme.faults


async def test_echo_is_answered_and_what_is_not_understood_is_refused(autojump_clock: object, scene: Any) -> None:
    """831 gets 0000; a key change, which this hub does not do, gets 1909."""
    participant = await scene.dial()
    for function, code in (("831", "0000"), ("885", "1909")):
        response = await participant.manage(function)
        assert isinstance(response, NetworkResponse)
        assert response.action_code == code


async def test_a_silent_connection_gets_an_echo_and_is_given_up_without_an_answer(
    autojump_clock: object, scene: Any
) -> None:
    """After 30 s of silence 9804/831; without a 9814 within the patience the hub hangs up."""
    participant = await scene.dial()
    echo = await participant.next()
    assert isinstance(echo, NetworkRequest)
    assert echo.function_code == "831"
    await participant.send(
        participant.codec.encode(
            NetworkResponse(
                mti="9814", transmission_time=echo.transmission_time, message_id=echo.message_id,
                function_code="831", action_code="0000",
            )
        )
    )  # fmt: skip
    await participant.next()
    assert not scene.scheme.faults
    with pytest.raises(trio.EndOfChannel):
        await participant.next()
    assert list(scene.scheme.faults) == ["an echo was not answered"]


async def test_payments_are_dealt_out_in_turn_and_answered(autojump_clock: object, scene: Any) -> None:
    """Round robin over the signed-on links of both sites; each answered payment is in the book with its times."""
    one, two = await scene.dial("a"), await scene.dial("b")
    scene.hub.start(10, 1, "constant")
    fpids = set()
    for _ in range(5):
        for participant in (one, two):
            payment = await participant.payment()
            fpids.add(fpid_hash(fpid_of(payment)))
            await trio.sleep(0.01)
            await participant.respond(payment, "0083")
    await scene.hub.finish()
    assert len(fpids) == 10
    replied = scene.said("replied")
    assert {event.fpid for event in replied} == {event.fpid for event in scene.said("sent")} == fpids
    assert {(event.code, event.late) for event in replied} == {("0083", False)}
    latency = scene.scheme.deliveries.latency
    assert (latency["stood_in"].count, latency["decided"].count) == (10, 0)
    assert latency["stood_in"].quantile_s(0.5) == pytest.approx(0.01, abs=0.002)
    assert scene.events[-1].event == "end"
    assert not scene.scheme.faults


async def test_latency_counts_from_the_intended_time_however_late_it_was_sent(
    autojump_clock: object, scene: Any
) -> None:
    """A generator that was held up adds its lateness to what the user would have waited (no coordinated omission)."""
    participant = await scene.dial()
    scene.scheme.pay([trio.current_time() - 3], scene.hub.generator(), trio.current_time())
    scene.hub.flush()
    await participant.respond(await participant.payment())
    await trio.sleep(0.1)
    assert scene.scheme.deliveries.latency["intended"].quantile_s(1) == pytest.approx(3, rel=0.01)
    assert scene.scheme.deliveries.latency["decided"].quantile_s(1) < 0.2
    assert scene.scheme.deliveries.latency["lateness"].quantile_s(1) == pytest.approx(3, rel=0.01)


async def test_synchronous_no_response_in_time_is_reversed(autojump_clock: object, scene: Any) -> None:
    """9420 after the patience, 9421 after another; the positive 9430 ends it, and a late 9210 changes nothing."""
    participant = await scene.dial()
    scene.hub.start(1, 0.5, "constant")
    payment = await participant.payment()
    before_s = trio.current_time()
    first = await participant.reversal()
    assert trio.current_time() - before_s == pytest.approx(10, abs=0.3)
    assert (first.mti, first.action_code, fpid_of(first)) == ("9420", "4021", fpid_of(payment))
    again = await participant.reversal()
    assert (again.mti, fpid_of(again)) == ("9421", fpid_of(payment))
    await participant.respond(payment)
    await participant.respond(again)
    await scene.hub.finish()
    assert [event.event for event in scene.events] == [
        "sent", "timed-out", "reversal-sent", "reversal-sent", "replied", "reversed", "end",
    ]  # fmt: skip
    assert scene.said("replied")[0].late
    assert scene.said("timed-out")[0].why == "patience"
    assert not scene.scheme.faults


async def test_a_lost_connection_times_its_payments_out_and_they_are_reversed_on_another(
    autojump_clock: object, scene: Any
) -> None:
    """A response is valid only where its request came; when that is gone the hub takes the payment back elsewhere."""
    one, two = await scene.dial("a"), await scene.dial("b")
    scene.hub.start(10, 0.2, "constant")
    _, lost = await two.payment(), await one.payment()
    await one.hang_up()
    reversal = await two.reversal()
    assert fpid_of(reversal) == fpid_of(lost)
    await two.respond(reversal)
    await trio.sleep(1)
    assert [event.why for event in scene.said("timed-out")] == ["link-lost"]
    assert scene.said("reversed")[0].link == 2


async def test_with_every_connection_lost_the_reversals_wait_for_the_next_sign_on(
    autojump_clock: object, scene: Any
) -> None:
    """A gateway that was killed hears of everything that was in the air once it is back."""
    participant = await scene.dial()
    scene.hub.start(10, 1, "constant")
    lost = [fpid_of(await participant.payment()) for _ in range(10)]
    await participant.hang_up()
    await trio.sleep(60)
    back = await scene.dial()
    reversals = [await back.reversal() for _ in range(10)]
    assert [fpid_of(reversal) for reversal in reversals] == lost
    for reversal in reversals:
        await back.respond(reversal)
    await scene.hub.finish()
    assert scene.scheme.counts["reversed"] == 10


async def test_asynchronous_no_response_is_repeated_and_given_up_at_last(
    autojump_clock: object, make_scene: Any
) -> None:
    """9201 with the same content on any connection, so many times, then the hub gives up."""
    scene = make_scene(synchronous=False, repeats_max=2, patience_s=1)
    participant = await scene.dial()
    scene.hub.start(1, 0.5, "constant")
    first, *again = [await participant.payment() for _ in range(3)]
    assert [message.mti for message in (first, *again)] == ["9200", "9201", "9201"]
    assert all(
        participant.codec.content_digest(message) == participant.codec.content_digest(first) for message in again
    )
    await scene.hub.finish()
    assert scene.said("given-up")[0].why == "no response to any repeat"


async def test_an_asynchronous_repeat_is_answered_with_the_same_code(autojump_clock: object, make_scene: Any) -> None:
    """The late answer to the first request and the answer to its repeat must agree."""
    scene = make_scene(synchronous=False, patience_s=1)
    one, two = await scene.dial("a"), await scene.dial("b")
    scene.hub.start(1, 0.5, "constant")
    first = await two.payment()
    repeat = await one.payment()
    await two.respond(first, "0000")
    await one.respond(repeat, "0000")
    await scene.hub.finish()
    assert [(event.link, event.late) for event in scene.said("replied")] == [(2, True), (1, False)]
    assert not scene.scheme.faults


Right = Callable[[str, str], bytes]
"""Makes a right response with this code and this field in error, without its MAC."""
Wrong = Callable[[Right, Any], list[bytes]]

FAULTS: dict[str, tuple[str, Wrong]] = {
    "a field not copied": (
        "a field that the response must copy is not copied",
        lambda right, _: [right("0000", "").replace(b"826", b"978")],
    ),
    "an unknown code": ("9210: DE26: no receiver says 7777", lambda right, _: [right("7777", "")]),
    "a code of the hub's": ("9210: DE26: no receiver says 9911", lambda right, _: [right("9911", "")]),
    "a syntax error without DE44": ("DE44 goes with 1930, and only with it", lambda right, _: [right("1930", "")]),
    "DE44 without a syntax error": ("DE44 goes with 1930, and only with it", lambda right, _: [right("0000", "006")]),
    "about a payment never sent": (
        "9210 for a payment that was never sent",
        lambda right, payment: [right("0000", "").replace(payment.trn.encode(), b"LTOTHER00000000001")],
    ),
    "twice": ("9210 more often than it was asked for", lambda right, _: [right("0000", "")] * 2),
    "two outcomes": ("said 0000 first and 1100 then", lambda right, _: [right("0000", ""), right("1100", "")]),
    "advice about nothing": (
        "9624/650 about nothing that the hub did wrong",
        lambda _, __: [Codec().encode(_advice("650"))],
    ),
    "a byte too many": ("9210: 1 bytes after the last field", lambda right, _: [right("0000", "") + b"0"]),
    "a reversal's response": (
        "9430 for a payment that was not reversed",
        lambda right, _: [b"9430" + right("0000", "")[4:]],
    ),
    "a field too many": (
        "9210: DE27 does not belong there",
        lambda _, payment: [
            Codec().encode(
                PaymentResponse(
                    mti="9210", action_code="0000", asynchronous="0", processing_code=payment.processing_code,
                    date_sent=payment.date_sent, trn=payment.trn, currency=payment.currency, sender=payment.sender,
                )
            )
        ],
    ),
}  # fmt: skip


def _advice(function_code: str) -> Advice:
    return Advice(mti="9624", transmission_time="0101120000", message_id="000009", function_code=function_code)


@pytest.mark.parametrize("how", FAULTS)
async def test_a_wrong_response_is_a_fault(autojump_clock: object, scene: Any, how: str) -> None:
    """Whatever the scheme forbids is seen, said and in the book."""
    said, wrong = FAULTS[how]
    participant = await scene.dial()
    scene.hub.start(1, 0.5, "constant")
    payment = await participant.payment()
    for covered in wrong(lambda code, field: participant.codec.respond(payment, code, field), payment):
        await participant.send(covered)
    await trio.sleep(0.1)
    assert scene.scheme.faults[0] == said
    assert scene.said("fault")[0].why == said


async def test_a_reversal_is_answered_where_it_came_and_once(autojump_clock: object, scene: Any) -> None:
    """On another connection, or more often than asked, the response is a fault; a late one to each request is none."""
    one, two = await scene.dial("a"), await scene.dial("b")
    scene.hub.start(1, 0.5, "constant")
    await two.payment()
    first, again = await one.reversal(), await two.reversal()
    await one.respond(first)
    assert (first.mti, again.mti) == ("9420", "9421")
    await two.respond(again)
    await trio.sleep(0.1)
    assert not scene.scheme.faults
    for participant in (one, two):
        await participant.respond(again)
        await trio.sleep(0.1)
    assert list(scene.scheme.faults) == ["9430 more often than it was asked for"] * 2
    assert len(scene.said("reversed")) == 1


async def test_a_reversal_answered_on_another_connection_is_a_fault(autojump_clock: object, scene: Any) -> None:
    """And settles nothing: the hub goes on asking where it asked."""
    one, two = await scene.dial("a"), await scene.dial("b")
    scene.hub.start(1, 0.5, "constant")
    await two.payment()
    reversal = await one.reversal()
    await two.respond(reversal)
    await trio.sleep(0.1)
    assert list(scene.scheme.faults) == ["9430 on another connection than its reversal's"]
    assert not scene.said("reversed")
    await one.respond(reversal)
    await scene.hub.finish()
    assert len(scene.said("reversed")) == 1


@pytest.mark.parametrize(("code", "faults"), [("0000", 1), ("0083", 1), ("1100", 0)])
async def test_what_was_reversed_is_not_accepted_any_more(
    autojump_clock: object, scene: Any, code: str, faults: int
) -> None:
    """A 9210 after the 9430 may refuse: it cannot accept what was taken back."""
    participant = await scene.dial()
    scene.hub.start(1, 0.5, "constant")
    payment = await participant.payment()
    await participant.respond(await participant.reversal())
    await participant.respond(payment, code)
    await trio.sleep(0.1)
    assert list(scene.scheme.faults) == [f"said {code} after it had answered the reversal"] * faults


@pytest.mark.parametrize("node", ["sip-a", "sip-b"])
async def test_what_was_reversed_by_another_connection_may_have_been_accepted_before(
    autojump_clock: object, scene: Any, node: str
) -> None:
    """Connections overtake each other, and sites share nothing: the hub takes it for late. Whether it was decided after
    the reversal is for the ledger to say, by the journals.
    """
    one, two = await scene.dial("a", node="sip-a"), await scene.dial("b", node=node)
    assert [(event.link, event.why) for event in scene.said("connected")] == [(1, "sip-a"), (2, node)]
    scene.hub.start(1, 0.5, "constant")
    payment = await two.payment()
    await one.respond(await one.reversal())
    await two.respond(payment, "0000")
    await trio.sleep(0.1)
    assert not scene.scheme.faults
    assert [(event.code, event.late) for event in scene.said("replied")] == [("0000", True)]


@pytest.mark.parametrize(("node", "faults"), [("sip-a", ["said 0000 first and 0083 then"]), ("sip-b", [])])
async def test_a_process_says_the_same_again_and_another_one_may_have_stood_in(
    autojump_clock: object, make_scene: Any, node: str, faults: list[str]
) -> None:
    """A repeat that goes to the other site is decided there, by the same processor or in its stead."""
    scene = make_scene(synchronous=False)
    one, two = await scene.dial("a", node=node), await scene.dial("b", node="sip-a")
    scene.hub.start(1, 0.5, "constant")
    payment = await two.payment()
    repeat = await one.payment()
    assert repeat.mti == "9201"
    await two.respond(payment, "0000")
    await trio.sleep(0.1)
    await one.respond(repeat, "0083")
    await trio.sleep(0.1)
    assert list(scene.scheme.faults) == faults


async def test_a_response_on_another_connection_is_a_fault(autojump_clock: object, scene: Any) -> None:
    """A response is valid only on the connection that brought its request."""
    one, two = await scene.dial("a"), await scene.dial("b")
    scene.hub.start(1, 0.5, "constant")
    await one.respond(await two.payment())
    await trio.sleep(0.1)
    assert list(scene.scheme.faults) == ["9210 on another connection than its request's"]


async def test_a_wrong_mac_is_a_fault_and_no_response(autojump_clock: object, scene: Any) -> None:
    """The hub's patience runs on."""
    participant = await scene.dial()
    scene.hub.start(1, 0.5, "constant")
    payment = await participant.payment()
    await participant.send(participant.codec.respond(payment, "0000", ""), key=bytes(16))
    assert (await participant.reversal()).trn == payment.trn
    assert list(scene.scheme.faults) == ["9210: wrong MAC"]


# --- mischief: what each must get, from a participant that does it right and from one that does not

RIGHT = {
    "wrong-mac": "690", "garbage": "650", "unknown-mti": "650", "missing-field": "1930/095", "bad-value": "1930/006",
    "duplicate": "1181", "stray-response": "", "stray-advice": "", "over-limit": "closed", "half-frame": "closed",
}  # fmt: skip


def test_every_mischief_is_tried() -> None:
    """The table above leaves none out."""
    assert RIGHT.keys() == mischief.KINDS.keys()


async def react(participant: Any, answer: str) -> None:
    if answer == "closed":
        await participant.hang_up()
    if answer in {"closed", ""}:
        return
    body = await participant.body()
    if answer in {"650", "690"}:
        await participant.send(participant.codec.encode(_advice(answer)))
    else:
        code, _, field = answer.partition("/")
        message = participant.codec.decode(body)
        assert message.fault == int(field or 0)
        await participant.respond(message, code, field)


async def misbehave(scene: Any, what: str, answer: str) -> None:
    participant = await scene.dial()
    scene.hub.start(1, 0.5, "constant")
    await participant.respond(await participant.payment())
    await trio.sleep(1)
    assert scene.hub.misbehave_once(what)
    assert scene.scheme.pending_mischief() == 1
    await react(participant, answer)
    await scene.hub.finish()


@pytest.mark.parametrize("what", RIGHT)
async def test_mischief_that_is_answered_as_the_scheme_says(autojump_clock: object, scene: Any, what: str) -> None:
    """Frame, parse, MAC, fields, duplicate: each has its answer, and then the book can be closed."""
    await misbehave(scene, what, RIGHT[what])
    assert not scene.scheme.faults
    assert [event.event for event in scene.said("mischief-answered", "mischief-missed")] == ["mischief-answered"]


@pytest.mark.parametrize("what", [what for what, answer in RIGHT.items() if answer])
async def test_mischief_that_is_not_answered_is_missed(autojump_clock: object, make_scene: Any, what: str) -> None:
    """Silence is an answer only where the scheme says so."""
    scene = make_scene(echo_after_s=1000)
    await misbehave(scene, what, "")
    assert [event.event for event in scene.said("mischief-answered", "mischief-missed")] == ["mischief-missed"]


async def test_before_hanging_up_a_participant_may_say_why(autojump_clock: object, scene: Any) -> None:
    """A 9624/650 and then the end of the connection is as good an answer to an impossible header as the end alone."""
    participant = await scene.dial()
    scene.hub.misbehave_once("over-limit")
    await participant.send(participant.codec.encode(_advice("650")))
    await participant.hang_up()
    await scene.hub.finish()
    assert not scene.scheme.faults
    assert scene.scheme.counts["mischief answered"] == 1


async def test_mischief_answered_wrongly_is_missed(autojump_clock: object, scene: Any) -> None:
    """A bad value that is accepted is no answer."""
    await misbehave(scene, "bad-value", "0000/006")
    assert scene.said("fault", "mischief-missed")


async def test_a_site_can_be_taken_away_and_brought_back(autojump_clock: object, scene: Any) -> None:
    """Its connections end, new ones are turned away, until it is opened again."""
    participant = await scene.dial("a")
    assert await scene.steer({"do": "close", "site": "a"}) == {"dropped": 1}
    with pytest.raises(trio.EndOfChannel):
        await participant.next()
    turned_away = await scene.dial("a", sign_on=False)
    with pytest.raises(trio.EndOfChannel):
        await turned_away.next()
    await scene.steer({"do": "open", "site": "a"})
    await scene.dial("a")
    assert [link["site"] for link in scene.steer.totals()["links"]] == ["a"]


async def test_an_armed_hub_starts_when_every_site_is_there_and_finishes_by_itself(
    autojump_clock: object, scene: Any
) -> None:
    """`--rate` without anyone steering: wait for the links, send, wait for every outcome, end."""
    scene.hub.arm(2, 10, 0.2, "constant")
    one = await scene.dial("a")
    await trio.sleep(5)
    assert scene.scheme.counts["sent"] == 0
    two = await scene.dial("b")
    await two.respond(await two.payment())
    await one.respond(await one.payment())
    await scene.hub.ended.wait()
    assert scene.scheme.counts["replied"] == 2
