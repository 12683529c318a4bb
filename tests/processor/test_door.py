"""A submission is taken, answered and looked at by its key; a bad one is refused in words that quote nothing."""

import gc
import json
from math import inf
from typing import Any

import msgspec
import pytest
import trio
from msgspec.structs import replace
from trio.testing import MockClock, wait_all_tasks_blocked

from gateway.machine.standstill import RUNS_EVERY_S
from gateway.payments.outbound_law import State
from gateway.payments.work import Standing, Submission
from gateway.processor.door import SWEEP_S
from gateway.processor.messages import Readiness
from tests.fakes.door import BODY, FPID, READY, door, durable, get, ignore, post, refuse, settle
from tests.processor.door_cases import PENDING, SENSITIVE, SETTLED, is_problem, why

# --- submitting


async def test_a_payment_is_submitted(autojump_clock: MockClock) -> None:
    """A submission becomes a 9200 for the engine; once durable, the client hears 202 and its FPID."""
    async with door() as world:
        response = await world.ask(post())
        assert (response.status, response.json) == (202, PENDING)
        assert response.headers["content-type"] == "application/json"
        [submission] = world.engine.submissions
        assert (submission.key, submission.wait, submission.request.amount) == ("key-1", False, "00000000012345")
        assert world.door.statistics() == {
            "connections": 1, "owed": 0, "responses": {"202": 1}, "turned_away": {"crowded": 0, "tls": 0, "short": 0},
        }  # fmt: skip


async def test_nothing_is_said_before_it_is_durable(autojump_clock: MockClock) -> None:
    """The client hears nothing until the engine says that it is on disk."""
    async with door(ignore) as world:
        client = world.client()
        await client.send(post())
        submission = await world.engine.submitted()
        await wait_all_tasks_blocked()
        assert world.door.statistics()["owed"] == 1
        settle(submission, State.WAITING)
        assert (await client.response()).status == 202


@pytest.mark.parametrize(
    ("state", "more", "expected"),
    [
        (State.SETTLED, {"code": "0000", "by": "receiver"}, SETTLED),
        (
            State.SETTLED,
            {"code": "1930", "field": "120", "by": "receiver"},
            {**SETTLED, "decided": why("RJCT", "1930", "syntax error, DE44 says where", FldInErr="120")},
        ),
        (
            State.SETTLED,
            {"code": "9910", "by": "hub", "settlement": "20251122001", "asynchronous": "0"},
            {
                **SETTLED, "decided": why("RJCT", "9910", "receiver not signed on"), "by": "hub",
                "ClrSysRef": "20251122001", "asynchronous": False,
            },
        ),
        (
            State.SETTLED,
            {"code": "0081", "by": "receiver", "redirected_agent": "309999", "redirected_account": "7",
             "asynchronous": "1"},
            {
                **SETTLED, "decided": why("ACTC", "0081", "credited the same day"), "asynchronous": True,
                "RdrctdAgt": {"ClrSysId": "GBDSC", "MmbId": "309999"}, "RdrctdAcct": {"Id": "7"},
            },
        ),
        (State.SETTLED, {"code": "9944", "by": "hub"}, {
            **SETTLED, "decided": why("RJCT", "9944", "suspended"), "by": "hub",
        }),
        (State.UNKNOWN, {"code": "9909"}, {**PENDING, "state": "UNKNOWN", "inconclusive": "9909"}),
        (State.UNKNOWN, {}, {**PENDING, "state": "UNKNOWN"}),
        (State.UNSENT, {}, {**PENDING, "state": "UNSENT"}),
    ],
)  # fmt: skip
async def test_a_payment_that_was_submitted_before(
    autojump_clock: MockClock, state: State, more: dict[str, str], expected: dict[str, Any]
) -> None:
    """The same key again, or a look: 200 with where it stands, in full."""
    async with door(lambda submission: settle(submission, state, **more)) as world:
        response = await world.ask(post())
        assert (response.status, response.json) == (200, expected)
        standing = world.engine.submissions[0].standing
        assert standing is not None
        world.engine.known["key-1"] = standing
        looked = await world.ask(get("/payments/key-1"))
        assert (looked.status, looked.json) == (200, expected)


