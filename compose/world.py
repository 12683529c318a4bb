"""A world of containers: two data centres, a hub with two sites, a processor; on one machine, with a real engine.

    .venv/bin/python -m compose.world run [--rate 20] [--outbound 10] [--seconds 60] [--groups sip,usm] [--stay]
    .venv/bin/python -m compose.world down

`run` builds the images, makes keys, certificates and configurations, brings everything up, sends payments both ways
for a while, drains the gateways, and prints the ledger's verdict. Then, or after Ctrl-C, it takes everything down. With
--stay it waits for Ctrl-C after the load. It uses the Docker engine that runs on this machine. Where none runs, root
gets a private one (tests/machines/engine.py), which ends with the world. `down` ends what a killed run has left.

The data centres are the files that production has (compose/dc-a.yaml, compose/dc-b.yaml) with other values.
"""

import sys

from gateway import entry

if __name__ == "__main__":  # before the rest is imported
    sys.exit(entry.command("compose.world"))

import argparse
import json
import os
import shlex
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, NamedTuple, Protocol

from compose.prepare import GROUPS, HSM, HUB_CONTROL, PROCESSOR_CONTROL, SITES, SOCKET, door
from gateway.machine import harmless
from gateway.machine.arguments import RATE_OR_NONE, SECONDS, Parser

HERE = Path(__file__).parent
BASE = "localhost/fps-base:1"
TAG = "python:3.11-slim-bookworm"
"""The base in a world on the engine that runs here: for development, where today's is good enough."""
PACKAGES = ("python3", "python3-venv", "ca-certificates", "softhsm2", "prometheus")
"""Packages in the base image of a private engine, which has no registry to pull one from."""
IMAGES = {"development": "fps-gateway-development", "world": "fps-world", "prometheus": "fps-prometheus"}
"""Target to image. `development` is the gateway with SoftHSM."""
MADE = "fps-containers-"
"""The beginning of the name of a world's directory of keys, configurations and journals; the process id follows."""
UP_WITHIN_S = 300.0
SETTLED_WITHIN_S = 90.0
HUB, PROCESSOR = "fps-world-hub-1", "fps-world-processor-1"


class WorldError(Exception):
    """A step of the world failed. The text says which."""


class Docker(Protocol):
    """A client of an engine."""

    def run(self, *arguments: str, environment: Mapping[str, str] | None = None, within_s: float = 300.0) -> str:
        """Run `docker` with these arguments, and return what it prints. Raises when it fails."""
        ...


class Running:
    """The client of the engine that runs on this machine."""

    def run(self, *arguments: str, environment: Mapping[str, str] | None = None, within_s: float = 300.0) -> str:
        """See `Docker`. Raises `WorldError`."""
        ran = subprocess.run(  # noqa: S603 - our own command line
            ["docker", *arguments],  # noqa: S607 - the one that the person at the terminal uses
            env={**os.environ, **(environment or {})},
            stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False, timeout=within_s,
        )  # fmt: skip
        if ran.returncode:
            raise WorldError(f"docker {' '.join(arguments[:4])} …: {(ran.stderr or ran.stdout).strip()[-2000:]}")
        return ran.stdout


