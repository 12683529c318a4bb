"""What a PKCS#11 library writes to standard error: it is read, bounded, and shown without the PIN or not at all; and
where a worker's code comes from. Pure first, then real workers.
"""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st

from gateway import config, metrics
from gateway.notify import supervisor_of
from gateway.signer import messages, process
from gateway.signer.said import HIDDEN, LINE_BYTES_MAX, LINES_MAX, Mask, Said
from tests.signer.running import start_of
from tests.signer.shim import Shim

PIN = b"271828"
SAYS = "a token's library says"
COUNTED = "what a token's library says is counted and not shown"


def shown(logged: Any) -> list[str]:
    return [line["detail"] for line in logged(SAYS)]


@given(st.lists(st.one_of(st.binary(max_size=40), st.just(PIN)), max_size=8))
def test_the_pin_is_hidden_wherever_it_stands(parts: list[bytes]) -> None:
    """Nothing else is."""
    text = b"".join(parts)
    assert Mask(PIN)(text) == text.replace(PIN, HIDDEN)


@pytest.mark.parametrize("before", ["x", "\N{KEY}", PIN.decode(), "y" + PIN.decode()])
def test_no_part_of_a_pin_is_shown_where_a_line_is_cut(before: str, logged: Any) -> None:
    """Whatever stands before it, and however short that becomes when it is shown."""
    beginnings = tuple(PIN[:length].decode() for length in range(1, len(PIN)))
    for shift in range(len(PIN)):
        said = Said("fps-1", lambda: PIN)
        said.feed(b"-" * shift + before.encode() * LINE_BYTES_MAX)
        said.feed(b"\n")
        room = LINE_BYTES_MAX - shift - len(PIN) // 2
        said.feed(b"-" * shift + before.encode() * (room // len(before.encode())) + PIN * 2 + b"\n")
    assert len(shown(logged)) == 2 * len(PIN)
    assert [line for line in shown(logged) if line.rstrip("…").endswith(beginnings)] == []


@pytest.mark.parametrize("size", [1, 7, 1000])
def test_lines_are_quoted_however_they_are_cut_and_without_what_a_terminal_would_obey(logged: Any, size: int) -> None:
    """The last one may have no end."""
    said = Said("fps-1", lambda: PIN)
    text = b"first\n\n  second \x1b[2Jline\r\nPIN=271828 pin 271828!\n\xff\xfe\nlast"
    for at in range(0, len(text), size):
        said.feed(text[at : at + size])
    said.over()
    said.over()
    hidden = HIDDEN.decode()
    assert shown(logged) == ["first", r"second \u001b[2Jline", f"PIN={hidden} pin {hidden}!", "��", "last"]
    assert {line["token"] for line in logged(SAYS)} == {"fps-1"}


def test_what_a_library_says_is_bounded(logged: Any) -> None:
    """A line without end, and lines without end: some are shown, the rest is counted, which is logged once."""
    said = Said("bounded", lambda: PIN)
    for _ in range(100):
        said.feed(b"x" * LINE_BYTES_MAX)
    said.feed(PIN + b"\n")
    assert len(said._line) <= LINE_BYTES_MAX
    for number in range(1000):
        said.feed(b"line %d\n" % number)
    said.over()
    assert len(shown(logged)) == LINES_MAX
    assert PIN.decode() not in "".join(shown(logged))
    assert [line["reason"] for line in logged(COUNTED)] == ["too many lines"]
    assert metrics.SIGNER_SAID_BYTES.labels("bounded")._value.get() > 100 * LINE_BYTES_MAX


def test_nothing_is_shown_once_the_library_has_seen_a_message(logged: Any) -> None:
    """Nor a line that it had begun before; that there was output is logged once."""
    said = Said("fps-1", lambda: PIN)
    said.feed(b"ready\nand")
    said.hush()
    said.feed(b" account 12345678\n")
    said.feed(b"more\n")
    said.over()
    assert shown(logged) == ["ready"]
    assert [line["reason"] for line in logged(COUNTED)] == ["it has been given messages"]


def test_nothing_is_shown_where_the_pin_is_not_known(logged: Any) -> None:
    """It could be in it."""
    said = Said("fps-1", lambda: None)
    said.feed(b"271828\n")
    said.over()
    assert shown(logged) == []
    assert [line["reason"] for line in logged(COUNTED)] == ["the PIN is not known, and may be in it"]


# --- real workers


@pytest.fixture
def shim(provisioned: Callable[[str], Path], tmp_path: Path) -> Shim:
    return Shim(provisioned("aes-cmac"), tmp_path / "hsm")


def token_of(shim: Shim) -> config.Token:
    return config.Token(
        name="fps-1", label="fps-1", module=shim.module, pin_file=str(shim.layout.pin_file("fps-1")),
        environment=shim.environment,
    )  # fmt: skip


async def hello_of(worker: process.Process, token: config.Token, folder: Path) -> None:
    worker.send(messages.json_frame(messages.START, start_of("fps-1", folder, module=token.module)))
    kind, body = (await worker.receive())[0]
    assert kind == messages.HELLO, body


@pytest.mark.system
async def test_a_library_that_writes_more_than_a_pipe_holds_holds_up_nobody(shim: Shim, logged: Any) -> None:
    """At its start and while it serves, a megabyte each."""
    shim.orders.write_text("C_Login 0 say 1000000\nC_SignInit 0 none 0\n")
    token = token_of(shim)
    worker = await process.start(token)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(worker.pump)
        with trio.fail_after(30):
            await hello_of(worker, token, shim.layout.dir)
            shim.orders.write_text("C_Login 0 none 0\nC_SignInit 0 say 1000000\n")
            worker.send(messages.batch_frame(1, [(1, b"", b"text")]))
            kind, body = (await worker.receive())[0]
        assert kind == messages.RESULT
        made = messages.results(body)[1][0]
        nursery.cancel_scope.cancel()
    assert made[0] == messages.OK
    assert await worker.end(kill=False) == "ended with status 0"
    assert len(shown(logged)) == LINES_MAX
    assert len(logged(COUNTED)) == 1
    assert metrics.SIGNER_SAID_BYTES.labels("fps-1")._value.get() >= 2_000_000 - 2048


@pytest.mark.system
async def test_a_pin_that_a_library_writes_is_not_in_the_log(shim: Shim, logged: Any) -> None:
    """Nor anything that it writes when its worker is killed; how that ended is known."""
    shim.orders.write_text("C_Login 0 pin -1\n")
    token = token_of(shim)
    worker = await process.start(token)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(worker.pump)
        with trio.fail_after(30):
            await hello_of(worker, token, shim.layout.dir)
        nursery.cancel_scope.cancel()
    os.kill(worker.pid, signal.SIGKILL)
    assert "signal 9" in await worker.end(kill=True)
    assert shown(logged) == [f"the PIN is {HIDDEN.decode()} indeed"]


@pytest.mark.system
async def test_what_was_said_before_the_first_message_is_shown_however_late_it_is_read(shim: Shim, logged: Any) -> None:
    """The output was unread until then, as on a busy machine; from the message on it is counted."""
    shim.orders.write_text("C_Login 0 pin -1\n")
    token = token_of(shim)
    worker = await process.start(token)
    with trio.fail_after(30):
        await hello_of(worker, token, shim.layout.dir)
        shim.orders.write_text("C_Login 0 none 0\nC_SignInit 0 say 100\n")
        for number in range(2):
            worker.send(messages.batch_frame(number, [(1, b"", b"text")]))
            assert (await worker.receive())[0][0] == messages.RESULT
    assert shown(logged) == [f"the PIN is {HIDDEN.decode()} indeed"]
    assert logged(COUNTED) == []
    assert await worker.end(kill=False) == "ended with status 0"
    assert shown(logged) == [f"the PIN is {HIDDEN.decode()} indeed"]
    assert [line["reason"] for line in logged(COUNTED)] == ["it has been given messages"]


@pytest.mark.system
@pytest.mark.parametrize("by", ["cwd", "PYTHONPATH", "PYTHONHOME", "PYTHONSTARTUP"])
async def test_a_worker_takes_no_code_from_elsewhere(
    shim: Shim, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, logged: Any, by: str
) -> None:
    """Neither a module of ours or of others, nor one of the standard library: it holds the PIN."""
    elsewhere, mark = tmp_path / "elsewhere", tmp_path / "taken"
    (elsewhere / "gateway" / "signer").mkdir(parents=True)
    poison = f"open({str(mark)!r}, 'a').write(__name__)\nraise SystemExit(7)\n"
    for name in ("msgspec.py", "gateway/__init__.py", "pkcs11.py", "socket.py", "sitecustomize.py", "usercustomize.py"):
        (elsewhere / name).write_text(poison)
    if by == "cwd":
        monkeypatch.chdir(elsewhere)
    else:
        monkeypatch.setenv(by, str(elsewhere / "msgspec.py") if by == "PYTHONSTARTUP" else str(elsewhere))
    monkeypatch.setenv("NOTIFY_SOCKET", "@nobody")
    supervisor_of(os.environ).close()
    token = token_of(shim)
    worker = await process.start(token)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(worker.pump)
        with trio.fail_after(30):
            await hello_of(worker, token, shim.layout.dir)
        assert b"NOTIFY_SOCKET" not in Path(f"/proc/{worker.pid}/environ").read_bytes()
        loaded = Path(f"/proc/{worker.pid}/fd")
        held = {str(each.readlink()).partition(":")[0] for each in loaded.iterdir()}
        nursery.cancel_scope.cancel()
    assert await worker.end(kill=False) == "ended with status 0"
    assert not mark.exists()
    assert {each for each in held if not each.startswith("/")} == {"pipe", "socket"}, "no file of ours is open in it"


@pytest.mark.system
def test_hsm_check_tells_it_apart_from_its_result(shim: Shim, tmp_path: Path) -> None:
    """The output is JSON and nothing else; the person at the terminal reads the rest beside it."""
    shim.orders.write_text("C_Login 0 pin -1\n")
    token = token_of(shim)
    environment = ", ".join(f"{name} = {json.dumps(value)}" for name, value in token.environment.items())
    path = tmp_path / "node.toml"
    path.write_text(
        f"""[pair]
group = "sip"
[node]
name = "sip-a"
hub = [{{ name = "hub-1", host = "127.0.0.1", port = 8301 }}]
journal = {{ dir = "journal" }}
processor = {{ url = "http://127.0.0.1:1" }}
[[node.token]]
name = "fps-1"
label = "fps-1"
module = "{token.module}"
pin_file = "{token.pin_file}"
environment = {{ {environment} }}
""",
        encoding="utf-8",
    )
    command = [sys.executable, "-P", "-m", "gateway", "hsm", "check", "--config", str(path), "--json"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert json.loads(done.stdout)["exit_code"] == done.returncode == 0
    assert SAYS in done.stderr
    assert HIDDEN.decode() in done.stderr
    assert shim.layout.pin_file("fps-1").read_text() not in done.stderr
