"""What ends the process says so in its exit code."""

import pytest

from gateway.errors import ConfigurationError, GatewayError, HubFault, JournalFault, Refusal, Unavailable
from gateway.exitcodes import ExitCode, exit_code


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
