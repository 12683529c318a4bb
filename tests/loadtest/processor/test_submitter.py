"""The mock processor as a submitter, against a scripted gateway on memory streams and a mock clock."""

from collections.abc import AsyncIterator, Callable
from typing import Any, NamedTuple

import httptools
import msgspec
import pytest
import trio
import trio.testing

from gateway.processor.messages import Submitted
from loadtest.ledger.entries import ProcessorEvent, fpid_hash, key_hash
from loadtest.processor.instructions import InstructionGenerator, return_of
from loadtest.processor.server import MockProcessor
from loadtest.processor.submitter import TRIES_MAX, Submitter

PORTS = {"sip": [1]}


class Request(NamedTuple):
    """What came in at the door."""

    port: int
    key: str
    prefer: str
    payment: dict[str, Any]

    @property
    def fpid(self) -> str:
        p = self.payment
        day = p["IntrBkSttlmDt"].replace("-", "")
        return f"{p['TxId']:<18}{p['PrcgCd'][:2]}{day}826{p['InstgAgt']['MmbId']:<11}"


Answer = bytes | None


class Door:
    """A gateway's door: `script` says what each request gets; None breaks the connection off."""

    def __init__(self, nursery: trio.Nursery) -> None:
        self.requests: list[Request] = []
        self.connections = 0
        self.script: Callable[[Request], Answer] = settled
        self.away: set[int] = set()
        self.silent = False
        self.delays: dict[int, float] = {}
        """By port: how long a response takes."""
        self._nursery = nursery

    async def dial(self, port: int) -> trio.abc.Stream:
        if port in self.away:
            raise ConnectionRefusedError
        self.connections += 1
        ours, theirs = trio.testing.memory_stream_pair()
        self._nursery.start_soon(self._serve, port, theirs)
        return ours

    async def _serve(self, port: int, stream: trio.abc.Stream) -> None:
        reader = _Reader()
        parser = httptools.HttpRequestParser(reader)
        async with stream:
            async for chunk in stream:
                parser.feed_data(bytes(chunk))
                if reader.complete:
                    reader.complete = False
                    headers = reader.headers
                    request = Request(port, headers["idempotency-key"], headers.get("prefer", ""), reader.payment())
                    self.requests.append(request)
                    if self.silent:
                        await trio.sleep_forever()
                    await trio.sleep(self.delays.get(port, 0))
                    answer = self.script(request)
                    if answer is None:
                        return
                    await stream.send_all(answer)


class _Reader:
    def __init__(self) -> None:
        self.headers: dict[str, str] = {}
        self.body = b""
        self.complete = False

    def on_message_begin(self) -> None:
        self.headers, self.body = {}, b""

    def on_header(self, name: bytes, value: bytes) -> None:
        self.headers[name.decode().lower()] = value.decode()

    def on_body(self, body: bytes) -> None:
        self.body += body

    def on_message_complete(self) -> None:
        self.complete = True

    def payment(self) -> dict[str, Any]:
        return msgspec.json.decode(self.body, type=dict[str, Any])


def http(status: int, said: dict[str, Any] | None = None, *headers: str) -> bytes:
    body = msgspec.json.encode(said) if said is not None else b""
    lines = [f"HTTP/1.1 {status} -", *headers, f"Content-Length: {len(body)}", "", ""]
    return "\r\n".join(lines).encode() + body


def standing(request: Request, state: str, code: str = "", by: str = "") -> dict[str, Any]:
    said: dict[str, Any] = {"FPID": request.fpid, "TxId": request.payment["TxId"], "state": state}
    if code:
        said |= {"decided": {"TxSts": "RJCT", "StsRsnInf": {"Rsn": {"Prtry": code}}}, "by": by}
    return said


def settled(request: Request) -> bytes:
    return http(200, standing(request, "SETTLED", "0000", "receiver"))


def pending(request: Request) -> bytes:
    return http(202, standing(request, "PENDING"))


