"""Tell a hub, or a processor, that runs already what to do, and print what it replies: where it runs, in its container.

    .venv/bin/python -m loadtest steer hub 9400 '{"do": "start", "rate": 100, "duration": 30}'
    .venv/bin/python -m loadtest steer processor 8081 '{"do": "statistics"}'

`.venv/bin/python -m loadtest hub --help` lists what a hub understands, `loadtest/processor/submitter.py` what a
processor does: an order goes to its `/submissions`, or, with `"mode"` in it, to its `/control`. Exit code 0: done. 1:
refused, or nobody is there.
"""

import argparse
import sys
from typing import Any

import msgspec
import trio

from gateway.machine import harmless
from gateway.machine.arguments import PORT, Commands
from loadtest.hub import control
from loadtest.parts.processes import http


def add_parser(commands: Commands) -> None:
    """Add `steer`."""
    parser = commands.add_parser(
        "steer",
        help="tell a hub or a processor that runs what to do",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("who", choices=("hub", "processor"))
    parser.add_argument("port", type=PORT, help="its control port, on loopback")
    parser.add_argument("order", help="a JSON object")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Tell it, and print its reply."""
    try:
        order = msgspec.json.decode(options.order, type=dict[str, Any])
        reply = trio.run(_hub if options.who == "hub" else _processor, options.port, order)
    except (msgspec.MsgspecError, control.ControlError, OSError) as error:
        print(f"steer: {harmless.line(error)}", file=sys.stderr)
        return 1
    print(msgspec.json.encode(reply).decode())
    return 0


async def _hub(port: int, order: dict[str, Any]) -> dict[str, Any]:
    asked = await control.connect(port)
    try:
        return await asked(**order)
    finally:
        await asked.aclose()


async def _processor(port: int, order: dict[str, Any]) -> dict[str, Any]:
    path = "/control" if "mode" in order else "/submissions"
    status, said = await http(port, "POST", path, msgspec.json.encode(order))
    if status != 200:
        raise control.ControlError(said.decode(errors="replace"))
    return msgspec.json.decode(said, type=dict[str, Any])
