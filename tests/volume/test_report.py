"""What the host writes is what a gateway in a container reads: the script, its file, and everything that is none."""

import os
import re
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

import gateway
from gateway.config import Volume
from gateway.errors import Refusal, Unavailable
from gateway.volume.report import OLD_S, Reported, since_boot_s
from gateway.volume.watch import begin
from tests.fakes.volume import NUMBER

SAMPLES = Path(__file__).parent / "samples"
SCRIPT = Path(gateway.__file__).parent.parent / "compose" / "drbd" / "fps-volume"
VERSION_9 = "version: 9.2.12 (api:2/proto:86-122)\nTransports (api:21): tcp\n"
HEAD = "fps-volume 1000.00 93:b\n"
IS_IT_THERE = "does fps-volume-report@ run on the host?"
WELL = HEAD + VERSION_9 + (SAMPLES / "9.0-well.json").read_text(encoding="ascii")


class Host:
    """A report, and the host's time."""

    def __init__(self, at: Path) -> None:
        self.path = at / "status"
        self.uptime_s = 1001.0
        self.drbd = Reported(str(self.path), lambda: self.uptime_s)
        self.path.write_text(WELL, encoding="ascii")


@pytest.fixture
def host(tmp_path: Path) -> Host:
    return Host(tmp_path)


async def test_what_the_host_says_is_what_drbd_said(host: Host) -> None:
    assert host.drbd.number_of("") == NUMBER
    status = await host.drbd.status("fps-sip", 11)
    assert (status.copies, status.quorum, status.role) == (3, True, "Primary")


async def test_of_8_4_it_has_the_table_alone(host: Host) -> None:
    host.path.write_bytes(HEAD.encode() + (SAMPLES / "8.4-well.txt").read_bytes())
    assert (await host.drbd.status("fps-sip", 11)).quorum is None


@pytest.mark.parametrize(
    ("spoil", "why"),
    [
        (lambda host: host.path.unlink(), f"/status: No such file or directory: {IS_IT_THERE}"),
        (lambda host: host.path.write_bytes(b""), "/status is no report of fps-volume"),
        (lambda host: host.path.write_text(WELL[1:]), "/status is no report of fps-volume"),
        (lambda host: host.path.write_text("fps-volume nan 93:b\n"), "/status is no report of fps-volume"),
        (lambda host: host.path.write_text(HEAD), "/proc/drbd does not begin with a version"),
        (lambda host: host.path.write_text(HEAD + VERSION_9), "the status is no JSON of DRBD's"),
        (lambda host: host.path.write_text(WELL[:400]), "the status is no JSON of DRBD's"),
        (lambda host: host.path.write_bytes(WELL.encode() + b"\xff"), "the status is no JSON of DRBD's"),
        (lambda host: host.path.write_text(WELL.replace("fps-sip", "fps-fdp")), "the status has no resource fps-sip"),
        (lambda host: setattr(host, "uptime_s", 1000.0 + OLD_S + 1), f"is 11 s old: {IS_IT_THERE}"),
        (lambda host: setattr(host, "uptime_s", 20.0), f"is -980 s old: {IS_IT_THERE}"),
    ],
)
async def test_a_report_that_says_nothing_of_now_is_none(host: Host, spoil: Callable[[Host], object], why: str) -> None:
    spoil(host)
    with pytest.raises(Unavailable) as raised:
        await host.drbd.status("fps-sip", 11)
    assert str(raised.value).endswith(why)


