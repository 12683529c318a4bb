"""What is posted to the ops server: any path, headers and body; and news that another process hands on."""

import base64
import json
import random

import trio
import trio.testing

from gateway import config
from gateway.acts.actors import ANYBODY, Caller
from gateway.acts.book import Book
from gateway.clock import Now
from gateway.config import StandInMode
from gateway.errors import Refusal, Unavailable
from gateway.http.visitor import Request, Turn
from gateway.journal.writer import ACT_BYTES_MAX
from gateway.ops import effects
from gateway.ops.desk import Desk
from gateway.ops.news import NewsControl
from gateway.ops.server import Control, Look, Response, Server
from gateway.payments import steps
from gateway.payments.links import Link as StoryLink
from gateway.payments.steps import Kind
from gateway.scheme.news import HandedOn, Heard, News, Replay, Report, Taken
from gateway.scheme.ring import Allow, Use
from gateway.wire.meanings import built_in
from gateway.wire.message import Usm
from tests.fakes.ops import BEN, NOBODY, PEER
from tests.fuzz import good, http, jsons
from tests.fuzz.target import Dice, Target, short

NOW = Now(1.0, 1_763_844_901_000_000_000)
METHODS = (b"POST", b"GET", b"HEAD", b"PUT", b"OPTIONS", b"")
PATHS = (
    b"/acts/stand-in", b"/acts/request-key", b"/news", b"/acts/lift", b"/acts/tell-again", b"/acts/allow-key",
    b"/acts/reveal", b"/acts/approve", b"/acts/reject", b"/acts/nothing", b"/acts", b"/live", b"/ready", b"/metrics",
    b"/", b"", b"/news/", b"/news?x", b"\xff",
)  # fmt: skip
_JSON = b"application/json"
HEADERS: list[tuple[bytes, bool, bytes, bytes]] = [
    (_JSON, False, b"", b"localhost"),
    (b"Application/JSON ; charset=utf-8", False, b"identity", b"127.0.0.1:9200"),
    (_JSON, True, b"", b"localhost"),
    (_JSON, False, b"gzip", b"[::1]:9200"),
    (_JSON, False, b"", b"evil.example"),
    (b"", False, b"", b""),
]
"""Content type, whether there is an Origin, encoding, Host."""


class Shell:
    """Everything is durable at once."""

    id = 0
    site = ""

    def __init__(self) -> None:
        self.story: News | None = None
        self.heard: list[Heard] = []

    def record(self, kind: Kind, body: bytes, fpid: str, link: StoryLink) -> int:
        """Nothing is kept."""
        return 1

    def when_news_recorded(self, position: int, heard: Heard) -> None:
        """At once."""
        assert self.story is not None
        self.heard.append(heard)
        self.story.on_recorded(heard, NOW)

    def acknowledge(self, link: StoryLink, usm: Usm) -> None:
        """No link brought it."""
        raise AssertionError("what was handed on is not acknowledged to the hub")

    def report(self, report: Report) -> None:
        """Said."""
        assert len(report.why) < 200

    def when_lift_recorded(self, position: int, lifted: steps.Lifted, done: Taken) -> None:
        """At once."""
        assert self.story is not None
        self.story.on_lift_recorded(lifted, done, NOW)

    def report_lift(self, what: str, institution: str) -> None:
        """Said."""
        assert len(what) + len(institution) < 30


class Notes:
    """Records of acts, durable at once."""

    def has_room_for_act(self) -> bool:
        """Always."""
        return True

    def record_act(self, act: steps.Act) -> tuple[int, trio.Event]:
        """Nothing is kept."""
        assert len(steps.pack(act)) <= ACT_BYTES_MAX
        durable = trio.Event()
        durable.set()
        return 1, durable


def desk_of(story: News) -> Desk:
    """As `daemon` puts it together."""

    async def switch(_mode: StandInMode) -> None:
        """Durable at once."""

    async def tell_again(position: int) -> None:
        assert position > 0
        if position % 3:
            raise (Refusal if position % 3 == 1 else Unavailable)(f"position {position}")

    def allow(order: Allow, _why: str, done: Taken) -> None:
        done("" if order.use == "own" else "no key with this check value was superseded")

    done = {
        "stand-in": effects.stand_in(switch),
        "request-key": effects.request_key(lambda use: "no link stands" if use is Use.OWN else ""),
        "allow-key": effects.allow_key(allow),
        "lift": effects.lift(story.on_lift),
        "tell-again": effects.tell_again({"processor": tell_again}),
        "reveal": effects.reveal,
    }
    return Desk(config.Acts(second_person=("reveal",)), Notes(), Book(), done, lambda: NOW)


