"""`POST /news`, by which another process hands on news: the request, the response, and its time."""

import json

import msgspec
import pytest
import trio
from trio.testing import MockClock

from gateway.ops.news import NewsControl
from gateway.scheme.news import HandedOn, Taken
from tests.fakes.ops import PEER

BODY = msgspec.json.encode(HandedOn("usm-a/17", b"\x00raw"))


async def test_it_is_acknowledged_when_it_is_taken_and_not_before(autojump_clock: MockClock) -> None:
    """200 waits for the disk."""
    heard: list[tuple[HandedOn, Taken]] = []
    control = NewsControl(lambda handed_on, taken: heard.append((handed_on, taken)))
    answers: list[tuple[int, dict[str, str]]] = []

    async def post() -> None:
        answers.append(await control(PEER, BODY))

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
    assert await control(PEER, BODY) == (422, {"error": "the message is no 9824"})


async def test_cancelled_it_may_be_taken_later(autojump_clock: MockClock) -> None:
    """The client has gone; taking the news then does no harm."""
    heard: list[Taken] = []
    control = NewsControl(lambda _, taken: heard.append(taken))
    with trio.move_on_after(10) as scope:
        await control(PEER, BODY)
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
    status, said = await control(PEER, body)
    assert status == 400
    assert json.dumps(said) == '{"error": "the body must be JSON: a source, and a message in base64"}'


async def test_a_process_hands_on_its_own_news_only() -> None:
    """Who it was stands in the record: another's name is not taken."""
    control = NewsControl(lambda *_: pytest.fail("handed in"))
    status, said = await control(PEER, msgspec.json.encode(HandedOn("usm-b/17", b"\x00raw")))
    assert (status, said) == (
        422, {"error": "the source is not usm-a's, which hands it on: it must begin with that name"},
    )  # fmt: skip
