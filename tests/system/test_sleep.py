"""A machine that slept: real processes, whose system clock goes on while they stand still, as it does when a machine
wakes up. Nothing that is late by the world's time may leave.
"""

import mmap
import os
import signal
import struct
import time
from functools import partial
from pathlib import Path

import msgspec
import pytest
import trio
from msgspec.structs import replace

from loadtest.parts.processes import python_path
from loadtest.runs.world import World, http
from tests.fakes.door import Client, get, post
from tests.system.worlds import FAST, Worlds, end, load, log_of, until

pytestmark = [
    pytest.mark.system,
    pytest.mark.skipif(not hasattr(time, "CLOCK_BOOTTIME"), reason="this system has no clock that counts its sleep"),
]

NIGHT_S = 3600.0

# What Python runs before anything else of a process: CLOCK_BOOTTIME is ahead by what a file says, and no other clock.
AHEAD = """
import mmap, os, struct, time
_real = time.clock_gettime
_slept = mmap.mmap(os.open({path!r}, os.O_RDONLY), 8, prot=mmap.PROT_READ)

def clock_gettime(clock):
    ahead_s, = struct.unpack("d", _slept)
    return _real(clock) + (ahead_s if clock == time.CLOCK_BOOTTIME else 0.0)

time.clock_gettime = clock_gettime
"""


class Night:
    """Has the gateway sleep."""

    def __init__(self, it: World, directory: Path) -> None:
        """Before the gateway starts."""
        self._it = it
        path = directory / "slept"
        path.write_bytes(struct.pack("d", 0.0))
        code = directory / "ahead"
        code.mkdir()
        (code / "sitecustomize.py").write_text(AHEAD.format(path=str(path)), encoding="utf-8")
        it.gateways[0].code = os.pathsep.join([str(code), python_path()])
        with path.open("r+b") as file:
            self._slept = mmap.mmap(file.fileno(), 8)

    def falls(self) -> None:
        """The machine stops."""
        self._send(signal.SIGSTOP)

    async def reigns(self) -> bool:
        """Whether it stands still by now: a signal takes its time."""
        child = self._it.gateways[0].child
        assert child is not None
        stat = Path(f"/proc/{child.process.pid}/stat").read_text(encoding="ascii", errors="replace")
        return stat.rpartition(")")[2].split()[0] == "T"

    def ends(self) -> None:
        """It goes on, an hour later by its own clock."""
        self._slept[:] = struct.pack("d", NIGHT_S)
        self._send(signal.SIGCONT)

    def _send(self, number: signal.Signals) -> None:
        child = self._it.gateways[0].child
        assert child is not None
        child.process.send_signal(number)


async def sent_all(it: World) -> bool:
    """Whether the hub has sent all that it was told to."""
    return not (await it.hub("statistics"))["loading"]


async def test_what_came_before_a_machine_slept_is_not_answered_when_it_wakes(worlds: Worlds, tmp_path: Path) -> None:
    """It lay in the socket for an hour: the hub has given it up, and an accept would be believed by nobody but us. The
    processor hears that the reply was not delivered; the links are still there, and payments go on.
    """
    async with worlds(gateway=False) as it:
        night = Night(it, tmp_path)
        await it.start_gateway()
        await load(it, 50, 0.5)
        await it.settled()
        before = (await it.hub("statistics"))["counts"]
        night.falls()
        await load(it, 200, 0.1)
        await until(partial(sent_all, it))
        night.ends()
        await it.settled()
        after = (await it.hub("statistics"))["counts"]
        assert after["sent"] > before["sent"]
        assert after["replied"] + after.get("late", 0) == before["replied"] + before.get("late", 0), "nothing late left"
        (line,) = [line for line in log_of(it) if line["event"] == "stood still"]
        assert line["pause_s"] >= NIGHT_S
        await load(it, 50, 0.5)
        await it.settled()
        verdict = await end(it)
    assert verdict.accounts["reversed"] == after["sent"] - before["sent"]


async def rests(it: World) -> bool:
    """Whether nothing waits for the disk."""
    _, body = await http(it.ops_port, "GET", "/statistics")
    journal = msgspec.json.decode(body)["journal"]
    return bool(journal["durable"] == journal["position"] - 1)


async def test_what_was_submitted_before_a_machine_slept_is_not_sent_when_it_wakes(
    worlds: Worlds, tmp_path: Path
) -> None:
    """Whoever submitted it gave it up an hour ago, and may have told a customer so. It hears that nothing was recorded,
    which is so, on the connection that was idle for as long; later submissions are none the worse for it.
    """
    async with worlds(replace(FAST, outbound=True), gateway=False) as it:
        night = Night(it, tmp_path)
        await it.start_gateway()
        (taken,) = [line for line in log_of(it) if line["event"] == "submissions are taken"]
        client = Client(await trio.open_tcp_stream("127.0.0.1", taken["port"]))
        assert (await client.ask(get("/payments/key-1"))).status == 404
        await until(partial(rests, it))
        night.falls()
        await until(night.reigns)
        await client.send(post(key="key-1"))
        night.ends()
        # the reason may be another one that holds just after a sleep; none of them takes anything
        assert (await client.response()).status == 503
        await client.hang_up()  # the connection is an hour old by now, and was the last one's to use
        client = Client(await trio.open_tcp_stream("127.0.0.1", taken["port"]))
        assert (await client.ask(get("/payments/key-1"))).status == 404, "nothing was recorded"
        await client.hang_up()
        await it.submit(50, 0.5)
        await it.settled()
        verdict = await end(it)
    assert verdict.submitted