async def test_a_gateway_starts_by_it_and_not_without(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    """The journal must lie on the device that the report names."""
    settings = Volume("fps-sip", report=str(host.path))
    with pytest.raises(Refusal, match=r"lies on the device [\d:]+, and .*/status is 147:11: the volume is not mounted"):
        await begin(settings, str(host.path.parent), host.drbd)
    monkeypatch.setattr(host.drbd, "device_below", lambda _: NUMBER)
    assert (await begin(settings, "/journal", host.drbd)).verdict.state == "ok"
    host.uptime_s += 100
    assert (await begin(settings, "/journal", host.drbd)).verdict.state == "unknown"
    for spoil in (lambda: host.path.write_text("what?\n"), host.path.unlink):
        spoil()
        with pytest.raises(Refusal, match="fps-sip is not up on this server, or fps-volume-report@ is not"):
            await begin(settings, "/journal", host.drbd)


def test_the_device_below_is_asked_of_this_machine(host: Host) -> None:
    assert host.drbd.device_below(str(host.path.parent / "not" / "there")) == host.path.stat().st_dev


# --- the script

STUBS = {
    "stat": '[ "$*" = "-Lc %t:%T /dev/drbd/by-res/fps-sip/0" ] && [ -e "$STAGE/up" ] && echo 93:b',
    "drbdsetup": '[ "$*" = "status --json fps-sip" ] && cat "$STAGE/json"',
    "sleep": 'echo x >>"$STAGE/slept"; [ "$(wc -l <"$STAGE/slept")" -lt "$TIMES" ]',
}


def reported(at: Path, proc: str, times: int = 1) -> Path:
    """Have the script write this many times; returns its report."""
    programs, reports = at / "bin", at / "reports" / "sip"
    for place in (programs, reports):
        place.mkdir(parents=True, exist_ok=True)
    for name, script in STUBS.items():
        (programs / name).write_text(f"#!/bin/sh\n{script}\n", encoding="ascii")
        (programs / name).chmod(0o755)
    (at / "proc").write_text(proc, encoding="ascii")
    (at / "slept").write_text("", encoding="ascii")
    environment = {
        "PATH": f"{programs}:{os.environ['PATH']}", "STAGE": str(at), "FPS_REPORTS": str(at / "reports"),
        "FPS_PROC": str(at / "proc"), "TIMES": str(times),
    }  # fmt: skip
    subprocess.run(["/bin/sh", str(SCRIPT), "report", "sip"], env=environment, check=False, timeout=60)
    return reports / "status"


@pytest.fixture
def up(tmp_path: Path) -> Path:
    """A host on which the resource is up."""
    (tmp_path / "up").touch()
    (tmp_path / "json").write_bytes((SAMPLES / "9.0-well.json").read_bytes())
    return tmp_path


async def test_what_the_script_writes_is_read(up: Path) -> None:
    report = Reported(str(reported(up, VERSION_9)))
    assert report.number_of("") == NUMBER
    assert (await report.status("fps-sip", 11)).copies == 3
    (up / "json").write_bytes((SAMPLES / "9.2-no-quorum.json").read_bytes())
    assert (await Reported(str(reported(up, VERSION_9, times=3))).status("fps-sip", 11)).quorum is False


async def test_of_8_4_the_script_asks_no_program(up: Path) -> None:
    (up / "json").unlink()
    report = reported(up, (SAMPLES / "8.4-well.txt").read_text(encoding="ascii"))
    assert (await Reported(str(report)).status("fps-sip", 11)).copies == 2


def test_where_the_resource_is_not_up_the_last_report_gets_old(up: Path) -> None:
    before = reported(up, VERSION_9).read_text(encoding="ascii")
    (up / "up").unlink()
    assert reported(up, VERSION_9, times=2).read_text(encoding="ascii") == before


async def test_a_program_that_fails_publishes_nothing_and_is_said_once(
    up: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    before = reported(up, VERSION_9).read_text(encoding="ascii")
    (up / "json").unlink()
    assert reported(up, VERSION_9, times=3).read_text(encoding="ascii") == before
    assert capfd.readouterr().err.count("fps-volume: fps-sip: nothing to report: ") == 1


def test_the_hosts_time_is_ours() -> None:
    """Of /proc/uptime, which the script writes down."""
    (said,) = re.findall(r"^\S+", Path("/proc/uptime").read_text(encoding="ascii"))
    assert abs(since_boot_s() - float(said)) < 5
