"""Worlds of tokens, fake and real, with the same controls, and a signer on them."""

import json
import os
import shutil
import signal
import subprocess
import sys
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest
import trio
import trio.testing
from trio.abc import Clock

from gateway import config
from gateway.clock import system_clock
from gateway.payments.work import Install
from gateway.payments.work import MacJob as Job
from gateway.signer import tokens
from gateway.signer.member import Member
from gateway.signer.outage import TokenState
from gateway.signer.pool import Signer
from gateway.signer.survey import Report, survey
from hsm import reference
from hsm.layout import Layout, find_module
from tests.fakes.token import TRANSPORT, FakeTokens

NAMES = ("fps-1", "fps-2", "fps-3")
PATIENCE_S = 20.0
"""A test that waits longer on real processes has failed; nothing here takes a second."""


class World(ABC):
    """Three tokens and a signer on them; the third is remote when `remote` is set before `start`."""

    def __init__(self, mac: config.Mac, keys: dict[str, bytes], nursery: trio.Nursery) -> None:
        self.mac = mac
        self.keys = keys
        self.nursery = nursery
        self.remote = False
        self.names: tuple[str, ...] = NAMES
        self.first_hold: list[Install] = []
        """What the signer holds before it starts, as after a restart; none: what the configuration says."""
        self.states: dict[str, list[str]] = {name: [] for name in NAMES}
        """The states of each token so far, in order, also those that have passed when a test looks."""
        self.done: list[Job] = []
        self._told = trio.Event()
        self.signer: Signer

    async def start(self) -> Signer:
        """Start the signer."""
        self.signer = self.make_signer(tuple(self.settings(name) for name in self.names))
        self._note_states(self.signer._tokens)
        if self.first_hold:
            self.signer.hold(self.first_hold)
        await self.nursery.start(self.signer.run)
        return self.signer

    def _note_states(self, pool: tokens.Tokens) -> None:
        set_state = pool._set_state

        def noting(member: Member, state: TokenState, why: str) -> None:
            self.states[member.token.name].append(state)
            set_state(member, state, why)

        pool._set_state = noting  # type: ignore[method-assign]

    async def survey(self, *more: str) -> Report:
        """Look at the tokens once, without a signer."""
        return await survey([self.settings(name) for name in self.names], config.Pair(group="sip", mac=self.mac), more)

    def _on_done(self, jobs: list[Job]) -> None:
        assert jobs
        assert all(job.done for job in jobs)
        self.done += jobs
        self._told.set()

    def jobs(self, count: int, *, within_s: float = 15.0, key: str = "") -> list[Job]:
        """That many MACs to make."""
        deadline_s = trio.current_time() + within_s
        return [Job(key or self.mac.own_key, b"message %d" % number, deadline_s=deadline_s) for number in range(count)]

    async def all_done(self, jobs: list[Job]) -> None:
        """Returns when each was told done, and none twice."""
        with trio.fail_after(PATIENCE_S):
            while not all(job.done for job in jobs):
                self._told = trio.Event()
                await self._told.wait()
        assert len(set(map(id, self.done))) == len(self.done)

    async def until(self, condition: Callable[[], bool]) -> None:
        """Returns when a change of some token's state has made it true."""
        with trio.fail_after(PATIENCE_S * 3):
            while not condition():
                await self.signer.wait_changed()

    async def until_state(self, name: str, state: str) -> None:
        """Returns when the token is in this state."""
        await self.until(lambda: self.signer.health()[name].state == state)

    def state(self, name: str) -> str:
        """The token's state."""
        return self.signer.health()[name].state

    def why(self, name: str) -> str:
        """The token's state in words."""
        return self.signer.health()[name].why

    def right(self, job: Job) -> bool:
        """The job made what the reference makes."""
        return job.ok and job.made == reference.mac(self.mac.algorithm, self.keys[job.key], job.data)

    def settings(self, name: str) -> config.Token:
        """As configured."""
        return config.Token(
            name=name, label=name, module="none", pin_file="none", batch_within_s=0.5, local=not self._is_remote(name)
        )

    def _is_remote(self, name: str) -> bool:
        return self.remote and name == NAMES[-1]

    @abstractmethod
    def make_signer(self, settings: tuple[config.Token, ...]) -> Signer: ...
    @abstractmethod
    def hang(self, name: str) -> None:
        """The token's worker stops answering, and does not notice that it does."""

    @abstractmethod
    def go_on(self, name: str) -> None:
        """A new worker works."""

    @abstractmethod
    def crash(self, name: str) -> None: ...
    @abstractmethod
    def take_away(self, name: str) -> None: ...
    @abstractmethod
    def bring_back(self, name: str) -> None: ...
    @abstractmethod
    def lose_key(self, name: str, label: str) -> None: ...
    @abstractmethod
    def give_key(self, name: str, label: str) -> None:
        """The key that the others have."""

    @abstractmethod
    def other_key(self, name: str, label: str) -> None: ...
    @abstractmethod
    def same_key(self, name: str, label: str, other: str) -> None:
        """The value of another one of its keys."""

    @abstractmethod
    def lose_module(self, name: str) -> None: ...
    @abstractmethod
    def wrong_pin(self, name: str) -> None: ...
    @abstractmethod
    def right_pin(self, name: str) -> None: ...


