"""`POST /news`, by which another process hands on news: the request, the response, and its time."""

import json

import msgspec
import pytest
import trio
from trio.testing import MockClock

from gateway.ops.news import LiftControl, NewsControl
from gateway.scheme.news import HandedOn, Lift, Taken

BODY = msgspec.json.encode(HandedOn("usm-a/17", b"\x00raw"))


async def test_it_is_acknowledged_when_it_is_taken_and_not_before(autojump_clock: MockClock) -> None:
    """200 waits for the disk."""
    heard: list[tuple[HandedOn, Taken]] = []
    control = NewsControl(lambda handed_on, taken: heard.append((handed_on, taken)))
    answers: list[tuple[int, dict[str, str]]] = []

    async def post() -> None:
        answers.append(await control(BODY))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(post)
        await trio.sleep(100)
        assert [handed_on for handed_on, _ in heard] == [HandedOn("usm-a/17", b"\x00raw")]
        assert answers == []
        heard[0][1]("")
    assert answers == [(200, {"taken": "usm-a/17"})]


async def test_what_is_refused_is_said_why() -> None:
    """422 parks it where it came from."""
    control = NewsControl(lambda _, taken: taken("the message is no 9824"))
    assert await control(BODY) == (422, {"error": "the message is no 9824"})


async def test_cancelled_it_may_be_taken_later(autojump_clock: MockClock) -> None:
    """The client has gone; taking the news then does no harm."""
    heard: list[Taken] = []
    control = NewsControl(lambda _, taken: heard.append(taken))
    with trio.move_on_after(10) as scope:
        await control(BODY)
    assert scope.cancelled_caught
    heard[0]("")


@pytest.mark.parametrize(
    "body",
    [
        b"", b"[]", b"{}", b"\xff", b'{"source": "a/1"}', b'{"source": "a/1", "message": "no base64!"}',
        b'{"source": 1, "message": ""}', b'{"source": "a/1", "message": "", "more": 1}', b"[" * 60000,
    ],
)  # fmt: skip
async def test_what_is_no_request(body: bytes) -> None:
    """400, in words that hold nothing of it; nothing is handed in."""
    control = NewsControl(lambda *_: pytest.fail("handed in"))
    status, said = await control(body)
    assert status == 400
    assert json.dumps(said) == '{"error": "the body must be JSON: a source, and a message in base64"}'


# --- an operator lifts something

ORDER = b'{"what": "cap", "institution": "200000", "reason": "the scheme says so by telephone"}'


async def test_a_lift_is_acknowledged_when_it_is_durable_and_not_before(autojump_clock: MockClock) -> None:
    """As for `/news`."""
    orders: list[tuple[Lift, Taken]] = []
    control = LiftControl(lambda lift, done: orders.append((lift, done)))
    answers: list[tuple[int, dict[str, str]]] = []

    async def post() -> None:
        answers.append(await control(ORDER))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(post)
        await trio.sleep(100)
        assert orders[0][0] == Lift("cap", "the scheme says so by telephone", "200000")
        assert answers == []
        orders[0][1]("")
    assert answers == [(200, {"lifted": "cap", "institution": "200000"})]


async def test_where_nothing_is_held_there_is_nothing_to_lift() -> None:
    """409."""
    control = LiftControl(lambda _, done: done("nothing of this is held against payments"))
    assert await control(ORDER) == (409, {"error": "nothing of this is held against payments"})


@pytest.mark.parametrize(
    "body",
    [
        b"", b"[]", b"{}", b"\xff", b'{"what": "service"}', b'{"what": "service", "reason": ""}',
        b'{"what": "everything", "reason": "r"}', b'{"what": "service", "reason": "a\\nb"}',
        b'{"what": "service", "reason": "r", "more": 1}', b'{"what": "service", "reason": "r", "institution": 1}',
        b'{"what": "standing", "reason": "r", "institution": "longer than it can be"}', b"[" * 60000,
        b'{"what": "service", "reason": "' + b"r" * 201 + b'"}',
    ],
)  # fmt: skip
async def test_what_is_no_order(body: bytes) -> None:
    """400: it must say what, and why."""
    control = LiftControl(lambda *_: pytest.fail("ordered"))
    status, said = await control(body)
    assert status == 400
    assert said["error"]
