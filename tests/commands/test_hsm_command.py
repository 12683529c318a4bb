"""`fps-gateway hsm check`: what a person and a program see, and the exit codes."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from gateway import config
from gateway.__main__ import main
from gateway.commands import hsm as hsm_command
from gateway.payments.work import Install
from gateway.signer.messages import Shown
from gateway.signer.outage import Outage
from gateway.signer.survey import Report, Seen, judge
from gateway.signer.wanted import Wanted

TRANSPORT = "fps-transport"
GOOD = Shown(
    {"fps-own": "aa", "fps-seal": "bb"}, {}, {"fps-own": "0123456789", "fps-seal": "ABCDEF", TRANSPORT: "777777"}
)


def seen(name: str, fault: Outage | None = None, shown: Shown = GOOD, *, local: bool = True) -> Seen:
    token = config.Token(name=name, label=name, module="none", pin_file="none", local=local)
    return Seen(token, fault, shown if fault is None else Shown({}, {}), 0.00021 if fault is None else None)


def report(*tokens: Seen) -> Report:
    return judge(list(tokens), Wanted(("fps-seal",), [Install("fps-own")]), TRANSPORT)


def lines(*tokens: Seen) -> list[str]:
    return list(hsm_command.as_text(report(*tokens)))


def test_all_is_well() -> None:
    said = lines(seen("hsm-1"), seen("far-1", local=False))
    assert said == [
        "token  where   state    fps-own  fps-seal  fps-transport  same  a MAC",
        "hsm-1  local   serving  012345   ABCDEF    777777         A     0.21 ms",
        "far-1  remote  serving  012345   ABCDEF    777777         A     0.21 ms",
        "",
        "a gateway would use hsm-1; far-1 when these cannot",
        "2 of 2 tokens would serve: all agree",
    ]
    assert hsm_command.exit_code(report(seen("hsm-1"))) == 0


def test_whatever_is_off_is_named_and_the_gateway_would_serve() -> None:
    other = Shown({"fps-own": "cc", "fps-seal": "bb"}, {}, {TRANSPORT: "888888"})
    lacking = Shown(GOOD.values, {TRANSPORT: f'no transport key labelled "{TRANSPORT}"'}, {})
    tokens = (
        seen("hsm-1"), seen("hsm-2", shown=other), seen("hsm-3", shown=lacking),
        seen("hsm-4", Outage("wrong-pin", "wrong PIN")),
    )  # fmt: skip
    said = lines(*tokens)
    assert [line.split()[2] for line in said[1:5]] == ["serving", "different-keys", "serving", "wrong-pin"]
    assert [line.split()[6] for line in said[1:5]] == ["A", "B", "A", "-"]
    assert "missing" in said[3]
    assert said[6:] == [
        'hsm-2: keys differ: "fps-own" is not the same as in hsm-1, hsm-3',
        f'hsm-3: no transport key labelled "{TRANSPORT}": it serves, and no key can come in band',
        "hsm-4: wrong PIN: tried once; correct the file before you try again",
        f'"{TRANSPORT}" is one key in hsm-1, and another in hsm-2',
        "a gateway would use hsm-1, hsm-3",
        "2 of 4 tokens would serve: NOT all is well",
    ]
    assert hsm_command.exit_code(report(*tokens)) == 1


def test_no_token_would_serve() -> None:
    token = seen("hsm-1", Outage("hung", "hung: not up within 10 s"))
    assert lines(token)[-2:] == ["hsm-1: hung: not up within 10 s", "no token would serve"]
    assert hsm_command.exit_code(report(token)) == 69


def test_a_program_reads_the_same() -> None:
    said = hsm_command.as_json(report(seen("hsm-1"), seen("hsm-2", Outage("no-token", "no such token"))))
    assert said["tokens"][0] == {
        "name": "hsm-1",
        "local": True,
        "state": "serving",
        "why": "",
        "tries": 1,
        "keys": {
            "fps-own": {"check": "012345", "why": ""},
            "fps-seal": {"check": "ABCDEF", "why": ""},
            TRANSPORT: {"check": "777777", "why": ""},
        },
        "group": "A",
        "mac_ms": 0.21,
    }
    assert (said["tokens"][1]["state"], said["tokens"][1]["mac_ms"]) == ("no-token", None)
    assert said["verdict"] == {"serving": ["hsm-1"], "used": ["hsm-1"], "well": False}


def test_a_configuration_with_mistakes_asks_no_token(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "bad.toml"
    path.write_text("[node]\nname = 3\n")
    assert main(["hsm", "check", "--config", str(path)]) == 78
    assert f"{path}:2: node.name: " in capsys.readouterr().err


CONFIGURATION = """\
[node]
name = "sip-a"
[[node.hub]]
name = "hub-1"
host = "127.0.0.1"
port = 8301
[node.journal]
dir = "journal"
[node.processor]
url = "http://127.0.0.1:1"
"""


@pytest.mark.system
def test_four_tokens_of_softhsm_two_of_them_remote(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """As the command is typed, the configuration in two files; then with a wrong PIN, and then with no token left."""
    command = [
        sys.executable,
        "-m",
        "hsm",
        "provision",
        "--tokens",
        "4",
        "--remote",
        "2",
        "--dir",
        str(tmp_path / "hsm"),
    ]
    made = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    node, pair = tmp_path / "node.toml", tmp_path / "pair.toml"
    node.write_text(CONFIGURATION + made[made.index("[[node.token]]") :])
    pair.write_text('[pair]\ngroup = "sip"\n')

    def check() -> tuple[int, dict[str, Any]]:
        code = main(["hsm", "check", "--config", str(node), "--config", str(pair), "--json"])
        said: dict[str, Any] = json.loads(capsys.readouterr().out)
        assert said["exit_code"] == code
        return code, said

    code, said = check()
    assert code == 0, said
    assert said["verdict"]["used"] == ["fps-1", "fps-2"]
    assert {token["group"] for token in said["tokens"]} == {"A"}
    assert all(token["mac_ms"] > 0 for token in said["tokens"])
    (tmp_path / "hsm" / "pins" / "fps-2.pin").write_text("0000")
    code, said = check()
    assert code == 1, said
    assert [token["state"] for token in said["tokens"]] == ["serving", "wrong-pin", "serving", "serving"]
    node.write_text(node.read_text().replace('label = "fps-', 'label = "none-'))
    code, said = check()
    assert code == 69, said
    assert main(["hsm", "check", "--config", str(node), "--config", str(pair)]) == 69
    assert "no token would serve" in capsys.readouterr().out
