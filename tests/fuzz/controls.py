"""What is posted to the ops server: any path, headers and body; and news that another process hands on."""

import base64
import json
import random
from typing import Any

from gateway import config
from gateway.clock import Now
from gateway.errors import Refusal, Unavailable
from gateway.ops.news import LiftControl, NewsControl
from gateway.ops.notices import AgainControl
from gateway.ops.server import Control, _Application, _Life
from gateway.ops.switches import AllowControl
from gateway.payments import steps
from gateway.payments.links import Link as StoryLink
from gateway.payments.standin import order_of
from gateway.payments.steps import Kind
from gateway.scheme.keywork import Done
from gateway.scheme.news import HandedOn, Heard, News, Replay, Report, Taken
from gateway.scheme.ring import Allow, wanted_of
from gateway.wire.meanings import built_in
from gateway.wire.message import Usm
from tests.fuzz import good, http, jsons
from tests.fuzz.target import Dice, Target, short

NOW = Now(1.0, 1_763_844_901_000_000_000)
METHODS = ("POST", "GET", "HEAD", "PUT", "OPTIONS", "")
PATHS = (
    "/stand-in",
    "/keys/request",
    "/keys/allow",
    "/news",
    "/live",
    "/ready",
    "/statistics",
    "/metrics",
    "/",
    "",
    "/news/",
    "/news/lift",
    "/notices/again",
)
HEADERS: list[list[tuple[bytes, bytes]]] = [
    [(b"content-type", b"application/json")],
    [(b"content-type", b"Application/JSON ; charset=utf-8"), (b"content-length", b"12")],
    [(b"content-type", b"application/json"), (b"origin", b"null")],
    [(b"content-type", b"application/json"), (b"content-length", b"99999999999999")],
    [(b"content-type", b"application/json"), (b"content-length", b"65537")],
    [],
]


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


def application(shell: Shell) -> _Application:
    """As `daemon` puts it together."""
    replay = Replay(built_in(), good.CODEC)
    story = shell.story = News(config.News(), built_in(), good.CODEC, shell, replay)

    def hand_in(handed_on: HandedOn, taken: Taken) -> None:
        story.on_handed_on(handed_on, taken, NOW)

    async def switch(body: bytes) -> tuple[int, dict[str, Any]]:
        try:
            return 200, {"mode": order_of(body)}
        except ValueError as error:
            return 400, {"error": str(error)}

    async def request(body: bytes) -> tuple[int, dict[str, Any]]:
        try:
            return 202, {"use": wanted_of(body).value}
        except ValueError as error:
            return 400, {"error": str(error)}

    async def tell_again(position: int) -> None:
        assert position > 0
        if position % 3:
            raise (Refusal if position % 3 == 1 else Unavailable)(f"position {position}")

    def allow(order: Allow, done: Done) -> None:
        done("" if order.use == "own" else "no key with this check value was superseded")

    controls: dict[str, Control] = {
        "/stand-in": switch, "/keys/request": request, "/keys/allow": AllowControl(allow),
        "/news": NewsControl(hand_in), "/news/lift": LiftControl(story.on_lift),
        "/notices/again": AgainControl({"processor": tell_again}),
    }  # fmt: skip
    return _Application(lambda: (True, {}), dict, controls)


def run(data: bytes) -> None:
    """One whole response, never a 500, and nothing of a body in it but what is no payload."""
    dice = Dice(data)
    shell = Shell()
    served = application(shell)

    async def one() -> None:
        scope: dict[str, Any] = {"type": "http", "http_version": "1.1", "state": {"life": _Life()}}
        scope |= {"method": dice.pick(METHODS), "path": dice.pick(PATHS), "headers": dice.pick(HEADERS)}
        if dice.odds(9):
            scope["headers"] = [(b"content-type", b"application/json"), (b"content-length", dice.short())]
        body = dice.take(dice.upto(65535))
        cut = [body[at : at + 700] for at in range(0, len(body), 700)] or [b""]
        events = [{"type": "http.request", "body": chunk, "more_body": True} for chunk in cut]
        events[-1] = {"type": "http.disconnect"} if dice.odds(9) else {**events[-1], "more_body": False}
        sent: list[dict[str, Any]] = []

        async def receive() -> dict[str, Any]:
            return events.pop(0)

        async def send(event: dict[str, Any]) -> None:
            sent.append(event)

        await served(scope, receive, send)
        start, rest = sent
        assert start["status"] in {200, 202, 400, 403, 404, 405, 409, 413, 415, 422, 503}, start["status"]
        headers = dict(start["headers"])
        assert headers[b"content-length"] == b"%d" % len(rest["body"])
        if headers[b"content-type"] == b"application/json":
            said = json.loads(rest["body"])
            if "taken" in said:
                assert shell.heard
            assert "error" not in said or "CANARY" not in said["error"]

    async def main() -> None:
        for _ in range(3):
            if dice:
                await one()

    http.play(main)


def samples() -> list[bytes]:
    """Each control, and what is only looked at."""
    news = next(body for body in good.bodies() if body.startswith(b"9824"))
    handed_on = json.dumps({"source": "usm-a/17", "message": base64.b64encode(news).decode()}).encode()
    bodies = {0: b'{"mode":"always"}', 1: b'{"use":"hub"}', 2: handed_on}
    bodies[PATHS.index("/notices/again")] = b'{"position":17,"to":"processor"}'
    posts = [bytes([0, path, 0, 0]) + len(body).to_bytes(2, "big") + body + b"\0" for path, body in bodies.items()]
    looks = [bytes([1, path, 0, 0, 0, 0, 0]) for path in range(len(PATHS))]
    odd = [
        bytes([0, path, 0, 1]) + short(length) + b"\0\2{}\0" for path in range(3) for length in (b"2", b"\xb2", b"-1")
    ]
    return [*posts, posts[2] * 3, *looks, *odd]


def spoil(data: bytes, luck: random.Random) -> bytes:
    """Another body; its length is said anew."""
    at = data.find(b"{")
    if at < 2 or data[3] % 9 == 1:
        return data + luck.choice(jsons.WORDS)
    body = jsons.spoil(data[at:].rpartition(b"}")[0] + b"}", luck)[:65535]
    return data[: at - 2] + len(body).to_bytes(2, "big") + body + b"\0"


TARGET = Target(run, samples, spoil, [*jsons.WORDS, b'"CANARY"'])
