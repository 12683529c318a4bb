"""`fps-gateway decode`: whatever comes in, what can be read is shown, and nothing sensitive unless asked for."""

import io
import re
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway import log
from gateway.commands import decode
from gateway.config import Wire as WireSettings
from gateway.machine.arguments import Parser
from gateway.wire.codec import Codec, fpid_of
from gateway.wire.frame import frame

Wire = Callable[..., bytes]
Run = Callable[..., tuple[int, str]]
SECRETS = ("12345678", "87654321", "A SENDER", "00000000012345", "400000", "TRN0000000001", "SHA")


@pytest.fixture
def run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Run:
    """Run the command over a file with these bytes."""

    def command(data: bytes, *arguments: str) -> tuple[int, str]:
        path = tmp_path / "input"
        path.write_bytes(data)
        code = parsed(str(path), *arguments)
        caught = capsys.readouterr()
        return code, caught.out + caught.err

    return command


def parsed(*arguments: str) -> int:
    parser = Parser(prog="fps-gateway")
    decode.add_parser(parser.add_subparsers())
    args = parser.parse_args(["decode", *arguments])
    code: int = args.run(args)
    return code


def test_good_message_masked(run: Run, wire: Wire, codec: Codec) -> None:
    """Every field has its number, position and name; accounts, names, amounts and references are masked."""
    body = wire("9200", charges="001003SHA", payment_data="00100210")
    code, out = run(body)
    assert code == 0
    assert out.startswith("message 1 of 1: 9200 payment request, ")
    assert f"FPID hash {log.fpid_hash(fpid_of(codec.decode(body)))}, good" in out  # type: ignore[arg-type]  # a payment
    assert re.search(r"^ +3 +36 +6 processing_code +100000$", out, re.MULTILINE)
    assert re.search(r"^ +6 +42 +14 amount +\*{14}$", out, re.MULTILINE)
    assert re.search(r"^ +98 +\d+ +11 sender +200000$", out, re.MULTILINE)
    assert re.search(r"^ +001 +\d+ +8 +sub_type +10$", out, re.MULTILINE)
    assert re.search(r"^ +001 +\d+ +9 +charge_bearer +\*\*\*$", out, re.MULTILINE)
    assert not [secret for secret in SECRETS if secret in out]


def test_good_message_revealed(run: Run, wire: Wire) -> None:
    """With --reveal everything is shown."""
    _, out = run(wire("9200", charges="001003SHA"), "--reveal")
    assert not [secret for secret in SECRETS if secret not in out]


def test_bad_message_names_the_place(run: Run, wire: Wire) -> None:
    """The readable fields are printed, then the bad field, its position, what was expected, and the bytes around it,
    masked.
    """
    code, out = run(wire("9200").replace(b"13TRN", b"19TRN"))
    assert code == 1
    assert "DE31 trn at byte 64: the length is over the maximum of 18" in out
    assert re.search(r"^ +64  (\.\. ){15}\.\.  99AAA9{10}9$", out, re.MULTILINE)
    assert not [secret for secret in (*SECRETS, "20250131") if secret in out], "it is out of step: all is masked"
    assert "creditor_account" not in out
    _, out = run(wire("9200").replace(b"13TRN", b"19TRN"), "--reveal")
    assert "31 39 54 52 4e" in out


def test_fault_names_the_place(run: Run, wire: Wire) -> None:
    """A bad value and a missing field are named; the rest is shown, the field in error only when asked for."""
    code, out = run(wire("9804", function_code="831").replace(b"831", b"8x1"))
    assert code == 1
    assert "DE24 function_code at byte 53: is not allowed in a field of digits" in out
    assert "8x1" not in out
    assert re.search(r"^! +24 .*\*\*\*$", out, re.MULTILINE)
    code, out = run(b"9804" + b"82200000000000000000000000000001" + b"0131120000" + b"000042" + b"0123456789ABCDEF")
    assert code == 1
    assert "DE24 function_code: is mandatory and missing" in out


def test_unknown_type_and_unknown_field(run: Run, wire: Wire) -> None:
    """Neither hides what can be read before it."""
    code, out = run(b"9999" + wire("9804")[4:])
    assert code == 1
    assert "MTI at byte 0: no message type of the scheme" in out
    assert "message_id" in out
    assert "9999 " not in out
    code, out = run(wire("9804").replace(b"9804822001000000000", b"9804822001000000001", 1))
    assert code == 1
    assert "is in the bitmap and not in the field table" in out


HEADERS = {name: settings for name, settings in decode.HEADERS.items() if settings is not None}


@pytest.mark.parametrize("force", ["found", "forced"])
@pytest.mark.parametrize("form", ["raw", "hex"])
@pytest.mark.parametrize("header", [name for name in HEADERS if not name.startswith("ascii2")])
def test_every_header_is_found(run: Run, wire: Wire, header: str, form: str, force: str) -> None:
    """A frame is decoded with any length header, raw or as hex, given or detected."""
    bodies = [wire("9200"), wire("9804"), wire("9210")]
    data = b"".join(frame(HEADERS[header], body) for body in bodies)
    data = data.hex(" ", 2).encode() if form == "hex" else data
    code, out = run(data, *(["--header", header] if force == "forced" else []))
    assert code == 0, out
    assert [line.split(":")[1].split(",")[0] for line in out.splitlines() if line.startswith("message")] == [
        " 9200 payment request",
        " 9804 network management request",
        " 9210 payment response",
    ]


