"""A server with a systemd of its own, in a container: units run there as they do in production.

It shares the network of its engine, which is nobody else's: what runs there and what is started beside it
(`Engine.inside`) meet on loopback. No hub, no gateway and no path of this machine is known here.
"""

import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

PACKAGES = ("python3", "python3-venv", "softhsm2", "systemd-sysv", "dbus")
NAME = "server"
WORK = "/srv"
"""Where commands run."""
BOOT_WITHIN_S = 60.0
RUN_WITHIN_S = 300.0
"""How long one command in it may take."""
BOOT = """
set -e
# systemd mounts them itself where it may: not in a container of this engine
for hierarchy in $(awk -F: '$2 != "" {print $2}' /proc/self/cgroup); do
    mkdir -p "/sys/fs/cgroup/${hierarchy#name=}"
    mount -t cgroup -o "$hierarchy" cgroup "/sys/fs/cgroup/${hierarchy#name=}" 2>/dev/null || true
done
# as on a machine: what systemd mounts for a service (its credentials) is seen by that service
mount --make-rshared /
exec /sbin/init
"""
_AS_A_MACHINE = (
    "--network", "host", "--hostname", NAME, "--env", "container=docker",
    # SYS_PTRACE: root sees the processes of all users, with hidepid, too, and so can make user namespaces for them
    "--cap-add", "SYS_ADMIN", "--cap-add", "SYS_PTRACE",
    "--security-opt", "seccomp=unconfined", "--security-opt", "apparmor=unconfined",
    "--tmpfs", "/run", "--tmpfs", "/run/lock", "--tmpfs", "/tmp", "--tmpfs", "/sys/fs/cgroup:exec",  # noqa: S108 - the container's
)  # fmt: skip


class Server:
    """A running server. `docker` is a client of its engine."""

    def __init__(self, docker: Callable[..., str]) -> None:
        self._docker = docker

    def run(self, script: str, *, check: bool = True) -> str:
        """Run a script there as root, and return what it prints, errors included.

        Raises `AssertionError` with that when it ends with another code than 0, unless it need not be checked.
        """
        ran = subprocess.run(
            ["docker", "exec", "--interactive", "--workdir", WORK, NAME, "bash", "-euo", "pipefail"],
            input=script,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
            timeout=RUN_WITHIN_S,
        )
        assert not check or ran.returncode == 0, f"{script}\n→ {ran.returncode}: {ran.stdout}"
        return ran.stdout

    def copy(self, what: str, to: str) -> None:
        """Copy a file or directory into it; or out of it, when `what` begins with its `NAME:`."""
        self._docker("cp", what, to if what.startswith(f"{NAME}:") else f"{NAME}:{to}")

    def show(self, unit: str, name: str) -> str:
        """A property of a unit."""
        return self.run(f"systemctl show --property={name} --value {unit}").strip()


@contextmanager
def server(docker: Callable[..., str], image: str, *options: str) -> Iterator[Server]:
    """Boot it, and take it away again. `options`: more for `docker run`."""
    docker("run", "--detach", "--name", NAME, *_AS_A_MACHINE, *options, image, "bash", "-c", BOOT)
    try:
        it = Server(docker)
        _wait_for_boot(it)
        yield it
    finally:
        docker("rm", "--force", NAME)


def _wait_for_boot(it: Server) -> None:
    end_s = time.monotonic() + BOOT_WITHIN_S
    # it waits by itself once systemd can be asked
    while (state := it.run("systemctl is-system-running --wait", check=False).strip()) != "running":
        assert state != "degraded", it.run("systemctl --failed; journalctl --priority=err")
        assert time.monotonic() < end_s, f"the server does not boot: {state}"


def blocks(text: str) -> Sequence[str]:
    """The commands of a page in Markdown: each of its blocks of `sh`."""
    return [part.partition("```")[0] for part in text.split("```sh\n")[1:]]