class Scene:
    """A mock processor that submits to a scripted door."""

    def __init__(self, door: Door, nursery: trio.Nursery) -> None:
        self.door = door
        self.mock = MockProcessor()
        self.mock.submitter = Submitter(self.mock.book, dial=door.dial)
        nursery.start_soon(self.mock.submitter.run)

    def order(self, **order: Any) -> dict[str, Any]:
        return self.mock.submitter.order(msgspec.json.encode({"targets": PORTS, "date": "20250301", **order}))

    def pay(self, payments: int = 1, **order: Any) -> dict[str, Any]:
        """Submit so many within a second."""
        return self.order(do="start", rate=payments, duration=1, model="constant", **order)

    async def until_over(self) -> dict[str, Any]:
        with trio.fail_after(1000):
            while True:
                await trio.sleep(1)
                said = self.mock.submitter.statistics()
                if not said["open"] and not said["loading"]:
                    return said

    def booked(self) -> list[ProcessorEvent]:
        return self.mock.events()

    def noticed(self, request: Request, kind: str, code: str = "") -> None:
        self.mock.submitter.noticed(request.fpid, kind, code)


@pytest.fixture
async def scene() -> AsyncIterator[Scene]:
    async with trio.open_nursery() as nursery:
        made = Scene(Door(nursery), nursery)
        await trio.testing.wait_all_tasks_blocked()
        yield made
        nursery.cancel_scope.cancel()
        made.mock.book.close()


async def test_payments_are_submitted_at_their_rate_and_booked(scene: Scene, autojump_clock: object) -> None:
    """Each with a key of its own, its FPID known beforehand, over connections that are kept."""
    scene.pay(50)
    said = await scene.until_over()
    assert len({request.key for request in scene.door.requests}) == 50
    assert scene.door.connections == 1
    assert said["counts"] == {"submitted": 50, "status 200": 50, "settled": 50}
    assert said["codes"] == {"0000": 50}
    first = scene.door.requests[0]
    name = fpid_hash(first.fpid)
    assert [event for event in scene.booked() if event.fpid == name] == [
        ProcessorEvent("submitting", name, key=key_hash(first.key)),
        ProcessorEvent("submitted", name, "0000", status=200, state="SETTLED", by="receiver", port=1),
    ]


async def test_every_kind_of_payment_is_one_that_the_gateways_definition_takes(
    scene: Scene, autojump_clock: object
) -> None:
    """The JSON is restated in loadtest; here it meets the gateway's names."""
    scene.pay(20)
    await scene.until_over()
    shapes = set()
    for request in scene.door.requests:
        submitted = msgspec.convert(request.payment, Submitted, strict=True)
        assert not request.payment.keys() - set(Submitted.__struct_fields__)
        assert submitted.PrcgCd == "100000"
        shapes.add(tuple(request.payment))
    assert len(shapes) == 3


async def test_an_outcome_may_come_by_notice(scene: Scene, autojump_clock: object) -> None:
    """A 202 takes the payment; its latency ends when the notice comes."""
    scene.door.script = pending
    scene.pay()
    await trio.sleep(2)
    scene.noticed(scene.door.requests[0], "SETTLED", "1114")
    said = scene.mock.submitter.statistics()
    assert (said["open"], said["codes"]) == (0, {"1114": 1})
    assert said["latency"]["acknowledged"]["max_ms"] < 10
    assert 1990 < said["latency"]["settled"]["max_ms"] < 2010


async def test_waiting_is_asked_for_in_the_header(scene: Scene, autojump_clock: object) -> None:
    """`Prefer: wait`, in whole seconds (RFC 7240); without a wait there is no such header."""
    scene.pay(wait_s=4.2)
    await scene.until_over()
    scene.pay()
    await scene.until_over()
    assert [request.prefer for request in scene.door.requests] == ["wait=5", ""]