class FakeWorld(World):
    """On a mock clock."""

    def __init__(self, mac: config.Mac, keys: dict[str, bytes], nursery: trio.Nursery, folder: Path) -> None:
        super().__init__(mac, keys, nursery)
        self.tokens = FakeTokens(NAMES, keys)
        self._folder = folder

    def settings(self, name: str) -> config.Token:
        pin_file = self._folder / f"{name}.pin"
        return config.Token(
            name=name,
            label=name,
            module="none",
            pin_file=str(pin_file),
            batch_within_s=0.5,
            install_within_s=2,
            local=not self._is_remote(name),
        )

    def make_signer(self, settings: tuple[config.Token, ...]) -> Signer:
        return Signer(
            settings, self.mac, system_clock, on_done=self._on_done, open_worker=self.tokens.open, luck=lambda: 0.5
        )

    async def survey(self, *more: str) -> Report:
        tokens = [self.settings(name) for name in self.names]
        return await survey(tokens, config.Pair(group="sip", mac=self.mac), more, open_worker=self.tokens.open)

    def hang(self, name: str) -> None:
        self.tokens[name].hang()

    def go_on(self, name: str) -> None:
        self.tokens[name].go_on()

    def crash(self, name: str) -> None:
        self.tokens[name].crash()

    def take_away(self, name: str) -> None:
        self.tokens[name].disappear()

    def bring_back(self, name: str) -> None:
        self.tokens[name].come_back()

    def lose_key(self, name: str, label: str) -> None:
        del self.tokens[name].keys[label]

    def give_key(self, name: str, label: str) -> None:
        self.tokens[name].keys[label] = self.keys[label]

    def other_key(self, name: str, label: str) -> None:
        self.tokens[name].keys[label] = bytes(len(self.keys[label]))

    def same_key(self, name: str, label: str, other: str) -> None:
        self.tokens[name].keys[label] = self.keys[other]

    def lose_module(self, name: str) -> None:
        self.tokens[name].fail("no-module", "module not found: none")

    def wrong_pin(self, name: str) -> None:
        self.tokens[name].fail("wrong-pin", "wrong PIN")

    def right_pin(self, name: str) -> None:
        self.tokens[name].come_back()
        (self._folder / f"{name}.pin").write_text("another")


