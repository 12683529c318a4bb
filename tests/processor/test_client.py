"""Asking, on a mock clock over memory streams: each test is a processor's script and what the client makes of it."""

import json
from itertools import pairwise
from urllib.parse import unquote

import pytest
import trio
import trio.testing
from msgspec import structs

from gateway import metrics
from gateway.errors import ConfigurationError, Unavailable
from gateway.http.directory import Endpoint
from gateway.http.statuses import Told
from gateway.payments.work import Ask
from gateway.processor.answers import NO_REASON, Answers
from gateway.processor.asking import AWAY_AFTER
from gateway.processor.client import Client
from gateway.processor.messages import encode
from gateway.processor.pool import AWAY_PAUSE_MAX_S, CONNECTING_MAX, IDLE_S
from gateway.processor.writing import payment_of
from tests.conftest import Logged
from tests.fakes.network import nameless
from tests.fakes.processor import ACCEPTED, REFUSED, Peer, Script, asking, payment, settings

Clock = trio.testing.MockClock


async def idle() -> None:
    """Let everybody do what can be done without time passing."""
    await trio.testing.wait_all_tasks_blocked()


# --- the question and its answer


async def test_the_question(autojump_clock: Clock) -> None:
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


async def test_a_question_about_a_payment_of_another_day_bears_a_mark(autojump_clock: Clock) -> None:
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


async def test_an_error_page_that_quotes_the_payment_refuses_nothing(autojump_clock: Clock) -> None:
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


async def test_one_question_at_a_time_on_a_connection(autojump_clock: Clock) -> None:
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


async def test_the_pool_grows_a_few_connections_at_a_time(autojump_clock: Clock) -> None:
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


async def test_an_answer_after_the_deadline(autojump_clock: Clock) -> None:
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


async def test_a_late_answer_ends_the_listening(autojump_clock: Clock) -> None:
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


async def test_an_ask_that_expires_while_all_connections_are_busy(autojump_clock: Clock) -> None:
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


async def test_a_void_ask_is_not_sent(autojump_clock: Clock, logged: Logged) -> None:
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
        await idle()
        for number in (0, 1, 2):
            asks[number].void = True
        assert await world.answered(2) == [(0, "0000"), (3, "0000")]
        await trio.sleep(20)
        assert asked == [0, 3]
        assert world.counts == {"answered": 2}
        assert world.client.statistics()["waiting"] == 0
    assert logged("payment not answered") == []


async def test_a_void_ask_is_not_sent_again(autojump_clock: Clock, logged: Logged) -> None:
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
        await idle()
        assert asked == 1
        ask.void = True
        await trio.sleep(20)
        assert asked == 1
        assert world.client.statistics()["waiting"] == 0
    assert logged("payment not answered") == []


async def test_silence(autojump_clock: Clock, logged: Logged) -> None:
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


async def test_a_trickle_is_silence(autojump_clock: Clock) -> None:
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
    response: bytes, outcome: str, reason: str, autojump_clock: Clock, logged: Logged
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
    first: int, again: int, autojump_clock: Clock, logged: Logged
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
async def test_a_refusal_that_is_not_as_agreed_counts(status: int, autojump_clock: Clock, logged: Logged) -> None:
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


async def test_an_inquiry_that_was_refused_in_no_agreed_way(autojump_clock: Clock) -> None:
    """An inquiry's answer is read as any answer."""

    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.respond(200, b'{"TxSts":"RJCT"}')

    async with asking(script) as world:
        answer = await world.client.inquire("F" * 42)
        assert answer is not None
        assert answer.code == "1100"


# --- asking again


@pytest.mark.parametrize("status", [429, 502, 503, 504])
async def test_nobody_behind_the_load_balancer(status: int, autojump_clock: Clock) -> None:
    """A status that says `not now` is asked about again, with growing pauses."""
    times = []

    async def script(peer: Peer) -> None:
        while True:
            await peer.request()
            times.append(round(trio.current_time(), 2))
            if len(times) < 4:
                await peer.respond(status, b"")
            else:
                await peer.respond()

    async with asking(script) as world:
        world.ask()
        assert await world.answered() == [(1, "0000")]
        assert times == [0, 0.05, 0.15, 0.35]
        assert world.counts == {"answered": 1, "again": 3}


