"""The systemd units, as systemd itself reads them, and what they must have in common with the gateway.

Nothing here runs them: that is `tests/machines/test_systemd.py`.
"""

import re
import shutil
import subprocess
from collections import defaultdict
from pathlib import Path

import msgspec
import pytest

import gateway
from gateway import config, notify
from gateway.exitcodes import ExitCode
from gateway.running.stopping import CLOSE_WITHIN_S, DrainLimits
from tests.fakes.example import example
from tests.simulation.node import WATCHDOG_S
from tests.simulation.world import RESTART_S

UNITS = Path(gateway.__file__).parent.parent / "compose" / "systemd"
SERVICE = "fps-gateway@sip.service"
NAMES = (SERVICE, "fps-gateway.target", "fps-gateway.slice")
EXPOSURE_MAX = 12
"""Tenths, of 100: what `systemd-analyze security` may come to. README.md quotes it."""
OWN_UNITS = Path("/lib/systemd/system")
"""Those that come with systemd, which ours name."""


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """What systemd takes for the file system in which the units are installed."""
    if shutil.which("systemd-analyze") is None:
        pytest.skip("systemd-analyze is not here (Debian: systemd)")
    shutil.copytree(OWN_UNITS, tmp_path / "usr/lib/systemd/system", symlinks=True)
    installed = tmp_path / "etc/systemd/system"
    installed.mkdir(parents=True)
    for unit in UNITS.glob("fps-gateway*"):
        shutil.copy(unit, installed)
    for name in ("opt/fps-gateway/bin/fps-gateway", "bin/sh"):
        program = tmp_path / name
        program.parent.mkdir(parents=True, exist_ok=True)
        program.write_text("#!/bin/sh\n")
        program.chmod(0o755)
    return tmp_path


def analyze(root: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Ask systemd."""
    verb, *rest = arguments
    command = ["systemd-analyze", verb, f"--root={root}", *rest]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)


def settings() -> dict[str, list[str]]:
    """Of the service: each key with its values, as they stand there."""
    found = defaultdict[str, list[str]](list)
    for line in (UNITS / "fps-gateway@.service").read_text(encoding="utf-8").splitlines():
        key, is_setting, value = line.partition("=")
        if is_setting and not key.startswith("#"):
            found[key].append(value)
    return found


def setting(key: str) -> str:
    """The one value of a key."""
    (value,) = settings()[key]
    return value


def seconds(text: str) -> float:
    """What systemd makes of a time span."""
    said = subprocess.run(["systemd-analyze", "timespan", text], capture_output=True, text=True, check=True).stdout
    found = re.search(r"μs: (\d+)", said)
    assert found, said
    return int(found[1]) / 1e6


# --- as systemd reads them


def test_systemd_understands_all_of_them(root: Path) -> None:
    """It returns 0 for a key that it does not know, and says so."""
    done = analyze(root, "verify", *NAMES)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_a_key_that_systemd_does_not_know_would_be_seen(root: Path) -> None:
    unit = root / "etc/systemd/system/fps-gateway@.service"
    unit.write_text(unit.read_text().replace("TasksMax", "TaskMax"))
    assert "Unknown key 'TaskMax'" in analyze(root, "verify", SERVICE).stderr


def test_the_exposure_is_what_the_documents_say(root: Path) -> None:
    arguments = ("security", "--offline=yes", f"--threshold={EXPOSURE_MAX}", SERVICE)
    done = analyze(root, *arguments)
    assert done.returncode == 0, done.stdout
    said = f"{EXPOSURE_MAX / 10:.1f} OK"
    assert f"Overall exposure level for {SERVICE}: {said}" in done.stdout
    assert said in (UNITS.parent.parent / "docs" / "operating.md").read_text(encoding="utf-8")
    unit = root / "etc/systemd/system/fps-gateway@.service"
    unit.write_text(unit.read_text().replace("PrivateDevices=yes", ""))
    assert analyze(root, *arguments).returncode == 1, "a threshold that nothing can miss proves nothing"


# --- as the gateway is


def test_the_unit_sees_who_comes() -> None:
    """In a user namespace of its own the kernel names everybody who comes by the Unix socket alike."""
    assert "PrivateUsers" not in settings()
    assert setting("RuntimeDirectory") == "fps-gateway/%i"
    assert setting("RuntimeDirectoryMode") == "0755"
    assert setting("UMask") == "0077", "the socket itself is opened to everybody by the server"


def test_the_service_is_not_started_again_where_that_cannot_help() -> None:
    """What gateway/exitcodes.py says of each."""
    never = {ExitCode.USAGE, ExitCode.JOURNAL, ExitCode.CONFIGURATION, ExitCode.INTERRUPTED}
    assert setting("RestartPreventExitStatus").split() == [str(int(code)) for code in sorted(never)]
    assert setting("Restart") == "on-failure"


def test_the_simulated_watchdog_is_as_patient_as_the_real_one(root: Path) -> None:
    assert root
    assert seconds(setting("WatchdogSec")) == WATCHDOG_S
    assert CLOSE_WITHIN_S + WATCHDOG_S / notify.BEATS < WATCHDOG_S, "the end, when nothing beats any more"


def test_the_simulation_starts_a_process_again_as_soon_as_systemd(root: Path) -> None:
    assert root
    assert seconds(setting("RestartSec")) == RESTART_S


def test_systemd_waits_for_a_start_and_for_a_drain(root: Path) -> None:
    """As long as the gateway may be silent, and as long as a drain takes by default, if that is not said."""
    assert root
    assert seconds(setting("TimeoutStartSec")) >= notify.EXTEND_S
    given = msgspec.toml.decode(example(), type=config.Configuration)
    limits = DrainLimits(given.node.drain_s, given.pair.session.respond_within_s)
    assert seconds(setting("TimeoutStopSec")) > limits.whole_s
