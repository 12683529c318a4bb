"""The mock processor's command: `.venv/bin/python -m loadtest processor`; what it does is `processor`'s."""

import argparse
import json
import signal
import ssl
import sys
from pathlib import Path

import trio

from gateway.machine import harmless
from gateway.machine.arguments import PORT_OR_FREE, SEED, Commands
from gateway.wire import fields
from loadtest.parts import calls
from loadtest.parts.processes import WorldError, said
from loadtest.processor import server as processor
from loadtest.processor.server import MockProcessor
from loadtest.traffic.contents import Contents


def add_parser(commands: Commands) -> None:
    """Add `processor` to the commands of `.venv/bin/python -m loadtest`."""
    parser = commands.add_parser(
        "processor",
        help="the mock processor",
        description=processor.__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--host", default="127.0.0.1", help="where to listen (default %(default)s)")
    parser.add_argument("--port", type=PORT_OR_FREE, default=0, help="0, the default, takes a free one and prints it")
    parser.add_argument("--control-port", type=PORT_OR_FREE, default=0, help="for /control and /ledger, also when away")
    parser.add_argument("--mode", default="fast", help="see above (default %(default)s)")
    parser.add_argument("--seed", type=SEED, default=1, help="of mix and malformed (default %(default)s)")
    parser.add_argument("--ledger", type=Path, help="append the book to this file")
    parser.add_argument("--contents", action="store_true", help="the book holds a digest of each payment")
    parser.add_argument("--certificate", type=Path, help="serve TLS with this certificate (PEM), and --key")
    parser.add_argument("--key", type=Path)
    parser.add_argument("--client-ca", type=Path, help="with TLS: take only clients with a certificate signed by this")
    parser.add_argument(
        "--door", action="append", default=[], metavar="NUMBER=HOST:PORT",
        help="where a gateway takes submissions that is not on loopback; orders name it by the number",
    )  # fmt: skip
    parser.add_argument("--door-ca", type=Path, help="doors speak TLS, signed by this; we show --certificate")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Run until a signal. The first line of its output is JSON: its ports."""
    try:
        mock = MockProcessor(
            options.mode, seed=options.seed, ledger=options.ledger, tls=_tls(options),
            dial=calls.dial_at(dict(map(_door, options.door)), _door_tls(options)),
        )  # fmt: skip
        if options.contents:
            mock.book.contents = Contents(fields.load(""))
    except (ValueError, OSError) as error:
        print(f"processor: {harmless.line(error)}", file=sys.stderr)
        return 2
    code = 0
    try:
        trio.run(_main, mock, options)
    except* WorldError as group:
        print(f"processor: {harmless.line(said(group))}", file=sys.stderr)
        code = 2
    return code


def _tls(options: argparse.Namespace) -> ssl.SSLContext | None:
    if options.certificate is None:
        return None
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=options.client_ca)
    context.load_cert_chain(options.certificate, options.key)
    if options.client_ca is not None:
        context.verify_mode = ssl.CERT_REQUIRED
    return context


def _door(text: str) -> tuple[int, calls.Place]:
    """Raises ValueError."""
    number, _, place = text.partition("=")
    host, _, port = place.rpartition(":")
    if not host:
        raise ValueError(f"--door {text}: NUMBER=HOST:PORT is wanted")
    return int(number), (host, int(port))


def _door_tls(options: argparse.Namespace) -> ssl.SSLContext | None:
    if options.door_ca is None:
        return None
    context = ssl.create_default_context(ssl.Purpose.SERVER_AUTH, cafile=options.door_ca)
    if options.certificate is not None:
        context.load_cert_chain(options.certificate, options.key)
    return context


async def _main(mock: MockProcessor, options: argparse.Namespace) -> None:
    with trio.open_signal_receiver(signal.SIGTERM, signal.SIGINT) as signals:
        async with trio.open_nursery() as nursery:
            await nursery.start(mock.run, options.host, options.port, options.control_port)
            print(json.dumps({"port": mock.port, "control_port": mock.control_port}), flush=True)
            async for _ in signals:
                nursery.cancel_scope.cancel()
