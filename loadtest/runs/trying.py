"""A gateway of your own in five minutes: a little world in an empty directory, and the commands that bring it to life.

    .venv/bin/python -m loadtest try DIR

DIR gets the configuration of a pair and of a node, a SoftHSM token with fresh keys, PINs of its own, a journal that has
been begun, and a payment to submit. What is printed, and lies in DIR/README.txt as well, are three commands, one for
each of three terminals: the mock hub, the mock processor, the gateway with its log. Then the curl lines that have one
payment leave and one arrive, and how to look at the journal afterwards. Nothing is started here, and nothing outside
DIR is written.

It is all or nothing: what fails, or is interrupted, leaves DIR as it was. Whatever was killed on the way left the file
UNFINISHED, which says so. For development only: the keys lie beside the tokens, in the clear, for the mock hub.

Exit code 0: it is there. 2: it cannot be made, and nothing was. 130: interrupted, and nothing was.
"""

import argparse
import os
import shlex
import shutil
import sys
import time
from functools import partial
from pathlib import Path
from typing import NamedTuple

import trio

from gateway.machine import harmless
from gateway.machine.arguments import Commands
from loadtest.parts.processes import PYTHON, WorldError, free_port, output_of, python_path
from loadtest.processor.instructions import InstructionGenerator
from loadtest.runs.banks import BANKS, KEYS_FILE, SIMULATED, Bank, Gateway, Plan, node_of, pair_of
from loadtest.runs.world import SITES, interruptible

UNFINISHED = "UNFINISHED"
README = "README.txt"
PAIR, NODE, PAYMENT = "pair.toml", "node.toml", "payment.json"
PLAN = Plan(tokens=1, outbound=True, log_format="auto", begin_if_none=False, segment_bytes=1 << 20)
"""As a bank would configure it, but for one token and segments of a megabyte."""
KEY = "my-first-payment"
"""What the payment that leaves is submitted under."""
RUN = "TRY"
WAIT_S = 10
"""How long whoever submits asks to wait for the outcome."""
SHOWN = ("SUBMITTED", "SETTLED", "RECEIVED", "ANSWERED", "REPLIED")
"""Records of a payment that goes well, either way."""
INDENT = "    "
"""Before each line that is to be copied."""


class Ports(NamedTuple):
    """Where the hub is."""

    sites: dict[str, int]
    control: int


