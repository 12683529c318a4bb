"""What it costs to remember payments: bytes of resident memory for each, microseconds, and the longest pause.

    .venv/bin/python -m tests.benchmarks.bench_memory [--payments 1000000] [--days 12]

The payments are spread evenly over the days. Each kind is measured in a process of its own: those that came, those that
left, and, to compare with, what came in a plain dictionary of packed numbers. A pause is the longest call of `put`;
beyond a fraction of a millisecond it holds up payments in flight. Resident memory is read where /proc is.
"""

import argparse
import gc
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from resource import getpagesize

from gateway.machine.arguments import Parser
from gateway.payments import inbound_law, outbound_law, steps
from gateway.payments.outcomes import Outcome, Outcomes
from gateway.payments.outcomes import Replay as OutcomesReplay
from gateway.payments.steps import Kind
from gateway.payments.submissions import Known, Submissions
from gateway.payments.submissions import Replay as SubmissionsReplay
from gateway.payments.work import Standing
from gateway.wire.codec import Codec

DAY_NS = 86_400 * 10**9
SAMPLE, ROUNDS = 10_000, 5
"""Calls in a round, and rounds, of each kind that is timed when memory is full."""
CONTENT_BYTES = 8


def fpid_of(number: int) -> str:
    """42 characters, as long as they come."""
    return f"{number:018}1020261122826{'040004':<11}"


def key_of(number: int) -> str:
    """As long as a UUID."""
    return f"00000000-0000-4000-8000-{number:012}"


def content_of(number: int) -> bytes:
    """A digest."""
    return (number * 0x9E3779B97F4A7C15 % 2**64).to_bytes(CONTENT_BYTES)


def rss_bytes() -> int:
    """Resident memory of this process; 0 where nobody says."""
    statm = Path("/proc/self/statm")
    return int(statm.read_text().split()[1]) * getpagesize() if statm.exists() else 0


class Came:
    """Inbound payments."""

    def __init__(self) -> None:
        self.memory = Outcomes(7)

    def put(self, number: int, wall_ns: int) -> None:
        """Remember one."""
        outcome = Outcome(inbound_law.State.REPLIED, "0000", "", stood_in=False, content=content_of(number))
        self.memory.put(fpid_of(number), outcome, wall_ns)

    def look(self, number: int) -> object:
        """Look for one, as a new payment does."""
        return self.memory.get(fpid_of(number))

    def replayed(self) -> Callable[[int, int], None]:
        """What reads the records of one."""
        replay = OutcomesReplay(self.memory)
        body = steps.pack(steps.Decision("0000", "", content_of(1), bytes(200)))

        def records(number: int, wall_ns: int) -> None:
            fpid = fpid_of(number)
            replay.record(Kind.RECEIVED, wall_ns, fpid, b"")
            replay.record(Kind.ANSWERED, wall_ns, fpid, body)
            replay.record(Kind.REPLIED, wall_ns, fpid, b"")

        return records


class Left:
    """Outbound payments."""

    def __init__(self) -> None:
        self.memory = Submissions(7)

    def put(self, number: int, wall_ns: int) -> None:
        """Remember one."""
        standing = Standing(
            fpid_of(number), outbound_law.State.SETTLED, "0000", "", "receiver", settlement=f"20261122{number % 3:03}",
            asynchronous="0",
        )  # fmt: skip
        self.memory.put(Known(key_of(number), content_of(number), standing), wall_ns)

    def look(self, number: int) -> object:
        """Look for one, as a new payment does: by both names."""
        return self.memory.of_key(key_of(number)), self.memory.of_fpid(fpid_of(number))

    def replayed(self) -> Callable[[int, int], None]:
        """What reads the records of one."""
        replay = SubmissionsReplay(self.memory, Codec())

        def records(number: int, wall_ns: int) -> None:
            fpid, key, content = fpid_of(number), key_of(number), content_of(number)
            replay.record(Kind.SUBMITTED, wall_ns, fpid, steps.pack(steps.Submitted(key, content, b"")))
            settled = steps.Settlement(key, content, "0000", "", "receiver", b"", b"")
            replay.record(Kind.SETTLED, wall_ns, fpid, steps.pack(settled))

        return records


class Plain(Came):
    """Inbound payments in a dictionary of numbers, without days: to compare with."""

    def __init__(self) -> None:
        super().__init__()
        self.packed: dict[str, int] = {}

    def put(self, number: int, wall_ns: int) -> None:
        """Remember one."""
        del wall_ns
        self.packed[fpid_of(number)] = 1 << 92 | int.from_bytes(content_of(number))

    def look(self, number: int) -> object:
        """Look for one."""
        return self.packed.get(fpid_of(number))


KINDS: dict[str, type[Came | Left]] = {"came": Came, "left": Left, "plain": Plain}


def timed_us(work: Callable[[int], object], begin: int) -> float:
    """Microseconds of processor time a call: the best round, which is the least disturbed one."""
    fastest_s = float("inf")
    for first in range(begin, begin + ROUNDS * SAMPLE, SAMPLE):
        began = time.process_time()
        for number in range(first, first + SAMPLE):
            work(number)
        fastest_s = min(fastest_s, time.process_time() - began)
    return fastest_s / SAMPLE * 1e6


def measure(kind: str, payments: int, days: int) -> None:
    """One kind, in this process."""
    it = KINDS[kind]()
    gc.freeze()
    empty_bytes = rss_bytes()
    pauses_us = []
    clock = time.thread_time  # what others do on this machine is no pause of ours
    for number in range(payments):
        wall_ns = number * days // payments * DAY_NS
        began = clock()
        it.put(number, wall_ns)
        took_us = (clock() - began) * 1e6
        if took_us > 100:
            pauses_us.append(took_us)
    full_bytes = rss_bytes()
    today_ns = (days - 1) * DAY_NS
    made_us = timed_us(lambda number: (fpid_of(number), key_of(number)) if kind == "left" else fpid_of(number), 0)
    known_us, new_us = (timed_us(it.look, begin) - made_us for begin in (payments // 2, payments))
    put_us = timed_us(lambda number: it.put(number, today_ns), payments)
    began = clock()
    gc.collect()
    collected_ms = (clock() - began) * 1e3
    longest = ", ".join(f"{us:.0f}" for us in sorted(pauses_us)[-3:])
    print(f"{kind}: {(full_bytes - empty_bytes) / payments:.0f} bytes each")
    print(f"  look for a known one {known_us:.2f} µs, for a new one {new_us:.2f} µs, make and put one {put_us:.2f} µs")
    print(f"  pauses over 100 µs in {payments} puts: {len(pauses_us)} (longest: {longest or '-'} µs)")
    print(f"  a full garbage collection takes {collected_ms:.1f} ms")
    if kind != "plain":
        replayed = it.replayed()
        replay_us = timed_us(lambda number: replayed(number, today_ns), 2 * payments)
        print(f"  make and replay its records {replay_us:.2f} µs")


if __name__ == "__main__":
    parser = Parser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--payments", type=int, default=1_000_000, help="how many (default: %(default)s)")
    parser.add_argument("--days", type=int, default=12, help="over how many days (default: %(default)s)")
    parser.add_argument("--kind", choices=sorted(KINDS), help="only this one, in this process")
    options = parser.parse_args()
    if options.kind:
        measure(options.kind, options.payments, options.days)
    else:
        for kind in KINDS:
            arguments = ["--payments", str(options.payments), "--days", str(options.days), "--kind", kind]
            subprocess.run([sys.executable, __file__, *arguments], check=True)
