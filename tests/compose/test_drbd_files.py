"""The DRBD resource files, read by DRBD's own tools on each server: what would run there, and that mistakes are found.

`drbdadm` takes the server that it is on from the host name: each runs in a UTS name space of its own. Nothing here
needs DRBD in the kernel; what it does for real is the drill's to show.
"""

import os
import re
import signal
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from gateway.config import Deadlines
from tests.compose.drbd_tools import FILES, SECRET, SERVERS, on, rendered

DRBD_84 = "/lib/drbd/drbdadm-84"
"""What `drbdadm` hands over to where the kernel has DRBD 8.4."""


@pytest.mark.parametrize("group", ["sip", "sop", "fdp", "other", "usm"])
@pytest.mark.parametrize("server", SERVERS)
def test_on_each_server_each_volume_would_be_brought_up_as_promised(
    drbdadm: str, configuration: Path, server: str, group: str
) -> None:
    """Written means written on all connected servers' disks, a majority or an error, no promotion by accident."""
    done = on(server, drbdadm, "-c", str(configuration), "-d", "up", f"fps-{group}")
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    (resource,) = [line for line in lines if " new-resource " in line]
    wanted = {"--quorum=majority", "--on-no-quorum=io-error", "--on-no-data-accessible=io-error", "--auto-promote=no"}
    assert wanted <= set(resource.split())
    peers = [line for line in lines if " new-peer " in line]
    assert {re.findall(r"--_name=(\S+)", line)[0] for line in peers} == {*SERVERS} - {server}
    for line in peers:
        assert {
            "--protocol=C", "--allow-two-primaries=no", "--verify-alg=sha256", "--after-sb-0pri=disconnect",
            "--after-sb-1pri=disconnect", "--after-sb-2pri=disconnect", "--ko-count=2", "--timeout=15", "--ping-int=2",
        } <= set(line.split())  # fmt: skip
    (attach,) = [line for line in lines if " attach " in line]
    assert f"/dev/fps/{group}" in attach
    assert {"--on-io-error=detach", "--disk-flushes=yes", "--md-flushes=yes", "--disk-barrier=no"} <= set(
        attach.split()
    )


def test_no_two_volumes_share_a_minor_or_a_port(configuration: Path) -> None:
    """On any server: DRBD would refuse the second one, when it is needed."""
    texts = [path.read_text(encoding="ascii") for path in configuration.parent.glob("*.res")]
    minors = [re.findall(r"device minor (\d+);", text) for text in texts]
    ports = [{*re.findall(r":(\d+);", text)} for text in texts]
    assert len(texts) == 5
    assert len({number for found in minors for number in found}) == 5
    assert all(len(found) == 1 for found in ports)
    assert len(set.union(*ports)) == 5


def test_the_secret_is_for_root_only_and_nowhere_else(configuration: Path) -> None:
    for path in configuration.parent.glob("*.res"):
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        assert SECRET in path.read_text(encoding="ascii")
    assert not [path for path in FILES.iterdir() if path.is_file() and SECRET in path.read_text(encoding="utf-8")]


@pytest.mark.parametrize(
    ("right", "wrong"),
    [
        ("quorum majority", "quorum mayority"),
        ("on-no-quorum io-error", "on-no-quorum ignore"),
        ("protocol C", "protocol D"),
        ("on-io-error detach", "on-io-errors detach"),
    ],
)
def test_a_wrong_word_is_rejected_with_its_line(drbdadm: str, configuration: Path, right: str, wrong: str) -> None:
    """So a file that is taken says what it says."""
    common = configuration.parent / "common.conf"
    text = common.read_text(encoding="utf-8")
    place = re.search(rf"(?m)^\s*{re.escape(right)};", text)
    assert place is not None
    line = text[: place.end()].count("\n") + 1
    common.write_text(text.replace(place[0], place[0].replace(right, wrong)), encoding="utf-8")
    done = on("fps-a1", drbdadm, "-c", str(configuration), "-d", "up", "fps-sip")
    assert done.returncode != 0
    assert f"common.conf:{line}:" in done.stderr


def test_a_server_that_dies_holds_up_no_payment_until_stand_in_is_due() -> None:
    """A record waits until DRBD gives the server up: by its ping when it is dead, by `ko-count` when its disk hangs."""
    text = (FILES / "common.conf").read_text(encoding="utf-8")
    ping_s, answer_s, timeout_s, count, connect_s = (
        int(re.findall(rf"(?m)^\s*{name} (\d+);", text)[0]) * unit
        for name, unit in (
            ("ping-int", 1),
            ("ping-timeout", 0.1),
            ("timeout", 0.1),
            ("ko-count", 1),
            ("connect-int", 1),
        )
    )
    assert timeout_s < min(ping_s, connect_s)  # drbd.conf(5) asks for it, and drbdadm does not
    assert max(ping_s + answer_s, timeout_s * count) <= 0.6 * Deadlines().stand_in_after_s


