"""What ends the process says so in its exit code."""

from pathlib import Path

import msgspec
import pytest

from gateway import config, daemon
from gateway.__main__ import main
from gateway.errors import ConfigurationError, GatewayError, HubFault, JournalFault, JournalFull, Refusal, Unavailable
from gateway.exitcodes import ExitCode, exit_code
from tests.fakes.example import example


def leaves(kind: type[GatewayError]) -> list[type[GatewayError]]:
    """An error of ours and all that are made of it."""
    return [kind, *(leaf for inner in kind.__subclasses__() for leaf in leaves(inner))]


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (AssertionError(), 1),
        (KeyError("x"), 1),
        (OSError(5, "x"), 1),
        (HubFault("x"), 1),
        (JournalFault("x"), 74),
        (JournalFull("x"), 69),
        (ConfigurationError(["x"]), 78),
        (Refusal("x"), 75),
        (Unavailable("x"), 69),
        (KeyboardInterrupt(), 130),
        (ExceptionGroup("", [Refusal("x")]), 75),
        (ExceptionGroup("", [Unavailable("x"), ExceptionGroup("", [JournalFault("x")])]), 74),
        (BaseExceptionGroup("", [KeyboardInterrupt(), JournalFault("x"), AssertionError()]), 1),
    ],
    ids=repr,
)
def test_each_error_has_its_code(error: BaseException, code: int) -> None:
    """The code says who is to blame; of several the worst counts."""
    assert exit_code(error) == code


def test_codes_are_documented() -> None:
    """Every code is another number, and sysexits.h's where it has one."""
    assert {code.name: int(code) for code in ExitCode} == {
        "ENDED": 0,
        "BUG": 1,
        "USAGE": 2,
        "NOT_FOUND": 66,
        "UNAVAILABLE": 69,
        "JOURNAL": 74,
        "REFUSED": 75,
        "CONFIGURATION": 78,
        "INTERRUPTED": 130,
    }


@pytest.mark.parametrize("kind", leaves(GatewayError), ids=lambda kind: kind.__name__)
def test_every_error_of_ours_has_a_code(kind: type[GatewayError]) -> None:
    """No error of ours is left out, whatever it is made with."""
    assert exit_code(kind.__new__(kind)) in ExitCode


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (AssertionError("REPLIED in state NEW cannot be"), ExitCode.BUG),
        (KeyError("12345678"), ExitCode.BUG),
        (JournalFault("the disk failed"), ExitCode.JOURNAL),
        (Refusal("it is in use"), ExitCode.REFUSED),
        (Unavailable("ops: the address is in use"), ExitCode.UNAVAILABLE),
    ],
    ids=repr,
)
def test_whatever_ends_the_process_is_said_in_its_last_line(
    error: Exception,
    code: ExitCode,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    """Ours in full, others by their class; of a bug also where it is, by file and line."""

    async def run(configuration: config.Configuration, **_: object) -> bool:
        assert configuration.node.name == "sip-a"
        raise error

    monkeypatch.setattr(daemon, "run", run)
    files = [tmp_path / f"{half}.toml" for half in ("pair", "node")]
    for file in files:
        file.write_text(example(file.stem), encoding="utf-8")
    assert main(["run", "--config", str(files[0]), "--config", str(files[1])]) == code
    line = msgspec.json.decode(capfd.readouterr().out.splitlines()[-1])
    said = error.__class__.__name__ if isinstance(error, KeyError) else str(error)
    assert (line["level"], line["event"], line["error"], line["exit_code"]) == ("critical", "ended", said, code)
    assert bool(line["where"]) == (code is ExitCode.BUG)
    assert "12345678" not in str(line)