async def test_each_is_asked_again_in_its_time(autojump_clock: Clock) -> None:
    """Pauses of several asks run beside each other."""
    times: dict[int, list[float]] = {}

    async def script(peer: Peer) -> None:
        while True:
            question = await peer.request()
            mine = times.setdefault(int(question.headers["idempotency-key"][4:18]), [])
            mine.append(round(trio.current_time(), 2))
            await (peer.respond() if len(mine) > 1 else peer.respond(503, b""))

    async with asking(script) as world:
        world.ask(1)
        await trio.sleep(0.03)
        world.ask(2)
        await world.answered(2)
    assert times == {1: [0, 0.05], 2: [0.03, 0.08]}


async def test_asking_again_ends_at_the_deadline(autojump_clock: Clock) -> None:
    """When the next try would be too late there is none: stand-in answers."""
    times = []

    async def script(peer: Peer) -> None:
        while True:
            await peer.request()
            times.append(trio.current_time())
            await peer.respond(503, b"")

    async with asking(script) as world:
        world.ask(within_s=2.0)
        await trio.sleep(10)
        assert max(times) < 2.0
        assert world.counts == {"away": 1, "again": len(times) - 1}
        assert world.answers == []


async def test_a_connection_that_was_closing(autojump_clock: Clock) -> None:
    """A question that crosses with the server's closing is asked at once on another connection."""
    questions = []

    async def script(peer: Peer) -> None:
        questions.append((await peer.request()).body)
        await peer.respond()
        questions.append((await peer.request()).body)
        await peer.close()  # without a word, as when it was closing anyway

    async with asking(script) as world:
        world.ask(1)
        await world.answered(1)
        world.ask(2)
        assert await world.answered(2) == [(1, "0000"), (2, "0000")]
        assert trio.current_time() == 0
        assert questions[1] == questions[2]
        assert world.counts == {"answered": 2, "again": 1}
        assert world.client.health() == ""


@pytest.mark.parametrize("half", [b"", b"HTTP/1.1 200 OK\r\nContent-Length: 16\r\n\r\n" + ACCEPTED[:7]])
async def test_half_a_response(half: bytes, autojump_clock: Clock) -> None:
    """A fresh connection that breaks before or in the middle of the response is followed by another, after a pause."""
    times = []

    async def script(peer: Peer) -> None:
        await peer.request()
        times.append(round(trio.current_time(), 2))
        if len(times) == 1:
            await peer.send(half)
            await peer.close()
        else:
            await peer.respond()

    async with asking(script) as world:
        world.ask()
        assert await world.answered() == [(1, "0000")]
        assert times == [0, 0.05]


async def test_idle_connections_that_the_server_closes_are_let_go(autojump_clock: Clock) -> None:
    """A keep-alive connection that ends while idle costs no question a detour."""

    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.respond()
        await trio.sleep(1)

    async with asking(script) as world:
        for number in range(3):
            world.ask(number)
            await world.answered(number + 1)
            await trio.sleep(2)
            assert world.client.statistics()["connections"] == 0
        assert world.counts == {"answered": 3}


async def test_connections_that_nobody_needs(autojump_clock: Clock) -> None:
    """After a burst the connections that are not used any more are closed."""

    async def script(peer: Peer) -> None:
        while True:
            await peer.request()
            await trio.sleep(0.1)
            await peer.respond()

    async with asking(script) as world:
        world.ask(*range(20))
        await world.answered(20)
        assert world.client.statistics()["connections"] == 20
        for number in range(4):
            await trio.sleep(IDLE_S / 3)
            world.ask(100 + number)
        await world.answered(24)
        assert world.client.statistics()["connections"] == 1
        await trio.sleep(IDLE_S + 1)
        assert world.processor.open == 0


# --- when it is away


