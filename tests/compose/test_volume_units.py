"""The units of a volume, as systemd itself reads them, together with the gateway's."""

import configparser
import shutil
import subprocess
from pathlib import Path

import pytest

import gateway

COMPOSE = Path(gateway.__file__).parent.parent / "compose"
FILES = COMPOSE / "drbd"
OWN_UNITS = Path("/lib/systemd/system")
"""Those of systemd, and DRBD's."""
UNITS = (
    "fps-volume@sip.service",
    "fps-volume-report@sip.service",
    "fps-verify@sip.service",
    "fps-verify@sip.timer",
    "fps-gateway@sip.service",
)
EXPOSURE_MAX = 15
"""Tenths, of 100, with what the gateway needs to ask DRBD."""


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """What systemd takes for the file system in which the units are installed, as README.md says."""
    if shutil.which("systemd-analyze") is None:
        pytest.skip("systemd-analyze is not here (Debian: systemd)")
    if not (OWN_UNITS / "drbd@.target").exists():
        pytest.skip("DRBD's own units are not here (Debian: drbd-utils)")
    shutil.copytree(OWN_UNITS, tmp_path / "usr/lib/systemd/system", symlinks=True)
    installed = tmp_path / "etc/systemd/system"
    dropins = installed / "fps-gateway@.service.d"
    dropins.mkdir(parents=True)
    for unit in (*FILES.glob("fps-*@.*"), *(COMPOSE / "systemd").glob("fps-gateway*")):
        shutil.copy(unit, installed)
    shutil.copy(FILES / "fps-gateway-volume.conf", dropins / "volume.conf")
    for program in (
        "opt/fps-gateway/bin/fps-gateway",
        "usr/local/sbin/fps-volume",
        "lib/drbd/scripts/drbd-service-shim.sh",
        "bin/sh",
    ):
        path = tmp_path / program
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("#!/bin/sh\n")
        path.chmod(0o755)
    return tmp_path


def analyze(root: Path, verb: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Ask systemd."""
    command = ["systemd-analyze", verb, f"--root={root}", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)


@pytest.mark.parametrize("unit", UNITS)
def test_systemd_has_nothing_to_say_about_a_unit(root: Path, unit: str) -> None:
    """It returns 0 for an unknown key: what it prints counts."""
    done = analyze(root, "verify", unit)
    ours = [line for line in (done.stdout + done.stderr).splitlines() if "fps-" in line]
    assert (done.returncode, ours) == (0, [])


def test_a_mistake_in_the_drop_in_would_be_seen(root: Path) -> None:
    path = root / "etc/systemd/system/fps-gateway@.service.d/volume.conf"
    path.write_text(path.read_text(encoding="utf-8").replace("ProcSubset=", "ProcSubsets="), encoding="utf-8")
    assert "Unknown key 'ProcSubsets'" in analyze(root, "verify", "fps-gateway@sip.service").stderr


def test_the_gateway_lives_no_longer_than_its_volume_and_stops_before_it() -> None:
    """`BindsTo` and `After`, on the same unit: stopped together, in the opposite order of the start."""
    drop_in = settings(FILES / "fps-gateway-volume.conf")["Unit"]
    assert drop_in["BindsTo"] == drop_in["After"] == "fps-volume@%i.service"
    volume = settings(FILES / "fps-volume@.service")
    assert volume["Unit"]["Requires"] == volume["Unit"]["After"] == "drbd@fps-%i.target"
    assert (volume["Service"]["Type"], volume["Service"]["RemainAfterExit"]) == ("oneshot", "yes")


def test_the_script_gives_up_before_systemd_does() -> None:
    """So that it is the script that says why: it knows."""
    script = (FILES / "fps-volume").read_text(encoding="utf-8")
    service = settings(FILES / "fps-volume@.service")["Service"]
    assert "TRIES=${FPS_VOLUME_TRIES:-600}" in script
    assert service["TimeoutStartSec"] == "20min"
    assert "UNMOUNT_TRIES=${FPS_VOLUME_TRIES:-30}" in script
    assert service["TimeoutStopSec"] == "90s"


def test_what_asking_drbd_costs_in_exposure_is_little(root: Path) -> None:
    arguments = ("security", "--offline=yes", f"--threshold={EXPOSURE_MAX}", "fps-gateway@sip.service")
    done = analyze(root, *arguments)
    assert done.returncode == 0, done.stdout
    assert "Service may allocate netlink sockets" in done.stdout  # the drop-in was read


def settings(path: Path) -> configparser.RawConfigParser:
    """A unit file, with its keys as they are written."""
    parser = configparser.RawConfigParser(strict=True)
    parser.optionxform = str  # type: ignore[assignment, method-assign]
    parser.read(path, encoding="utf-8")
    return parser
