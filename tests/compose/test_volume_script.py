"""`fps-volume` brings a volume to this server in the one order that is safe, and forces nothing.

Run for real, with programs in the place of DRBD's and of mount's that note how they were called; what these do for real
is shown in virtual machines.
"""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

import gateway

SCRIPT = Path(gateway.__file__).parent.parent / "compose" / "drbd" / "fps-volume"
DEVICE = "/dev/drbd/by-res/fps-sip/0"
STUB = """#!/bin/sh
name=${0##*/}
echo "$name $*" >> "$STAGE/calls"
case "$name" in
mountpoint)
    case "$1" in
    -q) test -e "$STAGE/mounted" ;;
    -d) cat "$STAGE/mounted" ;;
    -x) cat "$STAGE/device" ;;
    esac
    exit
    ;;
drbdadm) name="drbdadm-$1" ;;
drbdsetup) name="drbdsetup-$1" ;;
esac
answers="$STAGE/$name"
code=0
if [ -s "$answers" ]; then
    read -r code text < "$answers"
    sed -i 1d "$answers"
    [ -z "$text" ] || printf "$text\\n"
fi
[ "$code" -ne 0 ] || case "$name" in mount) touch "$STAGE/mounted" ;; umount) rm "$STAGE/mounted" ;; esac
exit "$code"
"""
PROGRAMS = ("drbdadm", "drbdsetup", "e2fsck", "mount", "umount", "mountpoint", "fuser", "sleep")
NO_QUORUM = "11 fps-sip: State change failed: (-37) No quorum"
PRIMARY_ELSEWHERE = "11 fps-sip: State change failed: (-1) Multiple primaries not allowed by config"
STATUS = "0 fps-sip role:Primary\\n  disk:UpToDate open:yes\\n  fps-a2 role:Secondary\\n    peer-disk:UpToDate"
VERIFYING = STATUS + "\\n    replication:VerifyS"


class Stage:
    """A server on which nothing is what it seems."""

    def __init__(self, at: Path) -> None:
        self.at = at
        self.mount_point = at / "volumes" / "sip"
        programs = at / "programs"
        programs.mkdir()
        for name in PROGRAMS:
            (programs / name).write_text(STUB, encoding="ascii")
            (programs / name).chmod(0o755)
        self.environment = {
            "PATH": f"{programs}:{os.environ['PATH']}", "STAGE": str(at), "FPS_VOLUMES": str(at / "volumes"),
            "FPS_VOLUME_TRIES": "5",
        }  # fmt: skip

    def answers(self, name: str, *answers: str) -> None:
        """What a program says, call by call: its exit code and a text; then 0 and nothing."""
        (self.at / name).write_text("".join(f"{answer}\n" for answer in answers), encoding="ascii")

    def mounted(self, device: str = "147:11") -> None:
        (self.at / "mounted").write_text(f"{device}\n", encoding="ascii")

    def run(self, what: str) -> tuple[int, str]:
        command = ["/bin/sh", str(SCRIPT), what, "sip"]
        done = subprocess.run(command, env=self.environment, capture_output=True, text=True, check=False, timeout=60)
        return done.returncode, done.stderr

    def calls(self) -> list[str]:
        """How programs were called, in order, without looking and waiting."""
        calls = (self.at / "calls").read_text(encoding="ascii").splitlines()
        return [call for call in calls if not call.startswith(("mountpoint", "sleep", "drbdadm status"))]


@pytest.fixture
def stage(tmp_path: Path) -> Stage:
    if shutil.which("awk") is None:
        pytest.skip("awk is not here (Debian: mawk)")
    return Stage(tmp_path)


PROMOTE, DEMOTE, ADJUST = "drbdadm primary fps-sip", "drbdadm secondary fps-sip", "drbdadm adjust fps-sip"
CHECK = f"e2fsck -p {DEVICE}"


def mount(stage: Stage) -> str:
    return f"mount -t ext4 -o noatime,nodev,nosuid,noexec,errors=remount-ro {DEVICE} {stage.mount_point}"