async def test_the_engine_refuses(autojump_clock: MockClock) -> None:
    """Unavailable is 503, with when to come again; a conflict is 409. Both say why, in the engine's words."""
    async with door(lambda submission: refuse(submission, why="no link")) as world:
        response = await world.ask(post())
        assert is_problem(response, 503)
        assert response.headers["retry-after"] == "1"
        assert response.json["detail"] == "no link"
        assert "code" not in response.json
    async with door(lambda submission: refuse(submission, why="suspended", code="9943")) as world:
        response = await world.ask(post())
        assert (response.status, response.json["code"]) == (503, "9943")
    async with door(lambda submission: refuse(submission, "conflict", "another payment's")) as world:
        response = await world.ask(post())
        assert is_problem(response, 409)
        assert response.json["detail"] == "another payment's"


async def test_an_engine_that_says_nothing(autojump_clock: MockClock) -> None:
    """504 after its time: it may be recorded or not. What comes after that changes nothing."""
    async with door(ignore) as world:
        client = world.client()
        started_s = trio.current_time()
        response = await client.ask(post())
        assert is_problem(response, 504)
        assert 10 <= trio.current_time() - started_s < 10.3
        [submission] = world.engine.submissions
        assert submission.void
        settle(submission, State.WAITING)
        assert (await client.ask(get("/payments/other"))).status == 404


@pytest.mark.parametrize(("lay_s", "stale"), [(0.0, False), (1.5, False), (10.0, True), (3600.0, True)])
async def test_what_lay_here_is_as_old_as_that(autojump_clock: MockClock, lay_s: float, *, stale: bool) -> None:
    """It came while this machine stood still. Beyond `answer_within_s` the engine hears that it must not be taken up;
    before, its time counts from then.
    """
    began_s = trio.current_time()
    async with door(ignore, came_s=lambda now_s: now_s if now_s > began_s else now_s - lay_s) as world:
        client = world.client()
        await client.send(post())
        assert bool((await world.engine.submitted()).stale) is stale
        assert (await client.response()).status == 504
        within_s = 10.0 if stale else 10.0 - lay_s
        assert within_s <= trio.current_time() - began_s <= within_s + 2 * SWEEP_S


async def test_no_connection_was_idle_while_the_machine_slept(autojump_clock: MockClock) -> None:
    """What its client wrote meanwhile is read before anybody is judged; with nothing written it ends all the same."""
    slept_s = woke_s = inf

    def came_s(now_s: float) -> float:
        return slept_s if woke_s <= now_s < woke_s + RUNS_EVERY_S else now_s

    async with door(durable, came_s=came_s) as world:
        writing, silent = world.client(), world.client()
        for client in (writing, silent):
            assert (await client.ask(get("/payments/key-1"))).status == 404
        slept_s = trio.current_time()
        autojump_clock.jump(3600)
        woke_s = trio.current_time()
        await wait_all_tasks_blocked()  # the sweeper has looked
        await writing.send(post())
        assert (await world.engine.submitted()).stale
        assert (await writing.response()).status == 202
        assert await silent.end() == b""


async def test_submissions_of_one_chunk_go_together(autojump_clock: MockClock) -> None:
    """What comes in one read goes to the engine in one call; the responses leave in the order of the requests."""
    async with door(ignore) as world:
        client = world.client()
        await client.send(post(key="a") + post(key="b") + get("/payments/c") + post(key="d"))
        await world.engine.submitted(3)
        assert [[submission.key for submission in batch] for batch in world.engine.batches] == [["a", "b", "d"]]
        a, b, d = world.engine.submissions
        settle(d, State.WAITING)
        settle(b, State.UNSENT)
        await wait_all_tasks_blocked()
        settle(a, code="0000", by="hub")
        states = [(await client.response()).json.get("state") for _ in range(4)]
        assert states == ["SETTLED", "UNSENT", None, "PENDING"]


async def test_a_key_that_makes_the_reference(autojump_clock: MockClock) -> None:
    """Without TxId the key makes it, and the client hears which."""
    async with door() as world:
        response = await world.ask(post({name: value for name, value in BODY.items() if name != "TxId"}))
        assert response.status == 202
        assert response.json["TxId"] == "G90QRNNX0W5TPA762Z"
        assert response.json["FPID"].startswith("G90QRNNX0W5TPA762Z10")


# --- waiting for the outcome


