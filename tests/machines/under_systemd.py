"""What systemd makes of the gateway's units, on a server that is set up by the commands of their README, word by word.

Run by `test_systemd.py`, within the network of an engine: the server is a container in it, and hub and processor run
beside, on the same loopback. The rest is real: systemd, its journal and credentials, SoftHSM, the installed gateway.
"""

import json
import os
import re
import subprocess
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import trio
from msgspec.structs import replace

from loadtest.runs.world import KEYS_FILE, Child, World, http, world
from tests.machines.server import NAME, WORK, Server, blocks, server
from tests.system.worlds import FAST, change, end, load, until

UNITS = Path(__file__).parents[2] / "compose" / "systemd"
UNIT = "fps-gateway@sip"
STATE = "/var/lib/fps-gateway"
HSM = "/srv/softhsm"
BOOK = "/etc/fps-gateway"
SOCKET = "/run/fps-gateway/sip/acts.sock"
PLAN = replace(FAST, stand_in_after_s=2.0, patience_s=6.0)
WITHIN_S = 200.0
"""One test. The watchdog alone takes ten seconds."""


def docker(*arguments: str) -> str:
    """The engine's client."""
    ran = subprocess.run(["docker", *arguments], capture_output=True, text=True, check=False, timeout=120)
    assert ran.returncode == 0, f"docker {' '.join(arguments)}: {ran.stderr}"
    return ran.stdout


class Page(NamedTuple):
    """The commands of the README, in their order."""

    install: str
    configure: str
    begin: str
    credentials: str
    look: str
    start: str


PAGE = Page(*blocks((UNITS / "README.md").read_text(encoding="utf-8")))


class Installed(NamedTuple):
    """The server, and what there is of it on this side."""

    server: Server
    state: Path
    """What is `STATE` there."""
    keys: Path
    """What the tokens hold, for the hub."""
    tokens: str
    """For the configuration."""
    pins: list[str]


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installed]:
    """A server on which everything but the configuration of a group was done."""
    state, here = tmp_path_factory.mktemp("state"), tmp_path_factory.mktemp("here")
    state.chmod(0o755)  # as systemd makes it
    with server(docker, os.environ["SERVER_IMAGE"], "--volume", f"{state}:{STATE}") as it:
        it.copy(os.environ["SERVER_WHEELS"], f"{WORK}/wheels")
        it.copy(str(UNITS), f"{WORK}/systemd")
        it.run(PAGE.install)
        # an HSM, and somebody who types its PINs; what makes the HSM is not in the wheel
        it.copy(str(UNITS.parents[1] / "hsm"), f"{WORK}/hsm")
        said = it.run(f"/opt/fps-gateway/bin/python -m hsm provision --dir {HSM} --tokens 2 --prefix hsm")
        it.run(f"""
            chown -R fps-gateway-sip: {HSM}
            mkdir /etc/systemd/system/fps-gateway@.service.d
            printf '[Service]\\nReadWritePaths={HSM}\\n' >/etc/systemd/system/fps-gateway@.service.d/softhsm.conf
            systemctl daemon-reload
            printf '#!/bin/sh\\nexec cat "{HSM}/pins/${{2##* }}.pin"' >/usr/local/bin/systemd-ask-password
            chmod +x /usr/local/bin/systemd-ask-password
            install -d -m 750 -g fps-gateway {BOOK}
            useradd anna
        """)
        it.run(PAGE.credentials)
        it.copy(f"{NAME}:{HSM}/{KEYS_FILE}", str(here))
        tokens = said[said.index("[[node.token]]") :]
        tokens = re.sub(r'pin_file = "[^"]*/(hsm-\d)\.pin"', r'pin_file = "$CREDENTIALS_DIRECTORY/pin_\1"', tokens)
        pins = it.run(f"tail -n +1 {HSM}/pins/hsm-?.pin | grep -E '^[0-9]+$'").split()
        assert len(pins) == tokens.count("$CREDENTIALS_DIRECTORY") == 2
        yield Installed(it, state, here / KEYS_FILE, tokens, pins)


class Service(Child):
    """The unit, in the place of a process that a world would have started itself."""

    def __init__(self, server: Server) -> None:
        self.server = server
        self.name = UNIT
        self.output = Path("journalctl")

    @property
    def running(self) -> bool:
        """Whether systemd takes it for running."""
        return self.server.show(UNIT, "ActiveState") in {"active", "activating"}

    async def end(self, *_: object, **__: object) -> int:
        """Have it stopped; its exit code."""
        self.server.run("systemctl stop fps-gateway.target")
        assert not self.running
        return int(self.server.show(UNIT, "ExecMainStatus"))