class World:
    """The containers of the world."""

    def __init__(self, docker: Docker, directory: Path, groups: tuple[str, ...] = GROUPS) -> None:
        self.docker = docker
        self.directory = directory
        self.groups = groups

    # --- bringing it up

    def build(self, base: str) -> None:
        """Build the images, on this base."""
        for target, image in IMAGES.items():
            self.docker.run(
                "build", "--build-arg", f"BASE={base}", "--file", str(HERE / "Dockerfile"), "--target", target,
                "--tag", image, str(HERE.parent), within_s=900.0,
            )  # fmt: skip

    def prepare(self) -> None:
        """Make keys, certificates and configurations."""
        (self.directory / "hsm").mkdir(parents=True)
        self.docker.run(
            "run", "--rm", "--user", "0:0", "--network", "none", "--volume", f"{self.directory}:/made",
            "--volume", f"{self.directory / 'hsm'}:{HSM}", IMAGES["world"], "compose.prepare", "/made",
        )  # fmt: skip

    def up(self) -> None:
        """Start everything, and wait until every gateway is signed on at both sites of the hub. Raises `WorldError`."""
        self.compose("world", "up", "--detach")
        for site in SITES:
            self.start(site)
        self.signed_on()

    def start(self, site: str) -> None:
        """Start a data centre: its gateways, and its Prometheus."""
        self.compose(f"dc-{site}", "up", "--detach", *self.groups, "prometheus")

    def compose(self, project: str, *arguments: str) -> str:
        """`docker compose` for `world`, `dc-a` or `dc-b`."""
        return self.docker.run(
            "compose", "--progress", "quiet", "--file", str(HERE / f"{project}.yaml"), *arguments,
            environment=self.environment(project[-1]),
        )  # fmt: skip

    def environment(self, site: str) -> dict[str, str]:
        """The values of a data centre's file, in place of production's."""
        place = self.directory / f"dc-{site}"
        return {
            "FPS_WORLD": str(self.directory),
            "FPS_CONFIG": str(place / "config"),
            "FPS_SECRETS": str(place / "secrets"),
            "FPS_JOURNALS": str(place / "journals"),
            "FPS_HSM": str(self.directory / "hsm"),
            "FPS_REPORTS": str(place / "reports"),
            "FPS_ADDRESS": {"a": "127.0.0.1", "b": "127.0.0.2"}.get(site, "127.0.0.1"),
            "FPS_CPUS": str(min(os.cpu_count() or 1, 2)),
            "FPS_IMAGE": IMAGES["development"],
            "PROMETHEUS_IMAGE": IMAGES["prometheus"],
        }

    def signed_on(self, sites: tuple[str, ...] = SITES) -> None:
        """Wait until every gateway of these data centres is signed on, by the hub's word. Raises `WorldError`."""
        wanted = {(f"{group}-{site}", hub_site) for site in sites for group in self.groups for hub_site in SITES}

        def are() -> bool:
            links = self.hub(do="statistics")["links"]
            on = {(link["node"], link["site"]) for link in links if link["receive"]}
            return wanted <= on

        until(are, UP_WITHIN_S, "every gateway is signed on")

    # --- using it

    def hub(self, **order: Any) -> dict[str, Any]:
        """Have the hub do this, and return its reply."""
        return self._steer(HUB, "hub", HUB_CONTROL, order)

    def processor(self, **order: Any) -> dict[str, Any]:
        """Have the processor do this, and return its reply."""
        targets = {group: [door(group, site) for site in SITES] for group in self.groups if group != "usm"}
        if order.get("do") in {"start", "return"}:
            order = {"targets": targets, "receivers": ["400001"], **order}
        return self._steer(PROCESSOR, "processor", PROCESSOR_CONTROL, order)

    def _steer(self, container: str, who: str, port: int, order: dict[str, Any]) -> dict[str, Any]:
        said = self.docker.run(
            "exec", container, "python3", "-m", "loadtest", "steer", who, str(port), json.dumps(order)
        )
        reply: dict[str, Any] = json.loads(said)
        return reply

    def statistics(self, group: str, site: str) -> dict[str, Any]:
        """A gateway's own `/statistics`."""
        asked = self.docker.run("exec", f"dc-{site}-{group}-1", "python3", "-c", ask_of("/statistics"))
        said: dict[str, Any] = json.loads(asked)
        return said

    def load(self, rate: float, outbound: float, seconds: float) -> None:
        """Have payments go both ways for so long. It does not wait for that."""
        self.hub(do="start", rate=rate, duration=seconds)
        if outbound:
            self.processor(do="start", rate=outbound, duration=seconds, wait_s=5)

    # --- ending it

    def settle(self, sites: tuple[str, ...] = SITES) -> None:
        """Wait until nothing is sent any more, and all has its outcome and was told, by these data centres at least.

        Raises `WorldError`.
        """
        until(self._is_settled, SETTLED_WITHIN_S, "every payment has its outcome")
        until(lambda: self._is_told(sites), SETTLED_WITHIN_S, "the processor was told everything")

    def _is_settled(self) -> bool:
        hub, processor = self.hub(do="statistics"), self.processor(do="statistics")
        return not (hub["loading"] or hub["outstanding"] or processor["loading"] or processor["open"])

    def _is_told(self, sites: tuple[str, ...]) -> bool:
        told = [self.statistics(group, site)["forwarder"] for group in self.groups for site in sites]
        return not any(one["backlog_at_least"] or one["in_flight"] for one in told)

    def stop(self) -> dict[str, int]:
        """Drain all gateways; the exit code of each."""
        for site in SITES:
            self.compose(f"dc-{site}", "stop", *self.groups)
        names = [f"dc-{site}-{group}-1" for site in SITES for group in self.groups]
        codes = self.docker.run("inspect", "--format", "{{.Name}} {{.State.ExitCode}}", *names)
        return {name.strip("/"): int(code) for name, code in map(str.split, codes.splitlines())}

    def verdict(self) -> dict[str, Any]:
        """End hub and processor, and have the ledger judge all books and journals."""
        # detached: the hub ends when it has finished, and whoever asked it from inside its container ends with it
        finish = ("python3", "-m", "loadtest", "steer", "hub", str(HUB_CONTROL), '{"do": "finish"}')
        self.docker.run("exec", "--detach", HUB, *finish)
        self.docker.run("wait", HUB)
        self.compose("world", "stop")
        journals = [
            f"/made/dc-{site}/journals/{group}/journal"
            for site in SITES for group in self.groups
        ]  # fmt: skip
        given = [part for journal in journals for part in ("--journal", journal)]
        books = ["--hub", "/made/world/books/hub.ndjson", "--processor", "/made/world/books/processor.ndjson"]
        judge = shlex.join(["python3", "-m", "loadtest", "ledger", "--json", *books, *given])
        said = self.docker.run(
            "run", "--rm", "--network", "none", "--user", "0:0", "--volume", f"{self.directory}:/made",
            "--entrypoint", "sh", IMAGES["world"], "-c", f"{judge} || [ $? = 1 ]",
        )  # fmt: skip
        verdict: dict[str, Any] = json.loads(said)
        return verdict

    def down(self) -> None:
        """End everything, and remove containers, networks and volumes."""
        for project in ("dc-a", "dc-b", "world"):
            self.compose(project, "down", "--volumes", "--timeout", "2")


