"""Showing customers' data is an act: it is known who did it, and why, before anything is shown.

A gateway that runs records it (`--socket` or its configuration say where to ask), perhaps with a second person. Beside
a journal on which none runs the command writes it down itself (`journal.beside`), and the next start takes it in. Where
it cannot be written down, nothing is shown.
"""

import argparse
import getpass
import os
import sys
import time

import msgspec
import trio

from gateway.acts.table import WHY_MAX
from gateway.commands import ordering
from gateway.commands.ordering import Code
from gateway.disk import Directory
from gateway.errors import Unavailable
from gateway.exitcodes import ExitCode
from gateway.journal import beside
from gateway.journal.looking import manifest_of
from gateway.machine import harmless
from gateway.payments import steps

POLL_S = 1.0
"""Pause between two looks whether a second person has approved."""
SCOPE_MAX = 200


def add_options(command: argparse.ArgumentParser) -> None:
    """What `--reveal` needs besides."""
    command.add_argument(
        "--reveal", action="store_true",
        help="print sensitive values in clear: customers' data. It is recorded who did so and why",
    )  # fmt: skip
    command.add_argument("--why", default="", metavar="TEXT", help="with --reveal: the reason, kept with the act")
    command.add_argument(
        "--socket", action="append", default=[], metavar="PATH",
        help="with --reveal, while its gateway runs: node.acts.socket",
    )  # fmt: skip


def permitted(directory: Directory, args: argparse.Namespace) -> int:
    """Have it be known, and wait for a second person where one is demanded. Returns 0 when it may be shown, else the
    exit code. Raises `Refusal` when it cannot be written down, `OSError`.
    """
    why = args.why.strip()
    if not why or len(why) > WHY_MAX or not why.isprintable():
        sys.stderr.write(f"--reveal: give the reason on one line: --why TEXT, of at most {WHY_MAX} characters\n")
        return ExitCode.USAGE
    scope = _scope(directory, args)
    if not beside.is_in_use(directory.path):
        act = steps.Act("reveal", "done", "", _here(), why, {"scope": scope}, time_ns=time.time_ns())
        beside.append(directory.path, manifest_of(directory).journal, act)
        return ExitCode.ENDED
    if len(args.socket) != 1:
        sys.stderr.write("--reveal: its gateway runs, and must record this: give its node.acts.socket, --socket PATH\n")
        return ExitCode.USAGE
    [target] = ordering.targets_of(argparse.Namespace(config=[], socket=args.socket, url=[]))
    return trio.run(_ask, target, msgspec.json.encode({"why": why, "what": {"scope": scope}}))


def _scope(directory: Directory, args: argparse.Namespace) -> str:
    """What is shown, without naming a payment."""
    parts = [f"journal {args.journal_command} {directory.path}"]
    parts += [f"--kind {kind}" for kind in getattr(args, "kind", ())]
    for option in ("since", "until"):
        if text := getattr(args, option, ""):
            parts.append(f"{'--from' if option == 'since' else '--to'} {text}")
    if any(getattr(args, name, "") for name in ("fpid", "trn", "key", "fpid_hash")):
        parts.append("some payments")
    return harmless.line(" ".join(parts))[:SCOPE_MAX]


def _here() -> str:
    """Who runs this command, as far as this machine knows."""
    try:
        name = getpass.getuser()
    except (KeyError, OSError):  # a user without a name
        name = "?"
    return f"uid {os.getuid()} ({name}) beside a journal without a gateway"


async def _ask(target: ordering.Target, body: bytes) -> int:
    try:
        response = await ordering.ask(target, "/acts/reveal", body)
        said = ordering.said_in(response)
        code = ordering.code_of(response)
        if code is Code.ASKED:
            return await _wait(target, said["act"])
    except Unavailable as error:
        code, said = Code.UNAVAILABLE, {"error": str(error)}
    if code is not Code.DONE:
        sys.stderr.write(harmless.line(f"--reveal: {target.name}: {said.get('error', 'not allowed')}") + "\n")
    return code


async def _wait(target: ordering.Target, number: int) -> int:
    """Wait until another person approves it, or it is over. Raises `Unavailable`."""
    sys.stderr.write(f"--reveal: waits for a second person: fps-gateway acts approve {number}\n")
    while True:
        await trio.sleep(POLL_S)
        acts = ordering.said_in(await ordering.ask(target, "/acts")).get("acts", [])
        state = next((act["state"] for act in acts if act["number"] == number), "lapsed")
        if state == "done":
            return ExitCode.ENDED
        if state not in {"asked", "begun"}:
            sys.stderr.write(f"--reveal: not allowed: act {number} is {state}\n")
            return Code.REFUSED
