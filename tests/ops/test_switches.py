"""`POST /keys/allow`: an operator lets a superseded key come back."""

import pytest

from gateway.ops.switches import AllowControl
from gateway.scheme.keywork import Done
from gateway.scheme.ring import Allow

ORDER = b'{"use": "own", "check": "abcdef", "reason": "the hub was restored"}'


async def test_it_is_allowed_once_that_is_durable() -> None:
    heard: list[Allow] = []

    def order(allow: Allow, done: Done) -> None:
        heard.append(allow)
        done("")

    assert await AllowControl(order)(ORDER) == (200, {"allowed": "ABCDEF", "use": "own"})
    assert heard == [Allow("own", "abcdef", "the hub was restored")]


async def test_a_key_that_was_never_superseded_cannot_be_allowed() -> None:
    control = AllowControl(lambda _order, done: done("no key with this check value was superseded"))
    assert await control(ORDER) == (409, {"error": "no key with this check value was superseded"})


@pytest.mark.parametrize(
    "body",
    [
        b"", b"[]", b"{}", b"\xff", ORDER.replace(b"own", b"both"), ORDER.replace(b"abcdef", b"abcde"),
        ORDER.replace(b"abcdef", b"no hex"), ORDER.replace(b"abcdef", b""), ORDER.replace(b"the hub was restored", b""),
        ORDER.replace(b"}", b', "more": 1}'), ORDER.replace(b"abcdef", b"ab" * 9),
    ],
)  # fmt: skip
async def test_what_is_no_order(body: bytes) -> None:
    """400; nothing is ordered, and the words hold nothing of it."""
    status, said = await AllowControl(lambda *_: pytest.fail("ordered"))(body)
    assert status == 400
    assert "restored" not in said["error"]
