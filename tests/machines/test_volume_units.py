"""A gateway and its volume under a real systemd: in which order they come and go, and what the gateway may do.

systemd, the units, `fps-volume` and mounting are real; DRBD is a program that says what the test wants, the file
system a tmpfs, the gateway a program that looks around and waits.
"""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.machines import engine, roots
from tests.machines.server import PACKAGES, WORK, Server, blocks, server

pytestmark = pytest.mark.system

COMPOSE = Path(__file__).parents[2] / "compose"
IMAGE = "localhost/fps-server:1"
AT = "/var/lib/fps-gateway/sip"
DRBDADM = f"""#!/bin/sh
case "$1" in
primary)
    test ! -e /run/elsewhere || {{ echo "(-1) Multiple primaries not allowed by config"; exit 11; }}
    touch /run/primary ;;
secondary)
    ! mountpoint -q {AT} || {{ echo "(-12) Device is held open by someone"; exit 11; }}
    rm -f /run/primary
    echo "demoted" >&2 ;;
esac
"""
MOUNT = f"""#!/bin/sh
test -e /run/primary || exit 32
echo "mounted" >&2
exec /bin/mount -t tmpfs -o size=16m,mode=755 volume {AT}
"""
UMOUNT = """#!/bin/sh
echo "unmounted" >&2
exec /bin/umount "$@"
"""
GATEWAY = """#!/usr/bin/python3
import os, signal, socket, sys, threading, time
def say(what):
    print(what, flush=True)
def tell(what):
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as s:
        s.sendto(what, os.environ["NOTIFY_SOCKET"])
def ended(*_):
    say("gateway: drained, volume " + ("mounted" if os.path.ismount("/var/lib/fps-gateway/sip") else "gone"))
    sys.exit(0)
signal.signal(signal.SIGTERM, ended)
say("gateway: started, volume " + ("mounted" if os.path.ismount("/var/lib/fps-gateway/sip") else "missing"))
open("/var/lib/fps-gateway/sip/written", "w").close()
socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 16).close()
device = os.stat("/dev/drbd11")
say(f"gateway: sees {os.major(device.st_rdev)}:{os.minor(device.st_rdev)}, reads {open('/proc/version').read()[:5]}")
try:
    open("/dev/drbd11", "rb")
except PermissionError:
    say("gateway: may not open the device")
tell(b"READY=1")
while True:
    tell(b"WATCHDOG=1")
    time.sleep(2)
"""
DRBDSETUP = """#!/bin/sh
[ "$*" = "status --json fps-sip" ] && echo '[
{"name": "fps-sip"}]'
"""
STARTED = [
    "gateway: started, volume mounted", "gateway: sees 147:11, reads Linux", "gateway: may not open the device",
]  # fmt: skip
TAKEN = ["mounted"]
"""By our `mount`, which mounts only what is Primary."""
LET_GO = ["unmounted", "demoted"]


@pytest.fixture(scope="module")
def machine() -> Iterator[Server]:
    """A server with the units of a gateway and its volume."""
    with pytest.MonkeyPatch.context() as patch:
        try:
            with engine.engine(compose=False) as docker:
                docker.base(IMAGE, *PACKAGES)
                for name in ("DOCKER_HOST", "DOCKER_CONFIG"):
                    patch.setenv(name, docker.environment[name])
                with server(docker.run, IMAGE) as it:
                    _set_up(it)
                    yield it
        except roots.Missing as missing:
            pytest.skip(str(missing))


def _set_up(it: Server) -> None:
    it.copy(str(COMPOSE / "systemd"), f"{WORK}/systemd")
    it.copy(str(COMPOSE / "drbd"), f"{WORK}/drbd")
    install = "\n".join(
        line
        for line in blocks((COMPOSE / "drbd" / "README.md").read_text(encoding="utf-8"))[0].splitlines()
        if line.startswith("install ") and "/etc/drbd.d" not in line
    )
    it.run(f"""
        install -m 644 systemd/fps-gateway* /etc/systemd/system/
        install -D -m 644 systemd/sysusers.conf /etc/sysusers.d/fps-gateway.conf
        systemd-sysusers
        install -d -m 700 /etc/fps-gateway/pins-sip
        cd drbd
        {install}
        mkdir -p /opt/stubs /opt/fps-gateway/bin /etc/systemd/system/fps-volume@.service.d
        printf '[Service]\\nEnvironment=PATH=/opt/stubs:/usr/sbin:/usr/bin:/sbin:/bin\\n' \\
            >/etc/systemd/system/fps-volume@.service.d/stubs.conf
        mkdir -p /etc/systemd/system/fps-volume-report@.service.d
        printf '[Service]\\nEnvironment=PATH=/opt/stubs:/usr/bin:/bin FPS_PROC=/opt/stubs/proc\\n' \\
            >/etc/systemd/system/fps-volume-report@.service.d/stubs.conf
        printf 'version: 9.2.12\\n' >/opt/stubs/proc
        printf '[Unit]\\nDescription=DRBD\\n' >/etc/systemd/system/drbd@.target
        mknod /dev/drbd11 b 147 11
    """)
    programs = {
        "/opt/stubs/drbdadm": DRBDADM, "/opt/stubs/mount": MOUNT, "/opt/stubs/umount": UMOUNT,
        "/opt/stubs/e2fsck": "#!/bin/sh\n", "/opt/stubs/drbdsetup": DRBDSETUP,
        "/opt/fps-gateway/bin/fps-gateway": GATEWAY,
    }  # fmt: skip
    for path, text in programs.items():
        it.run(f"cat >{path} <<'END'\n{text}END\nchmod 755 {path}")
    it.run("systemctl daemon-reload")