async def test_a_503_goes_to_the_other_site_under_the_same_key(scene: Scene, autojump_clock: object) -> None:
    """And is booked as not taken there."""
    scene.door.script = lambda request: settled(request) if request.port == 2 else http(503, None, "Retry-After: 1")
    scene.pay(targets={"sip": [1, 2]})
    await scene.until_over()
    first, second = scene.door.requests
    assert (first.port, second.port) == (1, 2)
    assert first.key == second.key
    assert first.payment == second.payment
    assert [event.status for event in scene.booked() if event.event == "submitted"] == [503, 200]


@pytest.mark.parametrize("trouble", ["broken off", "away", "silent"])
async def test_without_a_response_the_same_key_is_submitted_again(
    scene: Scene, autojump_clock: object, trouble: str
) -> None:
    """Nobody knows what became of it: only the same key is safe."""
    scene.door.script = lambda _: None
    scene.door.silent = trouble == "silent"
    scene.door.away = {1} if trouble == "away" else set()
    scene.pay()
    await trio.sleep(0.05 if trouble != "silent" else 1)
    scene.door.script, scene.door.silent, scene.door.away = settled, False, set()
    await scene.until_over()
    assert len({request.key for request in scene.door.requests}) == 1
    assert [event.status for event in scene.booked() if event.event == "submitted"] == [0, 200]


async def test_an_attempt_that_ends_with_the_processor_is_booked(autojump_clock: object) -> None:
    """Without a response: the book says of each payment how it went."""
    async with trio.open_nursery() as nursery:
        scene = Scene(Door(nursery), nursery)
        await trio.testing.wait_all_tasks_blocked()
        scene.door.silent = True
        scene.pay(2)
        await trio.sleep(1)
        nursery.cancel_scope.cancel()
    assert [event.status for event in scene.booked() if event.event == "submitted"] == [0, 0]
    assert len({event.fpid for event in scene.booked()}) == 2
    scene.mock.book.close()


async def test_a_kept_connection_that_was_closed_is_no_attempt(scene: Scene, autojump_clock: object) -> None:
    """The call crossed with the closing: it goes again over a new connection, at once."""
    cut = iter([False, True])
    scene.door.script = lambda request: None if next(cut, False) else settled(request)
    scene.pay(2)
    said = await scene.until_over()
    assert said["counts"] == {"submitted": 2, "status 200": 2, "settled": 2}
    assert len(scene.door.requests) == 3


async def test_tries_are_bounded(scene: Scene, autojump_clock: object) -> None:
    """A gateway that takes nothing is not asked for ever."""
    scene.door.script = lambda _: http(503)
    scene.pay()
    said = await scene.until_over()
    assert len(scene.door.requests) == TRIES_MAX
    assert said["counts"]["given up: tries"] == 1


async def test_an_invalid_payment_is_not_submitted_again(scene: Scene, autojump_clock: object) -> None:
    """It would be as invalid then."""
    scene.door.script = lambda _: http(422, {"title": "invalid"})
    scene.pay()
    said = await scene.until_over()
    assert (len(scene.door.requests), said["counts"]["given up: invalid"]) == (1, 1)


async def test_unknown_is_asked_about_by_submitting_it_again(scene: Scene, autojump_clock: object) -> None:
    """And may have its outcome then."""
    said = iter(["UNKNOWN", "UNKNOWN", "SETTLED"])
    scene.door.script = lambda request: http(200, standing(request, next(said), "0083"))
    scene.pay()
    statistics = await scene.until_over()
    assert statistics["counts"] == {"submitted": 1, "status 200": 3, "heard UNKNOWN": 2, "settled": 1}


async def test_what_stays_unknown_is_given_up_as_such(scene: Scene, autojump_clock: object) -> None:
    """A bounded number of times."""
    scene.door.script = lambda request: http(200, standing(request, "UNKNOWN"))
    scene.pay()
    statistics = await scene.until_over()
    assert statistics["counts"]["given up: UNKNOWN"] == 1
    assert len(scene.door.requests) == 3


