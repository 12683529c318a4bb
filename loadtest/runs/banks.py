"""A bank of a world: its tokens, its processor, and its gateways, one for each payment group and data centre.

What each part is told, where it listens, and how it is started and ended. The first bank's parts lie in the world's own
directory, those of another in a directory of its name.
"""

import os
import shutil
import signal
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
from msgspec import Struct

from loadtest.parts.processes import PYTHON, Child, WorldError, children_of, free_port, http, json_of, output_of

SOCKET_PATH_BYTES_MAX = 107
"""The system has no room for a longer path of a Unix socket."""
TABLE = "[[node.token]]"
"""How a token begins in a configuration."""
KEYS_FILE = "DEVELOPMENT-ONLY-keys.json"
"""What `.venv/bin/python -m hsm provision` writes for a mock hub."""


class Plan(Struct, frozen=True, forbid_unknown_fields=True):
    """What the world is like."""

    tokens: int = 2
    """HSM tokens of each payment group of a bank, which its gateways at all data centres use."""
    remote_tokens: int = 0
    """So many of them, the last ones, are not in the first data centre but in the others: local there, remote here. The
    first ones are remote in the others then."""
    stand_in_after_s: float = 5.0
    patience_s: float = 10.0
    synchronous: bool = True
    asynchronous_answer: str = "after"
    """When the sender of an asynchronous payment hears 0000, as the hub's option takes it."""
    processor_mode: str = "fast"
    mischief: str = ""
    """What the hub misbehaves with, as its `--mischief` takes it."""
    contents: bool = False
    """The books of hub and processors hold a digest of each payment: what the one asks, the other has sent."""
    segment_bytes: int = 64 * 1024 * 1024
    gateway_cpu: int | None = None
    """Pins the gateways' own processes; their token workers go with `workers_cpu`, or stay with them."""
    workers_cpu: int | None = None
    others_cpu: int | None = None
    """Pins hub and processors."""
    log_level: str = "info"
    log_format: str = "json"
    begin_if_none: bool = True
    """A gateway's start begins its journal; else `journal init` is somebody's to call."""
    outbound: bool = False
    """Whether processors submit: then each gateway has a door for them."""
    banks: int = 1
    """Banks behind gateways, two at the most. There is always one more that the hub plays."""
    groups: tuple[str, ...] = ("sip",)
    """Payment groups: each bank has a gateway, or several, for each."""
    data_centres: int = 1
    """Gateways of each bank and group."""
    simulated: str = "accept"
    """How the bank that the hub plays answers, as the hub's `--bank` takes it."""
    answer_within_s: float = 16.0
    """When an outbound payment is repeated."""
    repeats_max: int | None = None
    """How often, before it is UNKNOWN; None: as often as a gateway does unless told."""
    overlap_s: float = 60.0
    """How long a key that was replaced is still taken, by either side. The gateway wants it to be no shorter than the
    time for a reply, which is a second less than `patience_s`."""
    tell_per_s: float = 2000.0
    """The pace of notices: each outbound payment is told."""
    listen: str = "127.0.0.1"
    """Where hub and processors listen: loopback, or all addresses where gateways come from elsewhere."""


class Identity(NamedTuple):
    """Who a bank is to the scheme. Its sort codes begin with the first two digits of its institution."""

    name: str
    institution: str


BANKS = (Identity("alpha", "600002"), Identity("beta", "500003"))
SIMULATED = Identity("bank", "400001")
"""The bank that the hub plays."""


class Gateway:
    """One gateway of a bank."""

    def __init__(self, bank: "Bank", group: str, data_centre: str, *, first: bool) -> None:
        self.bank = bank
        self.group = group
        self.data_centre = data_centre
        self.name = f"{group}-{data_centre}" if bank.first else f"{bank.identity.name}-{group}-{data_centre}"
        self.first = first
        stem = "" if first else f"-{group}-{data_centre}"
        self.journal = bank.directory / f"journal{stem}"
        self.configuration = bank.directory / f"gateway{stem}.toml"
        self.output = f"gateway{stem}"
        self.ops_port = free_port()
        self.socket = bank.socket_at(f"acts{stem}.sock")
        self.submit_port = free_port() if bank.plan.outbound else 0
        self.child: Child | None = None
        self.behind: tuple[str, ...] = ()
        """A command that runs its own, where it is to live in a place of its own."""
        self.code = ""
        """Where its code is, when it is another version than this one's."""

    @property
    def running(self) -> bool:
        """Whether it was started and has not ended."""
        return self.child is not None and self.child.running

    def write_configuration(self, hub_ports: dict[str, int]) -> None:
        """Write its TOML. `hub_ports`: site → port of the hub for its group."""
        text = f"# Written by loadtest for one world.\n{pair_of(self)}{node_of(self, hub_ports)}"
        self.configuration.write_text(text, encoding="utf-8")

    async def start(self) -> None:
        """Start its process."""
        command = [*self.behind, PYTHON, "-P", "-m", "gateway", "run", "--config", str(self.configuration)]
        cpu = self.bank.plan.gateway_cpu
        self.child = await Child.start(self.output, command, self.bank.directory, cpu=cpu, code=self.code)

    async def end(self, number: signal.Signals = signal.SIGTERM) -> int:
        """End it, by default so that it drains. Returns its exit code."""
        assert self.child is not None
        code = await self.child.end(number)
        self.child = None
        return code

    def pin_workers(self) -> None:
        """Move its token workers to their processor core."""
        if self.child is not None and self.bank.plan.workers_cpu is not None:
            for pid in children_of(self.child.process.pid):
                with suppress(ProcessLookupError):  # it has just ended; the next one is not pinned
                    os.sched_setaffinity(pid, {self.bank.plan.workers_cpu})

    async def statistics(self) -> dict[str, Any]:
        """Its `/statistics`; empty while it is away."""
        return await json_of(self.ops_port, "/statistics")