async def test_connections_refused(autojump_clock: Clock, logged: Logged) -> None:
    """While nobody listens, one connection is tried at a time with growing pauses; asks wait as long as they can."""
    async with asking() as world:
        world.processor.away = True
        world.ask(0, 1, within_s=20.0)
        await trio.sleep(2)
        for number in range(2, 10):
            world.ask(number, within_s=20.0)
            await trio.sleep(1)
        dials = world.processor.dials
        pauses = [later - earlier for earlier, later in pairwise(dials)]
        assert pauses[:4] == pytest.approx([0, 0.05, 0.1, 0.2], abs=0.02)
        assert min(pauses[1:]) >= 0.05
        assert max(pauses) <= AWAY_PAUSE_MAX_S + 0.02
        assert world.client.health() == "processor cannot be reached"
        world.processor.away = False
        await world.answered(10)
        assert trio.current_time() <= 10 + AWAY_PAUSE_MAX_S + 0.1
        assert world.client.health() == ""
        assert world.counts == {"answered": 10}
    assert len(logged("processor cannot be reached")) == 1
    assert len(logged("processor can be reached again")) == 1


async def test_asks_that_waited_too_long_are_not_sent(autojump_clock: Clock) -> None:
    """What found no connection before its deadline is not asked about any more."""
    async with asking() as world:
        world.processor.away = True
        world.ask(1, 2, 3)
        await trio.sleep(5.1)
        world.ask(4)
        world.processor.away = False
        assert await world.answered() == [(4, "0000")]
        assert world.counts == {"answered": 1, "expired": 3}


async def test_too_many_wait(autojump_clock: Clock, logged: Logged) -> None:
    """Beyond `waiting_max` nothing is taken in, and it is said."""
    async with asking(waiting_max=10) as world:
        world.processor.away = True
        world.ask(*range(8))
        world.ask(*range(8, 16))
        world.processor.away = False
        assert len(await world.answered(10)) == 10
        await trio.sleep(5)
        assert world.counts == {"answered": 10, "dropped": 6}
    assert logged("payments not asked about")[0]["count"] == 6


async def test_expired_asks_make_room(autojump_clock: Clock) -> None:
    """A queue full of what is too late anyway does not keep fresh asks out."""
    async with asking(waiting_max=10) as world:
        world.processor.away = True
        world.ask(*range(10))
        await trio.sleep(5)
        world.ask(*range(10, 20))
        assert world.counts == {"expired": 10}
        world.processor.away = False
        await world.answered(10)


async def test_a_processor_that_says_not_now_to_everything(autojump_clock: Clock, logged: Logged) -> None:
    """After some failures in a row only probes are sent, and everything goes again when one is answered."""
    times, well = [], False

    async def script(peer: Peer) -> None:
        while True:
            await peer.request()
            times.append(trio.current_time())
            await (peer.respond() if well else peer.respond(503, b""))

    async with asking(script) as world:
        world.ask(*range(100), within_s=30.0)
        await trio.sleep(10)
        assert times.count(0) >= AWAY_AFTER
        probes = [at for at in times if at > 0]
        assert probes == pytest.approx([0.05, 0.15, 0.35, 0.75, *(1.55 + second for second in range(9))], abs=0.03)
        assert world.client.health() == "processor is away"
        well = True
        await world.answered(100)
        assert trio.current_time() <= 10 + AWAY_PAUSE_MAX_S * 2
        assert world.client.health() == ""
    assert len(logged("processor is away")) == 1
    assert len(logged("processor is back")) == 1


async def test_some_of_many_backends_away(autojump_clock: Clock) -> None:
    """When only some questions meet nobody the others go on at full pace."""
    count = 0

    async def script(peer: Peer) -> None:
        nonlocal count
        while True:
            await peer.request()
            count += 1
            await (peer.respond(502, b"") if count % 4 == 0 else peer.respond())

    async with asking(script) as world:
        for number in range(300):
            world.ask(number)
            await trio.sleep(0.001)
        await world.answered(300)
        assert trio.current_time() < 2
        assert world.client.health() == ""


async def test_a_probe_that_gets_no_answer_does_not_block(autojump_clock: Clock) -> None:
    """Away first, then silent: each longest pause another probe goes, so that its return is noticed."""
    state = "away"

    async def script(peer: Peer) -> None:
        while True:
            await peer.request()
            if state == "away":
                await peer.respond(503, b"")
            elif state == "silent":
                await trio.sleep_forever()
            else:
                await peer.respond()

    async with asking(script) as world:
        world.ask(*range(50), within_s=30.0)
        await trio.sleep(3)
        state = "silent"
        await trio.sleep(3)
        state = "well"
        await world.answered(40)
        assert trio.current_time() < 6 + 2 * AWAY_PAUSE_MAX_S