def until(condition: Callable[[], bool], within_s: float, what: str) -> None:
    """Ask every half second until it is so. Raises `WorldError` when it is not so in time."""
    end_s = time.monotonic() + within_s
    while not condition():
        if time.monotonic() > end_s:
            raise WorldError(f"not so within {within_s:g} s: {what}")
        time.sleep(0.5)


# --- the command


class _Use(NamedTuple):
    """An engine to be used."""

    docker: Docker
    base: str
    """Of its images; empty: `TAG`."""
    before: str
    """What a person types before a command of Docker's."""
    within: str
    """And before one that reaches what containers publish."""


@contextmanager
def _docker() -> Iterator[_Use]:
    """The engine that runs, or a private one. Raises `WorldError`."""
    from tests.machines import roots
    from tests.machines.engine import engine

    if shutil.which("docker"):
        with suppress(WorldError):
            Running().run("info")
            yield _Use(Running(), "", "", "")
            return
    try:
        with engine() as private:
            private.base(BASE, *PACKAGES)
            yield _Use(private, BASE, f"DOCKER_HOST=unix://{private.socket} ", shlex.join(private.inside()) + " ")
    except roots.Missing as missing:
        raise WorldError(f"no Docker engine runs here, and none of our own can: {missing}") from missing


def _run(options: argparse.Namespace) -> int:
    groups = tuple(group for group in GROUPS if group in options.groups.split(","))
    directory = Path(tempfile.mkdtemp(prefix=f"{MADE}{os.getpid()}-"))
    directory.chmod(0o755)
    say = _Clock()
    try:
        with _docker() as use:
            world = World(use.docker, directory, groups)
            try:
                say("building the images")
                world.build(use.base or TAG)
                say("making keys, certificates and configurations")
                world.prepare()
                say(f"starting a hub, a processor, and two data centres with {', '.join(groups)}")
                world.up()
                _show(use)
                say(f"{options.rate:g} payments/s come, {options.outbound:g}/s leave, for {options.seconds:g} s")
                world.load(options.rate, options.outbound, options.seconds)
                time.sleep(options.seconds)
                if options.stay:
                    say("the load is over; Ctrl-C ends it all")
                    with suppress(KeyboardInterrupt):
                        signal.pause()
                return _conclude(world, say)
            finally:
                say("taking it down")
                if not use.base:  # a private engine takes all of it along
                    world.down()
    except KeyboardInterrupt:
        return 130
    except Exception as error:  # noqa: BLE001 - the boundary of the command: a sentence, not a traceback
        print(f"world: {harmless.line(error)}", file=sys.stderr)
        return 1
    finally:
        shutil.rmtree(directory, ignore_errors=True)