class Bank:
    """A bank: a processor, tokens, gateways."""

    def __init__(self, identity: Identity, directory: Path, plan: Plan, *, first: bool) -> None:
        self.identity = identity
        self.first = first
        self.directory = directory if first else directory / identity.name
        self._sockets: Path | None = None
        self.plan = plan
        self.book = self.directory / "processor.ndjson"
        self.keys = self.directory / "hsm" / KEYS_FILE
        self.processor: Child | None = None
        self.processor_port = free_port()
        self.control_port = free_port()
        self._tokens: dict[str, str] = {}
        """The tokens of each group, as a part of the configuration of a gateway to which all are local."""
        centres = "abcdefgh"[: plan.data_centres]
        self.directory.mkdir(exist_ok=True)
        self.gateways = [
            Gateway(self, group, centre, first=group == plan.groups[0] and centre == "a")
            for group in plan.groups
            for centre in centres
        ]

    async def provision(self) -> None:
        """Make its tokens: each group has partitions, PINs and a seal key of its own. The mock scheme has one set of
        keys for all groups of a bank. Raises `WorldError`.
        """
        for group in self.plan.groups:
            first = group == self.plan.groups[0]
            directory = self.keys.parent if first else self.directory / f"hsm-{group}"
            command = [PYTHON, "-P", "-m", "hsm", "provision", "--dir", str(directory), "--tokens"]
            same = [] if first else ["--scheme-keys-from", str(self.keys)]
            text = await output_of([*command, str(self.plan.tokens), *same], "tokens cannot be made")
            self._tokens[group] = text[text.index(TABLE) :]

    def tokens_of(self, group: str, data_centre: str) -> str:
        """The tokens of a group, as a part of the configuration of a gateway there."""
        tables = self._tokens[group].split(TABLE)[1:]
        here = len(tables) - self.plan.remote_tokens
        for number in range(len(tables)):
            if self.plan.remote_tokens and (number < here) is not (data_centre == "a"):
                tables[number] = f"\nlocal = false{tables[number]}"
        return "".join(TABLE + table for table in tables)

    async def start_processor(self) -> None:
        """Start the processor, on the port that it had before."""
        self.processor = await Child.start(
            "processor",
            [
                PYTHON, "-P", "-m", "loadtest", "processor", "--host", self.plan.listen,
                "--port", str(self.processor_port), "--control-port", str(self.control_port),
                "--mode", self.plan.processor_mode, "--ledger", str(self.book),
                *(["--contents"] if self.plan.contents else []),
            ],
            self.directory, cpu=self.plan.others_cpu, piped=True,
        )  # fmt: skip
        ports = await self.processor.first_line()
        self.processor_port, self.control_port = ports["port"], ports["control_port"]

    async def stop_processor(self) -> None:
        """End the processor's process; its book is kept."""
        assert self.processor is not None
        # nobody is to ask it from now on
        child, self.processor = self.processor, None
        await child.end()

    async def processor_mode(self, mode: str) -> None:
        """Have the processor behave like this. Raises `WorldError`."""
        await self._control("/control", {"mode": mode})

    async def submissions(self, **order: Any) -> dict[str, Any]:
        """Have the processor do this (`submitter.Order`), at this bank's gateways. Raises `WorldError`."""
        targets: dict[str, list[int]] = {}
        for gateway in self.gateways:
            if gateway.submit_port:
                targets.setdefault(gateway.group, []).append(gateway.submit_port)
        return await self._control("/submissions", {"targets": targets, "sender": self.identity.institution, **order})

    async def _control(self, path: str, order: dict[str, Any]) -> dict[str, Any]:
        try:
            status, said = await http(self.control_port, "POST", path, msgspec.json.encode(order))
        except OSError as error:
            raise WorldError("the processor is away") from error
        if status != 200:
            raise WorldError(f"the processor refuses {order}: {said.decode(errors='replace')}")
        return msgspec.json.decode(said, type=dict[str, Any])

    async def aclose(self) -> None:
        """End everything of it that is still there."""
        for child in (*(gateway.child for gateway in self.gateways), self.processor):
            if child is not None:
                await child.end(within_s=5)
        if self._sockets is not None:
            shutil.rmtree(self._sockets, ignore_errors=True)

    def socket_at(self, name: str) -> Path:
        """Where a Unix socket of it lies: in its directory, or, where the system has no room for that path, in one of
        its own.
        """
        path = self.directory / name
        if len(str(path).encode()) <= SOCKET_PATH_BYTES_MAX:
            return path
        if self._sockets is None:
            self._sockets = Path(tempfile.mkdtemp(prefix="fps-"))
        return self._sockets / name


