"""Asking, on a mock clock over memory streams: each test is a processor's script and what the client makes of it."""

import json
from urllib.parse import unquote

import pytest
import trio
import trio.testing
from msgspec import structs
from trio.testing import MockClock, wait_all_tasks_blocked

from gateway import metrics
from gateway.errors import ConfigurationError, Unavailable
from gateway.payments.work import Ask
from gateway.processor.answers import NO_REASON, Answers
from gateway.processor.client import Client
from gateway.processor.messages import encode
from gateway.processor.pool import CONNECTING_MAX
from gateway.processor.writing import payment_of
from tests.conftest import Logged
from tests.fakes.network import nameless
from tests.fakes.processor import ACCEPTED, REFUSED, Peer, asking, payment, settings
from tests.processor.test_client_telling import no_response

# --- the question and its answer


async def test_the_question(autojump_clock: MockClock) -> None:
    """The payment goes in the body, its FPID and the time that is left in headers, and nothing else anywhere."""
    asked = []

    async def script(peer: Peer) -> None:
        asked.append(await peer.request())
        await peer.respond(200, REFUSED)

    async with asking(script) as world:
        world.ask(1, within_s=4.5)
        assert await world.answered() == [(1, "1114")]
    fpid, request = payment(1)
    question = asked[0]
    body = encode(payment_of(request, fpid))
    assert (question.method, question.path, question.body) == ("POST", "/base/payments", body)
    assert question.headers == {
        "host": "processor:80",
        "content-type": "application/json",
        "accept": "application/json",
        "accept-encoding": "identity",
        "idempotency-key": fpid.replace(" ", "%20"),
        "time-left-ms": "4500",
        "content-length": str(len(body)),
    }
    assert unquote(question.headers["idempotency-key"]) == fpid


async def test_a_question_about_a_payment_of_another_day_bears_a_mark(autojump_clock: MockClock) -> None:
    """The processor hears what stand-in does not accept, and only then is the member there."""
    asked: list[dict[str, object]] = []

    async def script(peer: Peer) -> None:
        while True:
            asked.append(json.loads((await peer.request()).body))
            await peer.respond(200, ACCEPTED)

    async with asking(script) as world:
        world.ask(1, unusual=True)
        await world.answered(1)
        world.ask(2)
        await world.answered(2)
    assert [question.get("unusual_date") for question in asked] == [True, None]


async def test_an_error_page_that_quotes_the_payment_refuses_nothing(autojump_clock: MockClock) -> None:
    """A customer's own words come back from a proxy with 400: no decision, as an inquiry of that FPID has none."""
    fpid, request = payment(1)
    fpid = f"TxSts-RJCT        {fpid[18:]}"
    request = structs.replace(request, trn="TxSts-RJCT", remittance="TxSts: RJCT")

    async def script(peer: Peer) -> None:
        while True:
            question = await peer.request()
            await peer.respond(400, b"<h1>Bad Request</h1>" + question.path.encode() + question.body)

    async with asking(script) as world:
        world.client.ask([Ask(fpid, request, trio.current_time() + 5.0)])
        with pytest.raises(Unavailable, match="status 400"):
            await world.client.inquire(fpid)
        assert (world.answers, world.counts) == ([], {"status": 1})


async def test_one_question_at_a_time_on_a_connection(autojump_clock: MockClock) -> None:
    """Many questions use as many connections as are allowed, kept alive, and each answer finds its asker."""
    busy = 0

    async def script(peer: Peer) -> None:
        nonlocal busy
        while True:
            question = await peer.request()
            busy += 1
            assert busy <= 3
            await trio.sleep(0.1)
            busy -= 1
            number = int(unquote(question.headers["idempotency-key"])[4:18])
            await peer.respond(200, REFUSED if number % 3 == 0 else ACCEPTED)

    async with asking(script, connections_max=3) as world:
        world.ask(*range(20))
        answers = await world.answered(20)
        assert sorted(answers) == [(number, "1114" if number % 3 == 0 else "0000") for number in range(20)]
        assert len(world.processor.dials) == 3
        assert world.counts == {"answered": 20}


async def test_the_pool_grows_a_few_connections_at_a_time(autojump_clock: MockClock) -> None:
    """A burst is no burst of handshakes."""
    under_way = peak = 0

    async with asking(connections_max=100) as world:
        plain = world.processor.connect

        async def slow_connect(host: str, port: int) -> trio.abc.Stream:
            nonlocal under_way, peak
            under_way += 1
            peak = max(peak, under_way)
            await trio.sleep(0.1)
            under_way -= 1
            return await plain(host, port)

        world.client.hosts._network = nameless(slow_connect)
        world.ask(*range(50))
        await world.answered(50)
    assert peak == CONNECTING_MAX


async def test_an_answer_after_the_deadline(autojump_clock: MockClock) -> None:
    """A late answer comes through the same callback, for as long as it is listened for."""

    async def script(peer: Peer) -> None:
        await peer.request()
        await trio.sleep(14)
        await peer.respond()
        await trio.sleep_forever()

    async with asking(script, late_answer_s=10.0) as world:
        world.ask()
        assert await world.answered() == [(1, "0000")]
        assert world.times == [14]
        assert world.counts == {"late": 1}