def _conclude(world: World, say: "_Clock") -> int:
    say("waiting until every payment has its outcome and the processor was told it")
    world.settle()
    codes = world.stop()
    say(f"drained: {len(codes)} gateways ended with {sorted(set(codes.values()))}")
    verdict = world.verdict()
    violated = [one["name"] for one in verdict["invariants"] if one.get("violations")]
    balances = verdict["balances"] and not any(codes.values())
    say(f"{verdict['sent']} payments came, {verdict['submitted']} left; the ledger "
        + ("balances" if verdict["balances"] else f"does not balance: {', '.join(violated)}"))  # fmt: skip
    return 0 if balances else 1


def ask_of(path: str) -> str:
    """What a Python in a gateway's container runs to print what its ops server says there."""
    return (
        "import http.client as h, socket as s; c = h.HTTPConnection('localhost'); c.sock = s.socket(s.AF_UNIX); "
        f"c.sock.connect('{SOCKET}'); c.request('GET', '{path}'); print(c.getresponse().read().decode())"
    )


def _show(use: _Use) -> None:
    ask = ask_of("/ready")
    print(
        f"""look at   Prometheus   {use.within}curl -s http://127.0.0.1:9090/api/v1/alerts    (of b: 127.0.0.2)
          the log      {use.before}docker logs --follow dc-a-sip-1
          /ready       {use.before}docker exec dc-a-sip-1 python3 -c "{ask}\"""",
        flush=True,
    )


class _Clock:
    """Says what happens, and when."""

    def __init__(self) -> None:
        self._start_s = time.monotonic()

    def __call__(self, what: str) -> None:
        print(f"{time.monotonic() - self._start_s:6.1f} s  {what}", flush=True)


def _down(_: argparse.Namespace) -> int:
    """End what a killed run has left: containers of the running engine, private engines, keys and journals."""
    from tests.machines.engine import sweep

    try:
        Running().run("info")
    except (WorldError, OSError):
        pass
    else:
        World(Running(), Path("/nonexistent")).down()
    if os.geteuid() == 0:
        sweep()
    remove_left()
    return 0


def remove_left() -> None:
    """Remove what killed runs have made: keys, configurations, journals."""
    for left in Path(tempfile.gettempdir()).glob(f"{MADE}*"):
        maker = left.name.removeprefix(MADE).partition("-")[0]
        if maker.isdigit() and not Path("/proc", maker).exists():
            shutil.rmtree(left, ignore_errors=True)


def main(arguments: list[str]) -> int:
    """Do what the command line says."""
    parser = Parser(
        prog=".venv/bin/python -m compose.world",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    run = commands.add_parser("run", help="bring it up, load it, judge it, take it down")
    run.add_argument(
        "--rate", type=RATE_OR_NONE, default=20.0, metavar="PER_S", help="payments that come (default: 20)"
    )
    run.add_argument("--outbound", type=RATE_OR_NONE, default=10.0, metavar="PER_S", help="that leave (default: 10)")
    run.add_argument("--seconds", type=SECONDS, default=60.0, metavar="S", help="of load (default: 60)")
    run.add_argument("--groups", default=",".join(GROUPS), metavar="LIST", help="(default: %(default)s)")
    run.add_argument("--stay", action="store_true", help="wait for Ctrl-C after the load")
    run.set_defaults(do=_run)
    commands.add_parser("down", help="end what a killed run has left").set_defaults(do=_down)
    options = parser.parse_args(arguments)
    code: int = options.do(options)
    return code
