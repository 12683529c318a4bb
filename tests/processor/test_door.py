"""The door as its clients see it: the kind ones and the others."""

from trio.testing import MockClock

from tests.fakes.door import FPID, door, post

PENDING = {"FPID": FPID, "TxId": "TEST00000000000001", "state": "PENDING"}


async def test_a_payment_is_submitted(autojump_clock: MockClock) -> None:
    """A submission becomes a 9200 for the engine; once durable, the client hears 202 and its FPID."""
    async with door() as world:
        response = await world.ask(post())
        assert (response.status, response.json) == (202, PENDING)
        assert response.headers["content-type"] == "application/json"
        [submission] = world.engine.submissions
        assert submission.key == "key-1"
        assert submission.request.amount == "00000000012345"
        assert submission.wait is False
