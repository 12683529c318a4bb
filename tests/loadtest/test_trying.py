"""`loadtest try`: what it prints is done literally, by a shell and by curl, and shows a payment each way."""

import os
import shlex
import shutil
import signal
import stat
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest
import trio

from loadtest.parts.processes import END_WITHIN_S, READY_WITHIN_S
from loadtest.runs.trying import INDENT, README, UNFINISHED

pytestmark = pytest.mark.system

PLACE = "my world's"
"""A blank and a quote: what is printed is for a shell."""


def make(directory: Path, **environment: str) -> "subprocess.CompletedProcess[str]":
    """Run the command, from nowhere in particular."""
    code = str(Path(__file__).parents[2])
    return subprocess.run(
        [sys.executable, "-P", "-m", "loadtest", "try", str(directory)],
        capture_output=True, text=True, check=False, cwd="/", env={**os.environ, "PYTHONPATH": code, **environment},
    )  # fmt: skip


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """A world that was made, and what was printed."""
    directory = tmp_path_factory.mktemp("try") / PLACE
    done = make(directory)
    assert (done.returncode, done.stderr) == (0, "")
    return directory, done.stdout


def printed(text: str) -> list[str]:
    """The lines that are to be copied, in their order."""
    return [line.removeprefix(INDENT) for line in text.splitlines() if line.startswith(INDENT)]


class Terminal:
    """A command that runs in the shell that it was typed into, and what it has written."""

    def __init__(self, process: trio.Process, output: Path) -> None:
        self.process = process
        self._output = output

    async def says(self, what: str, times: int = 1) -> None:
        """Wait until it has written this so often."""
        with trio.fail_after(READY_WITHIN_S):
            while self._output.read_text().count(what) < times:
                assert self.process.poll() is None, self._output.read_text()
                await trio.sleep(0.05)

    async def interrupt(self) -> int:
        """Ctrl-C: to all that was started there. Returns the exit code."""
        os.killpg(self.process.pid, signal.SIGINT)
        with trio.fail_after(END_WITHIN_S):
            code: int = await self.process.wait()
        return code


@asynccontextmanager
async def typed(line: str, output: Path) -> AsyncIterator[Terminal]:
    """Type it; whatever of it is left at the end is killed, by its own group."""
    with output.open("wb") as file:
        # a shell on a terminal lives on after Ctrl-C: so does this one, and says how the command ended
        process = await trio.lowlevel.open_process(
            ["sh", "-c", f"trap : INT; {line}"],
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=file,
            cwd="/",
            start_new_session=True,
        )
    try:
        yield Terminal(process, output)
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            with trio.CancelScope(shield=True):
                await process.wait()


async def output_of(line: str) -> str:
    """What a line that ends by itself prints."""
    with trio.fail_after(READY_WITHIN_S):
        done = await trio.run_process(["sh", "-c", line], capture_stdout=True, cwd="/")
    return done.stdout.decode()


async def json_of(line: str) -> dict[str, Any]:
    return msgspec.json.decode(await output_of(line), type=dict[str, Any])


@pytest.mark.skipif(shutil.which("curl") is None, reason="package curl")
async def test_the_printed_lines_show_a_payment_out_and_one_in(made: tuple[Path, str], tmp_path: Path) -> None:
    """Three commands, then curl, as they stand; the log says what the text says it will, and the journal has both."""
    hub, processor, gateway, ready, pay, receive, ledger, show, verify = printed(made[1])
    async with (
        typed(hub, tmp_path / "hub") as the_hub,
        typed(processor, tmp_path / "processor") as the_processor,
        typed(gateway, tmp_path / "gateway") as the_gateway,
    ):
        await the_gateway.says("signed on", times=4)
        assert (await json_of(ready))["ready"] is True
        response = await json_of(pay)
        assert response["state"] == "SETTLED"
        await the_gateway.says("payment settled")
        assert await json_of(pay) == response, "the same payment"
        assert await json_of(receive) == {"ok": True}
        await the_gateway.says("payment replied")
        with trio.fail_after(READY_WITHIN_S):
            while not {"noticed", "asked", "answered"} <= set(events(await output_of(ledger))):  # noqa: ASYNC110
                await trio.sleep(0.05)
        shown = await output_of(show)
        for kind in ("SUBMITTED", "SETTLED", "RECEIVED", "ANSWERED", "REPLIED"):
            assert shown.count(f" {kind} ") == 1, kind
        payment = msgspec.json.decode((made[0] / "payment.json").read_bytes())
        assert "debtor_name" in shown
        assert payment["Dbtr"]["Nm"] not in shown, "what is a customer's is masked"
        assert await the_gateway.interrupt() == 0, "it drained"
        assert await the_processor.interrupt() == 0
        assert await the_hub.interrupt() == 0, "nothing was wrong with what it was sent"
    assert "is whole" in await output_of(verify)