def add_parser(commands: Commands) -> None:
    """Add `try`."""
    parser = commands.add_parser(
        "try",
        help="write a gateway of your own, and all that is around it, into an empty directory",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("dir", type=Path, metavar="DIR", help="empty, or not there yet")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Write it, and print what to do with it."""
    return trio.run(interruptible, partial(_try, options.dir.absolute()))


async def _try(directory: Path) -> int:
    try:
        made = _claim(directory)
        try:
            text = await _write_world(directory)
            (directory / UNFINISHED).unlink()
        except BaseException:
            _clear(directory, made=made)
            raise
    except (WorldError, OSError) as error:
        why = error.strerror if isinstance(error, OSError) else error
        print(f"try: {harmless.line(f'{directory}: {why}')}", file=sys.stderr)
        return 2
    print(text, end="")
    return 0


def _claim(directory: Path) -> bool:
    """Make the directory ours, whose content we may remove. Returns whether it was not there. Raises `WorldError` or
    OSError, having changed nothing.
    """
    there = directory.exists()
    if there:
        inside = {path.name for path in directory.iterdir()}
        if UNFINISHED in inside:
            raise WorldError("what made a world here is still at it, or was killed: then remove this, and try again")
        if README in inside:
            raise WorldError(f"there is a world already: what to do with it says {README}")
        if inside:
            raise WorldError("is not empty: name an empty directory, or one that is not there yet")
    directory.mkdir(mode=0o700, exist_ok=True)
    try:
        with open(directory / UNFINISHED, "x", encoding="utf-8") as file:  # noqa: PTH123 - with "x" one of two wins
            file.write(".venv/bin/python -m loadtest try has not finished here.\n")
    except OSError:
        if not there:
            directory.rmdir()
        raise
    return not there


def _clear(directory: Path, *, made: bool) -> None:
    """Remove all that was written: the directory was empty, or not there."""
    for path in directory.iterdir():
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink()
    if made:
        directory.rmdir()


async def _write_world(directory: Path) -> str:
    """Write everything; returns what to tell. Raises `WorldError` or OSError."""
    ports = Ports({site: free_port() for site in SITES}, free_port())
    bank = Bank(BANKS[0], directory, PLAN, first=True)
    gateway = bank.gateways[0]
    await bank.provision()
    _write(directory / ".gitignore", "# keys, PINs and a journal: nothing in this directory is for git\n*\n")
    _write(directory / PAIR, pair_of(gateway))
    _write(directory / NODE, node_of(gateway, ports.sites))
    date = time.strftime("%Y%m%d", time.gmtime())
    generator = InstructionGenerator(RUN, date, sender=bank.identity.institution, receivers=(SIMULATED.institution,))
    _write(directory / PAYMENT, generator.make().body.decode())
    await _begin_journal(directory)
    text = told(gateway, ports)
    _write(directory / README, text)
    return text


def _write(path: Path, text: str) -> None:
    """For its owner alone: a configuration is nobody's business."""
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as file:
        file.write(text)


async def _begin_journal(directory: Path) -> None:
    """As a person does, by the gateway's command, which refuses a configuration with mistakes."""
    command = [PYTHON, "-P", "-m", "gateway", "journal", "init"]
    for name in (PAIR, NODE):
        command += ["--config", str(directory / name)]
    await output_of(command, "the journal cannot be begun")


def told(gateway: Gateway, ports: Ports) -> str:
    """What to do with it. Each line that begins with `INDENT` is a command, whole as it stands."""
    bank, directory = gateway.bank, gateway.bank.directory
    pair, node, payment, keys = (
        shlex.quote(str(directory / name)) for name in (PAIR, NODE, PAYMENT, Path("hsm", KEYS_FILE))
    )
    journal = shlex.quote(str(gateway.journal))
    home = Path(python_path())
    python = Path(PYTHON)
    at = shlex.quote(str(python.relative_to(home) if python.is_relative_to(home) else python))
    here = f"cd {shlex.quote(str(home))} && {at} -m"
    sites = " ".join(f"--site {site}:{port}" for site, port in ports.sites.items())
    door, ops, asked = (
        f"http://127.0.0.1:{port}" for port in (gateway.submit_port, gateway.ops_port, bank.control_port)
    )
    curl = "curl -s -w '\\n'"  # the prompt comes on a line of its own
    hub = f"http://127.0.0.1:{ports.control}"
    commands = {
        "HUB": f"{here} loadtest hub --keys {keys} {sites} --control {ports.control}",
        "PROCESSOR": f"{here} loadtest processor --port {bank.processor_port} --control-port {bank.control_port}",
        "GATEWAY": f"{here} gateway run --config {pair} --config {node}",
        "READY": f"{curl} {ops}/ready",
        "OUT": f"{curl} -H 'Content-Type: application/json' -H 'Idempotency-Key: {KEY}' -H 'Prefer: wait={WAIT_S}' "
        f"-d @{payment} {door}/payments",
        "IN": f'curl -s -d \'{{"do":"start","rate":1,"duration":1,"model":"constant"}}\' {hub}',
        "LEDGER": f"curl -s {asked}/ledger",
        "JOURNAL": f"{here} gateway journal show {journal} --fields {' '.join(f'--kind {kind}' for kind in SHOWN)}",
        "VERIFY": f"{here} gateway journal verify {journal} --config {pair} --config {node}",
    }
    return TEXT.format(
        dir=directory, pair=PAIR, node=NODE, readme=README, **{name: INDENT + line for name, line in commands.items()}
    )


TEXT = """\
A little world is in {dir}: a gateway's configuration ({pair} and {node}), its token and its journal.
This text is in its {readme}.

Three terminals, one command in each: the hub, the bank's processor, the gateway.

{HUB}

{PROCESSOR}

{GATEWAY}

The third shows the gateway's log. It says "signed on" four times: at two sites, to receive and to submit. Then payments
may come, and this says "ready":true.

{READY}

A payment out. The processor submits it and waits, the gateway sends it to the hub, the other bank accepts it. Expect
"state":"SETTLED", and "payment settled" in the log. Send it again: it is the same payment, gets the same response, and
does not leave a second time.

{OUT}

A payment in. The hub sends one, the gateway asks the processor and replies. Expect "ok":true, and "payment replied" in
the log.

{IN}

What the processor was asked and told of both:

{LEDGER}

Both are in the journal, also while the gateway runs. What is a customer's is masked, unless you say --reveal and --why.

{JOURNAL}

Ctrl-C ends each, the gateway first: it drains. Then its token says whether anybody has changed the journal.

{VERIFY}

Next: end the processor, have a payment come in, and see stand-in answer it after five seconds; start the processor
again, and it is told. To be rid of this world, remove its directory; also when a command says that a port is taken by
now, then make another.
"""
