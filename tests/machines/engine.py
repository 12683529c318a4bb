"""A Docker engine of our own: a private dockerd in a network namespace of its own, started and ended by us.

    with engine() as docker:
        docker.base("localhost/base:1", "python3")
        docker.run("run", "--rm", "localhost/base:1", "true")

It has its own data, addresses and cgroups, and no way out of its namespace: nothing that runs on the machine is
touched, nothing is fetched. All of it lies in a directory that names our process. Its processes end when the thread
ends that started it, whatever ends that; what else a killed run has left is taken away by the next one.

A base image is a root file system (`roots`), since there is no registry to pull from. Compose is version 2, the plugin,
which Debian has from the next release on: it is unpacked into the cache, not installed.
"""

import json
import os
import re
import select
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from functools import cached_property
from pathlib import Path

from tests.machines.roots import Missing, bound, cache, command, made_once, mirror, need_root, root

PREFIX = "fps-engine-"
PLUGIN_SUITE = "trixie"
"""The first release whose docker-compose is version 2."""
START_WITHIN_S = 60.0
STOP_WITHIN_S = 20.0
DATA_BYTES = 4 << 30
"""What images and containers may take in memory, where there is twice as much."""
RUN_WITHIN_S = 300.0
"""How long one command may take."""
POOL = "10.213.0.0/16"
"""Where the networks of Compose lie; the bridge of the engine itself is beside. Only its namespace knows of them."""
BRIDGE = "10.214.0.1/24"
_KEYRING = "/usr/share/keyrings/debian-archive-keyring.gpg"
_PLACE = re.compile(rf"{PREFIX}(\d+)-\w+")


class Failed(Exception):
    """A command of Docker's ended with another code than 0; its own words are the message."""


class Engine:
    """A running engine, and its client."""

    def __init__(self, directory: Path, namespace: str) -> None:
        self.directory = directory
        self.namespace = namespace
        """Its network namespace: `ip netns exec` it, or `nsenter`, to reach what containers publish."""
        self.socket = directory / "docker.sock"

    @cached_property
    def environment(self) -> dict[str, str]:
        """What a client needs to speak to this engine, and to no other."""
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("DOCKER_", "COMPOSE_"))}
        return {
            **kept,
            "DOCKER_HOST": f"unix://{self.socket}",
            "DOCKER_CONFIG": str(self.directory / "client"),
            "DOCKER_BUILDKIT": "0",  # the builder that needs no plugin and no image of its own
        }

    def run(self, *arguments: str, environment: Mapping[str, str] | None = None, within_s: float = RUN_WITHIN_S) -> str:
        """Run `docker` with these arguments and return what it prints. Raises `Failed` with its complaint."""
        ran = subprocess.run(
            [command("docker", "docker.io"), *arguments],
            env={**self.environment, **(environment or {})},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
            timeout=within_s,
        )
        if ran.returncode:
            raise Failed(f"docker {' '.join(arguments[:4])} …: {(ran.stderr or ran.stdout).strip()[-2000:]}")
        return ran.stdout

    def base(self, image: str, *packages: str) -> None:
        """Have an image of a Debian root with these packages, made when it is not there. Raises `Missing`, `Failed`."""
        place = root(*packages)
        if self.run("image", "ls", "--quiet", image):
            return
        with subprocess.Popen(
            ["tar", "--numeric-owner", "-C", str(place), "-c", "."], stdout=subprocess.PIPE
        ) as packing:
            made = subprocess.run(
                [command("docker", "docker.io"), "import", "-", image],
                env=self.environment,
                stdin=packing.stdout,
                capture_output=True,
                text=True,
                check=False,
            )
        if made.returncode or packing.returncode:
            raise Failed(f"docker import {image}: {made.stderr.strip()}")

    def inside(self, *arguments: str) -> list[str]:
        """A command line that runs in the engine's network: there is what containers publish on loopback."""
        return [command("nsenter", "util-linux"), f"--net=/run/netns/{self.namespace}", *arguments]


@contextmanager
def engine(*, compose: bool = True) -> Iterator[Engine]:
    """Start an engine, and take it away whatever happens. Raises `Missing` where the machine cannot have one.

    `compose`: whether `docker compose` is wanted, too.
    """
    need_root("an engine of one's own")
    for name, package in (
        ("dockerd", "docker.io"),
        ("docker", "docker.io"),
        ("ip", "iproute2"),
        ("iptables", "iptables"),
    ):
        command(name, package)
    plugin = compose_plugin() if compose else None
    sweep()
    directory = Path(tempfile.mkdtemp(prefix=f"{PREFIX}{os.getpid()}-"))
    it = Engine(directory, directory.name)
    try:
        (directory / "client" / "cli-plugins").mkdir(parents=True)
        (directory / "data").mkdir()
        if plugin is not None:
            (directory / "client" / "cli-plugins" / "docker-compose").symlink_to(plugin)
        _namespace(it.namespace)
        with _daemon(it):
            yield it
    finally:
        _take_away(directory)


def compose_plugin() -> Path:
    """The Compose plugin, from Debian's next release, kept in the cache. Raises `Missing`."""
    place = cache("compose") / PLUGIN_SUITE
    with made_once(place) as making:
        if making is not None:
            _fetch_plugin(making)
    (found,) = place.glob("usr/libexec/docker/cli-plugins/docker-compose")
    return found


def sweep() -> None:
    """Take away the engines of runs that were killed."""
    for left in Path(tempfile.gettempdir()).glob(f"{PREFIX}*"):
        named = _PLACE.fullmatch(left.name)
        if named is not None and not Path("/proc", named[1]).exists():
            _take_away(left)


