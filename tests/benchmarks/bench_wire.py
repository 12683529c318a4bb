"""What the codec costs, beside pyiso8583 and beside itself without compiled plans.

    python tests/benchmarks/bench_wire.py [--rounds N]

Prints the best of N rounds in microseconds a message: the best is the least disturbed by whatever else the machine
does. Each candidate is first checked to read and write the very same message.
"""

import platform
import sys
import time
from collections.abc import Callable
from typing import Any

import iso8583

from gateway.config import Wire
from gateway.machine.arguments import Parser
from gateway.wire import plan, walk
from gateway.wire.codec import Codec, fpid_of, join_mac, split_mac
from gateway.wire.frame import Framer, framer_of
from gateway.wire.message import PaymentRequest

VALUES = {
    "processing_code": "100000",
    "amount": "00000000012345",
    "date_sent": "20250131",
    "settlement_date": "20250131",
    "settlement_cycle": "001",
    "trn": "TRN00000000000001",
    "submitting_member": "12345678",
    "creditor_account": "12345678",
    "debtor_agent": "200000",
    "debtor_account": "87654321",
    "charges": "001003SHA",
    "currency": "826",
    "payment_data": "00100210",
    "end_to_end": "INVOICE 2025/000123",
    "creditor_agent": "400000",
    "sender": "200000",
    "receiving_member": "40000000",
    "debtor_name": "A SENDER LIMITED",
    "debtor_address": "1 HIGH STREET, LONDON, E1 1AA",
    "creditor_name": "MRS B RECEIVER",
    "reference": "INVOICE 000123",
}
"""With DE128 the 22 fields of a 9200 from the hub."""


def best(work: Callable[[], object], rounds: int, calls: int) -> float:
    """Microseconds a call."""
    fastest = float("inf")
    for _ in range(rounds):
        start = time.perf_counter()
        for _ in range(calls):
            work()
        fastest = min(fastest, (time.perf_counter() - start) / calls)
    return fastest * 1e6


def oracle_spec(codec: Codec) -> dict[str, dict[str, Any]]:
    """Put the table in the words of pyiso8583."""

    def entry(max_len: int, len_type: int = 0) -> dict[str, Any]:
        return {"data_enc": "ascii", "len_enc": "ascii", "len_type": len_type, "max_len": max_len, "desc": ""}

    spec = {str(number): entry(0) for number in range(2, 129)}
    spec |= {"h": entry(0), "t": entry(4), "p": entry(16), "1": entry(16)}
    return spec | {str(number): entry(field.width, field.prefix) for number, field in codec.table.fields.items()}


def main() -> None:
    """Measure and print."""
    parser = Parser(description="What the codec costs.")
    parser.add_argument("--rounds", type=int, default=7)
    rounds = parser.parse_args().rounds
    codec = Codec()
    built = PaymentRequest(mti="9200", **VALUES)  # type: ignore[arg-type]  # text only
    body = join_mac(codec.encode(built), bytes(8))
    for _ in range(50):
        message = codec.decode(body)
    assert isinstance(message, PaymentRequest)
    assert codec.encode(message) == body[:-16]
    spec = oracle_spec(codec)
    document, _ = iso8583.decode(body, spec)
    assert bytes(iso8583.encode(document, spec)[0]) == body
    numbers = walk.numbers_in(body)
    put, settings = framer_of(Wire()), Wire()
    chunk = put(body) * 64
    accented = join_mac(codec.encode(PaymentRequest(mti="9200", **VALUES | {"debtor_name": "É"})), bytes(8))  # type: ignore[arg-type]

    def frames() -> None:
        Framer(settings).feed(chunk, 0.0)

    python = f"{platform.python_implementation()} {platform.python_version()} ({platform.python_compiler()})"
    sys.stdout.write(f"{python}; 9200 of {len(numbers)} fields, {len(body)} bytes\n")
    rows: list[tuple[str, Callable[[], object], int, int]] = [
        ("decode", lambda: codec.decode(body), 20000, 1),
        ("decode, not compiled", lambda: codec._read_slowly(body), 2000, 1),
        ("decode, an accent in a name", lambda: codec.decode(accented), 2000, 1),
        ("decode, pyiso8583", lambda: iso8583.decode(body, spec), 2000, 1),
        ("encode", lambda: codec.encode(message), 20000, 1),
        ("encode, not compiled", lambda: codec._write_slowly(message), 2000, 1),
        ("encode, pyiso8583", lambda: iso8583.encode(document, spec), 2000, 1),
        ("respond", lambda: codec.respond(message, "0000"), 20000, 1),
        ("content digest", lambda: codec.content_digest(message), 20000, 1),
        ("FPID", lambda: fpid_of(message), 20000, 1),
        ("split off the MAC", lambda: split_mac(body), 20000, 1),
        ("frame out", lambda: put(body), 20000, 1),
        ("frames in, 64 in a chunk", frames, 500, 64),
        ("compile a plan", lambda: plan.reader(codec.table, "9200", numbers, codec._read_slowly, codec._fault), 50, 1),
    ]
    for name, work, calls, messages in rows:
        sys.stdout.write(f"  {name:30} {best(work, rounds, calls) / messages:9.2f} µs\n")


if __name__ == "__main__":
    main()