@asynccontextmanager
async def world_of(installed: Installed, directory: Path) -> AsyncIterator[World]:
    """Hub and processor, and the server configured for them. Its gateway is not started."""
    it = installed.server
    with trio.fail_after(WITHIN_S):
        async with world(PLAN, directory, keep=True) as made:
            made.bank.keys, made.bank._tokens = installed.keys, {"sip": installed.tokens}
            await made.bank.start_processor()
            gateway = made.the_gateway
            gateway.journal, gateway.socket = Path(STATE, "sip", "journal"), Path(SOCKET)
            gateway.write_configuration((await made._start_hub())[gateway.name])
            gateway.journal = installed.state / "sip" / "journal"
            change(made, "begin_if_none = true\n", "")
            change(made, r'name = "tester"\nuser = "\d+"', 'name = "anna"\nuser = "anna"')
            pair, node = halves(made.configuration.read_text(encoding="utf-8"))
            for name, text in (("pair-sip.toml", pair), ("sip.toml", node)):
                (directory / name).write_text(text, encoding="utf-8")
                it.copy(str(directory / name), f"{WORK}/")
            it.run(PAGE.configure)
            it.run(PAGE.begin)
            try:
                yield made
            finally:
                it.run(f"systemctl stop fps-gateway.target {UNIT}; systemctl reset-failed", check=False)
                it.run(f"rm -rf {STATE}/sip")


def halves(text: str) -> tuple[str, str]:
    """A configuration, as two files: what both sites share, and what is a node's own."""
    tables = re.split(r"(?m)^(?=\[)", text)
    return (
        "".join(table for table in tables if table.startswith("[pair")),
        "".join(table for table in tables if re.match(r"\[\[?node", table)),
    )


def becomes(server: Server, name: str, value: str) -> Callable[[], Any]:
    """For `until`."""

    async def so() -> bool:
        return server.show(UNIT, name) == value

    return so


def log_of(server: Server, *options: str) -> list[str]:
    """The gateway's lines in the journal of this server, of the unit's last start or all."""
    lines = server.run(f"journalctl --sync; journalctl --quiet --output=cat {' '.join(options)} _UID=861").splitlines()
    return [line for line in lines if line]


async def flows(it: World, more: int = 20) -> None:
    """Wait until so many more payments are sent."""
    before = (await it.hub("statistics"))["counts"].get("sent", 0)

    async def flow() -> bool:
        return bool((await it.hub("statistics"))["counts"].get("sent", 0) > before + more)

    await until(flow)


async def test_a_gateway_lives_under_systemd(installed: Installed, tmp_path: Path) -> None:
    """It is active when it is ready, says how it is, comes back when it is killed or stands still, and drains.

    No payment is lost, and no PIN is shown.
    """
    it = installed.server
    async with world_of(installed, tmp_path) as made:
        service = made.the_gateway.child = Service(it)
        # active means ready to be asked
        it.run(PAGE.start)
        assert it.show(UNIT, "ActiveState") == "active"
        assert (await http(made.ops_port, "GET", "/live"))[0] == 200
        await made.signed_on(service)
        await until(becomes(it, "StatusText", "ready"))
        assert 'Status: "ready"' in it.run(f"systemctl status --no-pager {UNIT}")

        # reads its configuration again
        it.run(f"systemctl reload {UNIT}")

        async def reloaded() -> bool:
            return any("configuration read again" in line for line in log_of(it))

        await until(reloaded)

        # killed
        await load(made, 20, 60)
        await flows(made)
        first = it.show(UNIT, "MainPID")
        it.run(f"kill -KILL {first}")
        await until(becomes(it, "NRestarts", "1"))
        await until(becomes(it, "ActiveState", "active"))
        await made.signed_on(service)
        assert it.show(UNIT, "MainPID") != first

        # stands still
        await flows(made)
        second = it.show(UNIT, "MainPID")
        it.run(f"kill -STOP {second}")
        await until(becomes(it, "NRestarts", "2"))
        await until(becomes(it, "ActiveState", "active"))
        await made.signed_on(service)
        said = it.run(f"journalctl --quiet --unit={UNIT} --output=cat _PID=1")
        assert "Watchdog timeout (limit 10s)!" in said
        assert f"Killing process {second} (fps-gateway) with signal SIGABRT." in said
        assert any("Current thread" in line for line in log_of(it, "--priority=err")), "where it stood"

        # drains
        await flows(made)
        stopped = await made.the_gateway.end()
        assert stopped == 0
        assert it.show(UNIT, "Result") == "success"
        await made.hub("stop")
        made.the_gateway.child = None
        it.run(PAGE.start)
        made.the_gateway.child = service
        await end(made, may={"unreached", "lost", "unknown"})

        # what it said, and what nobody said
        by_level = {level: log_of(it, f"--priority={level}") for level in ("info", "warning", "err")}
        assert len(by_level["info"]) > len(by_level["warning"]) > len(by_level["err"]) > 0
        events = {json.loads(line)["event"]: json.loads(line)["level"] for line in by_level["info"] if line[:1] == "{"}
        assert events["started"] == "info"
        assert events["the last process did not end in peace"] == "warning"
        assert any("did not end in peace" in line for line in by_level["warning"])
        assert not any("did not end in peace" in line for line in by_level["err"])
        everything = it.run("journalctl --quiet --output=export") + it.run("systemctl show fps-gateway@sip")
        assert not [pin for pin in installed.pins if pin in everything]