class Story:
    """What gateway and volume have said since the last time."""

    def __init__(self, it: Server) -> None:
        self._it = it
        self._known = 0
        self()

    def __call__(self) -> list[str]:
        """In order; what was told before is not told again."""
        said = self._it.run("journalctl --sync; journalctl --output=cat -t fps-gateway-sip -t fps-volume-sip")
        lines = [
            line for line in said.splitlines() if re.match(r"mounted|unmounted|demoted|gateway:|fps-volume:", line)
        ]
        new, self._known = lines[self._known :], len(lines)
        return new


@pytest.fixture
def story(machine: Server) -> Iterator[Story]:
    """Everything is down before and after."""
    machine.run("rm -f /run/elsewhere; systemctl reset-failed")
    yield Story(machine)
    machine.run("systemctl stop fps-volume@sip fps-gateway@sip", check=False)


def test_the_host_says_what_drbd_says_to_who_may_not_ask(machine: Server) -> None:
    """To anybody who reads it; the directory that a container has mounted stays where it is."""
    machine.run("mkdir -p /dev/drbd/by-res/fps-sip && ln -s /dev/drbd11 /dev/drbd/by-res/fps-sip/0")
    machine.run("systemctl start fps-volume-report@sip")
    report = "/run/fps-volume/sip/status"
    said = machine.run(f"""
        for i in $(seq 100); do [ -e {report} ] && break; sleep 0.1; done
        setpriv --reuid 65534 --regid 65534 --clear-groups cat {report}
    """)
    head, *rest = said.splitlines()
    assert re.fullmatch(r"fps-volume [0-9]+\.[0-9]{2} 93:b", head)
    assert rest == ["version: 9.2.12", "[", '{"name": "fps-sip"}]']
    before = machine.run("stat -c %i /run/fps-volume/sip")
    machine.run("systemctl restart fps-volume-report@sip; systemctl stop fps-volume-report@sip")
    assert machine.run("stat -c %i /run/fps-volume/sip") == before
    machine.run("rm -r /dev/drbd")  # what the others mount in the volume's place is no such device


def test_whoever_starts_the_gateway_gets_its_volume_first(machine: Server, story: Story) -> None:
    """And the gateway may look at the device's number and ask the kernel, and may not touch the device."""
    machine.run("systemctl start fps-gateway@sip")
    assert story() == [*TAKEN, *STARTED]


def test_whoever_stops_the_volume_has_the_gateway_drained_before(machine: Server, story: Story) -> None:
    machine.run("systemctl start fps-gateway@sip")
    story()
    machine.run("systemctl stop fps-volume@sip")
    assert story() == ["gateway: drained, volume mounted", *LET_GO]
    assert machine.show("fps-gateway@sip", "ActiveState") == "inactive"
    assert machine.run(f"ls -A {AT}") == ""


def test_a_gateway_that_is_started_again_finds_its_volume_as_it_was(machine: Server, story: Story) -> None:
    """By an operator, or by systemd after a kill: nothing is unmounted for that."""
    machine.run("systemctl start fps-gateway@sip")
    story()
    machine.run("systemctl restart fps-gateway@sip")
    assert story() == ["gateway: drained, volume mounted", *STARTED]
    machine.run("""
        before=$(systemctl show --property=MainPID --value fps-gateway@sip)
        kill -9 "$before"
        until [ "$(systemctl show --property=SubState --value fps-gateway@sip)" = running ] &&
            [ "$(systemctl show --property=MainPID --value fps-gateway@sip)" != "$before" ]; do sleep 0.1; done
    """)
    assert story() == STARTED


def test_without_its_volume_no_gateway_is_started(machine: Server, story: Story) -> None:
    """The other server is Primary: nothing is mounted, nothing is written into the mount point."""
    machine.run("touch /run/elsewhere")
    said = machine.run("systemctl start fps-gateway@sip", check=False)
    assert "Dependency failed" in said + machine.run("journalctl --boot -u fps-gateway@sip --output=cat")
    told = story()
    assert "fps-volume: fps-sip: another server is Primary: stop it there first" in told
    assert not [line for line in told if line.startswith(("mounted", "gateway:"))]
    assert machine.run(f"ls -A {AT}", check=False).strip() in {
        "",
        f"ls: cannot access '{AT}': No such file or directory",
    }


def test_a_server_that_goes_down_lets_go_of_its_volume_in_order(machine: Server, story: Story) -> None:
    """As a shutdown does: everything is stopped, the gateway before what it stands on."""
    machine.run("systemctl start fps-gateway@sip")
    story()
    machine.run("systemctl stop drbd@fps-sip.target")
    assert story() == ["gateway: drained, volume mounted", *LET_GO]
