"""The mock hub's command: participants to dial it, payments at a rate, every reply judged, every submission answered.

    .venv/bin/python -m loadtest hub --keys keys.json --rate 100 --duration 30
    .venv/bin/python -m loadtest hub --participants participants.toml

The hub listens on one port for each participant, payment group and site, and prints the ports as one JSON line. It
answers sign-on and echo, and routes what participants submit to each other, or to a bank that it plays itself. It sends
payments of its own at the times of an open model, and ends when the duration is over and every payment has its outcome.
Without --rate it waits for orders on the control socket.
"""

import argparse
import gc
import random
import signal
import sys
import textwrap
import time
from contextlib import suppress
from pathlib import Path
from typing import Any, get_args

import msgspec
import trio

from gateway.errors import ConfigurationError
from gateway.machine import harmless
from gateway.machine.arguments import (
    COUNT_OR_NONE,
    PORT_OR_FREE,
    RATE_OR_NONE,
    SECONDS,
    SECONDS_OR_NONE,
    SEED,
    Commands,
)
from gateway.wire import fields, meanings
from loadtest.hub import mischief, participants
from loadtest.hub.keys import Algorithm
from loadtest.hub.scheme import HubSettings, Scheme
from loadtest.hub.sites import Hub, HubBook, Port, serve_hub
from loadtest.hub.steering import CONTROLS, Steering
from loadtest.ledger import report
from loadtest.parts.processes import WorldError, said
from loadtest.traffic import iso
from loadtest.traffic.arrivals import Model
from loadtest.traffic.contents import Contents