def test_a_server_that_is_not_in_the_files_is_refused(drbdadm: str, configuration: Path) -> None:
    done = on("fps-b1", drbdadm, "-c", str(configuration), "-d", "up", "fps-sip")
    assert done.returncode != 0
    assert "not defined in your config (for this host)" in done.stderr


@pytest.mark.parametrize(
    ("right", "wrong", "said"),
    [
        ('fps-a3 = "10.77.1.3"\n', "", "2 servers: a majority that survives the loss of one needs three"),
        ('"10.77.1.3"', '"10.77.1.2"', "two servers have the same address"),
        ('"10.77.1.3"', '"10.77.1.300"', "fps-a3: 10.77.1.300 is no IPv4 address"),
        ("usm = 15", "usm = 11", "two groups have the same minor"),
        ("usm = 15", "usm = 0", "usm: a minor is a number from 1 to 255"),
        ("usm = 15", '"u;sm" = 15', "u;sm is no host name or group"),
        ("[servers]", "[server]\n[servers]", "server: no such table"),
    ],
)
def test_render_says_what_is_wrong_and_writes_nothing(tmp_path: Path, right: str, wrong: str, said: str) -> None:
    text = (FILES / "servers.toml").read_text(encoding="utf-8")
    assert right in text
    servers = tmp_path / "servers.toml"
    servers.write_text(text.replace(right, wrong), encoding="utf-8")
    done = rendered(tmp_path, servers)
    assert done.returncode == 1
    assert said in done.stderr
    assert not [*tmp_path.glob("*.res")]


@pytest.mark.parametrize(
    ("content", "said"), [(None, "No such file or directory"), (b"[servers", "at end of document"), (b"\xff", "decode")]
)
def test_render_says_what_it_cannot_read(tmp_path: Path, content: bytes | None, said: str) -> None:
    servers = tmp_path / "mine.toml"
    if content is not None:
        servers.write_bytes(content)
    done = rendered(tmp_path, servers)
    assert done.returncode == 1
    assert done.stderr.startswith(f"{servers}: ")
    assert said in done.stderr
    assert done.stderr.count("\n") == 1


def test_render_ends_quietly_at_ctrl_c(tmp_path: Path) -> None:
    """While it reads: 130, as the gateway's commands."""
    servers = tmp_path / "servers.toml"
    os.mkfifo(servers)
    command = [sys.executable, str(FILES / "render.py"), str(servers), "secret", str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        with servers.open("wb"):  # opens when it has opened the other end
            process.send_signal(signal.SIGINT)
            assert process.wait(timeout=60) == 130
        assert process.communicate() == (b"", b"")


def test_a_secret_is_read_however_it_was_saved(tmp_path: Path) -> None:
    """With a byte order mark and CR LF, which are no part of it."""
    done = rendered(tmp_path, secret=f"\ufeff{SECRET}\r")
    assert done.returncode == 0, done.stderr
    assert f'"{SECRET}"' in (tmp_path / "fps-sip.res").read_text(encoding="ascii")


def test_render_takes_no_secret_that_would_be_read_as_configuration(tmp_path: Path) -> None:
    done = rendered(tmp_path, secret='x";} options { quorum off')  # noqa: S106 - the same
    assert done.returncode == 1
    assert "the secret must be" in done.stderr
    assert "quorum" not in done.stderr


@pytest.mark.parametrize("server", ["server1", "server2"])
def test_the_drills_file_is_one_of_drbd_8_4(drbdadm: str, server: str) -> None:
    """The tool of that version takes it: protocol C and flushes as in production, and nobody who is alone writes."""
    done = on(server, DRBD_84, "-c", str(FILES / "two-nodes.res"), "-d", "up", "fps-sip")
    assert done.returncode == 0, done.stderr
    (connect,) = [line for line in done.stdout.splitlines() if " connect " in line]
    (attach,) = [line for line in done.stdout.splitlines() if " attach " in line]
    assert {"--protocol=C", "--after-sb-0pri=disconnect"} <= set(connect.split())
    assert {"--on-io-error=detach", "--disk-flushes=yes", "--md-flushes=yes"} <= set(attach.split())
    assert "--fencing=resource-and-stonith" in attach.split() + connect.split()
