"""What another process hands on by `POST /news`: what comes in, what is answered, and when."""

import json

import msgspec
import pytest
import trio
from trio.testing import MockClock

from gateway.news import HandedOn, Taken
from gateway.ops.news import NewsControl

BODY = msgspec.json.encode(HandedOn("usm-a/17", b"\x00raw"))


async def test_it_is_acknowledged_when_it_is_taken_and_not_before(autojump_clock: MockClock) -> None:
    """200 waits for the disk."""
    heard: list[tuple[bytes, str, Taken]] = []
    control = NewsControl(lambda raw, source, taken: heard.append((raw, source, taken)))
    answers: list[tuple[int, dict[str, str]]] = []

    async def post() -> None:
        answers.append(await control(BODY))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(post)
        await trio.sleep(100)
        assert [(raw, source) for raw, source, _ in heard] == [(b"\x00raw", "usm-a/17")]
        assert answers == []
        heard[0][2]("")
    assert answers == [(200, {"taken": "usm-a/17"})]


async def test_what_is_refused_is_said_why() -> None:
    """422 parks it where it came from."""
    control = NewsControl(lambda _raw, _source, taken: taken("the message is no 9824"))
    assert await control(BODY) == (422, {"error": "the message is no 9824"})


async def test_cancelled_it_may_be_taken_later(autojump_clock: MockClock) -> None:
    """Nobody waits any more; that it is taken then hurts nobody."""
    heard: list[Taken] = []
    control = NewsControl(lambda _raw, _source, taken: heard.append(taken))
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
