"""The steps that a person takes on a server, by the runbook: disks, volume, promotion, mount, gateway; and back."""

from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import trio

from gateway.volume.status import CONNECTED, Status, UnreadableError, of_proc
from tests.drill import plan
from tests.drill.guest import Guest, GuestError

LOOK_EVERY_S = 0.5


def connected(status: Status) -> bool:
    """The servers hear each other."""
    return status.peers[0].connection == CONNECTED


def whole(status: Status) -> bool:
    """Both servers have all of it, and it can be written."""
    return status.copies == len(plan.SERVERS) and not status.suspended


class Server:
    """One of the two."""

    def __init__(self, guest: Guest) -> None:
        self.guest = guest
        self.lost: list[str] = []
        """Disks that it has no more."""

    def __str__(self) -> str:
        return str(self.guest)

    # --- disks and volume

    async def prepare(self) -> None:
        """Once in a server's life: an array of its two disks, and DRBD on it. Both hold zeros, so they are the same."""
        run = self.guest.run
        await run(
            "mdadm", "--create", plan.ARRAY, "--run", "--metadata=1.0", "--level=1", "--raid-devices=2",
            "--assume-clean", "--bitmap=internal", *(f"/dev/disk/{disk}" for disk in plan.DISKS),
        )  # fmt: skip
        await run("drbdadm", "create-md", "--force", plan.RESOURCE)
        await self._up()

    async def rejoin(self) -> None:
        """After a boot: the array as it is, and DRBD, which finds out by itself what this server has missed."""
        disks = [f"/dev/disk/{disk}" for disk in plan.DISKS if disk not in self.lost]
        await self.guest.run("mdadm", "--assemble", "--run", plan.ARRAY, *disks)
        await self._up()

    async def _up(self) -> None:
        await self.guest.run("drbdadm", "up", plan.RESOURCE)
        await self.guest.run("mkdir", "-p", str(Path(plan.BY_RESOURCE).parent))
        await self.guest.run("ln", "-s", plan.DEVICE, plan.BY_RESOURCE)
        if str(self) == plan.REPORTED_ON:
            await self._report()

    async def _report(self) -> None:
        """As for a gateway in a container: the host writes what DRBD says, the gateway reads it. Until switched off."""
        await self.guest.run("mkdir", "-p", str(Path(plan.REPORT).parent))
        forever = f"setsid {plan.VOLUME_SCRIPT} report {plan.GROUP} </dev/null >/dev/null 2>&1 &"
        await self.guest.run("sh", "-c", forever)
        insert = f'/^resource = "{plan.RESOURCE}"$/a report = "{plan.REPORT}"'
        await self.guest.run("sed", "-i", insert, f"{plan.ETC}/gateway.toml")
        await self.guest.run("grep", "-qx", f'report = "{plan.REPORT}"', f"{plan.ETC}/gateway.toml")

    async def first_copy(self) -> None:
        """Once in a volume's life, when both are connected: they are the same; no need to copy zeros."""
        await self.guest.run("drbdadm", "new-current-uuid", "--clear-bitmap", f"{plan.RESOURCE}/0")

    async def make_file_system(self) -> None:
        """Once in a volume's life, on either server. Promotes it for that long."""
        await self.guest.run("drbdadm", "primary", plan.RESOURCE)
        await self.guest.run("mkfs.ext4", "-q", "-E", "lazy_itable_init=0,lazy_journal_init=0", plan.DEVICE)
        await self.guest.run("drbdadm", "secondary", plan.RESOURCE)

    async def status(self) -> Status:
        """What DRBD says. Raises `UnreadableError`, `GuestError` or OSError."""
        return of_proc(await self.guest.run("cat", "/proc/drbd"), plan.MINOR)

    async def until(self, what: str, holds: Callable[[Status], bool], within_s: float = plan.WELL_WITHIN_S) -> None:
        """Wait until DRBD's status is so. Raises `GuestError`."""
        status: Status | None = None
        with trio.move_on_after(within_s):
            while True:
                with suppress(UnreadableError):  # not up yet
                    status = await self.status()
                    if holds(status):
                        return
                await trio.sleep(LOOK_EVERY_S)
        raise GuestError(f"{self}: not {what} within {within_s:g} s: {status}")

    async def degraded(self, within_s: float = plan.STEP_WITHIN_S) -> None:
        """Wait until the array has noticed that it has one disk. Raises `GuestError`."""
        said = ""
        with trio.move_on_after(within_s):
            while True:
                said = await self.guest.run("cat", "/proc/mdstat")
                if "[2/1]" in said:
                    return
                await trio.sleep(LOOK_EVERY_S)
        raise GuestError(f"{self}: the array has not missed its disk within {within_s:g} s: {said}")

    # --- moving the gateway

    async def confirm_dead(self) -> None:
        """Say that the other server is off, which somebody has seen. Until taken back."""
        await self.guest.ask("put", path=plan.DEAD, text="seen to be off\n")

    async def take_back(self) -> None:
        """The other server is no longer off."""
        await self.guest.run("rm", "-f", plan.DEAD)

    async def take_volume(self) -> None:
        """Promoted, looked at and mounted, as the volume's unit does it. Raises `GuestError`."""
        await self.guest.run(plan.VOLUME_SCRIPT, "start", plan.GROUP)

    async def give_volume(self) -> None:
        """Unmounted and demoted, after the gateway has ended."""
        await self.guest.run(plan.VOLUME_SCRIPT, "stop", plan.GROUP)

    async def down(self) -> None:
        """DRBD and the disks, so that nothing is under way when the machine is switched off."""
        await self.guest.run("drbdadm", "down", plan.RESOURCE)
        await self.guest.run("mdadm", "--stop", plan.ARRAY)

    async def start_gateway(self) -> None:
        """With the configuration that its image holds, and where it is reported with that."""
        await self.guest.start(
            ["python3", "-m", "gateway", "run", "--config", f"{plan.ETC}/gateway.toml"],
            {"PYTHONPATH": f"{plan.CODE}:{plan.PACKAGES}", "PYTHONUNBUFFERED": "1"},
            plan.GATEWAY_LOG,
        )

    async def gateway_code(self) -> int | None:
        """Its exit code; None while it runs."""
        code: int | None = (await self.guest.ask("running"))["code"]
        return code

    async def stop_gateway(self) -> int | None:
        """SIGTERM: it drains. Returns its exit code; None when it did not end in time."""
        code: int | None = (await self.guest.ask("end", number=15, within_s=plan.STEP_WITHIN_S))["code"]
        return code

    async def log(self) -> str:
        """What the gateway has logged since the machine booted."""
        return await self.guest.run("cat", plan.GATEWAY_LOG)