@pytest.mark.parametrize("preference", ["wait=5", "respond-async, wait=5", 'Wait = "5"', "x;y=1,wait=5;z"])
async def test_the_outcome_comes_in_time(autojump_clock: MockClock, preference: str) -> None:
    """With `Prefer: wait` the answer is the outcome, as soon as there is one."""
    async with door() as world:
        client = world.client()
        await client.send(post(BODY, f"Prefer: {preference}"))
        waiting = await world.engine.submitted()
        assert waiting.wait
        await trio.sleep(4.5)
        settle(waiting, code="0000", by="receiver")
        response = await client.response()
        assert (response.status, response.json) == (200, SETTLED)


async def test_what_is_answered_waits_for_no_garbage_collector() -> None:
    """A request that is answered is gone, whatever it waited for."""

    async def ask(count: int) -> None:
        for number in range(count):
            assert (await client.ask(post(BODY, "Prefer: wait=5", key=f"key-{number}"))).status == 200

    def play(submission: Submission) -> None:
        settle(submission, State.WAITING)
        settle(submission, code="0000", by="hub")

    async with door(play) as world:
        client = world.client()
        await ask(20)  # what is made once
        world.engine.batches.clear()
        gc.collect()
        gc.disable()
        try:
            await ask(100)
            world.engine.batches.clear()
            left = gc.collect()
        finally:
            gc.enable()
        assert left < 100


async def test_the_outcome_comes_too_late(autojump_clock: MockClock) -> None:
    """When the time is over the client hears 202, or what a look says; the outcome then is told by a notice only."""
    async with door() as world:
        client = world.client()
        for known, expected in (
            (None, (202, PENDING)),
            (Standing(FPID, State.UNKNOWN), (200, PENDING | {"state": "UNKNOWN"})),
        ):
            if known is not None:
                world.engine.known["key-1"] = known
            started_s = trio.current_time()
            response = await client.ask(post(BODY, "Prefer: wait=3"))
            assert (response.status, response.json) == expected
            assert 3 <= trio.current_time() - started_s < 3.2
            waiting = world.engine.submissions[-1]
            assert waiting.wait
            assert waiting.void
            settle(waiting, code="0000", by="receiver")  # an engine that did not see that it is void


@pytest.mark.parametrize(
    ("preference", "waits_s"),
    [
        ("wait=30", 30),
        ("wait=999999999", 30),
        ("wait=0", 0),
        ("wait", 0),
        ("wait=-1", 0),
        ("waiting=9", 0),
        ("handling=lenient", 0),
        ("wait=5, wait=9", 5),
        ("wait=0x5", 0),
    ],
)
async def test_how_long_is_waited(autojump_clock: MockClock, preference: str, waits_s: float) -> None:
    """Up to 30 seconds; what is no number of seconds is no wish."""
    async with door() as world:
        started_s = trio.current_time()
        assert (await world.ask(post(BODY, f"Prefer: {preference}"))).status == 202
        assert waits_s <= trio.current_time() - started_s <= waits_s + 0.2
        (submission,) = world.engine.submissions
        assert submission.wait == bool(waits_s)


async def test_an_outcome_that_is_there_is_not_waited_for(autojump_clock: MockClock) -> None:
    """Settled at once: said at once, and submitted once."""
    async with door(lambda submission: settle(submission, code="0000", by="hub")) as world:
        assert (await world.ask(post(BODY, "Prefer: wait=30"))).status == 200
        assert len(world.engine.submissions) == 1


async def test_not_durable_while_waiting(autojump_clock: MockClock) -> None:
    """However long the client would wait: what is not durable in its time gets 504, and not 202."""
    async with door(ignore) as world:
        assert is_problem(await world.ask(post(BODY, "Prefer: wait=3")), 504)


async def test_a_client_that_goes_away_while_waiting(autojump_clock: MockClock) -> None:
    """Its submission is void: nothing is done for it any more, and nobody else is disturbed."""
    async with door() as world:
        client, other = world.client(), world.client()
        await client.send(post(BODY, "Prefer: wait=30"))
        waiting = await world.engine.submitted()
        await client.hang_up()
        await wait_all_tasks_blocked()
        assert waiting.void
        settle(waiting, code="0000", by="receiver")
        await trio.sleep(SWEEP_S * 2)
        assert (await other.ask(post(key="key-2"))).status == 202
        assert world.door.statistics()["connections"] == 1