async def test_a_late_answer_ends_the_listening(autojump_clock: MockClock) -> None:
    """A connection that answered late is one like any other again."""

    async def script(peer: Peer) -> None:
        while True:
            question = await peer.request()
            await trio.sleep(7 if "TEST00000000000001" in question.headers["idempotency-key"] else 0)
            await peer.respond()

    async with asking(script, connections_max=1) as world:
        world.ask(1)
        await trio.sleep(6)
        assert world.client.statistics()["late_listeners"] == 1
        await world.answered(1)
        assert world.client.statistics()["late_listeners"] == 0
        world.ask(2)
        await world.answered(2)
        assert len(world.processor.dials) == 1


async def test_an_ask_that_expires_while_all_connections_are_busy(autojump_clock: MockClock) -> None:
    """What waited for too long is not sent when a connection becomes free at last."""
    asked = []

    async def script(peer: Peer) -> None:
        while True:
            question = await peer.request()
            asked.append(int(question.headers["idempotency-key"][4:18]))
            await trio.sleep(6)
            await peer.respond()

    async with asking(script, connections_max=2) as world:
        world.ask(1, within_s=5.0)
        world.ask(1, within_s=6.5)
        world.ask(2, within_s=5.5)
        world.ask(3, within_s=20.0)
        await world.answered(3)
        assert asked == [1, 1, 3]
        assert world.counts == {"late": 1, "answered": 2, "expired": 1}


async def test_a_void_ask_is_not_sent(autojump_clock: MockClock, logged: Logged) -> None:
    """A question that waits when its payment is reversed never leaves; what waits behind it does."""
    asked = []

    async def script(peer: Peer) -> None:
        while True:
            question = await peer.request()
            asked.append(int(unquote(question.headers["idempotency-key"])[4:18]))
            await trio.sleep(1)
            await peer.respond()

    async with asking(script, connections_max=1) as world:
        asks = [Ask(*payment(number), trio.current_time() + 5, number) for number in range(4)]
        world.client.ask(asks)
        await wait_all_tasks_blocked()
        for number in (0, 1, 2):
            asks[number].void = True
        assert await world.answered(2) == [(0, "0000"), (3, "0000")]
        await trio.sleep(20)
        assert asked == [0, 3]
        assert world.counts == {"answered": 2}
        assert world.client.statistics()["waiting"] == 0
    assert logged("payment not answered") == []


async def test_a_void_ask_is_not_sent_again(autojump_clock: MockClock, logged: Logged) -> None:
    """A question that nobody took before its payment was reversed is not repeated afterwards."""
    asked = 0

    async def script(peer: Peer) -> None:
        nonlocal asked
        while True:
            await peer.request()
            asked += 1
            await peer.respond(503, b"")

    async with asking(script) as world:
        ask = Ask(*payment(1), trio.current_time() + 5, 1)
        world.client.ask([ask])
        await wait_all_tasks_blocked()
        assert asked == 1
        ask.void = True
        await trio.sleep(20)
        assert asked == 1
        assert world.client.statistics()["waiting"] == 0
    assert logged("payment not answered") == []


async def test_silence(autojump_clock: MockClock, logged: Logged) -> None:
    """After `late_answer_s` more the connection is closed, and nobody hears of it but the log."""
    closed = []

    async def script(peer: Peer) -> None:
        await peer.request()
        try:
            await peer.request()
        finally:
            closed.append(trio.current_time())

    async with asking(script, late_answer_s=10.0) as world:
        world.ask()
        await trio.sleep(14.9)
        assert closed == []
        await trio.sleep(0.2)
        assert closed == [pytest.approx(15, abs=0.02)]
        assert world.answers == []
        assert world.counts == {"silent": 1}
    line = logged("payment not answered")[0]
    assert line["reason"] == "no answer in time"
    assert payment()[0] not in str(line)


async def test_a_trickle_is_silence(autojump_clock: MockClock) -> None:
    """A response that comes byte by byte for ever is cut off by the same limit."""

    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 16\r\nX: ")
        while True:
            await peer.send(b"x")
            await trio.sleep(0.5)

    async with asking(script) as world:
        world.ask()
        await trio.sleep(20)
        assert world.counts == {"silent": 1}
        assert world.processor.open == 0


# --- what is no answer