def _fetch_plugin(into: Path) -> None:
    """Download and unpack it, by an apt that knows only this suite and leaves the machine's own lists alone."""
    with tempfile.TemporaryDirectory() as name:
        apt = Path(name)
        for below in ("lists/partial", "archives/partial"):
            (apt / below).mkdir(parents=True)
        (apt / "status").touch()
        (apt / "sources").write_text(f"deb [signed-by={_KEYRING}] {mirror(PLUGIN_SUITE)} {PLUGIN_SUITE} main\n")
        options = [
            f"Dir::Etc::sourcelist={apt / 'sources'}", "Dir::Etc::sourceparts=-", f"Dir::State={apt}",
            f"Dir::State::status={apt / 'status'}", f"Dir::Cache={apt}", "APT::Sandbox::User=root",
        ]  # fmt: skip
        get = [command("apt-get", "apt"), "-qq", *(part for option in options for part in ("-o", option))]
        for arguments in ([*get, "update"], [*get, "download", "docker-compose"]):
            if subprocess.run(arguments, cwd=apt, capture_output=True, check=False).returncode:
                raise Missing(f"Compose 2 (docker-compose of {PLUGIN_SUITE}) cannot be downloaded")
        (package,) = apt.glob("docker-compose_*.deb")
        subprocess.run(["dpkg-deb", "-x", str(package), str(into)], capture_output=True, check=True)


def _namespace(name: str) -> None:
    ip = command("ip", "iproute2")
    for arguments in (["netns", "add", name], ["-n", name, "link", "set", "lo", "up"]):
        made = subprocess.run([ip, *arguments], capture_output=True, text=True, check=False)
        if made.returncode:
            raise Missing(f"this machine makes no network namespace: {made.stderr.strip()}")


@contextmanager
def _daemon(it: Engine) -> Iterator[None]:
    directory = it.directory
    (directory / "daemon.json").write_text(
        json.dumps(
            {
                "data-root": str(directory / "data"),
                "exec-root": str(directory / "exec"),
                "pidfile": str(directory / "dockerd.pid"),
                "hosts": [f"unix://{it.socket}"],
                "storage-driver": "overlay2",
                "default-ulimits": {"nofile": {"Name": "nofile", "Soft": 1024, "Hard": 4096}},
                "bip": BRIDGE,
                "default-address-pools": [{"base": POOL, "size": 24}],
                "cgroup-parent": f"/{it.namespace}",
                "log-opts": {"max-size": "64m"},
            }
        )
    )
    output = directory / "dockerd.log"
    path = f"{os.environ.get('PATH', '')}:/usr/local/sbin:/usr/sbin:/sbin"
    # the first process of its own namespace, with which the kernel ends all others: no shim, no container outlives it.
    # It is a shell, since the first process inherits the dead: dockerd would not bury those of others
    memory = f'mount -t tmpfs -o size={DATA_BYTES} tmpfs "$1" && ' if _has_memory() else ""
    init = f'{memory}dockerd --config-file "$0" & wait'
    start = bound(["--mount-proc", "sh", "-c", init, str(directory / "daemon.json"), str(directory / "data")])
    with (
        output.open("wb") as log,
        subprocess.Popen(
            it.inside(*start),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            env={**os.environ, "PATH": path},
            start_new_session=True,  # Ctrl-C ends the test, and the test ends this
        ) as process,
    ):
        try:
            _wait_until_ready(it, process, output)
            yield
        finally:
            _end(process)


def _has_memory() -> bool:
    """Whether images and containers may lie in memory: made faster, and gone at once with their namespace."""
    found = re.search(r"^MemAvailable: +(\d+) kB$", Path("/proc/meminfo").read_text(), re.MULTILINE)
    return found is not None and int(found[1]) * 1024 > 2 * DATA_BYTES


def _wait_until_ready(it: Engine, process: "subprocess.Popen[bytes]", output: Path) -> None:
    """Wait until it answers. Raises `Missing` with what it said when it does not."""
    end_s = time.monotonic() + START_WITHIN_S
    while process.poll() is None and time.monotonic() < end_s:
        with suppress(Failed):
            it.run("version")
            return
        with suppress(subprocess.TimeoutExpired):
            process.wait(0.1)
    said = [
        line for line in output.read_text(errors="replace").splitlines() if "failed" in line or "level=error" in line
    ]
    why = said[-1].rpartition("msg=")[2].strip('"')[:300] if said else "it did not start"
    raise Missing(f"this machine runs no Docker engine: {why}")


def _end(process: "subprocess.Popen[bytes]") -> None:
    """End it and all that it runs, at once: nobody looks at what it had any more.

    The first process of a namespace is not gone before all others are.
    """
    for first in Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split():
        handle = os.pidfd_open(int(first))
        try:
            signal.pidfd_send_signal(handle, signal.SIGKILL)
            select.select([handle], [], [], STOP_WITHIN_S)
        finally:
            os.close(handle)
    process.kill()


def _take_away(directory: Path) -> None:
    subprocess.run([command("ip", "iproute2"), "netns", "delete", directory.name], capture_output=True, check=False)
    for group in Path("/sys/fs/cgroup").glob(f"**/{directory.name}"):
        for below, _, _ in os.walk(group, topdown=False):
            with suppress(OSError):  # a process of it may not be gone yet: the next run takes it away
                Path(below).rmdir()
    shutil.rmtree(directory, ignore_errors=True)
