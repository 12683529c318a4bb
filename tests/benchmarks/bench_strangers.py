"""What strangers at the door cost the processor: its submissions per second and their p99, with strangers and without.

    .venv/bin/python -m tests.benchmarks.bench_strangers [--seconds 4] [--rounds 3] [--strangers 70]

Every round measures three times, one after the other: nobody else is there; strangers hold silent connections;
strangers shake hands without a certificate, each as fast as it can. They come from an address of their own. The
processor has 8 connections over TLS, each of which is closed and made anew after 20 submissions: a connection is what
strangers can take. A submission's time counts from when the processor wants to make it, and so holds all attempts to
connect. Compare within one run. Clients and strangers are processes of their own on this machine: what they use of its
processors they take from the door, too.
"""

import argparse
import json
import subprocess
import sys
import tempfile
from math import inf
from pathlib import Path
from statistics import median
from typing import NamedTuple

import trio
import trustme

from gateway import config, log
from gateway.machine.arguments import Parser
from gateway.processor.door import Door
from gateway.wire.codec import Codec
from tests.benchmarks.bench_door import BODY, READY, Engine, say

CLIENTS = r"""
import itertools, json, ssl, sys, time, trio
port, seconds, ca, certificate = json.loads(sys.argv[1])
body = sys.stdin.buffer.read()
context = ssl.create_default_context(cafile=ca)
context.load_cert_chain(certificate)
head = b"POST /payments HTTP/1.1\r\nHost: gateway\r\nContent-Type: application/json\r\n"
head += b"Content-Length: %d\r\nIdempotency-Key: bench-" % len(body)
numbers, took, failed = itertools.count(), [], 0
async def client():
    global failed
    stream = None
    while True:
        wanted = time.perf_counter()
        while True:
            try:
                if stream is None:
                    left = 20
                    tcp = await trio.open_tcp_stream("127.0.0.1", port)
                    stream = trio.SSLStream(tcp, context, server_hostname="localhost", https_compatible=True)
                    await stream.do_handshake()
                await stream.send_all(b"%b%d\r\n\r\n%b" % (head, next(numbers), body))
                if (await stream.receive_some(65536)).startswith(b"HTTP/1.1 202"):
                    break
            except (OSError, trio.BrokenResourceError):
                pass
            failed += 1
            if stream is not None:
                await trio.aclose_forcefully(stream)
            stream = None
            await trio.sleep(0.01)
        took.append(time.perf_counter() - wanted)
        left -= 1
        if not left:
            await trio.aclose_forcefully(stream)
            stream = None
async def main():
    with trio.move_on_after(seconds):
        async with trio.open_nursery() as nursery:
            for _ in range(8):
                nursery.start_soon(client)
    took.sort()
    print(json.dumps([len(took) / seconds, took[int(len(took) * 0.99)] if took else None, failed]))
trio.run(main)
"""
STRANGERS = r"""
import json, ssl, sys, trio
port, count, how = json.loads(sys.argv[1])
context = ssl.create_default_context()
context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
async def stranger(task_status=trio.TASK_STATUS_IGNORED):
    while True:
        try:
            stream = await trio.open_tcp_stream("127.0.0.1", port, local_address="127.0.0.2")
            task_status.started()
            task_status = trio.TASK_STATUS_IGNORED
            if how == "handshakes":
                stream = trio.SSLStream(stream, context, server_hostname="localhost")
                await stream.do_handshake()
            await stream.receive_some(100)
        except (OSError, trio.BrokenResourceError):
            pass
        await trio.aclose_forcefully(stream)
        if how == "silent":
            await trio.sleep(0.1)
async def main():
    async with trio.open_nursery() as nursery:
        for _ in range(count):
            await nursery.start(stranger)
        print("here", flush=True)
trio.run(main)
"""
HOW = ("nobody", "silent", "handshakes")


class Figures(NamedTuple):
    """What the processor saw."""

    per_s: float
    p99_s: float
    failed: int
    """Attempts that brought nothing."""


async def measure(port: int, how: str, options: argparse.Namespace, papers: list[str]) -> Figures:
    """The processor's figures while strangers do this."""
    strangers: trio.Process | None = None
    if how != "nobody":
        arguments = json.dumps([port, options.strangers, how])
        command = [sys.executable, "-c", STRANGERS, arguments]
        strangers = await trio.lowlevel.open_process(command, stdout=subprocess.PIPE)
        assert strangers.stdout is not None
        await strangers.stdout.receive_some(10)
    arguments = json.dumps([port, options.seconds, *papers])
    body = json.dumps(BODY, separators=(",", ":")).encode()
    done = await trio.run_process(
        [sys.executable, "-c", CLIENTS, arguments], stdin=body, capture_stdout=True, check=True
    )
    if strangers is not None and strangers.stdout is not None:
        strangers.kill()
        await strangers.wait()
        await strangers.stdout.aclose()
    per_s, p99_s, failed = json.loads(done.stdout)
    return Figures(per_s, inf if p99_s is None else p99_s, failed)


async def run(options: argparse.Namespace, tls: config.ServerTls, papers: list[str]) -> None:
    """All three, in turn, each with a door of its own."""
    found: dict[str, list[Figures]] = {how: [] for how in HOW}
    for _ in range(options.rounds):
        for how in HOW:
            engine = Engine()
            door = Door(
                config.Submissions(port=0, tls=tls), engine, Codec(), "sip", lambda: READY, came_s=lambda now_s: now_s
            )
            async with trio.open_nursery() as nursery:
                nursery.start_soon(engine.run)
                port: int = await nursery.start(door.serve)
                found[how].append(await measure(port, how, options, papers))
                nursery.cancel_scope.cancel()
    alone = median(figures.per_s for figures in found["nobody"])
    for how in HOW:
        per_s, p99_s, failed = (median(column) for column in zip(*found[how], strict=True))
        share = per_s / alone
        rest = f"p99 {p99_s * 1e3:7.1f} ms, {failed:.0f} attempts failed"
        say(f"{how:10} {per_s:6.0f} submissions/s ({share:4.0%}), {rest}")


def main() -> None:
    """Measure."""
    parser = Parser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=4.0, help="how long each measurement takes")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--strangers", type=int, default=70)
    options = parser.parse_args()
    log.configure("error")
    with tempfile.TemporaryDirectory() as name:
        place = Path(name)
        authority = trustme.CA()
        server, client = authority.issue_cert("localhost"), authority.issue_cert("processor")
        authority.cert_pem.write_to_path(f"{place}/ca.pem")
        server.private_key_and_cert_chain_pem.write_to_path(f"{place}/server.pem")
        client.private_key_and_cert_chain_pem.write_to_path(f"{place}/client.pem")
        tls = config.ServerTls(f"{place}/server.pem", f"{place}/server.pem", f"{place}/ca.pem", "processor")
        trio.run(run, options, tls, [f"{place}/ca.pem", f"{place}/client.pem"])


if __name__ == "__main__":
    main()