async def test_whom_the_configuration_names_drains_it_with_a_reason(installed: Installed, tmp_path: Path) -> None:
    """By the socket that the unit makes room for. Not root, whom it does not name."""
    it = installed.server
    async with world_of(installed, tmp_path) as made:
        it.run(PAGE.start)
        await made.signed_on(Service(it))
        await load(made, 20, 60)
        await flows(made)
        drain = f"/opt/fps-gateway/bin/fps-gateway drain --socket {SOCKET} --yes --why 'a new kernel'"
        assert "→ 1" in it.run(f"{drain} || echo → $?")
        assert it.show(UNIT, "ActiveState") == "active"
        assert "everything in flight was finished" in it.run(f"runuser -u anna -- {drain}")
        await until(becomes(it, "ActiveState", "inactive"))
        assert it.show(UNIT, "ExecMainStatus") == "0"
        acts = it.run(f"/opt/fps-gateway/bin/fps-gateway journal show --kind ACT {STATE}/sip/journal")
        assert "a new kernel" in acts, acts
        assert "anna" in acts, acts


async def test_what_the_server_lacks_is_said_in_the_units_place(installed: Installed, tmp_path: Path) -> None:
    """Nothing, with the unit's credentials; without a PIN, that."""
    it = installed.server
    async with world_of(installed, tmp_path):
        assert "2 of 2 tokens would serve: all agree" in it.run(PAGE.look)
        pins = f"{BOOK}/pins-sip"
        it.run(f"mv {pins}/hsm-1 /run/kept")
        try:
            assert "node.token[0].pin_file: no such file here" in it.run(PAGE.look, check=False)
        finally:
            it.run(f"mv /run/kept {pins}/hsm-1")


async def test_a_wrong_configuration_is_said_and_not_started_again(installed: Installed, tmp_path: Path) -> None:
    it = installed.server
    async with world_of(installed, tmp_path):
        it.run(f"echo 'nmae = 1' >>{BOOK}/pair-sip.toml")
        it.run(f"systemctl start {UNIT}", check=False)
        assert it.show(UNIT, "ActiveState") == "failed"
        assert it.show(UNIT, "ExecMainStatus") == "78"
        assert it.show(UNIT, "NRestarts") == "0"
        assert any("pair-sip.toml" in line and "nmae" in line for line in log_of(it, "--priority=err"))


async def test_a_pin_that_is_not_what_it_says_it_is_starts_nothing(installed: Installed, tmp_path: Path) -> None:
    """The PIN of one token in the place of another one's: systemd refuses it, before there is a process."""
    it = installed.server
    async with world_of(installed, tmp_path):
        pins = f"{BOOK}/pins-sip"
        it.run(f"cp {pins}/hsm-1 /run/kept; cp {pins}/hsm-2 {pins}/hsm-1")
        try:
            it.run(f"systemctl start {UNIT}", check=False)
            assert it.show(UNIT, "ExecMainStatus") == "243"
            assert Path(installed.state, "sip", "journal", "0000000001.segment").stat().st_size == 0
        finally:
            it.run(f"systemctl stop {UNIT}; cp /run/kept {pins}/hsm-1")


async def test_a_gateway_that_cannot_start_tries_again_for_a_while(installed: Installed, tmp_path: Path) -> None:
    """Somebody has its port: it comes up by itself when that is over."""
    it = installed.server
    async with world_of(installed, tmp_path) as made:
        program = f"import socket, time; s = socket.create_server(('127.0.0.1', {made.ops_port})); time.sleep(600)"
        it.run(f'python3 -c "{program}" </dev/null >/dev/null 2>&1 & echo $! >/run/squatter')
        it.run(f"systemctl start {UNIT}", check=False)
        assert it.show(UNIT, "ExecMainStatus") == "69"
        it.run("kill $(cat /run/squatter)")
        await until(becomes(it, "ActiveState", "active"))
        assert int(it.show(UNIT, "NRestarts")) >= 1
