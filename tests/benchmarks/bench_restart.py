"""How long a start takes with a long journal: from the process's start until it is signed on at both hub sites.

    .venv/bin/python -m tests.benchmarks.bench_restart [--records 1000000] [--backlog 0]

The journal is made of whole payments (received, answered, replied), and of `--backlog` stand-ins that nobody was told
of; with a backlog it also says how fast that is told.
"""

import argparse
import os
import sys
import time
from functools import partial
from pathlib import Path

import msgspec
import trio

from gateway import config, disk
from gateway.journal.writer import open_journal
from gateway.machine.arguments import Parser
from gateway.payments import steps
from gateway.payments.steps import Kind
from gateway.wire.codec import Codec, fpid_of, join_mac
from gateway.wire.message import PaymentRequest
from loadtest.runs.world import Plan, World, world

COMMIT_EVERY = 3000
PATH = {"PYTHONPATH": str(Path(__file__).parents[2])}
CODEC = Codec()


def payment(number: int) -> tuple[str, bytes, bytes, bytes]:
    """FPID, raw request, content digest and reply of a payment like the mock hub's."""
    built = PaymentRequest(
        mti="9200", processing_code="100000", amount="00000000001000", date_sent=time.strftime("%Y%m%d"),
        settlement_date=time.strftime("%Y%m%d"), settlement_cycle="001", trn=f"RESTART{number:010}",
        submitting_member="00000001", creditor_account="12345678", debtor_agent="040004", debtor_account="87654321",
        payment_data="001003SIP", currency="826", creditor_agent="050005", sender="040004", receiving_member="00000002",
        debtor_name="A PAYER OF SOME NAME", debtor_address="1 SOME STREET, SOME TOWN",
        creditor_name="A PAYEE OF SOME NAME", reference="REFERENCE",
    )  # fmt: skip
    raw = join_mac(CODEC.encode(built), bytes(8))
    request = CODEC.decode(raw)
    assert isinstance(request, PaymentRequest)
    return fpid_of(request), raw, CODEC.content_digest(request), CODEC.respond(request, "0000")


async def fill(directory: Path, records: int, backlog: int) -> None:
    """Write the journal."""
    journal = open_journal(config.JournalSettings(dir=str(directory)), disk.RealDisk())
    synced = trio.Event()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(journal.run, lambda _position: synced.set())
        number = 0
        while journal.position <= records:
            for _ in range(COMMIT_EVERY // 3):
                number += 1
                fpid, raw, content, reply = payment(number)
                append = partial(journal.append, fpid=fpid, wall_ns=time.time_ns())
                append(Kind.RECEIVED, raw)
                told = number <= backlog
                decision = steps.Decision("0083" if told else "0000", "", content, reply, raw if told else b"")
                append(Kind.STOOD_IN if told else Kind.ANSWERED, steps.pack(decision))
                append(Kind.REPLIED)
            synced = trio.Event()
            journal.commit()
            await synced.wait()
        journal.append(Kind.STOPPED, wall_ns=time.time_ns())
        await journal.aclose()


async def backlog_told(it: World) -> float:
    """Seconds until the processor has acknowledged everything."""
    began = time.monotonic()
    while (await it.statistics())["forwarder"]["backlog_at_least"]:  # noqa: ASYNC110 - another process
        await trio.sleep(0.02)
    return time.monotonic() - began


async def main(records: int, backlog: int) -> None:
    """Make, start, measure."""
    plan = Plan(gateway_cpu=0, workers_cpu=1, others_cpu=1)
    async with world(plan, None, keep=False) as it:
        await it.start(gateway=False)
        filling = [sys.executable, __file__, "--fill", str(it.journal)]  # a process of its own: it keeps the lock
        await trio.run_process([*filling, "--records", str(records), "--backlog", str(backlog)], env=os.environ | PATH)
        began = time.monotonic()
        await it.start_gateway()
        print(f"records {records}: signed on at both sites after {time.monotonic() - began:.2f} s")
        opened = [
            line for line in (it.directory / "gateway.log").read_bytes().splitlines() if b"journal opened" in line
        ]
        found = msgspec.json.decode(opened[-1], type=dict[str, object])
        print(f"  of these {found['elapsed_ms']} ms to read and verify {found['records']} records")
        print(f"  resident memory {(it.gateway_rss_bytes() or 0) / 1e6:.0f} MB")
        if backlog:
            seconds = await backlog_told(it)
            told = (await it.statistics())["forwarder"]["told"]
            print(f"backlog of {backlog}: {told} told, all of them {seconds:.2f} s after signing on")
        await it.stop_gateway()
        await it.finish_hub()


if __name__ == "__main__":
    parser = Parser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--records", type=int, default=1_000_000, help="records in the journal (default: %(default)s)")
    parser.add_argument("--backlog", type=int, default=0, help="stand-ins that nobody was told of (default: none)")
    parser.add_argument("--fill", type=Path, metavar="DIR", help="only make the journal, here")
    options = parser.parse_args()
    if options.fill:
        trio.run(fill, options.fill, options.records, options.backlog)
    else:
        trio.run(main, options.records, options.backlog)
