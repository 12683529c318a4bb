"""One virtual machine: QEMU with software emulation, its monitor (QMP), and the agent inside it."""

import signal
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec
import trio

from loadtest.parts.processes import Child
from tests.drill import network, plan
from tests.drill.agent import PORT
from tests.drill.images import System
from tests.drill.plan import Address
from tests.machines import roots

LOOK_EVERY_S = 0.2
LINE_BYTES_MAX = 16 << 20


class GuestError(Exception):
    """A guest does not do what it is asked. Says which one, what, and what it said."""


class Guest:
    """A server of the drill. Its disks outlive its life, and it may have several."""

    def __init__(self, address: Address, directory: Path, system: System, image: Path) -> None:
        self.address = address
        self.directory = directory
        self.disks = {name: directory / f"{address.name}-{name}.img" for name in plan.DISKS}
        """By their serial number: raw images."""
        self.console = directory / f"{address.name}.console"
        self._system = system
        self._image = image
        self._child: Child | None = None

    def __str__(self) -> str:
        return self.address.name

    @property
    def running(self) -> bool:
        """Whether the machine has power."""
        return self._child is not None and self._child.running

    def make_disks(self) -> None:
        """New ones, of zeros."""
        for path in self.disks.values():
            with path.open("xb") as file:
                file.truncate(plan.DISK_BYTES)

    async def boot(self, accelerator: str) -> None:
        """Switch it on and wait until its agent is there. Raises `GuestError`."""
        self._monitor.unlink(missing_ok=True)
        self._child = await Child.start(f"qemu-{self}", self._command(accelerator), self.directory)
        with trio.move_on_after(plan.BOOT_WITHIN_S):
            while self._child.running:
                try:
                    await self.ask("here")
                except OSError:
                    await trio.sleep(LOOK_EVERY_S)
                else:
                    return
        raise GuestError(f"{self} did not boot: see {self.console} and {self._child.output}")

    def _command(self, accelerator: str) -> list[str]:
        name, number = self.address.name, self.address.name[-1]
        words = (
            "console=ttyS0", "quiet", "panic=-1", "mitigations=off", f"drill.name={name}",
            f"drill.front={self.address.front}", f"drill.back={self.address.back}",
        )  # fmt: skip
        command = [
            roots.command("qemu-system-x86_64", "qemu-system-x86"),
            "-nodefaults", "-no-user-config", "-display", "none", "-no-reboot", "-machine", "pc", "-cpu", "Nehalem",
            "-accel", accelerator, "-m", str(plan.MEMORY_MIB), "-smp", "1",
            "-kernel", str(self._system.kernel), "-initrd", str(self._system.first),
            "-append", " ".join(words),
            "-chardev", f"file,id=console,path={self.console},append=on", "-serial", "chardev:console",
            "-qmp", f"unix:{self._monitor},server=on,wait=off",
            "-object", "rng-random,id=rng,filename=/dev/urandom", "-device", "virtio-rng-pci,rng=rng",
        ]  # fmt: skip
        for image in (self._system.image, self._image):
            command += ["-drive", f"if=none,id={image.stem},file={image},format=raw,readonly=on"]
            command += ["-device", f"virtio-blk-pci,drive={image.stem}"]
        for disk, path in self.disks.items():
            command += ["-drive", f"if=none,id={disk},file={path},format=raw,cache=writeback"]
            command += ["-device", f"virtio-blk-pci,drive={disk},id=disk-{disk},serial={disk}"]
        for order, bridge in enumerate((network.FRONT, network.BACK)):
            tap = network.tap(self.address, bridge)
            command += ["-netdev", f"tap,id={bridge},ifname={tap},script=no,downscript=no"]
            command += ["-device", f"virtio-net-pci,netdev={bridge},romfile=,mac=52:54:00:77:{order:02}:0{number}"]
        return command

    # --- what happens to it

    async def kill(self) -> None:
        """SIGKILL: the power is gone, in the middle of whatever it did."""
        assert self._child is not None
        await self._child.end(signal.SIGKILL)

    async def off(self) -> None:
        """Switch it off in order."""
        if self.running:
            assert self._child is not None
            await self.ask("off")
            with trio.move_on_after(plan.STEP_WITHIN_S):
                await self._child.process.wait()
            await self._child.end(within_s=5)

    async def pull(self, disk: str) -> None:
        """Take a disk out while the machine runs."""
        await self.monitor("device_del", id=f"disk-{disk}")

    async def break_disk(self, disk: str) -> None:
        """From now on each request to this disk fails; it is still there."""
        await self.monitor("human-monitor-command", **{"command-line": f"drive_del {disk}"})

    async def aclose(self) -> None:
        """End it, however it is."""
        if self._child is not None:
            await self._child.end(signal.SIGKILL)

    # --- asking

    @property
    def _monitor(self) -> Path:
        return self.directory / f"{self.address.name}.qmp"

    async def monitor(self, execute: str, **arguments: Any) -> None:
        """Have QEMU itself do something. Raises `GuestError`."""
        async with await trio.open_unix_socket(str(self._monitor)) as stream:
            lines = _Lines(stream)
            await lines.next()  # its greeting
            for order in ({"execute": "qmp_capabilities"}, {"execute": execute, "arguments": arguments}):
                await stream.send_all(msgspec.json.encode(order) + b"\n")
                while "return" not in (said := await lines.next()):
                    if "error" in said:
                        raise GuestError(f"{self}: {execute}: {said['error'].get('desc')}")
            if isinstance(said["return"], str) and said["return"].strip():
                raise GuestError(f"{self}: {execute}: {said['return'].strip()}")

    async def ask(self, do: str, **arguments: Any) -> dict[str, Any]:
        """Ask the agent. Raises `GuestError`, or OSError when it is not there."""
        try:
            async with await trio.open_tcp_stream(self.address.front, PORT) as stream:
                await stream.send_all(msgspec.json.encode({"do": do, **arguments}) + b"\n")
                said = await _Lines(stream).next()
        except (trio.BrokenResourceError, trio.ClosedResourceError) as error:
            raise ConnectionError(f"{self} is gone") from error
        if "error" in said:
            raise GuestError(f"{self}: {do}: {said['error']}")
        return said

    async def run(self, *argv: str, within_s: float = plan.STEP_WITHIN_S) -> str:
        """Run a command to its end; returns what it said. Raises `GuestError` unless it succeeds."""
        code, said = await self.try_(*argv, within_s=within_s)
        if code:
            raise GuestError(f"{self}: {' '.join(argv)} ended with {code}: {said.strip()}")
        return said

    async def try_(self, *argv: str, within_s: float = plan.STEP_WITHIN_S) -> tuple[int, str]:
        """Run a command to its end; returns its exit code and what it said. Raises `GuestError` or OSError."""
        said = await self.ask("run", argv=list(argv), within_s=within_s)
        return said["code"], said["said"]

    async def start(self, argv: list[str], environment: Mapping[str, str], output: str) -> None:
        """Start a process that goes on. Raises `GuestError` or OSError."""
        await self.ask("start", argv=argv, environment=dict(environment), output=output)


class _Lines:
    """JSON lines of a stream."""

    def __init__(self, stream: trio.abc.Stream) -> None:
        self._stream = stream
        self._rest = b""

    async def next(self) -> dict[str, Any]:
        """Raises ConnectionError at the end."""
        while b"\n" not in self._rest:
            chunk = await self._stream.receive_some(65536)
            if not chunk or len(self._rest) > LINE_BYTES_MAX:
                raise ConnectionError("no answer")
            self._rest += chunk
        line, _, self._rest = self._rest.partition(b"\n")
        return msgspec.json.decode(line, type=dict[str, Any])