async def test_late_listeners_make_room(autojump_clock: Clock) -> None:
    """Questions that were swallowed do not hold the whole pool: at most half of it listens for late answers."""

    async def script(peer: Peer) -> None:
        while True:
            question = await peer.request()
            if int(question.headers["idempotency-key"][4:18]) < 4:
                await trio.sleep_forever()
            await peer.respond()

    async with asking(script, connections_max=4, late_answer_s=10.0) as world:
        world.ask(0, 1, 2, 3)
        await trio.sleep(5.1)
        assert world.client.statistics()["late_listeners"] == 4
        world.ask(4, 5)
        assert sorted(await world.answered(2)) == [(4, "0000"), (5, "0000")]
        await idle()
        assert world.client.statistics()["late_listeners"] >= 2


async def test_a_line_that_was_cut_without_a_word_costs_one_answer(autojump_clock: Clock) -> None:
    """Once a question met silence, no connection that was idle before is asked: the next payment gets a new one."""
    all_there = trio.Event()
    came = 0

    async def script(peer: Peer) -> None:
        nonlocal came
        number = came = came + 1
        await peer.request()
        if number == 3:
            all_there.set()
        await all_there.wait()
        await peer.respond()
        await peer.request()
        if number <= 3:
            await trio.sleep_forever()
        await peer.respond()

    async with asking(script) as world:
        world.ask(1, 2, 3)
        await world.answered(3)
        await trio.sleep(1)
        world.ask(4)
        await trio.sleep(6)
        world.ask(5, 6)
        assert sorted((await world.answered(5))[3:]) == [(5, "0000"), (6, "0000")]
        assert len(world.processor.dials) == 5


async def test_silence_says_nothing_of_a_connection_that_answered_since(autojump_clock: Clock) -> None:
    """One payment that the processor thinks about for long costs no handshake to the others."""

    async def script(peer: Peer) -> None:
        while True:
            question = await peer.request()
            slow = "TEST00000000000003" in question.headers["idempotency-key"]
            await trio.sleep(20 if slow else 1)
            await peer.respond()

    async with asking(script) as world:
        world.ask(1, 2)
        await world.answered(2)
        world.ask(3)
        world.ask(4)
        await world.answered(3)
        await trio.sleep(6)
        world.ask(5)
        assert (await world.answered(4))[3:] == [(5, "0000")]
        assert len(world.processor.dials) == 2


async def test_connecting_takes_too_long(autojump_clock: Clock) -> None:
    """A host that does not even refuse is given up after `connect_within_s`."""
    async with asking(connect_within_s=2.0) as world:

        async def never(_host: str, _port: int) -> trio.abc.Stream:
            await trio.sleep_forever()
            raise AssertionError

        world.client.hosts._network = nameless(never)
        world.ask()
        await trio.sleep(1.9)
        assert world.client.health() == ""
        await trio.sleep(0.2)
        assert world.client.health() == "processor cannot be reached"


# --- the books balance


async def test_each_ask_ends_once(  # noqa: C901 - a table of misbehaviour
    autojump_clock: Clock,
) -> None:
    """Whatever the processor does, each ask ends in exactly one outcome, and each answer belongs to one ask."""
    turn = 0

    async def script(peer: Peer) -> None:
        nonlocal turn
        while True:
            await peer.request()
            turn += 1
            match turn % 9:
                case 0:
                    await peer.close()
                    return
                case 1:
                    await peer.respond(503, b"")
                case 2:
                    await peer.respond(500, b"")
                case 3:
                    await trio.sleep(7)
                    await peer.respond()
                case 4:
                    await peer.respond(200, b"?")
                case 5:
                    await trio.sleep_forever()
                case 6:
                    await peer.respond(200, ACCEPTED, b"Connection: close")
                case _:
                    await peer.respond()

    async with asking(script, connections_max=8, waiting_max=50) as world:
        for batch in range(20):
            world.ask(*range(batch * 10, batch * 10 + 10))
            await trio.sleep(0.5)
        await trio.sleep(60)
        counts = world.counts
        counts.pop("again")
        assert sum(counts.values()) == 200
        answers = await world.answered(0)
        assert len(answers) == counts["answered"] + counts["late"]
        assert len({number for number, _ in answers}) == len(answers)
        statistics = world.client.statistics()
        assert (statistics["waiting"], statistics["in_flight"], statistics["late_listeners"]) == (0, 0, 0)
        assert world.client.asking._alarm.deadline_s > trio.current_time()