def add_parser(commands: Commands) -> None:
    """Add `hub`."""
    parser = commands.add_parser(
        "hub",
        help="the mock hub: participants dial it, payments go both ways, everything is judged",
        description=__doc__,
        epilog=f"a file of participants:\n\n{textwrap.indent(participants.EXAMPLE, '  ')}\n{CONTROLS}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    _add_world(parser.add_argument_group("where it listens, and what it speaks"))
    _add_participants(parser.add_argument_group("participants"))
    _add_behaviour(parser.add_argument_group("behaviour"))
    add_load_arguments(parser.add_argument_group("the load"))
    parser.add_argument("--ledger", metavar="FILE", help="write the hub's book there, as NDJSON")
    parser.add_argument(
        "--contents", action="store_true", help="the book holds a digest of each payment (45 microseconds each)"
    )
    parser.add_argument("--json", action="store_true", help="the statistics at the end as JSON")
    parser.set_defaults(run=run)


def _add_world(world: "argparse._ArgumentGroup") -> None:
    """Options for its ports and for the bytes on them."""
    world.add_argument(
        "--site", action="append", metavar="NAME[:PORT]",
        help="a site (default: a and b, free ports); the port is that of the first participant's first group",
    )  # fmt: skip
    world.add_argument("--host", default="127.0.0.1", help="address to listen on (default: %(default)s)")
    world.add_argument(
        "--control", type=PORT_OR_FREE, default=0, metavar="PORT", help="control socket (default: a free port)"
    )
    world.add_argument("--algorithm", choices=get_args(Algorithm), default="aes-cmac", help="default: %(default)s")
    world.add_argument("--header-bytes", type=int, choices=(2, 4), default=4, help="length header (default: 4)")
    world.add_argument("--header-format", choices=("binary", "ascii"), default="binary", help="default: %(default)s")
    world.add_argument("--header-inclusive", action="store_true", help="the length counts the header too")
    world.add_argument("--field-table", default="", metavar="FILE", help="replaces the gateway's built-in field table")
    world.add_argument(
        "--usm-table", default="", metavar="FILE", help="replaces the gateway's table of what values in news mean"
    )


def _add_behaviour(behaviour: "argparse._ArgumentGroup") -> None:
    """Options for its patience, repeats and mischief."""
    behaviour.add_argument(
        "--patience", type=SECONDS, default=10.0, metavar="S", help="time that a reply may take (default: 10)"
    )
    behaviour.add_argument(
        "--asynchronous", action="store_true", help="repeat what is not answered (9201) rather than reverse it (9420)"
    )
    behaviour.add_argument(
        "--asynchronous-answer", choices=("at-once", "after"), default="after",
        help="when the sender of an asynchronous payment (any but type 10) hears 0000: at once, or after its receiver",
    )  # fmt: skip
    behaviour.add_argument(
        "--overlap",
        type=SECONDS_OR_NONE,
        default=60.0,
        metavar="S",
        help="time for which a replaced key is still accepted (default: 60)",
    )
    behaviour.add_argument(
        "--repeats",
        type=COUNT_OR_NONE,
        default=20,
        metavar="N",
        help="repeats of a payment or reversal before it gives up (default: 20)",
    )
    behaviour.add_argument(
        "--echo-after",
        type=SECONDS,
        default=30.0,
        metavar="S",
        help="silence on a connection before an echo (default: 30)",
    )
    behaviour.add_argument(
        "--mischief", default="", metavar="LIST", help=f"all, or some of {', '.join(mischief.KINDS)}"
    )
    behaviour.add_argument(
        "--mischief-every", type=SECONDS, default=1.0, metavar="S", help="from one to the next (default: 1)"
    )


def _add_participants(who: "argparse._ArgumentGroup") -> None:
    """Options for one participant and one simulated bank, or for a file of all participants."""
    who.add_argument("--participants", type=Path, metavar="FILE", help="all participants, as shown below; it replaces:")
    who.add_argument("--keys", metavar="FILE", help="the participant's development key file: JSON, label to hex")
    who.add_argument("--hub-key", default="fps-hub", metavar="LABEL", help="label of the hub's key")
    who.add_argument("--own-key", default="fps-own", metavar="LABEL", help="label of the participant's key")
    who.add_argument(
        "--transport-key", default="fps-transport", metavar="LABEL", help="label of the key that wraps new keys"
    )
    who.add_argument(
        "--group", action="append", default=[], metavar="NAME",
        help="sip, sop, fdp, other or usm; each has ports of its own (default: sip)",
    )  # fmt: skip
    who.add_argument("--institution", default=participants.INSTITUTION, metavar="CODE", help="default: %(default)s")
    who.add_argument(
        "--sort-code", action="append", default=[], metavar="PREFIX", help="prefix of its sort codes (default: 60)"
    )
    who.add_argument(
        "--bank", default="accept", metavar="RULE",
        help="how the simulated bank (institution 400001, sort codes 40…) answers: accept, a code, slow=SECONDS or "
        "silent; several with how often each comes: 0000*90,1114*5,slow=0.5*4,silent (default: %(default)s)",
    )  # fmt: skip


def add_load_arguments(load: "argparse._ArgumentGroup") -> None:
    """Options for the payments and their times. `run` has them, too."""
    load.add_argument("--rate", type=RATE_OR_NONE, metavar="PER_S", help="payments per second")
    load.add_argument("--duration", type=SECONDS, default=30.0, metavar="S", help="length of the load (default: 30)")
    load.add_argument("--model", choices=get_args(Model), default="poisson", help="arrivals (default: %(default)s)")
    load.add_argument("--seed", type=SEED, default=1, help="of arrivals and payments (default: 1)")
    load.add_argument(
        "--run",
        dest="run_id",
        default="",
        metavar="ID",
        help="part of each TRN, so that runs do not repeat them (default: random)",
    )
    load.add_argument("--date", default="", metavar="YYYYMMDD", help="date sent (default: today)")


def build(options: argparse.Namespace) -> tuple[Hub, dict[Port, int]]:
    """A hub, and where it listens, as the command line says. Raises OSError, ValueError or `ConfigurationError`."""
    cast = _cast(options)
    parties, boxes = participants.parties(cast, options.algorithm, options.seed)
    book = HubBook(options.ledger)
    if options.contents:
        book.contents = Contents(fields.load(options.field_table))
    date = options.date or time.strftime("%Y%m%d", time.gmtime())
    scheme = Scheme(
        fields.load(options.field_table),
        iso.Framing(options.header_bytes, options.header_format, inclusive=options.header_inclusive),
        parties,
        HubSettings(
            patience_s=options.patience,
            synchronous=not options.asynchronous,
            repeats_max=options.repeats,
            echo_after_s=options.echo_after,
            asynchronous_answer=options.asynchronous_answer,
            settlement_date=date,
            overlap_s=options.overlap,
        ),
        book,
        lambda: time.strftime("%m%d%H%M%S", time.gmtime()),
        boxes=boxes,
        usm_table=meanings.load(options.usm_table),
    )
    hub = Hub(scheme, book, run=options.run_id or _run_id(), date=date, seed=options.seed)
    return hub, _ports(scheme, cast, _sites(options.site or ["a", "b"]))


def _cast(options: argparse.Namespace) -> participants.Cast:
    """The participants. Raises OSError or ValueError."""
    if options.participants is not None:
        return participants.read(options.participants)
    if options.keys is None:
        raise ValueError("--keys or --participants is needed")
    one = participants.Entry(
        name="participant",
        institution=options.institution,
        sort_codes=tuple(options.sort_code) or participants.SORT_CODES,
        keys=options.keys,
        groups=participants.groups(options.group) or ("sip",),
        hub_key=options.hub_key,
        own_key=options.own_key,
        transport_key=options.transport_key,
    )
    bank = participants.BankEntry(
        participants.BANK, participants.BANK_INSTITUTION, participants.BANK_SORT_CODES, options.bank
    )
    return participants.Cast(participants=(one,), banks=(bank,))


def _ports(scheme: Scheme, cast: participants.Cast, sites: dict[str, int]) -> dict[Port, int]:
    """The places to listen: for each participant and group at every site, and at those that its own entry names."""
    ports: dict[Port, int] = {}
    for entry in cast.participants:
        party = scheme.parties[entry.name]
        for group in entry.groups:
            first = party is scheme.first and group == entry.groups[0]
            own = entry.ports.get(group, {})
            for site in own or sites:
                ports[Port(party, group, site)] = own.get(site, sites.get(site, 0) if first else 0)
        ports |= {
            Port(party, group, site, node): entry.ports.get(node, {}).get(site, 0)
            for node, group in entry.nodes.items()
            for site in sites
        }
    return ports


def _run_id() -> str:
    """Six characters that differ from one start to the next."""
    return "".join(random.SystemRandom().choices("ABCDEFGHJKLMNPQRSTUVWXYZ23456789", k=6))


def run(options: argparse.Namespace) -> int:
    """Run the hub. Exit code 0: the participants did nothing wrong."""
    try:
        hub, ports = build(options)
        wanted = _mischief(options.mischief)
    except (OSError, ValueError, ConfigurationError) as error:
        print(f"hub: {harmless.line(error)}", file=sys.stderr)
        return 2
    # hundreds of thousands of payments live for seconds and form no cycles: a collector's search costs pauses of 100 ms
    gc.freeze()
    gc.disable()
    code = 2
    try:
        code = trio.run(_main, hub, options, wanted, ports)
    except* WorldError as group:
        print(f"hub: {harmless.line(said(group))}", file=sys.stderr)
    return code


def _mischief(text: str) -> list[str]:
    wanted = list(mischief.KINDS) if text == "all" else [*filter(None, text.split(","))]
    if unknown := [what for what in wanted if what not in mischief.KINDS]:
        raise ValueError(f"--mischief: {unknown[0]} is not one of {', '.join(mischief.KINDS)}")
    return wanted


def _sites(given: list[str]) -> dict[str, int]:
    sites: dict[str, int] = {}
    for text in given:
        name, _, port = text.partition(":")
        sites[name] = int(port or 0)
    return sites


async def _main(hub: Hub, options: argparse.Namespace, wanted: list[str], ports: dict[Port, int]) -> int:
    if wanted:
        hub.misbehave(wanted, options.mischief_every)
    if options.rate:
        sites = {port.site for port in ports if port.party is hub.scheme.first}
        hub.arm(len(sites), options.rate, options.duration, options.model)
    steering = Steering(hub)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(_stop_on_signal, nursery.cancel_scope)
        await serve_hub(hub, ports, options.host, options.control, steering, _say)
        nursery.cancel_scope.cancel()
    hub.book.close()
    if options.json:
        _say(steering.totals())
    elif options.rate:
        print(report.hub(steering.totals()))
    return 0 if not hub.scheme.counts["faults"] and not hub.scheme.counts["mischief missed"] else 1


def _say(what: dict[str, Any]) -> None:
    with suppress(BrokenPipeError):
        print(msgspec.json.encode(what).decode(), flush=True)


async def _stop_on_signal(scope: trio.CancelScope) -> None:
    with trio.open_signal_receiver(signal.SIGTERM, signal.SIGINT) as signals:
        async for _ in signals:
            scope.cancel()