class SoftHsmWorld(World):
    """Real workers and SoftHSM, in a copy of a provisioned directory for each token, so that each can be hurt alone."""

    def __init__(
        self, mac: config.Mac, keys: dict[str, bytes], nursery: trio.Nursery, folders: dict[str, Path]
    ) -> None:
        super().__init__(mac, keys, nursery)
        self._folders = folders
        self._modules = dict.fromkeys(NAMES, find_module())

    def settings(self, name: str) -> config.Token:
        folder = self._folders[name]
        return config.Token(
            name=name,
            label=name,
            module=self._modules[name],
            pin_file=str(folder / "pins" / f"{name}.pin"),
            batch_within_s=0.5,
            install_within_s=2,
            local=not self._is_remote(name),
            environment={"SOFTHSM2_CONF": str(folder / "softhsm2.conf")},
        )

    def make_signer(self, settings: tuple[config.Token, ...]) -> Signer:
        return Signer(settings, self.mac, system_clock, on_done=self._on_done)

    def pid(self, name: str) -> int:
        """Of the token's worker."""
        member = next(member for member in self.signer._tokens.members if member.token.name == name)
        assert member.worker is not None
        return member.worker.pid

    def hang(self, name: str) -> None:
        os.kill(self.pid(name), signal.SIGSTOP)

    def go_on(self, name: str) -> None:
        """A new process is not stopped."""

    def crash(self, name: str) -> None:
        os.kill(self.pid(name), signal.SIGKILL)

    def take_away(self, name: str) -> None:
        (self._folders[name] / "tokens").rename(self._folders[name] / "taken-away")
        (self._folders[name] / "tokens").mkdir()

    def bring_back(self, name: str) -> None:
        (self._folders[name] / "taken-away").replace(self._folders[name] / "tokens")

    def lose_key(self, name: str, label: str) -> None:
        self._with_token(name, "for key in session.get_objects({Attribute.LABEL: label}): key.destroy()", label)

    def give_key(self, name: str, label: str) -> None:
        value = f"bytes.fromhex({self.keys[label].hex()!r}), may=Attribute.UNWRAP"
        self._with_token(name, f"session.create_object(_template(KeyType.AES, label, {value}))", label)

    def other_key(self, name: str, label: str) -> None:
        self.lose_key(name, label)
        value = f"bytes({len(self.keys[label])})"
        self._with_token(name, f"session.create_object(_template(KeyType.AES, label, {value}))", label)

    def same_key(self, name: str, label: str, other: str) -> None:
        self.lose_key(name, label)
        value = f"bytes.fromhex({self.keys[other].hex()!r})"
        self._with_token(name, f"session.create_object(_template(KeyType.AES, label, {value}))", label)

    def lose_module(self, name: str) -> None:
        self._modules[name] = str(self._folders[name] / "no-such-module.so")

    def wrong_pin(self, name: str) -> None:
        path = self._folders[name] / "pins" / f"{name}.pin"
        path.rename(path.with_suffix(".kept"))
        path.write_text("0000")

    def right_pin(self, name: str) -> None:
        path = self._folders[name] / "pins" / f"{name}.pin"
        path.with_suffix(".kept").replace(path)

    def _with_token(self, name: str, statement: str, label: str) -> None:
        """In a process of its own: this one must not load the library for all tests together."""
        program = (
            "import sys, pkcs11\nfrom hsm.provision import *\nfrom hsm.provision import _template\n"
            "module, name, pin_file, label = sys.argv[1:]\n"
            "token = pkcs11.lib(module).get_token(token_label=name)\n"
            f"with token.open(rw=True, user_pin=open(pin_file).read()) as session:\n    {statement}\n"
        )
        settings = self.settings(name)
        subprocess.run(
            [sys.executable, "-c", program, settings.module, name, settings.pin_file, label],
            check=True,
            env={**os.environ, **settings.environment},
        )


@pytest.fixture(scope="session")
def provisioned(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """A directory with the three tokens for an algorithm, made once and to be copied."""
    made: dict[str, Path] = {}

    def provision(algorithm: str) -> Path:
        if algorithm not in made:
            made[algorithm] = tmp_path_factory.mktemp(algorithm) / "hsm"
            command = [sys.executable, "-m", "hsm", "provision", "--tokens", "3", "--algorithm", algorithm, "--dir"]
            subprocess.run([*command, str(made[algorithm])], check=True, stdout=subprocess.DEVNULL)
        return made[algorithm]

    return provision


KINDS = [pytest.param("fake", id="fake"), pytest.param("softhsm", id="softhsm", marks=pytest.mark.system)]


@pytest.fixture(params=KINDS)
def kind(request: pytest.FixtureRequest) -> str:
    """Which kind of token the test runs on."""
    return str(request.param)


@pytest.fixture
def clock(kind: str) -> Clock | None:
    """pytest-trio runs a test on the clock that it finds among its arguments: each test must ask for this one."""
    return trio.testing.MockClock(autojump_threshold=0) if kind == "fake" else None


@pytest.fixture
def algorithm() -> config.Mac:
    """Overridden by tests that want another one."""
    return config.Mac()


@pytest.fixture
async def world(
    kind: str,
    clock: Clock | None,
    algorithm: config.Mac,
    provisioned: Callable[[str], Path],
    tmp_path: Path,
    nursery: trio.Nursery,
    monkeypatch: pytest.MonkeyPatch,
) -> AsyncIterator[World]:
    """Three tokens; a test calls `start`."""
    if kind == "fake":
        labels = (algorithm.hub_key, algorithm.own_key, algorithm.seal_key)
        keys = {label: label.encode().ljust(16, b".") for label in labels}
        keys[TRANSPORT] = bytes(range(32))
        yield FakeWorld(algorithm, keys, nursery, tmp_path)
        return
    # time is real here: look more often
    monkeypatch.setattr(tokens, "PROBE_EVERY_S", 0.2)
    monkeypatch.setattr(tokens, "PIN_FILE_EVERY_S", 0.05)
    template = provisioned(algorithm.algorithm)
    folders = {}
    for name in NAMES:
        folders[name] = tmp_path / name
        shutil.copytree(template, folders[name])
        layout = Layout(folders[name], "", 3, 0, "fps", algorithm)
        layout.conf.write_text(layout.conf_text())
    values = json.loads(layout.keys_file.read_text())
    yield SoftHsmWorld(algorithm, {label: bytes.fromhex(value) for label, value in values.items()}, nursery, folders)