async def test_asks_before_the_client_runs_wait_for_it(autojump_clock: Clock) -> None:
    """Nothing depends on who starts first."""
    async with trio.open_nursery() as nursery:
        client = Client(settings())
        client.ask([Ask(*payment(1), 5.0)])
        assert client.statistics()["waiting"] == 1
        nursery.cancel_scope.cancel()


async def test_a_pool_that_is_used_up_says_so(autojump_clock: Clock, logged: Logged) -> None:
    """A slow processor uses up every connection: one line names the limit, what was never asked is counted, and each
    payment that waits knows why it was not asked.
    """
    name = "node.processor.connections_max"

    async def script(peer: Peer) -> None:
        while True:
            await peer.request()
            await trio.sleep(4)
            await peer.respond()

    before = metrics.LIMIT_TURNED_AWAY[name]._value.get()
    async with asking(script, connections_max=2) as world:
        asks = [Ask(*payment(number), 3.0, number) for number in range(6)]
        world.client.ask(asks)
        await trio.sleep(1)
        why = f"each of 2 connections to the processor was in use ({name})"
        assert [ask.why_unasked() for ask in asks if not ask.attempts] == [why] * 4
        asks[5].void = True
        await trio.sleep(9)
        assert metrics.LIMIT_TURNED_AWAY[name]._value.get() - before == 4
        (line,) = logged("limit reached")
        assert (line["where"], line["limit"]) == (name, 2)
        world.ask(9)
        await world.answered(3)
        assert not world.client.asking._pool.limit.reached


async def test_a_queue_that_is_full_says_so(autojump_clock: Clock, logged: Logged) -> None:
    """Who is dropped knows why."""
    async with asking(waiting_max=1) as world:
        world.processor.away = True
        asks = [Ask(*payment(number), 3.0, number) for number in range(3)]
        world.client.ask(asks)
        assert [ask.why_unasked() for ask in asks[1:]] == [
            "1 questions waited already (node.processor.waiting_max)"
        ] * 2
        assert [line["where"] for line in logged("limit reached")] == ["node.processor.waiting_max"]


# --- inquiring and telling


async def test_an_inquiry(autojump_clock: Clock) -> None:
    """The processor says what it decided."""
    asked = []

    async def script(peer: Peer) -> None:
        asked.append(await peer.request())
        await peer.respond(200, REFUSED)

    fpid = payment(1)[0]
    async with asking(script) as world:
        answer = await world.client.inquire(fpid)
        assert answer is not None
        assert (answer.fpid, answer.code) == (fpid, "1114")
    assert (asked[0].method, asked[0].path) == ("GET", "/base/payments/" + fpid.replace(" ", "%20"))


async def test_an_inquiry_about_what_nobody_knows(autojump_clock: Clock) -> None:
    """404: not decided there."""

    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.respond(404, b"{}")

    async with asking(script) as world:
        assert await world.client.inquire("F" * 42) is None


@pytest.mark.parametrize(("status", "body"), [(500, b""), (200, b"{}"), (302, b""), (503, b"")])
async def test_an_inquiry_that_is_not_answered(status: int, body: bytes, autojump_clock: Clock) -> None:
    """Anything else is no answer: unavailable, not unknown."""

    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.respond(status, body)

    async with asking(script) as world:
        with pytest.raises(Unavailable):
            await world.client.inquire("F" * 42)


class TwoHosts:
    """A directory with a primary and another one that takes inquiries."""

    def __init__(self) -> None:
        self.first = Endpoint("one", 1, tls=False, authority="one:1", path="")
        self.second = Endpoint("two", 2, tls=False, authority="two:2", path="")

    def primary(self) -> Endpoint:
        """Changes."""
        return self.first

    def inquiries(self) -> tuple[Endpoint, ...]:
        """Both."""
        return (self.first, self.second)