async def test_a_notice_of_unknown_and_a_response_make_one_repeat(scene: Scene, autojump_clock: object) -> None:
    """Whichever comes first; two do not double the repeats."""
    scene.door.script = pending
    scene.pay()
    await trio.sleep(0.5)
    scene.noticed(scene.door.requests[0], "UNKNOWN")
    scene.door.script = settled
    await scene.until_over()
    assert len(scene.door.requests) == 2


async def test_a_response_is_booked_as_of_where_that_attempt_went(scene: Scene, autojump_clock: object) -> None:
    """Also when it comes behind the one of a later attempt, which went elsewhere."""
    scene.door.delays = {1: 6.0}
    scene.pay(targets={"sip": [1, 2]}, wait_s=5)
    await trio.sleep(0.5)
    scene.noticed(scene.door.requests[0], "UNKNOWN")
    await scene.until_over()
    await trio.sleep(10)
    assert [event.port for event in scene.booked() if event.event == "submitted"] == [2, 1]


async def test_a_payment_without_any_outcome_is_looked_after(scene: Scene, autojump_clock: object) -> None:
    """A notice may be parked: submitting again says how it stands."""
    scene.door.script = pending
    scene.pay()
    await trio.sleep(10)
    scene.door.script = settled
    assert (await scene.until_over())["counts"]["settled"] == 1
    assert len(scene.door.requests) == 2


@pytest.mark.parametrize("body", [b"{}", b"[", b'{"FPID":"other","state":"SETTLED"}'])
async def test_a_response_about_nothing_is_no_acknowledgement(
    scene: Scene, autojump_clock: object, body: bytes
) -> None:
    """It is counted, booked as no response, and the payment submitted again."""
    odd = iter([b"HTTP/1.1 200 -\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body)])
    scene.door.script = lambda request: next(odd, None) or settled(request)
    scene.pay()
    said = await scene.until_over()
    assert said["counts"]["bad responses"] == 1
    assert [event.status for event in scene.booked() if event.event == "submitted"] == [0, 200]


async def test_a_payment_that_came_can_be_returned(scene: Scene, autojump_clock: object) -> None:
    """Type 20, a pacs.004 with the reason and the FPID of what is returned, the other way round; once."""
    instruction = InstructionGenerator("RUN", "20250301", sender="400001", receivers=("600002",)).make()
    payment = {"FPID": instruction.fpid, **msgspec.json.decode(instruction.body, type=dict[str, Any])}
    scene.mock.submitter.came(instruction.fpid, msgspec.json.encode(payment))
    scene.order(do="return", count=5, targets={"other": [7]})
    await scene.until_over()
    scene.order(do="return", count=5)
    (request,) = scene.door.requests
    returned = msgspec.convert(request.payment, Submitted, strict=True)
    assert request.port == 7
    assert (returned.MsgTp, returned.PrcgCd, returned.OrgnlFPID) == ("pacs.004", "200000", instruction.fpid)
    assert returned.DbtrAcct == msgspec.convert(payment["CdtrAcct"], type(returned.DbtrAcct))
    assert (returned.CdtrAgt.MmbId, returned.InstgAgt.MmbId) == ("400001", "600002")
    assert request.fpid == return_of(payment, "20250301").fpid


async def test_statistics_can_be_recent_and_start_anew(scene: Scene, autojump_clock: object) -> None:
    """As the hub's: since the last asking, and after a warm-up from nothing."""
    scene.pay(10)
    await scene.until_over()
    assert scene.order(do="statistics", recent=True)["recent"]["settled"]["count"] == 10
    assert scene.order(do="statistics", recent=True)["recent"]["settled"]["count"] == 0
    assert scene.order(do="reset")["latency"]["settled"] == {"count": 0}


async def test_orders_that_cannot_be_are_refused(scene: Scene, autojump_clock: object) -> None:
    """With what is wrong."""
    with pytest.raises(ValueError, match="targets"):
        scene.order(do="start", rate=1, duration=1, group="sop")
    with pytest.raises(ValueError, match="rate"):
        scene.order(do="start", rate=0, duration=1)
    with pytest.raises(msgspec.DecodeError):
        scene.order(do="dance")