def test_two_ascii_digits(run: Run, wire: Wire) -> None:
    """Two digits hold little, but an echo fits."""
    code, out = run(frame(decode.HEADERS["ascii2"] or WireSettings(), wire("9804")) * 2)
    assert (code, out.count("good")) == (0, 2)


def test_bare_messages_by_lines(run: Run, wire: Wire) -> None:
    """Raw messages without headers, a line each; a line break inside of a value does not end one."""
    text = wire("9200", debtor_address="1 HIGH STREET\r\nLONDON")
    code, out = run(b"\r\n".join([text, wire("9804"), wire("9834"), b""]))
    assert (code, out.count("good")) == (0, 3)


def test_hex_lines(run: Run, wire: Wire) -> None:
    """One message over many lines, several with a line each or an empty one between, a bad one after a whole one."""
    whole, echo = wire("9200").hex(), wire("9804").hex().upper()
    wrapped = "\n".join(whole[at : at + 32] for at in range(0, len(whole), 32))
    code, out = run(wrapped.encode())
    assert (code, out.count("good")) == (0, 1)
    code, out = run(f"{wrapped}\n{echo}\n\n{echo}\n".encode())
    assert (code, out.count("good")) == (0, 3)
    code, out = run(f"{echo}\n{'38' + echo[2:]}\n{echo}".encode())
    assert (code, out.count("good"), out.count("bad")) == (1, 2, 1)


def test_management_message_is_not_taken_for_hex(run: Run, wire: Wire) -> None:
    """An echo is nothing but hex digits itself."""
    assert re.fullmatch(rb"[0-9A-F]+", wire("9804"))
    code, out = run(wire("9804"))
    assert (code, out.count("good")) == (0, 1)


def test_input_that_ends_in_a_frame(run: Run, wire: Wire) -> None:
    """The whole messages are shown, and of the last what is there."""
    data = frame(WireSettings(), wire("9804")) + frame(WireSettings(), wire("9200"))[:-20]
    code, out = run(data)
    assert code == 1
    assert "message 1 of 2" in out
    assert "the input ends in a frame" in out
    assert "creditor_account" in out


def test_header_that_cannot_be_right(run: Run, wire: Wire) -> None:
    """The messages before it are shown, then its place."""
    data = frame(WireSettings(), wire("9804")) + b"\xff\xff\xff\xffSECRET"
    code, out = run(data, "--header", "4")
    assert code == 1
    assert f"frame header at byte {len(data) - 10} of the connection" in out
    assert "SECRET" not in out


@pytest.mark.parametrize(
    ("data", "arguments", "words"),
    [
        (b"", [], "nothing in it"),
        (b" \n", [], "nothing in it"),
        (b"393", [], "odd number of digits"),
        (b"hello", ["--input", "hex"], "not hex text"),
        (b"9200", ["--table", "/nonexistent/table"], "cannot be read"),
    ],
)
def test_usage(run: Run, data: bytes, arguments: list[str], words: str) -> None:
    """Input or arguments that make no sense: exit code 2 and one line that says why."""
    code, out = run(data, *arguments)
    assert code == 2
    assert words in out


def test_no_file(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """A file that is not there is a usage error; so is too much of one, or an unknown option."""
    assert parsed(str(tmp_path / "none")) == 2
    assert "No such file" in capsys.readouterr().err
    with pytest.raises(SystemExit) as caught:
        parsed("-", "--header", "3")
    assert caught.value.code == 2


def test_too_much(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """The input has a limit."""
    monkeypatch.setattr(decode, "INPUT_BYTES_MAX", 10)
    assert run(b"9200" * 3)[0] == 2


def test_standard_input(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], wire: Wire) -> None:
    """`-` reads standard input."""
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(wire("9804"))))
    assert parsed("-") == 0
    assert "good" in capsys.readouterr().out


class _Terminal(io.StringIO):
    encoding = "ascii"

    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize("no_color", ["", "1"])
def test_colours_on_a_terminal_only(tmp_path: Path, wire: Wire, monkeypatch: pytest.MonkeyPatch, no_color: str) -> None:
    """A terminal gets colours unless NO_COLOR is set, and nothing that its encoding cannot say; a file gets none."""
    path = tmp_path / "input"
    path.write_bytes(wire("9200", debtor_name="BEYONCÉ"))
    terminal = _Terminal()
    monkeypatch.setattr(sys, "stdout", terminal)
    monkeypatch.setenv("NO_COLOR", no_color)
    assert parsed(str(path), "--reveal") == 0
    assert ("\x1b[" in terminal.getvalue()) == (not no_color)
    assert r"BEYONC\xc9" in terminal.getvalue()


def test_message_cannot_steer_the_terminal(run: Run, wire: Wire) -> None:
    """Control characters are shown by their escapes."""
    _, out = run(wire("9200").replace(b"A SENDER", b"A \x1b[31mX"), "--reveal")
    assert "\x1b" not in out
    assert r"A \u001b[31mX" in out


@given(st.binary(min_size=1, max_size=200) | st.text("0123456789abcdefABCDEF \n", min_size=1).map(str.encode))
def test_any_input(data: bytes) -> None:
    """Any input is messages, good or bad, or one `ValueError`; printing it never fails."""
    codec = Codec(TABLE)
    try:
        found = list(decode.find(data, "auto", "auto", codec))
    except ValueError:
        return
    assert found
    printer = decode.MessagePrinter(io.StringIO(), codec, reveal=False, colours=True)
    for item in found:
        printer.message(1, 1, item)


TABLE = Codec().table
