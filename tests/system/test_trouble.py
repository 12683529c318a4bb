"""What stops a gateway, or keeps it from starting: each says what and where, ends with its code, and loses nothing."""

import os
import re
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import trio
from msgspec.structs import replace

from gateway.exitcodes import ExitCode
from loadtest.runs.world import PYTHON, Child, World, children_of
from tests.system.worlds import FAST, Worlds, change, end, load, log_of, ready, until

pytestmark = pytest.mark.system


async def run_to_its_end(it: World, name: str = "gateway", within_s: float = 30.0) -> int:
    """Start a gateway that will not stay; returns its exit code."""
    command = [PYTHON, "-m", "gateway", "run", "--config", str(it.configuration)]
    child = await Child.start(name, command, it.directory)
    try:
        with trio.fail_after(within_s):
            return await child.process.wait()
    finally:
        await child.end(signal.SIGKILL)


def last_line(it: World, name: str = "gateway") -> str:
    """Why it ended."""
    line = log_of(it, name)[-1]
    assert line["event"] == "ended"
    return str(line["error"])


async def test_a_second_gateway_on_the_same_journal_is_refused_and_the_first_goes_on(worlds: Worlds) -> None:
    async with worlds() as it:
        await load(it, 100, 2)
        assert it.gateway is not None
        assert await run_to_its_end(it, "second") == ExitCode.REFUSED
        assert str(it.gateway.process.pid) in last_line(it, "second"), "says who holds it"
        assert str(it.journal) in last_line(it, "second")
        await end(it)


async def test_a_damaged_journal_is_refused_and_the_place_is_named(worlds: Worlds) -> None:
    async with worlds(replace(FAST, segment_bytes=65536)) as it:
        await load(it, 200, 2)
        await it.settled()
        assert await it.stop_gateway() == 0
        first = min(it.journal.glob("*.seg*"))
        with first.open("r+b") as segment:
            segment.seek(20_000)
            byte = segment.read(1)
            segment.seek(20_000)
            segment.write(bytes([byte[0] ^ 1]))
        assert await run_to_its_end(it) == ExitCode.JOURNAL
        assert first.name in last_line(it)
        assert re.search(r"\d{4,}", last_line(it)), "an offset"
        verified = subprocess.run(
            [sys.executable, "-m", "gateway", "journal", "verify", str(it.journal)],
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert verified.returncode == 1
        assert first.name in verified.stdout + verified.stderr


async def test_a_torn_tail_is_cut_and_the_gateway_starts(worlds: Worlds) -> None:
    """A crash in the middle of a write is no damage: what was never synced was never promised."""
    async with worlds() as it:
        await load(it, 100, 1)
        await it.settled()
        await it.kill_gateway()
        last = max(it.journal.glob("*.seg*"), key=lambda path: (path.read_bytes().strip(b"\0") != b"", path.name))
        written = len(last.read_bytes().rstrip(b"\0"))
        with last.open("r+b") as segment:
            segment.seek(written - 5)
            segment.write(bytes(5))
        await it.start_gateway()
        await load(it, 100, 1)
        await it.settled()
        assert await it.stop_gateway() == 0


async def test_a_wrong_pin_keeps_a_token_out_and_is_not_tried_again(worlds: Worlds) -> None:
    async with worlds(gateway=False) as it:
        pin = it.directory / "hsm" / "pins" / "fps-1.pin"
        right = pin.read_text()
        pin.write_text("000000")
        await it.start_gateway()

        async def judged() -> bool:
            # SoftHSM may fail a login that meets another one: that is tried again, and then meets the PIN
            signer = (await ready(it))["parts"]["signer"]
            return bool(signer["fps-1"]["state"] == "wrong-pin" and signer["fps-2"]["state"] == "serving")

        await until(judged)
        said = [line for line in log_of(it) if line.get("token") == "fps-1" and line.get("state") == "wrong-pin"]
        assert len(said) == 1
        assert "000000" not in (it.directory / "gateway.log").read_text()
        pin.write_text(right)
        await load(it, 50, 1)
        await end(it)


@pytest.mark.parametrize(
    ("pattern", "replacement", "state"),
    [
        (r'label = "fps-', 'label = "no-such-', "no-token"),
        (r"\[pair\.deadlines\]", '[pair.mac]\nown_key = "fps-missing"\n[pair.deadlines]', "no-key"),
        (r'module = "[^"]*"', 'module = "/nonexistent/pkcs11.so"', "no-module"),
    ],
    ids=["no-token", "no-key", "no-module"],
)
async def test_without_any_usable_token_it_runs_unready_and_says_why(
    worlds: Worlds, pattern: str, replacement: str, state: str
) -> None:
    """It signs on nowhere, so that the hub uses the other site, and goes on trying."""
    async with worlds(gateway=False) as it:
        change(it, pattern, replacement)
        command = [PYTHON, "-m", "gateway", "run", "--config", str(it.configuration)]
        it.gateway = await Child.start("gateway", command, it.directory)

        async def tried() -> bool:
            signer = (await ready(it)).get("parts", {}).get("signer", {})
            return bool(signer) and {token["state"] for token in signer.values()} == {state}

        await until(tried)
        said = await ready(it)
        assert not said["ready"]
        assert "no HSM token serves" in said["reasons"]
        assert not [line for line in log_of(it) if line["event"] == "link up"], "what cannot sign off is not dialled"
        assert await it.stop_gateway() == 0


async def test_without_any_token_left_it_closes_its_links_until_one_serves_again(worlds: Worlds) -> None:
    """A sign-off needs a MAC, a closed connection none: the hub must not go on sending what nobody can reply to."""
    async with worlds(gateway=False) as it:
        change(it, r"\[pair\.deadlines\]", "[pair.session]\nrespond_within_s = 0.5\n[pair.deadlines]")
        await it.start_gateway()
        assert it.gateway is not None
        pins = {path: path.read_text() for path in (it.directory / "hsm" / "pins").glob("*.pin")}
        for pin in pins:
            pin.write_text("000000")
        for worker in children_of(it.gateway.process.pid):
            os.kill(worker, signal.SIGKILL)

        async def links() -> int:
            return len((await it.hub("statistics"))["links"])

        async def mute() -> bool:
            return not await links()

        await until(mute)
        said = await ready(it)
        assert "no HSM token serves" in said["reasons"]
        assert "mute" in said["parts"]["links"]
        for pin, right in pins.items():
            pin.write_text(right)
        await it.signed_on()
        await load(it, 50, 1)
        await end(it)


async def test_contradictory_deadlines_are_refused_naming_both(worlds: Worlds, tmp_path: Path) -> None:
    async with worlds(gateway=False) as it:
        change(it, r"stand_in_after_s = [\d.]+", "stand_in_after_s = 60.0")
        assert await run_to_its_end(it) == ExitCode.CONFIGURATION
        said = (it.directory / "gateway.log").read_text()
        assert "stand_in_after_s" in said
        assert "reply_within_s" in said
        assert not it.journal.exists(), "nothing was started"


async def test_an_address_in_use_is_said_and_starting_again_may_help(worlds: Worlds) -> None:
    """Nothing was promised yet: the next start, with the address free, finds a journal in order."""
    async with worlds(gateway=False) as it:
        with socket.socket() as other:
            other.bind(("127.0.0.1", it.ops_port))
            other.listen()
            assert await run_to_its_end(it) == ExitCode.UNAVAILABLE
        assert f"127.0.0.1:{it.ops_port}" in last_line(it)
        await it.start_gateway()
        await load(it, 50, 1)
        await end(it)
