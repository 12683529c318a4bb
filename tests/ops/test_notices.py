"""What an operator orders by `POST /notices/again`: what is read, whom it reaches, and what is answered."""

import pytest
import trio
from trio.testing import MockClock

from gateway.errors import Refusal, Unavailable
from gateway.ops.notices import AgainControl


async def nobody(position: int) -> None:
    """Not to be reached."""
    pytest.fail(f"position {position} was told")


async def test_it_reaches_whom_it_names_and_waits_until_they_acknowledge(autojump_clock: MockClock) -> None:
    """The processor, where nobody is named."""
    heard: list[tuple[str, int, float]] = []

    async def processor(position: int) -> None:
        await trio.sleep(3)
        heard.append(("processor", position, trio.current_time()))

    async def peer(position: int) -> None:
        heard.append(("peer-sip", position, trio.current_time()))

    control = AgainControl({"processor": processor, "peer-sip": peer})
    assert await control(b'{"position": 17}') == (200, {"told": 17, "to": "processor"})
    assert await control(b'{"position": 18, "to": "peer-sip"}') == (200, {"told": 18, "to": "peer-sip"})
    assert heard == [("processor", 17, 3.0), ("peer-sip", 18, 3.0)]


@pytest.mark.parametrize(("error", "status"), [(Refusal("it is not parked"), 409), (Unavailable("status 503"), 503)])
async def test_what_is_not_acknowledged_is_said_why(error: Exception, status: int) -> None:
    """Ours to refuse, or theirs to answer."""

    async def fails(position: int) -> None:
        raise error

    assert await AgainControl({"processor": fails})(b'{"position": 1}') == (status, {"error": str(error)})


async def test_a_name_that_nobody_has_is_answered_with_those_there_are() -> None:
    """404; a peer is named as the journal and the log name it."""
    control = AgainControl({"processor": nobody, "peer-sip": nobody})
    said = {"error": "no receiver of this name", "known": ["peer-sip", "processor"]}
    assert await control(b'{"position": 1, "to": "sip"}') == (404, said)


@pytest.mark.parametrize(
    "body",
    [
        b"", b"[]", b"{}", b"\xff", b"[" * 60000, b'{"position": 0}', b'{"position": -1}', b'{"position": "1"}',
        b'{"position": 1.5}', b'{"position": 1, "position": 2}', b'{"position": 1, "to": ""}',
        b'{"position": 99999999999999999999}', b'{"position": 1, "more": 1}', b'{"position": 1, "to": null}',
    ],
)  # fmt: skip
async def test_what_is_no_order(body: bytes) -> None:
    """400; nobody is told anything."""
    status, said = await AgainControl({"processor": nobody})(body)
    assert status == 400
    assert said["error"]
