"""Operations per second through the pool and what each costs the event loop, on SoftHSM.

    python tests/benchmarks/bench_signer.py [--operations N] [--algorithm A] [--bytes N]

`loop` is CPU time of this process, the one with the event loop, for each operation: making the job, batching, sending,
reading results. `floor` is the same MACs in a bare loop in a process that has the token to itself.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import msgspec
import trio

from gateway.machine.arguments import Parser

sys.path.insert(0, str(Path(__file__).parents[2]))

from gateway import config, log
from gateway.clock import system_clock
from gateway.payments.work import MacJob
from gateway.signer.messages import held
from gateway.signer.pool import Signer
from hsm.layout import Layout, find_module

FLOOR = """
import json, sys, time
import msgspec
from gateway.signer import messages
from gateway.signer.token import OpenToken
start, count, size = json.loads(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
token = OpenToken(msgspec.convert(start, messages.Start))
mac, data = token._macs[0], bytes(size)
began = time.perf_counter()
for _ in range(count):
    mac(data)
print(count / (time.perf_counter() - began))
"""


def say(line: str) -> None:
    """To the person who measures."""
    print(line, flush=True)


async def measure(
    layout: Layout, tokens: int, in_flight: int, count: int, size: int
) -> tuple[float, float, float, float]:
    """Operations per second, CPU µs of this process per operation, p50 and p99 of a submission's latency in ms."""
    finished: list[MacJob] = []
    woken = trio.Event()

    def on_done(jobs: list[MacJob]) -> None:
        finished.extend(jobs)
        woken.set()

    signer = Signer(layout.settings()[:tokens], layout.mac, system_clock, on_done=on_done)
    async with trio.open_nursery() as nursery:
        await nursery.start(signer.run)
        assert signer.serving == tokens, signer.health()
        data, sent, seen, latencies = bytes(size), 0, 0, []
        cpu_s, began_s = time.process_time(), time.perf_counter()
        while len(finished) < count:
            now_s = time.perf_counter()
            latencies += [now_s - job.context for job in finished[seen:]]
            seen = len(finished)
            room = min(in_flight - (sent - seen), count - sent)
            if room:
                deadline_s = trio.current_time() + 5
                signer.submit([MacJob("fps-own", data, deadline_s=deadline_s, context=now_s) for _ in range(room)])
                sent += room
            woken = trio.Event()
            await woken.wait()
        elapsed_s, cpu_s = time.perf_counter() - began_s, time.process_time() - cpu_s
        assert all(job.ok for job in finished)
        nursery.cancel_scope.cancel()
    latencies.sort()
    middle, late = latencies[len(latencies) // 2], latencies[len(latencies) * 99 // 100]
    return count / elapsed_s, cpu_s / count * 1e6, middle * 1e3, late * 1e3


def main() -> None:
    """Print one table."""
    parser = Parser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--operations", type=int, default=40_000)
    parser.add_argument("--algorithm", default="aes-cmac", choices=["aes-cmac", "hmac-sha256", "des3-retail"])
    parser.add_argument("--bytes", type=int, default=450, help="of a message")
    options = parser.parse_args()
    log.configure("error", "json")
    with tempfile.TemporaryDirectory() as folder:
        layout = Layout(Path(folder), find_module(), 2, 0, "fps", config.Mac(algorithm=options.algorithm))
        command = [sys.executable, "-m", "hsm", "provision", "--tokens", "2", "--algorithm", options.algorithm]
        root = Path(__file__).parents[2]
        subprocess.run([*command, "--dir", folder], check=True, stdout=subprocess.DEVNULL, cwd=root)
        start = {
            "module": layout.module, "label": "fps-1", "pin_file": str(layout.pin_file("fps-1")),
            "algorithm": options.algorithm, "retail_mechanism": 0, "keys": msgspec.to_builtins(held("fps-own")),
            "start_within_s": 10, "batch_within_s": 1,
        }  # fmt: skip
        environment = {**os.environ, "SOFTHSM2_CONF": str(layout.conf), "PYTHONPATH": str(root)}
        floor = subprocess.run(
            [sys.executable, "-c", FLOOR, json.dumps(start), str(options.operations), str(options.bytes)],
            check=True, capture_output=True, text=True, env=environment,
        )  # fmt: skip
        say(f"{options.algorithm}, {options.bytes} bytes, {options.operations} operations, {os.cpu_count()} CPUs")
        say(f"floor: {float(floor.stdout):,.0f}/s in one process, no pool")
        say("tokens  in flight  operations/s  loop µs/op  p50 ms  p99 ms")
        for tokens in (1, 2):
            for in_flight in (1, 16, 64, 256, 1024):
                count = max(2000, options.operations if in_flight >= 64 else options.operations // 8)
                rate, cpu, middle, late = trio.run(measure, layout, tokens, in_flight, count, options.bytes)
                say(f"{tokens:6}  {in_flight:9}  {rate:12,.0f}  {cpu:10.1f}  {middle:6.2f}  {late:6.2f}")


if __name__ == "__main__":
    main()
