"""Requests on one connection: each is what it would be alone, whatever came before it."""

from itertools import pairwise
from typing import Any

import trio
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.http.visitor import Request, Unreadable, Visitor
from tests.fuzz.http import Played

BODY_BYTES_MAX = 1000
UPGRADE = b"Connection: upgrade\r\nUpgrade: h2c"
FIELDS = list(Request.__slots__)


def request(method: bytes, version: int, headers: list[bytes], body: bytes, framing: str) -> bytes:
    """A whole request."""
    head = b"%b /payments/%d HTTP/1.%d\r\n" % (method, len(headers), version)
    head += b"".join(header + b"\r\n" for header in headers)
    if framing == "chunked":
        chunks = b"".join(b"%x\r\n%b\r\n" % (1, body[at : at + 1]) for at in range(len(body)))
        return head + b"Transfer-Encoding: chunked\r\n\r\n" + chunks + b"0\r\nIdempotency-Key: trailer\r\n\r\n"
    if framing == "sized":
        return head + b"Content-Length: %d\r\n\r\n%b" % (len(body), body)
    return head + b"\r\n"


HEADERS = st.lists(
    st.sampled_from((
        b"Idempotency-Key: a", b"Idempotency-Key: b", b"Content-Type: application/json", b"Content-Encoding: gzip",
        b"Prefer: wait=5", b"Prefer: respond-async", UPGRADE, UPGRADE, b"Connection: keep-alive",
        b"Connection: close", b"Expect: 100-continue",
    )),
    max_size=3,
)  # fmt: skip
REQUESTS = st.builds(
    lambda method, version, headers, body, framing: request(method, version, [b"Host: g", *headers], body, framing),
    st.sampled_from((b"GET", b"POST", b"POST", b"HEAD")),
    st.sampled_from((1, 1, 1, 1, 0)),
    HEADERS,
    st.sampled_from((b"", b"{}", b"\r\n", b"GET / HTTP/1.1\r\nHost: g\r\n\r\n")),
    st.sampled_from(("sized", "sized", "chunked", "none")),
)


async def taken(chunks: list[bytes]) -> list[tuple[Any, ...]]:
    """What a visitor hands over of these, and the status of the fault if there is one."""
    got: list[tuple[Any, ...]] = []

    def take(_: Visitor, requests: list[Request], fault: Unreadable | None) -> None:
        got.extend(tuple(getattr(one, name) for name in FIELDS) for one in requests)
        if fault is not None:
            got.append((fault.status,))

    visitor = Visitor(Played(chunks), take, BODY_BYTES_MAX)
    with trio.fail_after(5):
        await visitor.run(lambda _: None)
    return got


@settings(max_examples=300)
@given(st.lists(REQUESTS, min_size=1, max_size=5), st.lists(st.integers(0, 600), max_size=6), st.booleans())
def test_nothing_of_one_request_counts_for_the_next(
    requests: list[bytes],
    places: list[int],
    blank: bool,  # noqa: FBT001 - drawn
) -> None:
    """However they are cut, and with an empty line between them as some clients have it."""
    whole = (b"\r\n" if blank else b"").join(requests)
    ends = sorted({place % (len(whole) + 1) for place in places} | {0, len(whole)})

    async def main() -> None:
        alone: list[tuple[Any, ...]] = []
        for one in requests:
            found = await taken([one])
            alone += found
            if len(found[-1]) == 1 or not found[-1][FIELDS.index("keep")]:
                break
        together = await taken([whole[start:end] for start, end in pairwise(ends)])
        assert together[: len(alone)] == alone
        assert all(len(more) == 1 for more in together[len(alone) :]), "nothing is taken behind the last request"

    trio.run(main)


async def test_who_says_close_and_offers_an_upgrade_is_not_kept() -> None:
    """The offer hides nothing of what else the head says."""
    for connection in (b"close, upgrade", b"upgrade, close"):
        (found,) = await taken(
            [request(b"POST", 1, [b"Host: g", b"Upgrade: h2c", b"Connection: " + connection], b"{}", "sized")]
        )
        assert not found[FIELDS.index("keep")]
