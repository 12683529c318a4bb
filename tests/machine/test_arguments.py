"""Numbers that are typed: what makes no sense is refused, with what may be given."""

import argparse
import ast
from pathlib import Path

import pytest

from gateway.__main__ import main
from gateway.machine import arguments
from gateway.machine.arguments import Number

TOP = Path(__file__).parents[2]
NUMBERS = {name: value for name, value in vars(arguments).items() if isinstance(value, Number)}
NO_NUMBERS = ["", " ", "x", "nan", "-nan", "inf", "-inf", "Infinity", "1e999", "-1e999", "9" * 5000, "1_", "0x10", "--"]
EDGES = [
    "-1",
    "-0.5",
    "-1e-9",
    "0",
    "-0",
    "1e-9",
    "0.5",
    "1",
    "1.5",
    "16",
    "17",
    "65535",
    "65536",
    "1e6",
    "1e300",
    "9" * 30,
]


@pytest.mark.parametrize("text", [*NO_NUMBERS, *EDGES])
@pytest.mark.parametrize("name", NUMBERS)
def test_a_number_is_within_its_limits_or_refused(name: str, text: str) -> None:
    """Of the right type; no other error leaves."""
    kind = NUMBERS[name]
    try:
        value = kind(text)
    except argparse.ArgumentTypeError as error:
        refused = str(error)
    else:
        refused = ""
    if refused:
        assert refused.startswith("must be ")
        assert text not in {"1", "16"} or kind.least > float(text)
        return
    assert text not in NO_NUMBERS
    assert value == float(text)
    assert kind.least <= value <= kind.most
    assert isinstance(value, int if kind.whole else float)


@pytest.mark.parametrize(
    ("kind", "taken", "refused"),
    [
        (arguments.SECONDS, ["1e-9", "2592000"], ["0", "-0", "2592001"]),
        (arguments.SECONDS_OR_NONE, ["0", "0.5"], ["-1e-9"]),
        (arguments.RATE, ["0.001", "1e6"], ["0", "1000001"]),
        (arguments.RATE_OR_NONE, ["0"], ["-1"]),
        (arguments.COUNT, ["1", "1000000000000"], ["0", "1.5", "1e3"]),
        (arguments.COUNT_OR_NONE, ["0"], ["-1"]),
        (arguments.SEED, ["0", "7"], ["-1", "7.5"]),
        (arguments.PORT, ["1", "65535"], ["0", "65536"]),
        (arguments.PORT_OR_FREE, ["0"], ["65536"]),
        (arguments.CORE, ["0", "8191"], ["-1", "8192"]),
        (arguments.FEW, ["1", "16"], ["0", "17"]),
        (arguments.FEW_OR_NONE, ["0", "16"], ["17"]),
    ],
)
def test_the_limits_themselves(kind: Number, taken: list[str], refused: list[str]) -> None:
    assert [kind(text) for text in taken] == [float(text) for text in taken]
    for text in refused:
        with pytest.raises(argparse.ArgumentTypeError):
            kind(text)


def test_every_numeric_option_of_every_command_has_its_limits() -> None:
    """None is a bare `int` or `float`, which take -1 and nan, but where all that it may be is listed."""
    bare = [
        f"{path.relative_to(TOP)}:{call.lineno}"
        for folder in ("gateway", "loadtest", "hsm", "compose")
        for path in sorted((TOP / folder).rglob("*.py"))
        for call in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(call, ast.Call) and isinstance(call.func, ast.Attribute) and call.func.attr == "add_argument"
        for given in [{word.arg: ast.unparse(word.value) for word in call.keywords}]
        if given.get("type") in {"int", "float", "complex"} and "choices" not in given
    ]
    assert bare == []


@pytest.mark.parametrize("given", ["0", "-1", "nan", "inf", "1e9", "soon"])
def test_a_drain_waits_for_a_time_that_is_one(given: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Not for no time at all: Ctrl-C or `--within 0.1` asks for a drain and leaves."""
    with pytest.raises(SystemExit) as ended:
        main(["drain", "--socket", "nowhere", f"--within={given}"])
    assert ended.value.code == 2
    assert "argument --within: must be a number above 0 to 2592000" in capsys.readouterr().err


@pytest.mark.parametrize("command", ["show", "tail"])
@pytest.mark.parametrize("given", ["-1", "nan", "1.5", "9" * 5000])
def test_a_journal_shows_a_number_of_records_that_is_one(command: str, given: str) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["journal", command, "nowhere", f"--limit={given}"])
    assert ended.value.code == 2