def events(ledger: str) -> list[str]:
    """What a processor's book says happened."""
    return [msgspec.json.decode(line)["event"] for line in ledger.splitlines()]


def test_what_it_writes_is_for_its_owner_alone_and_says_what_was_printed(made: tuple[Path, str]) -> None:
    """Keys, PINs and configuration; and the text is there when the terminal is gone."""
    directory, text = made
    modes = {stat.S_IMODE(path.stat().st_mode) for path in directory.rglob("*") if path.is_file()}
    assert modes == {0o600}
    assert stat.S_IMODE(directory.stat().st_mode) == 0o700
    assert (directory / README).read_text() == text
    assert not (directory / UNFINISHED).exists()
    assert all(part in text for part in ("pair.toml", "node.toml"))


def test_two_worlds_share_neither_keys_nor_pins_nor_ports(made: tuple[Path, str], tmp_path: Path) -> None:
    """Each directory has its own; one that is there and empty will do as well."""
    (tmp_path / "other").mkdir()
    done = make(tmp_path / "other")
    assert done.returncode == 0
    for name in ("DEVELOPMENT-ONLY-keys.json", "pins/fps-1.pin"):
        first, second = ((one / "hsm" / name).read_bytes() for one in (made[0], tmp_path / "other"))
        assert first != second, name
    ports = [word for line in printed(done.stdout)[:2] for word in shlex.split(line) if word.isdigit()]
    assert len(set(ports)) == len(ports) == 3


def everything_in(directory: Path) -> dict[str, bytes]:
    return {str(path): path.read_bytes() if path.is_file() else b"" for path in sorted(directory.rglob("*"))}


def test_a_second_run_says_where_the_text_is_and_changes_nothing(made: tuple[Path, str]) -> None:
    directory, _ = made
    before = everything_in(directory)
    done = make(directory)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == f"try: {directory}: there is a world already: what to do with it says {README}\n"
    assert everything_in(directory) == before


@pytest.mark.parametrize(
    ("inside", "said"),
    [
        ("mine.txt", "is not empty: name an empty directory, or one that is not there yet"),
        (UNFINISHED, "what made a world here is still at it, or was killed: then remove this, and try again"),
    ],
)
def test_a_directory_that_is_not_empty_is_left_alone(tmp_path: Path, inside: str, said: str) -> None:
    (tmp_path / inside).write_text("kept")
    done = make(tmp_path)
    assert (done.returncode, done.stdout, done.stderr) == (2, "", f"try: {tmp_path}: {said}\n")
    assert everything_in(tmp_path) == {str(tmp_path / inside): b"kept"}


@pytest.mark.parametrize(("place", "said"), [("file/world", "Not a directory"), ("none/world", "No such file")])
def test_a_directory_that_cannot_be_made_is_said(tmp_path: Path, place: str, said: str) -> None:
    """With the system's words, once."""
    (tmp_path / "file").write_text("")
    done = make(tmp_path / place)
    assert done.returncode == 2
    assert done.stderr.startswith(f"try: {tmp_path / place}: {said}")
    assert everything_in(tmp_path) == {str(tmp_path / "file"): b""}


@pytest.mark.parametrize("there", [False, True])
def test_without_softhsm_it_says_how_to_get_it_and_leaves_nothing(tmp_path: Path, *, there: bool) -> None:
    """Neither in a directory that was there, nor a directory that was not."""
    directory = tmp_path / "world"
    if there:
        directory.mkdir()
    done = make(directory, SOFTHSM2_MODULE="/nowhere/libsofthsm2.so")
    assert done.returncode == 2
    assert "no SoftHSM module at /nowhere/libsofthsm2.so: install softhsm2 (Debian: apt-get" in done.stderr
    assert list(tmp_path.rglob("*")) == ([directory] if there else [])


async def test_ctrl_c_in_the_middle_leaves_nothing(tmp_path: Path) -> None:
    """While the tokens are made: what was written is removed, and so is the directory that was made for it."""
    directory = tmp_path / "world"
    line = f"{shlex.quote(sys.executable)} -m loadtest try {shlex.quote(str(directory))}"
    code = shlex.quote(str(Path(__file__).parents[2]))
    async with typed(f"cd {code} && {line}", tmp_path / "output") as terminal:
        with trio.fail_after(READY_WITHIN_S):
            while not (directory / UNFINISHED).exists():  # noqa: ASYNC110 - another process cannot set our events
                await trio.sleep(0.001)
        assert await terminal.interrupt() == 130
    assert (tmp_path / "output").read_text() == "interrupted: cleaning up\n"
    assert not directory.exists()