async def test_an_inquiry_goes_to_the_next_host(autojump_clock: Clock) -> None:
    """When one host does not answer, the next that takes inquiries is asked."""
    async with asking(directory=TwoHosts()) as world:
        plain = world.processor.connect

        async def connect(host: str, port: int) -> trio.abc.Stream:
            if host == "one":
                raise ConnectionRefusedError(111, "Connection refused")
            return await plain(host, port)

        world.client.hosts._network = nameless(connect)
        answer = await world.client.inquire("F" * 42)
        assert answer is not None
        assert answer.code == "0000"


async def test_another_primary(autojump_clock: Clock) -> None:
    """When the directory names another host, connections to the one before are not asked any more."""
    directory = TwoHosts()
    async with asking(directory=directory) as world:
        world.ask(1)
        await world.answered(1)
        directory.first = directory.second
        world.ask(2)
        await world.answered(2)
        await idle()
        assert world.processor.places == [("one", 1), ("two", 2)]
        assert world.processor.open == 1


@pytest.mark.parametrize(
    ("status", "acknowledged", "refused"),
    [
        (200, True, False), (202, True, False), (204, True, False), (299, True, False), (301, False, False),
        (307, False, False), (400, False, True), (401, False, False), (403, False, False), (404, False, False),
        (405, False, False), (407, False, False), (408, False, False), (409, False, True), (410, False, True),
        (411, False, False), (413, False, True), (421, False, False), (422, False, True), (425, False, False),
        (429, False, False), (499, False, False), (500, False, False), (501, False, False), (503, False, False),
        (599, False, False), (0, False, False),
    ],
)  # fmt: skip
def test_what_a_status_means_for_a_notice(status: int, *, acknowledged: bool, refused: bool) -> None:
    """The one table of it."""
    told = Told(status, 0.0, "")
    assert (told.acknowledged, told.refused) == (acknowledged, refused)


async def test_a_notice(autojump_clock: Clock) -> None:
    """It is posted with its id as the key, on connections of its own that are kept."""
    got = []

    async def script(peer: Peer) -> None:
        while True:
            got.append(await peer.request())
            await peer.respond(204, b"")

    async with asking(script) as world:
        for number in range(3):
            told = await world.client.tell(f"node/{number}", b'{"id":%d}' % number)
            assert told.acknowledged
        assert len(world.processor.dials) == 1
    assert [(one.method, one.path, one.headers["idempotency-key"], one.body) for one in got] == [
        ("POST", "/base/notices", f"node/{number}", b'{"id":%d}' % number) for number in range(3)
    ]


async def no_response(peer: Peer) -> None:
    """Take it, say nothing, until the other end hangs up."""
    await peer.request()
    await peer.request()


async def hang_up(peer: Peer) -> None:
    """Take it, hang up."""
    await peer.request()


async def stutter(peer: Peer) -> None:
    """Half a response."""
    await peer.request()
    await peer.send(b"HTTP/1.1 204 No Con")


async def nonsense(peer: Peer) -> None:
    """Something else."""
    await peer.request()
    await peer.send(b"220 smtp ready\r\n")


@pytest.mark.parametrize(
    ("script", "reason", "after_s"),
    [
        (no_response, "no response within 10 s", 10),
        (hang_up, "connection closed: closed", 0),
        (stutter, "connection cut: closed", 0),
        (nonsense, "connection malformed: ", 0),
    ],
)
async def test_a_notice_that_nobody_takes(script: Script, reason: str, after_s: float, autojump_clock: Clock) -> None:
    """Telling always returns, in bounded time, and says why it was not acknowledged."""
    async with asking(script) as world:
        told = await world.client.tell("node/1", b"{}")
        assert told == Told(0, 0.0, reason)
        assert trio.current_time() == after_s
        await idle()
        assert world.processor.open == 0


