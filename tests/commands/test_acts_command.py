"""Commands that order acts: what is asked before, which gateways hear it, what is said and which code it ends with."""

import io
import json
import sys
from pathlib import Path
from typing import Any

import pytest

from gateway.__main__ import main
from gateway.acts.table import KINDS
from gateway.commands import ordering
from gateway.commands.ordering import Code
from gateway.errors import Unavailable
from gateway.http.connection import Response

SURE = ["--yes", "--why", "because"]
COMMANDS: dict[str, tuple[list[str], dict[str, Any]]] = {
    "stop-submitting": (["stop-submitting"], {}),
    "start-submitting": (["start-submitting"], {}),
    "stand-in": (["stand-in", "never"], {"mode": "never"}),
    "request-key": (["request-key", "own"], {"use": "own"}),
    "allow-key": (["allow-key", "own", "ABCDEF"], {"use": "own", "check": "ABCDEF"}),
    "lift": (["lift", "cap", "200000"], {"what": "cap", "institution": "200000"}),
    "tell-again": (["notices", "again", "17"], {"position": 17, "to": "processor"}),
    "drop-notice": (["notices", "drop", "17", "--to", "peer-fdp"], {"position": 17, "to": "peer-fdp"}),
    "approve": (["acts", "approve", "9"], {"number": 9}),
    "reject": (["acts", "reject", "9"], {"number": 9}),
}
"""Act → how it is typed, and what the gateway hears."""


class Gateways:
    """What is asked of which, and what each responds."""

    def __init__(self) -> None:
        self.heard: list[tuple[str, str, Any]] = []
        self.responses: dict[str, tuple[int, dict[str, Any]]] = {}

    async def ask(self, target: ordering.Target, path: str, body: bytes | None = None) -> Response:
        self.heard.append((target.name, path, json.loads(body) if body is not None else None))
        if target.name not in self.responses:
            raise Unavailable("FileNotFoundError: No such file or directory")
        status, said = self.responses[target.name]
        return Response(status, json.dumps(said).encode(), b"")


@pytest.fixture
def gateways(monkeypatch: pytest.MonkeyPatch) -> Gateways:
    found = Gateways()
    monkeypatch.setattr(ordering, "ask", found.ask)
    return found


DONE = {"act": 5, "state": "done", "result": {"mode": "never"}}


def test_every_act_that_a_person_orders_has_a_command() -> None:
    """`drain` has one of its own, and looking is a part of `journal show`."""
    assert COMMANDS.keys() | {"drain", "reveal"} == KINDS.keys()


@pytest.mark.parametrize("act", COMMANDS)
def test_what_is_typed_is_what_is_ordered(gateways: Gateways, act: str, capsys: pytest.CaptureFixture[str]) -> None:
    typed, what = COMMANDS[act]
    gateways.responses["a.sock"] = 200, {"act": 5, "state": "done", "result": {}}
    assert main([*typed, "--socket", "a.sock", *SURE]) == Code.DONE
    assert gateways.heard == [("a.sock", f"/acts/{act}", {"why": "because", "what": what})]
    assert capsys.readouterr().out == f"a.sock: {act}: done (act 5)\n"