async def test_a_client_that_goes_away_before_it_is_durable(autojump_clock: MockClock) -> None:
    """The same: the engine goes on, the response is nobody's."""
    async with door(ignore) as world:
        client = world.client()
        await client.send(post())
        submission = await world.engine.submitted()
        await client.hang_up()
        await wait_all_tasks_blocked()
        settle(submission, State.WAITING)
        await trio.sleep(SWEEP_S * 2)
        assert world.door.statistics()["connections"] == 0


async def test_a_client_that_has_said_all(autojump_clock: MockClock) -> None:
    """Half-closed: it hears what it asked for; and if it would wait, where it stands now, since it may be gone."""
    for play, line in ((ignore, "Accept: */*"), (durable, "Prefer: wait=30")):
        async with door(play) as world:
            client = world.client()
            started_s = trio.current_time()
            await client.send(post(BODY, line))
            assert isinstance(client.stream, trio.StapledStream)
            await client.stream.send_eof()
            if play is ignore:
                submission = await world.engine.submitted()
                await wait_all_tasks_blocked()
                settle(submission, State.WAITING)
            assert (await client.response()).json == PENDING
            assert await client.end() == b""
            assert trio.current_time() - started_s < 1


async def test_a_door_that_is_closed_leaves_nothing(autojump_clock: MockClock) -> None:
    """Cancelled, it drops every connection; what waited is void."""
    async with door(ignore) as world:
        client = world.client()
        await client.send(post())
        submission = await world.engine.submitted()
        await wait_all_tasks_blocked()
    assert submission.void
    assert await client.end() == b""


# --- looking


async def test_looking(autojump_clock: MockClock) -> None:
    """A payment is found under its key, whatever visible characters that has; any other key is unknown here."""
    async with door() as world:
        key = "".join(map(chr, range(0x21, 0x7F)))
        world.engine.known[key] = Standing(FPID, State.WAITING)
        quoted = "".join(f"%{ord(character):02x}" for character in key)
        client = world.client()
        response = await client.ask(get(f"/payments/{quoted}?x=1"))
        assert (response.status, response.json) == (200, PENDING)
        for path in ("/payments/other", "/payments/", "/payments/a/b", "/payments/%", "/payments/%00", "/payments/%20",
                     "/payments/%ff", "/payments/" + "x" * 101):  # fmt: skip
            assert is_problem(await client.ask(get(path)), 404)


async def test_may_payments_come_here(autojump_clock: MockClock) -> None:
    """Whoever submits hears it where they submit, and which gateway it is."""
    async with door() as world:
        for readiness, status in ((READY, 200), (replace(READY, ready=False, reasons=("draining",)), 503)):
            world.engine.readiness = readiness
            response = await world.ask(get("/ready"))
            assert (response.status, response.headers["content-type"]) == (status, "application/json")
            assert msgspec.convert(response.json, Readiness) == readiness


async def test_a_look_without_a_body(autojump_clock: MockClock) -> None:
    """HEAD is GET but for the body; the connection lives on."""
    async with door() as world:
        world.engine.known["key-1"] = Standing(FPID, State.WAITING)
        client = world.client()
        whole = await client.ask(get("/payments/key-1"))
        await client.send(get("/payments/key-1", method="HEAD") + get("/payments/x", method="HEAD"))
        bare = await client.response(bare=True)
        assert (bare.status, bare.body) == (200, b"")
        assert bare.headers["content-length"] == str(len(whole.body))
        assert (await client.response(bare=True)).status == 404
        assert (await client.ask(get("/payments/key-1"))).json == PENDING


async def test_a_whole_url_is_a_target_too(autojump_clock: MockClock) -> None:
    """As a proxy would write it."""
    async with door() as world:
        assert (await world.ask(post(path="http://gateway:9300/payments"))).status == 202


# --- what is refused