@pytest.mark.parametrize(
    ("response", "outcome", "reason"),
    [
        (b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}", "malformed", "not the JSON of an answer"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 14\r\n\r\n" + b'{"TxSts":"no"}', "malformed",
         "TxSts is none of ACSP, ACTC, RJCT"),
        (b"HTTP/1.1 204 No Content\r\n\r\n", "status", "status 204"),
        (b"HTTP/1.1 302 Found\r\nLocation: /\r\nContent-Length: 0\r\n\r\n", "status", "status 302"),
        (b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n", "status", "status 404"),
        (b"HTTP/1.1 500 Oops\r\nContent-Length: 0\r\n\r\n", "status", "status 500"),
        (b"SSH-2.0-OpenSSH_9.2\r\n", "malformed", "malformed"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 99999999\r\n\r\n" + b" " * 90_000, "malformed", "huge"),
    ],
)  # fmt: skip
async def test_what_is_no_answer(
    response: bytes, outcome: str, reason: str, autojump_clock: MockClock, logged: Logged
) -> None:
    """It is counted and logged by the FPID's hash, not asked again, and the next question is asked as ever."""

    async def script(peer: Peer) -> None:
        while True:
            question = await peer.request()
            if "TEST00000000000001" in question.headers["idempotency-key"]:
                await peer.send(response)
            else:
                await peer.respond()

    before = metrics.PROCESSOR_ASKS[outcome]._value.get()
    async with asking(script) as world:
        world.ask(1)
        await trio.sleep(3)
        assert world.answers == []
        assert world.counts == {outcome: 1}
        world.ask(2)
        assert await world.answered() == [(2, "0000")]
    assert metrics.PROCESSOR_ASKS[outcome]._value.get() == before + 1
    lines = logged("payment not answered")
    assert [line["reason"] for line in lines] == [reason]
    assert "SECRET" not in str(logged())
    assert "TEST0000" not in str(logged())


@pytest.mark.parametrize(("first", "again"), [(400, 404), (500, 302), (200, 200), (999, 302)])
async def test_responses_that_decide_nothing_are_said_once_a_minute(
    first: int, again: int, autojump_clock: MockClock, logged: Logged
) -> None:
    """Each is counted by its class, for an alert; the log says the status at once, and how many in a minute."""
    statuses = iter([first, again, again, again])

    async def script(peer: Peer) -> None:
        while True:
            await peer.request()
            await peer.respond(next(statuses), b"{}")

    counter = metrics.PROCESSOR_UNDECIDED[first // 100]
    before = counter._value.get()
    async with asking(script) as world:
        for wait_s in (30, 25, 10, 10):
            world.ask()
            await trio.sleep(wait_s)
        assert world.answers == []
    assert counter._value.get() == before + (4 if first // 100 == again // 100 else 1)
    lines = logged("processor responds to questions without deciding")
    assert [(line["level"], line["status"], line["count"]) for line in lines] == [
        ("error", first, 1),
        ("error", again, 3),
    ]


@pytest.mark.parametrize("status", [200, 202, 404, 429, 503])
async def test_a_refusal_that_is_not_as_agreed_counts(status: int, autojump_clock: MockClock, logged: Logged) -> None:
    """Whatever its status, in time or late: it has the configured code, is counted and said, and is not asked again."""
    asked = 0

    async def script(peer: Peer) -> None:
        nonlocal asked
        while True:
            question = await peer.request()
            asked += 1
            await trio.sleep(7 if "TEST00000000000002" in question.headers["idempotency-key"] else 0)
            await peer.respond(status, b'{"TxSts":"RJCT","StsRsnInf":{"Rsn":{"Prtry":"SECRET"}}}')

    before = metrics.PROCESSOR_BAD_REFUSALS._value.get()
    async with asking(script, answers=Answers(refused_code="1168")) as world:
        world.ask(1)
        world.ask(2, within_s=5)
        assert await world.answered(2) == [(1, "1168"), (2, "1168")]
        assert world.counts == {"answered": 1, "late": 1}
    assert asked == 2
    assert metrics.PROCESSOR_BAD_REFUSALS._value.get() == before + 2
    lines = logged("refusal is not as agreed")
    assert [(line["level"], line["code"], line["reason"]) for line in lines] == [("error", "1168", NO_REASON)] * 2
    assert "SECRET" not in str(logged())


async def test_an_inquiry_that_was_refused_in_no_agreed_way(autojump_clock: MockClock) -> None:
    """An inquiry's answer is read as any answer."""

    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.respond(200, b'{"TxSts":"RJCT"}')

    async with asking(script) as world:
        answer = await world.client.inquire("F" * 42)
        assert answer is not None
        assert answer.code == "1100"


# --- configuration


@pytest.mark.parametrize(
    "url",
    [
        "http://user@host/",
        "http://host:99999/",
        "http://host/?q=1",
        "http://host/#x",
        "http://ho st/",
        "http://h\u00e4/x",
    ],
)
def test_a_url_that_names_no_place(url: str) -> None:
    """What a URL must not hold is refused before anything runs."""
    with pytest.raises(ConfigurationError):
        Client(settings(url))


async def test_when_cancelled_nothing_is_left_open() -> None:
    """Ending the client closes every connection, asking, telling or idle."""
    async with trio.open_nursery() as outer:
        async with asking(no_response) as world:
            outer.start_soon(world.client.tell, "node/1", b"{}")
            world.ask(1, 2)
            await wait_all_tasks_blocked()
            assert world.processor.open == 3
        await wait_all_tasks_blocked()
        assert world.processor.open == 0
        outer.cancel_scope.cancel()
