"""What asking and telling cost, end to end over loopback, against the mock processor in a process of its own.

    python tests/benchmarks/bench_processor.py [--asks 20000] [--in-flight 64] [--notices 20000] [--tls]

The cost of an ask is processor time of this process, not the time that passes: the mock has the other core.
"""

import json
import random
import subprocess
import sys
import tempfile
import time
from collections import deque
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import trio
import trustme

from gateway import config
from gateway.machine.arguments import Parser
from gateway.payments import steps
from gateway.payments.steps import Kind
from gateway.payments.work import Answer, Ask
from gateway.processor.addressees import the_processor
from gateway.processor.answers import Answers
from gateway.processor.client import Client
from gateway.processor.forwarder import Forwarder
from gateway.processor.messages import encode
from gateway.processor.writing import payment_of
from gateway.wire.codec import Codec
from gateway.wire.message import PaymentRequest

MOCK = """
import sys
from gateway.machine.arguments import Parser
from loadtest.processor import command as processor_command
parser = Parser()
processor_command.add_parser(parser.add_subparsers())
options = parser.parse_args()
sys.exit(options.run(options))
"""


def say(line: str) -> None:
    """Print it."""
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def request(number: int) -> tuple[str, PaymentRequest]:
    """A payment as the hub sends it, and its FPID."""
    trn = f"BENCH{number:013d}"
    payment = PaymentRequest(
        mti="9200", processing_code="100000", amount="00000000012345", date_sent="20251122", settlement_date="20251122",
        settlement_cycle="001", trn=trn, submitting_member="200000", creditor_account="12345678",
        debtor_agent="200000", debtor_account="87654321", charges="001003SHA", currency="826", payment_data="00100210",
        end_to_end="NOTPROVIDED", creditor_agent="300000", sender="200000", receiving_member="300000",
        debtor_name="MR A N OTHER", debtor_address="1 HIGH STREET", creditor_name="MRS B ELSEWHERE",
        reference="INVOICE 1234",
    )  # fmt: skip
    return f"{trn}1020251122826200000     ", payment


class Record(NamedTuple):
    """A record of the journal."""

    position: int
    time_ns: int
    kind: Kind
    fpid: str
    body: bytes


class Journal:
    """A journal in memory that is a follower, too."""

    def __init__(self, records: list[Record]) -> None:
        self.records = records
        self.position = 1
        self.told = 0
        self.done = trio.Event()

    def append(self, kind: Kind, body: bytes = b"", *, fpid: str = "", link: int = 0, wall_ns: int) -> int:
        """Count it."""
        self.told += 1
        if self.told == len(self.records):
            self.done.set()
        return len(self.records) + self.told

    def commit(self) -> None:
        """Nothing to do."""

    def has_room(self) -> bool:
        """Yes."""
        return True

    def follower(self, name: str, kinds: frozenset[Kind]) -> "Journal":
        """Itself."""
        return self

    async def record(self, position: int) -> Record | None:
        """Nobody asks for one."""
        raise NotImplementedError

    async def until_durable(self, position: int) -> None:
        """Nobody waits."""
        raise NotImplementedError

    async def batch(self, max_records: int) -> Sequence[Record]:
        """The next ones."""
        if self.position > len(self.records):
            await trio.sleep_forever()
        found = self.records[self.position - 1 : self.position - 1 + max_records]
        self.position += len(found)
        return found

    def settle(self, position: int) -> None:
        """Nothing to do."""


def micro() -> None:
    """The pieces, in microseconds each."""
    times = 50_000
    fpid, payment = request(1)
    built = payment_of(payment, fpid)
    answers, answer = Answers(), b'{"TxSts":"ACSP","StsRsnInf":{"Rsn":{"Prtry":"0000"}}}'
    for name, piece in (
        ("build a payment's JSON names", lambda: payment_of(payment, fpid)),
        ("encode it", lambda: encode(built)),
        ("read an answer", lambda: answers.read(200, answer)),
        ("read an answer as the first time", lambda: answers._read(answer)),
    ):
        start = time.perf_counter()
        for _ in range(times):
            piece()
        say(f"{name:32} {(time.perf_counter() - start) / times * 1e6:8.2f} us")