@pytest.mark.parametrize(
    ("data", "status"),
    [
        (get("/"), 404), (get("/payment"), 404), (get("/paymentsx"), 404), (post(path="/notices"), 404),
        (get("*", method="OPTIONS"), 404),
        (get("/payments"), 405), (get("/payments", method="DELETE"), 405), (get("/payments", method="PUT"), 405),
        (post(path="/payments/key-1"), 405), (get("/payments/key-1", method="DELETE"), 405),
        (post(path="/ready"), 405),
        (post(key=None), 400), (post(key=""), 400), (post(key="k" * 101), 400), (post(key="a b"), 400),
        (post(key="a\tb"), 400), (post(BODY, "Idempotency-Key: key-1"), 400), (post(BODY, "idempotency-key: x"), 400),
        (post().replace(b"application/json", b"text/json"), 415), (post().replace(b"application/json", b""), 415),
        (post().replace(b"application/json", b"application/json; charset=utf-16"), 415),
        (post().replace(b"Content-Type", b"Content-Typo"), 415),
        (post(BODY, "Content-Encoding: gzip"), 415),
        (post(b""), 400), (post(b"{"), 400), (post(b"\xff"), 400), (post(b"[" * 16000), 400),
        (post(json.dumps(BODY).replace('"TxId"', '"TxId":"A","TxId"').encode()), 400),
        (post([]), 422), (post({}), 422), (post({**BODY, "Unknown": 1}), 422),
        (post({**BODY, "PrcgCd": "300000"}), 422),
    ],
)  # fmt: skip
async def test_what_is_refused(autojump_clock: MockClock, data: bytes, status: int, logged: Any) -> None:
    """A problem says why; nothing reaches the engine, nothing sensitive the log; the connection lives on."""
    async with door() as world:
        client = world.client()
        response = await client.ask(data)
        assert is_problem(response, status)
        if status == 405:
            assert response.headers["allow"] in {"POST", "GET, HEAD"}
        assert world.engine.submissions == []
        assert (await client.ask(post())).status == 202
        assert not any(value in json.dumps(logged()) for value in SENSITIVE)


@pytest.mark.parametrize(
    "line",
    ["Content-Type: Application/JSON", 'Content-Type: application/json; charset="UTF-8"', "Content-Encoding: Identity"],
)
async def test_what_is_json_all_the_same(autojump_clock: MockClock, line: str) -> None:
    """However it is written."""
    data = post(BODY, line)
    if line.startswith("Content-Type"):
        data = data.replace(b"Content-Type: application/json\r\n", b"")
    async with door() as world:
        assert (await world.ask(data)).status == 202


@pytest.mark.parametrize(
    ("line", "named", "other"),
    [
        ("Content-Encoding: gzip", "Content-Encoding", "Content-Type"),
        ("Content-Encoding: identity, br", "Content-Encoding", "Content-Type"),
        ("Content-Type: application/json; charset=latin-1", "Content-Type", "Content-Encoding"),
        ("Content-Type: text/plain", "Content-Type", "Content-Encoding"),
    ],
)
async def test_what_is_wrong_with_the_form_of_a_body_is_named(
    autojump_clock: MockClock, line: str, named: str, other: str
) -> None:
    """The header that is not as it must be, and not another one; of an encoding also what would be taken (RFC 9110)."""
    data = post(BODY, line)
    if line.startswith("Content-Type"):
        data = data.replace(b"Content-Type: application/json\r\n", b"")
    async with door() as world:
        response = await world.ask(data)
        assert is_problem(response, 415)
        assert response.json["detail"].startswith(f"{named}: ")
        assert other not in response.json["detail"]
        assert response.headers.get("accept-encoding") == ("identity" if named == "Content-Encoding" else None)


async def test_a_wrong_member_is_named(autojump_clock: MockClock, logged: Any) -> None:
    """The client hears which member breaks which rule; the log which member, unless its name is the client's own."""
    async with door() as world:
        response = await world.ask(post({**BODY, "CdtrAcct": {"Id": ""}, "Dbtr": {"Nm": "X" * 41}}))
        assert is_problem(response, 422)
        assert response.json["errors"] == [
            {"pointer": "#/CdtrAcct/Id", "detail": "is missing or empty"},
            {"pointer": "#/Dbtr/Nm", "detail": "must be at most 40 characters"},
        ]
        await world.ask(post({**BODY, "SECRET": 1}))
        assert [(line["status"], line["where"]) for line in logged("submission refused")] == [
            (422, "#/CdtrAcct/Id"),
            (422, ""),
        ]


async def test_a_fault_of_ours(autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch, logged: Any) -> None:
    """What a client wrote must not end the process, whatever it makes us do: 500, and the log says how."""
    async with door() as world:
        monkeypatch.setattr(world.door._reader, "read", lambda *_: 1 // 0)
        assert is_problem(await world.ask(post()), 500)
        assert [line["error"] for line in logged("a submission could not be judged")] == ["ZeroDivisionError"]