def participants(banks: list[Bank], simulated: str) -> str:
    """The hub's file of participants."""
    entries = [
        f'[[participant]]\nname = "{bank.identity.name}"\ninstitution = "{bank.identity.institution}"\n'
        f'sort_codes = ["{bank.identity.institution[:2]}"]\nkeys = {_toml(bank.keys)}\n'
        f"groups = {_toml(list(bank.plan.groups))}\n"
        "[participant.nodes]\n" + "".join(f"{one.name} = {_toml(one.group)}\n" for one in bank.gateways)
        for bank in banks
    ]
    played = (
        f'[[bank]]\nname = "{SIMULATED.name}"\ninstitution = "{SIMULATED.institution}"\n'
        f'sort_codes = ["{SIMULATED.institution[:2]}"]\nrule = {_toml(simulated)}\n'
    )
    return "\n".join([*entries, played])


def _toml(value: object) -> str:
    """A string, path or list of strings."""
    return msgspec.json.encode(str(value) if isinstance(value, Path) else value).decode()


def pair_of(gateway: Gateway) -> str:
    """The half of a gateway's TOML that both sites of a pair share."""
    plan = gateway.bank.plan
    submit = f"\n[pair.submit]\nanswer_within_s = {plan.answer_within_s}\n" if plan.outbound else ""
    if submit and plan.repeats_max is not None:
        submit += f"repeats_max = {plan.repeats_max}\n"
    return f"""[pair]
group = "{gateway.group}"

[pair.deadlines]
stand_in_after_s = {plan.stand_in_after_s}
reply_within_s = {plan.patience_s - 1.0}
hub_patience_s = {plan.patience_s}

[pair.keys]
overlap_s = {plan.overlap_s}
{submit}
"""


def node_of(gateway: Gateway, hub_ports: dict[str, int]) -> str:
    """The half that is its own. `hub_ports`: site → port of the hub for its group."""
    bank, plan = gateway.bank, gateway.bank.plan
    hubs = "\n".join(
        f'[[node.hub]]\nname = "{site}"\nhost = "127.0.0.1"\nport = {port}\nreconnect_max_s = 1.0\n'
        for site, port in hub_ports.items()
    )
    begin = "begin_if_none = true\n" if plan.begin_if_none else ""
    door = f"[node.submissions]\nport = {gateway.submit_port}\n\n" if gateway.submit_port else ""
    peers = ""
    if gateway.group == "usm":
        others = [other for other in bank.gateways if other.group != "usm"]
        peers = "[node.peers]\n" + "".join(f'{other.name} = "unix:{other.socket}"\n' for other in others)
    siblings = [other for other in bank.gateways if other.group == gateway.group and other is not gateway]
    sibling = ""
    if siblings:
        sibling = f'[node.sibling]\nurl = "http://127.0.0.1:{siblings[0].ops_port}"\nlook_every_s = 0.5\n\n'
    return f"""[node]
name = "{gateway.name}"

[node.journal]
dir = {_toml(gateway.journal)}
segment_bytes = {plan.segment_bytes}
{begin}
[node.processor]
url = "http://127.0.0.1:{bank.processor_port}"
tell_pause_max_s = 2.0
tell_per_s = {plan.tell_per_s}

[node.ops]
port = {gateway.ops_port}

[node.acts]
socket = {_toml(gateway.socket)}

[[node.actors]]
name = "tester"
user = "{os.getuid()}"
roles = ["look", "operate", "approve", "peer"]

[node.log]
level = "{plan.log_level}"
format = "{plan.log_format}"

{door}{peers}{sibling}
{hubs}
{bank.tokens_of(gateway.group, gateway.data_centre)}"""