def server_of(shell: Shell) -> Server:
    """As `daemon` puts it together."""
    story = shell.story = News(config.News(), built_in(), good.CODEC, shell, Replay(built_in(), good.CODEC))
    desk = desk_of(story)

    def order(name: str) -> Control:
        async def do(caller: Caller, body: bytes) -> Response:
            return await desk.order(caller, name, body)

        return Control(do)

    def hand_in(handed_on: HandedOn, taken: Taken) -> None:
        story.on_handed_on(handed_on, taken, NOW)

    controls = {f"/acts/{name}": order(name) for name in desk.names} | {
        "/news": Control(NewsControl(hand_in), ("peer",))
    }
    return Server(config.Ops(), NOBODY, ready=lambda: (True, {}), looks={"/acts": Look(desk.see)}, controls=controls)


class Seen:
    """Stands for the connection: it takes the responses."""

    def __init__(self) -> None:
        self.responses: list[tuple[int, bytes]] = []

    def respond(self, turn: Turn, status: int, _media_type: bytes, body: bytes, _more: bytes = b"") -> None:
        """Once for each request."""
        assert turn.response is None
        turn.response = body
        self.responses.append((status, body))


def run(data: bytes) -> None:
    """One whole response, never a 500, and nothing of a body in it but what is no payload."""
    dice = Dice(data)
    shell = Shell()
    served = server_of(shell)

    async def one(nursery: trio.Nursery) -> None:
        served._nursery = nursery
        request = Request()
        request.method, request.target = dice.pick(METHODS), dice.pick(PATHS)
        request.media_type, request.origin, request.encoding, request.host = dice.pick(HEADERS)
        if dice.odds(9):
            request.host = dice.short()
        request.body = dice.take(dice.upto(65535))
        seen = Seen()
        turn = Turn(seen, keep=True, bare=False)  # type: ignore[arg-type]  # as much of one as is used
        served._route(served._ways["port"], dice.pick((BEN, PEER, ANYBODY)), turn, request)
        await trio.testing.wait_all_tasks_blocked()
        [(status, body)] = seen.responses
        assert status in {200, 202, 400, 403, 404, 405, 409, 415, 422, 503}, status
        if not body.startswith(b"# HELP"):
            said = json.loads(body)
            if "taken" in said:
                assert shell.heard
            assert "error" not in said or "CANARY" not in said["error"]

    async def main() -> None:
        async with trio.open_nursery() as nursery:
            for _ in range(3):
                if dice:
                    await one(nursery)
            nursery.cancel_scope.cancel()

    http.play(main)


def samples() -> list[bytes]:
    """Each control, and what is only looked at."""
    news = next(body for body in good.bodies() if body.startswith(b"9824"))
    handed_on = json.dumps({"source": "usm-a/17", "message": base64.b64encode(news).decode()}).encode()
    bodies = {
        b"/acts/stand-in": b'{"why":"w","what":{"mode":"always"}}',
        b"/acts/request-key": b'{"why":"w","what":{"use":"hub"}}',
        b"/acts/allow-key": b'{"why":"w","what":{"use":"own","check":"abcdef"}}',
        b"/acts/lift": b'{"why":"w","what":{"what":"cap","institution":"200000"}}',
        b"/acts/tell-again": b'{"why":"w","what":{"position":17,"to":"processor"}}',
        b"/acts/reveal": b'{"why":"w","what":{"scope":"CANARY"}}',
        b"/acts/approve": b'{"why":"w","what":{"number":1}}',
        b"/news": handed_on,
    }
    posts = [
        bytes([0, PATHS.index(path), 0, 0]) + len(body).to_bytes(2, "big") + body + bytes([path == b"/news"])
        for path, body in bodies.items()
    ]
    looks = [bytes([1, path, 0, 0, 0, 0, 0]) for path in range(len(PATHS))]
    odd = [bytes([0, path, 0, 1]) + short(host) + b"\0\2{}\0" for path in range(3) for host in (b"2", b"\xb2", b"-1")]
    return [*posts, posts[0] * 3, posts[-1] * 3, *looks, *odd]


def spoil(data: bytes, luck: random.Random) -> bytes:
    """Another body; its length is said anew."""
    at = data.find(b"{")
    if at < 2 or data[3] % 9 == 1:
        return data + luck.choice(jsons.WORDS)
    body = jsons.spoil(data[at:].rpartition(b"}")[0] + b"}", luck)[:65535]
    return data[: at - 2] + len(body).to_bytes(2, "big") + body + b"\0"


TARGET = Target(run, samples, spoil, [*jsons.WORDS, b'"CANARY"'])