@pytest.mark.parametrize(
    ("response", "code", "out", "err"),
    [
        ((200, DONE), 0, "a: stand-in: done (act 5): mode never\n", ""),
        ((200, DONE | {"act": None}), 0,
         "a: stand-in: done (its record follows when the journal has room): mode never\n", ""),
        ((202, {"act": 5, "state": "asked", "within_s": 900.0}), 3,
         "a: stand-in: waits for a second person, 900 s at most: fps-gateway acts approve 5\n", ""),
        ((403, {"error": "eve has not the role operate\x1b[2J"}), 1, "",
         "a: stand-in: eve has not the role operate\\u001b[2J\n"),
        ((409, {"act": 5, "state": "failed", "error": "as it is"}), 1, "", "a: stand-in: as it is\n"),
        ((503, {"error": "not done: no room"}), 69, "", "a: stand-in: not done: no room\n"),
        ((504, {"act": 5, "state": "unknown", "error": "not known"}), 124, "", "a: stand-in: not known\n"),
        ((404, {}), 1, "", "a: stand-in: no answer of a gateway\n"),
    ],
)  # fmt: skip
def test_what_came_of_it(
    gateways: Gateways, response: tuple[int, dict[str, Any]], code: int, out: str, err: str,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    """In words that steer no terminal, and a code that scripts understand; as JSON all of it."""
    gateways.responses["a"] = response
    assert main(["stand-in", "never", "--socket", "a", *SURE]) == code
    assert capsys.readouterr() == (out, err)
    assert main(["stand-in", "never", "--socket", "a", "--json", *SURE]) == code
    assert json.loads(capsys.readouterr().out) == {"gateway": "a", **response[1]}


def test_of_two_sites_the_one_that_cannot_be_reached_is_named(
    gateways: Gateways, capsys: pytest.CaptureFixture[str]
) -> None:
    """The other is stopped all the same, whichever comes first; the code says that something is left to do."""
    gateways.responses["here"] = 200, DONE
    for order in (["here", "away"], ["away", "here"]):
        assert main(["stop-submitting", "--socket", order[0], "--socket", order[1], *SURE]) == Code.UNAVAILABLE
        said = capsys.readouterr()
        assert said.out.startswith("here: stop-submitting: done")
        assert said.err == "away: stop-submitting: FileNotFoundError: No such file or directory\n"
    assert [name for name, *_ in gateways.heard] == ["here", "away", "away", "here"]


@pytest.mark.parametrize(
    ("why", "code"),
    [
        ("ConnectionRefusedError: Connection refused", 69),
        ("no connection within 5 s", 69),
        ("no response within 30 s", 124),
        ("connection cut: closed", 124),
    ],
)
def test_what_was_asked_and_not_answered_may_be_done(
    monkeypatch: pytest.MonkeyPatch, why: str, code: int, capsys: pytest.CaptureFixture[str]
) -> None:
    """Nobody may take a payment for stopped, or a key for asked for, that is not; nor the other way round."""

    async def ask(*_given: object) -> Response:
        raise Unavailable(why)

    monkeypatch.setattr(ordering, "ask", ask)
    assert main(["stop-submitting", "--socket", "a", *SURE]) == code
    assert capsys.readouterr().err == f"a: stop-submitting: {why}\n"


class Terminal(io.StringIO):
    """Somebody sits there."""

    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(
    ("typed", "code", "heard"),
    [("because\ny\n", 0, 1), ("because\nYES\n", 0, 1), ("because\nn\n", 2, 0), ("because\n\n", 2, 0), ("\ny\n", 2, 0),
     ("", 2, 0)],
)  # fmt: skip
def test_at_a_terminal_it_says_what_it_means_and_asks(
    gateways: Gateways, monkeypatch: pytest.MonkeyPatch, typed: str, code: int, heard: int
) -> None:
    gateways.responses["a"] = 200, DONE
    monkeypatch.setattr(sys, "stdin", Terminal(typed))
    shown = Terminal()
    monkeypatch.setattr(sys, "stderr", shown)
    assert main(["stop-submitting", "--socket", "a"]) == code
    assert len(gateways.heard) == heard
    assert KINDS["stop-submitting"].means in shown.getvalue()
    assert "Why? " in shown.getvalue()


ACT = {
    "number": 5, "act": "stand-in", "who": "anna", "origin": "uid 1 by socket", "why": "works",
    "what": {"mode": "never"}, "begun_ns": 1_763_844_901_000_000_000, "state": "done", "second": "ben",
    "result": {"mode": "never"},
}  # fmt: skip


def test_acts_are_listed(gateways: Gateways, capsys: pytest.CaptureFixture[str]) -> None:
    """One line each, for people; one object each, for programs. One gateway that is away is named."""
    gateways.responses["a"] = (
        200,
        {"acts": [ACT, ACT | {"who": "", "second": "", "why": "", "result": {}}], "unrecorded": 0},
    )
    assert main(["acts", "list", "--socket", "a"]) == 0
    first, second = capsys.readouterr().out.splitlines()
    assert first.split(" · ") == [
        "         5 2025-11-22 20:55:01 done    stand-in mode=never", "anna (uid 1 by socket), second person ben",
        "works", "mode=never",
    ]  # fmt: skip
    assert second.endswith("· nobody by name (uid 1 by socket)")
    assert main(["acts", "list", "--socket", "a", "--socket", "b", "--json"]) == Code.UNAVAILABLE
    said = capsys.readouterr()
    assert json.loads(said.out.splitlines()[0]) == {"gateway": "a", **ACT}
    assert said.err.startswith("b: ")


def test_parked_notices_are_listed(gateways: Gateways, capsys: pytest.CaptureFixture[str]) -> None:
    gateways.responses["a"] = 200, {"parked": [{"position": 17, "to": "processor", "status": 422}]}
    assert main(["notices", "list", "--socket", "a"]) == 0
    assert capsys.readouterr().out == "position 17  to processor  status 422\n"
    gateways.responses["a"] = 403, {"error": "prometheus has not the role operate"}
    assert main(["notices", "list", "--socket", "a"]) == Code.REFUSED
    assert capsys.readouterr().err == "a: prometheus has not the role operate\n"


@pytest.mark.parametrize("command", ["acts list", "notices list", "stop-submitting --yes --why x"])
def test_a_gateway_must_be_named(command: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(command.split()) == Code.CONFIGURATION
    assert "which gateway? give --config, --socket or --url" in capsys.readouterr().err
    arguments = [
        "--url",
        "https://127.0.0.1:1",
        *(f"--{name}={tmp_path}/{name}" for name in ("ca", "certificate", "key")),
    ]
    assert main([*command.split(), *arguments]) == Code.CONFIGURATION
    assert "--ca: no such file" in capsys.readouterr().err
    for name in ("ca", "certificate", "key"):
        (tmp_path / name).write_text("x", encoding="utf-8")
    arguments[1] = "https://a b"
    assert main([*command.split(), *arguments]) == Code.CONFIGURATION
    assert "--url: must be https://host[:port] and nothing else" in capsys.readouterr().err