async def ask(settings: config.Processor, asks: int, in_flight: int) -> None:
    """Keep so many asks in flight until all are answered."""
    client = Client(settings)
    made = deque(Ask(*request(number), deadline_s=0.0) for number in range(asks))
    left, done, latencies = asks, trio.Event(), list[float]()

    def on_answers(answers: list[Answer]) -> None:
        nonlocal left
        left -= len(answers)
        now_s = trio.current_time()
        latencies.extend(now_s - answer.context for answer in answers)
        if made:
            more()
        if not left:
            done.set()

    def more() -> None:
        now_s = trio.current_time()
        one = made.popleft()
        one.deadline_s, one.context = now_s + 5.0, now_s
        client.ask([one])

    async with trio.open_nursery() as nursery:
        await nursery.start(client.run, on_answers)
        start, cpu = time.perf_counter(), time.process_time()
        for _ in range(min(in_flight, asks)):
            more()
        await done.wait()
        passed, cpu = time.perf_counter() - start, time.process_time() - cpu
        latencies.sort()
        connections = client.statistics()["connections"]
        p50, p99 = latencies[asks // 2] * 1e3, latencies[asks * 99 // 100] * 1e3
        say(
            f"asks, {in_flight:4} in flight              {cpu / asks * 1e6:8.1f} us of processor time each, "
            f"{asks / passed:8.0f}/s, p50 {p50:.2f} ms, p99 {p99:.2f} ms, {connections} connections"
        )
        nursery.cancel_scope.cancel()


async def tell(settings: config.Processor, notices: int) -> None:
    """Tell a backlog."""
    codec = Codec()
    records = []
    for number in range(notices):
        fpid, payment = request(number)
        body = steps.Decision("0083", "", bytes(8), b"", codec.encode(payment) + b"0" * 16)
        records.append(Record(number + 1, time.time_ns(), Kind.STOOD_IN, fpid, steps.pack(body)))
    random.Random(1).shuffle(records)  # noqa: S311 - not a secret
    records = [record._replace(position=index) for index, record in enumerate(records, 1)]
    journal, client = Journal(records), Client(settings)
    forwarder = Forwarder(settings, "bench", client, the_processor("bench", codec))
    async with trio.open_nursery() as nursery:
        await nursery.start(client.calls.run)
        start, cpu = time.perf_counter(), time.process_time()
        nursery.start_soon(forwarder.run, journal)
        await journal.done.wait()
        passed, cpu = time.perf_counter() - start, time.process_time() - cpu
        say(
            f"notices, {settings.tell_per_s:7.0f}/s allowed       {cpu / notices * 1e6:8.1f} us of processor time "
            f"each, {notices / passed:8.0f}/s, in {passed:.2f} s"
        )
        nursery.cancel_scope.cancel()


def main() -> None:
    """Measure."""
    parser = Parser(description=__doc__)
    parser.add_argument("--asks", type=int, default=20_000)
    parser.add_argument("--notices", type=int, default=20_000)
    parser.add_argument("--in-flight", type=int, nargs="+", default=[1, 16, 64])
    parser.add_argument("--tls", action="store_true")
    options = parser.parse_args()
    micro()
    with tempfile.TemporaryDirectory() as name:
        place = Path(name)
        arguments, tls = list[str](), None
        if options.tls:
            authority = trustme.CA()
            server, client = authority.issue_cert("localhost"), authority.issue_cert("gateway")
            authority.cert_pem.write_to_path(place / "ca.pem")
            server.private_key_and_cert_chain_pem.write_to_path(place / "server.pem")
            client.private_key_and_cert_chain_pem.write_to_path(place / "client.pem")
            arguments = ["--certificate", f"{place}/server.pem", "--client-ca", f"{place}/ca.pem"]
            tls = config.Tls(f"{place}/ca.pem", f"{place}/client.pem", server_name="localhost")
        command = [sys.executable, "-c", MOCK, "processor", *arguments]
        with subprocess.Popen(command, stdout=subprocess.PIPE) as mock:
            assert mock.stdout is not None
            url = f"{'https' if tls else 'http'}://127.0.0.1:{json.loads(mock.stdout.readline())['port']}"
            for in_flight in options.in_flight:
                trio.run(ask, config.Processor(url=url, tls=tls), options.asks, in_flight)
            for per_s in (2000.0, 1e9):
                trio.run(tell, config.Processor(url=url, tls=tls, tell_per_s=per_s), options.notices)
            mock.terminate()


if __name__ == "__main__":
    main()
