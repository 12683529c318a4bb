"""What the runbook has people type is taken by the programs that it names, as far as this machine can run them."""

import re
import shlex
import shutil
import subprocess
from pathlib import Path

import pytest

from gateway.__main__ import main
from tests.compose.drbd_tools import FILES, on

TEXT = (FILES / "README.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"(?ms)^```sh\n(.*?)^```", TEXT)
COMMANDS = [line for block in BLOCKS for line in block.replace("\\\n", "").splitlines()]
DRBDADM = sorted(
    {line for line in COMMANDS if line.startswith("drbdadm ")} | set(re.findall(r"`(drbdadm .*? fps-sip)`", TEXT))
)


def test_there_are_commands() -> None:
    """As many as a person has to type, or the pattern finds none of them."""
    assert len(DRBDADM) >= 11
    assert {line.split()[0] for line in COMMANDS} <= {
        "cat", "curl", "drbdadm", "fps-gateway", "head", "install", "journalctl", "lvcreate", "mdadm", "mkdir",
        "mkfs.ext4", "mount", "pvcreate", "./render.py", "setpriv", "systemctl", "umask", "vgcreate",
    }  # fmt: skip


@pytest.mark.parametrize("command", DRBDADM)
def test_drbdadm_takes_what_the_runbook_says(drbdadm: str, configuration: Path, command: str) -> None:
    """Read, and turned into what it would do; nothing is done."""
    _, *arguments = shlex.split(command)
    done = on("fps-a1", drbdadm, "-c", str(configuration), "-d", *arguments)
    assert done.returncode == 0, done.stderr
    assert "drbdsetup" in done.stdout or "drbdmeta" in done.stdout


def test_the_last_copy_can_be_told_to_go_on_alone(drbdadm: str, configuration: Path) -> None:
    """What the resource file says counts for more than what holds for all."""
    options = "options { quorum off; }"
    assert f"`{options}`" in TEXT
    path = configuration.parent / "fps-sip.res"
    path.write_text(path.read_text(encoding="ascii").replace("resource fps-sip {", f"resource fps-sip {{ {options}"))
    done = on("fps-a1", drbdadm, "-c", str(configuration), "-d", "adjust", "fps-sip")
    assert "--quorum=off" in done.stdout
    assert "--quorum=majority" not in done.stdout


def test_a_command_that_drbdadm_does_not_know_would_be_seen(drbdadm: str, configuration: Path) -> None:
    assert on("fps-a1", drbdadm, "-c", str(configuration), "-d", "promote", "fps-sip").returncode != 0


def test_the_file_system_can_be_made_so(tmp_path: Path) -> None:
    program = shutil.which("mkfs.ext4", path="/usr/sbin:/sbin:/usr/bin")
    if program is None:
        pytest.skip("mkfs.ext4 is not here (Debian: e2fsprogs)")
    (line,) = [line for line in COMMANDS if line.startswith("mkfs.ext4 ")]
    volume = tmp_path / "volume"
    with volume.open("wb") as file:
        file.truncate(64 << 20)
    _, *options, _device = shlex.split(line)
    assert subprocess.run([program, *options, str(volume)], check=False, timeout=60).returncode == 0
    check = subprocess.run(["/sbin/e2fsck", "-p", str(volume)], capture_output=True, check=False, timeout=60)
    assert check.returncode == 0


def test_what_is_installed_is_there() -> None:
    """Every file that an `install` names, and every unit that is started."""
    for line in COMMANDS:
        if line.startswith("install ") and " -d " not in line:
            names = [word for word in line.split()[1:-1] if not word.startswith("-") and not word.isdigit()]
            assert names
            assert all((FILES / name).is_file() for name in names), line
    started = set(re.findall(r"(fps-[a-z]+@)sip(?:\.timer|\.service)?\b", "\n".join(COMMANDS)))
    assert started == {"fps-gateway@", "fps-volume@", "fps-verify@"}


@pytest.mark.parametrize("line", sorted({line for line in COMMANDS if line.startswith("fps-gateway ")}))
def test_the_gateways_own_commands_are_there(line: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """It knows the command, and says that there is no journal."""
    _, *arguments = (str(tmp_path / "journal") if word.startswith("/") else word for word in shlex.split(line))
    assert main(arguments) != 0
    assert "No such directory" in capsys.readouterr().err


def test_metrics_and_log_lines_that_are_named_are_there() -> None:
    source = "\n".join(path.read_text(encoding="utf-8") for path in (FILES.parent.parent / "gateway").rglob("*.py"))
    names = set(re.findall(r"\bfps_volume_\w+", TEXT))
    assert len(names) >= 6
    assert all(f'"{name}"' in source for name in names)
    assert "volume link StandAlone: drbdadm adjust" in source