async def test_a_line_that_was_cut_without_a_word_costs_one_notice(autojump_clock: Clock) -> None:
    """Once nothing came back, no other connection of before the cut is trusted: the next notice gets a new one."""
    came, all_there = 0, trio.Event()

    async def script(peer: Peer) -> None:
        nonlocal came
        number = came = came + 1
        await peer.request()
        if number == 3:
            all_there.set()
        await all_there.wait()
        await peer.respond(204, b"")
        await peer.request()
        if number <= 3:
            await trio.sleep_forever()
        await peer.respond(204, b"")

    async with asking(script) as world:
        async with trio.open_nursery() as nursery:
            for number in range(3):
                nursery.start_soon(world.client.tell, f"node/{number}", b"{}")
        assert await world.client.tell("node/4", b"{}") == Told(0, 0.0, "no response within 10 s")
        assert (await world.client.tell("node/4", b"{}")).acknowledged
        assert (trio.current_time(), len(world.processor.dials)) == (10, 4)


async def test_a_notice_to_nobody(autojump_clock: Clock) -> None:
    """A refused connection, too."""
    async with asking() as world:
        world.processor.away = True
        assert await world.client.tell("node/1", b"{}") == Told(0, 0.0, "ConnectionRefusedError: Connection refused")


async def test_a_notice_on_a_connection_that_was_closing(autojump_clock: Clock) -> None:
    """A kept connection that turns out to be closed is replaced at once."""

    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.respond(204, b"")
        await peer.request()

    async with asking(script) as world:
        assert (await world.client.tell("node/1", b"{}")).acknowledged
        assert (await world.client.tell("node/2", b"{}")).acknowledged
        assert len(world.processor.dials) == 2


@pytest.mark.parametrize(
    "junk", [b"\r\n", b"\n", b"\r\n\r\n", b"HTTP/1.1 100 Continue\r\n\r\n", b"HTTP/1.1 204 No", b""]
)
async def test_a_notice_that_nobody_took_is_not_told(junk: bytes, autojump_clock: Clock) -> None:
    """The response to the notice before says nothing of this one, whatever comes before the server hangs up."""
    taken = set()

    async def script(peer: Peer) -> None:
        taken.add((await peer.request()).headers["idempotency-key"])
        await peer.send(b"HTTP/1.1 204 No Content\r\n\r\n")
        await peer.request()
        await peer.send(junk)

    async with asking(script) as world:
        told = {key for key in map("node/{}".format, range(20)) if (await world.client.tell(key, b"{}")).acknowledged}
    assert told == taken


async def test_a_notice_after_an_idle_connection_ended(autojump_clock: Clock) -> None:
    """A kept connection that ended while idle is forgotten, not used."""

    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.respond(204, b"")

    async with asking(script) as world:
        for number in range(3):
            assert (await world.client.tell(f"node/{number}", b"{}")).acknowledged
            await idle()
        assert len(world.processor.dials) == 3
        assert world.client.calls._spare == []


async def test_a_notice_goes_to_the_primary(autojump_clock: Clock) -> None:
    """Also when a connection to the one before is still there."""
    directory = TwoHosts()
    async with asking(directory=directory) as world:
        assert (await world.client.tell("node/1", b"{}")).acknowledged
        directory.first = directory.second
        assert (await world.client.tell("node/2", b"{}")).acknowledged
        await idle()
        assert world.processor.places == [("one", 1), ("two", 2)]
        assert world.processor.open == 1


@pytest.mark.parametrize(("header", "seconds"), [(b"7", 7.0), (b"Wed, 21 Oct 2026 07:28:00 GMT", 0.0), (b"-1", 0.0)])
async def test_retry_after(header: bytes, seconds: float, autojump_clock: Clock) -> None:
    """Seconds are understood; a date is not worth a clock."""

    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.respond(503, b"", b"Retry-After: " + header)

    async with asking(script) as world:
        assert (await world.client.tell("node/1", b"{}")).retry_after_s == seconds


async def test_a_response_that_comes_after_its_asker_left(autojump_clock: Clock) -> None:
    """A connection whose response is still out is never given to the next."""

    async def script(peer: Peer) -> None:
        first = await peer.request()
        if first.headers["idempotency-key"] == "node/1":
            await trio.sleep(11)
            await peer.respond(204, b"")
        else:
            await peer.respond(500, b"")

    async with asking(script) as world:
        assert not (await world.client.tell("node/1", b"{}")).acknowledged
        assert (await world.client.tell("node/2", b"{}")).status == 500


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
            await idle()
            assert world.processor.open == 3
        await idle()
        assert world.processor.open == 0
        outer.cancel_scope.cancel()