def test_a_volume_is_promoted_then_checked_then_mounted(stage: Stage) -> None:
    assert stage.run("start") == (0, "")
    assert stage.calls() == [PROMOTE, CHECK, mount(stage)]


def test_without_quorum_it_tries_again_and_mends_links_that_were_left_standalone(stage: Stage) -> None:
    """After a crash of the server that was Primary: the first tries may find no quorum."""
    stage.answers("drbdadm-primary", NO_QUORUM, NO_QUORUM)
    code, said = stage.run("start")
    assert code == 0
    assert said.count("not promoted yet: fps-sip: State change failed: (-37) No quorum") == 1
    assert stage.calls() == [PROMOTE, ADJUST, PROMOTE, ADJUST, PROMOTE, CHECK, mount(stage)]


def test_without_quorum_for_long_it_gives_up_and_says_so(stage: Stage) -> None:
    stage.answers("drbdadm-primary", *[NO_QUORUM] * 5)
    code, said = stage.run("start")
    assert code == 1
    assert "not promoted within 5 tries" in said
    assert not any(call.startswith("mount") for call in stage.calls())


def test_where_another_server_is_primary_it_gives_up_soon(stage: Stage) -> None:
    """Not when that one lets go: the volume goes where a person says, not to whoever waited."""
    stage.environment["FPS_VOLUME_TRIES"] = "100"
    stage.answers("drbdadm-primary", *[PRIMARY_ELSEWHERE] * 20)
    code, said = stage.run("start")
    assert code == 1
    assert "another server is Primary: stop it there first" in said
    assert stage.calls().count(PROMOTE) == 10
    assert not any(call.startswith("mount ") for call in stage.calls())


def test_a_primary_that_has_just_died_is_waited_out(stage: Stage) -> None:
    """DRBD takes it for Primary until it has missed it."""
    stage.answers("drbdadm-primary", *[PRIMARY_ELSEWHERE] * 3, NO_QUORUM)
    assert stage.run("start")[0] == 0
    assert stage.calls()[-3:] == [PROMOTE, CHECK, mount(stage)]


def test_over_files_that_lie_in_the_mount_point_nothing_is_mounted(stage: Stage) -> None:
    """They would be hidden; and they may be a journal that was begun where none should be."""
    stage.mount_point.mkdir(parents=True)
    (stage.mount_point / "journal").mkdir()
    code, said = stage.run("start")
    assert code == 1
    assert "holds files while nothing is mounted there" in said
    assert stage.calls() == [PROMOTE, DEMOTE]


@pytest.mark.parametrize(("code", "goes_on"), [(0, True), (1, True), (2, True), (4, False), (8, False)])
def test_a_file_system_that_e2fsck_cannot_repair_by_itself_is_not_mounted(
    stage: Stage, code: int, *, goes_on: bool
) -> None:
    """And the volume is let go again."""
    stage.answers("e2fsck", str(code))
    assert stage.run("start")[0] == (0 if goes_on else 1)
    assert stage.calls() == [PROMOTE, CHECK, mount(stage) if goes_on else DEMOTE]


def test_a_volume_that_cannot_be_mounted_is_let_go_again(stage: Stage) -> None:
    stage.answers("mount", "32 wrong fs type")
    code, said = stage.run("start")
    assert code == 1
    assert "demoted again, so that another server can have it" in said
    assert stage.calls() == [PROMOTE, CHECK, mount(stage), DEMOTE]


def test_a_volume_is_unmounted_then_demoted(stage: Stage) -> None:
    stage.mounted()
    assert stage.run("stop") == (0, "")
    assert stage.calls() == [f"umount {stage.mount_point}", DEMOTE]


def test_one_that_was_never_mounted_is_demoted_all_the_same(stage: Stage) -> None:
    """After a start that went half way."""
    assert stage.run("stop") == (0, "")
    assert stage.calls() == [DEMOTE]


def test_one_in_use_is_waited_for_then_named_and_never_torn_away(stage: Stage) -> None:
    stage.mounted()
    stage.answers("umount", *["32 target is busy"] * 5)
    code, said = stage.run("stop")
    assert code == 1
    assert "still in use, by:" in said
    assert stage.calls() == [*[f"umount {stage.mount_point}"] * 5, f"fuser -vm {stage.mount_point}"]


def test_another_file_system_in_its_place_is_not_unmounted(stage: Stage) -> None:
    (stage.at / "device").write_text("147:11\n", encoding="ascii")
    stage.mounted("8:1")
    code, said = stage.run("stop")
    assert code == 1
    assert f"what is mounted at {stage.mount_point} is not {DEVICE}" in said
    assert stage.calls() == []


def test_one_that_is_mounted_already_is_left_as_it_is(stage: Stage) -> None:
    (stage.at / "device").write_text("147:11\n", encoding="ascii")
    stage.mounted()
    code, said = stage.run("start")
    assert (code, "is mounted already" in said) == (0, True)
    assert stage.calls() == []


@pytest.mark.parametrize("device", ["147:11\n", ""])
def test_another_file_system_in_its_place_is_not_taken_for_it(stage: Stage, device: str) -> None:
    """A journal on it would have no copy. Nor where the device is not there to be compared."""
    (stage.at / "device").write_text(device, encoding="ascii")
    stage.mounted("8:1")
    code, said = stage.run("start")
    assert code == 1
    assert f"what is mounted at {stage.mount_point} is not {DEVICE}" in said
    assert stage.calls() == []


@pytest.mark.parametrize("during", ["drbdadm", "e2fsck", "mount"])
def test_a_start_that_is_ended_half_way_lets_the_volume_go(stage: Stage, during: str) -> None:
    """By `systemctl stop`, or for its time: systemd runs no ExecStop then, and the volume would stay Primary here."""
    program = stage.at / "programs" / during
    # a program tells the shell that called it to end, once
    kill = '[ -e "$STAGE/told" ] || { touch "$STAGE/told"; kill -TERM "$PPID"; }\n'
    if during == "drbdadm":
        kill = f'case "$1" in primary) {kill.strip()} ;; esac\n'
        # `why=$(drbdadm primary …)` may run it in a shell of its own: the one that runs the script is asked for
        kill = kill.replace('"$PPID"', '$(cat "$STAGE/shell")')
    program.write_text(STUB.replace('exit "$code"\n', kill + 'exit "$code"\n'), encoding="ascii")
    command = ["/bin/sh", "-c", 'echo $$ > "$STAGE/shell"; exec /bin/sh "$0" start sip', str(SCRIPT)]
    done = subprocess.run(command, env=stage.environment, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 1
    assert "told to end before it was mounted" in done.stderr
    assert not (stage.at / "mounted").exists()
    assert stage.calls()[-1] == DEMOTE


def test_servers_are_compared_one_after_the_other_and_what_differs_is_said(stage: Stage) -> None:
    stage.answers("drbdadm-status", STATUS, STATUS, STATUS, VERIFYING, VERIFYING)
    stage.answers("drbdsetup-status", "0     received:0 sent:12 out-of-sync:4")
    code, said = stage.run("verify")
    assert code == 1
    assert "comparing with fps-a2" in said
    assert "blocks differ:" in said
    assert stage.calls() == ["drbdadm verify fps-sip:fps-a2", "drbdsetup status --statistics fps-sip"]


def test_servers_that_are_the_same_are_no_failure(stage: Stage) -> None:
    gone = STATUS + "\\n  fps-a3 connection:Connecting"
    stage.answers("drbdadm-status", gone, gone, gone)
    code, said = stage.run("verify")
    assert code == 0
    assert "not compared: fps-a3, connection:Connecting" in said


def test_a_volume_that_is_not_up_is_not_said_to_be_the_same(stage: Stage) -> None:
    stage.answers("drbdadm-status", *["10 fps-sip: No such resource"] * 5)
    code, said = stage.run("verify")
    assert code == 1
    assert "not compared: it is not up here" in said
