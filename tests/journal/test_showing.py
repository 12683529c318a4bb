"""`journal show` as whoever is on call uses it: one payment, found by what they were given, and what it carried."""

import json
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest
import trio

from gateway import log
from gateway.__main__ import main
from gateway.config import JournalSettings
from gateway.disk import RealDisk
from gateway.exitcodes import ExitCode
from gateway.payments import steps
from gateway.payments.steps import Kind
from gateway.wire.codec import Codec, fpid_of
from gateway.wire.message import PaymentRequest
from tests.fakes.engine import payment, response
from tests.fakes.journal import SETTINGS, WALL_NS, running

CODEC = Codec()
ARRIVING = payment("TRNIN")
LEAVING = CODEC.decode(payment("TRNOUT"))
assert isinstance(LEAVING, PaymentRequest)
COVERED = CODEC.encode(LEAVING)
FPID = fpid_of(CODEC.decode(ARRIVING))  # type: ignore[arg-type]  # it is a request
OUT = fpid_of(LEAVING)
ACCOUNT = "87654321"
RECORDS = 10
NONE = (ExitCode.NOT_FOUND, "")

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Run:
    """Run `journal show` on a journal with a payment each way, and one whose MAC was wrong."""
    settings = msgspec.structs.replace(SETTINGS, dir=str(tmp_path / "journal"))
    trio.run(write, settings)

    def show(*arguments: str) -> tuple[int, str, str]:
        capsys.readouterr()
        code = main(["journal", "show", settings.dir, *arguments])
        return code, *capsys.readouterr()

    return show


async def write(settings: JournalSettings) -> None:
    """Make that journal."""
    request = CODEC.decode(ARRIVING)
    assert isinstance(request, PaymentRequest)
    reply = CODEC.respond(request, "0000")
    answer = response(LEAVING)
    forged = payment("TRNFORGED")
    content = b"8 bytes."
    records = (
        (Kind.RECEIVED, ARRIVING, FPID),
        (Kind.ANSWERED, steps.pack(steps.Decision("0000", "", content, reply)), FPID),
        (Kind.REPLIED, b"", FPID),
        (Kind.SUBMITTED, steps.pack(steps.Submitted("key-1", content, COVERED)), OUT),
        (Kind.RETRIED, steps.pack(steps.Retry(2, b"9201" + COVERED[4:], "key-1", content)), OUT),
        (Kind.UNKNOWN, steps.pack(steps.Unsettled("key-1", content, "no-answer", "", 2, COVERED)), OUT),
        (Kind.SETTLED, steps.pack(steps.Settlement("key-1", content, "0000", "", "receiver", answer, COVERED)), OUT),
        (Kind.TOLD, steps.pack(steps.Told(7)), OUT),
        (Kind.REJECTED, steps.pack(steps.Rejected("690", "DE128", forged, b"")), ""),
        (Kind.SEALED, steps.pack(steps.Seal(9, bytes(32), "key-1", bytes(8))), ""),
    )
    assert len(records) == RECORDS
    disk = RealDisk()
    async with running(disk, settings) as journal:
        for kind, body, fpid in records:
            journal.append(kind, body, fpid=fpid, link=1, wall_ns=WALL_NS)
    disk.release()


INBOUND, OUTBOUND, FORGED = [1, 2, 3], [4, 5, 6, 7, 8], [9]


@pytest.mark.parametrize(
    ("arguments", "positions"),
    [
        (["--fpid", FPID], INBOUND),
        (["--fpid", FPID.rstrip()], INBOUND),
        (["--fpid", " ".join(FPID.split())], INBOUND),
        (["--fpid", f"  {' '.join(OUT.split())}\n"], OUTBOUND),
        (["--fpid-hash", log.fpid_hash(OUT)], OUTBOUND),
        (["--trn", "TRNIN"], INBOUND),
        (["--trn", "TRNOUT".ljust(18)], OUTBOUND),
        (["--key", "key-1"], OUTBOUND),
        (["--key", "key-1", "--kind", "SETTLED"], [7]),
        (["--key", "key-1", "--from", "8"], [8]),
        (["--trn", "TRNFORGED"], FORGED),
        (["--fpid-hash", log.fpid_hash("TRNFORGED".ljust(18) + FPID[18:])], FORGED),
    ],
    ids=repr,
)
def test_a_payment_is_found_by_what_one_was_given(run: Run, arguments: list[str], positions: list[int]) -> None:
    """FPID, TRN, key or the log's name of it, with its blanks or without; what was not believed is found, too."""
    code, out, err = run("--json", *arguments)
    assert ([json.loads(line)["position"] for line in out.splitlines()], code, err) == (positions, 0, "")


@pytest.mark.parametrize(
    "arguments",
    [
        ["--fpid", "X".ljust(18) + FPID[18:]], ["--trn", "TRNI"], ["--trn", "TRNINX"], ["--key", "key-"],
        ["--fpid-hash", FPID], ["--parked"], ["--kind", "REVERSED"], ["--from", "2030-01-01"], ["--key", "KEY-1"],
    ],
    ids=repr,
)  # fmt: skip
def test_that_nothing_matches_is_said(run: Run, arguments: list[str]) -> None:
    """On standard error, with how many were looked at, and with an exit code of its own."""
    assert run(*arguments) == (*NONE, f"0 of {RECORDS} records match\n")


def test_how_many_were_looked_at_counts_those_in_the_range(run: Run) -> None:
    """One record is counted in the singular."""
    assert run("--to", "1", "--trn", "TRNOUT") == (*NONE, "0 of 1 record matches\n")


@pytest.mark.parametrize(
    ("option", "value"), [("--fpid", "TRNIN"), ("--fpid", FPID + "X"), ("--fpid", "X " * 30), ("--trn", FPID)]
)
def test_what_can_be_no_fpid_is_an_error_and_not_shown(run: Run, option: str, value: str) -> None:
    """Rather than "no match": the exit code is that of a wrong command line."""
    code, out, err = run(option, value)
    assert (code, out) == (ExitCode.USAGE, "")
    assert err.startswith(f"fps-gateway journal: {option}: a")
    assert value.strip() not in err


def messages(out: str) -> dict[tuple[int, str], dict[str, str | None]]:
    """Fields of each message that was shown, by position and the message's name."""
    return {
        (record["position"], name): fields
        for record in map(json.loads, out.splitlines())
        for name, fields in record.get("messages", {}).items()
    }


def test_every_message_is_taken_apart_and_masked_by_one_rule(run: Run) -> None:
    """A field is masked by its kind, in requests, replies, submissions and answers alike."""
    out = run("--json", "--fields")[1]
    shown = messages(out)
    assert sorted(shown) == [
        (1, "message"), (2, "reply"), (4, "covered"), (5, "covered"), (6, "covered"), (7, "covered"), (7, "response"),
        (9, "message"),
    ]  # fmt: skip
    table = CODEC.table.fields
    for fields in shown.values():
        for number, value in fields.items():
            if int(number) > 1:
                assert (value is None) is table[int(number)].sensitive
    assert shown[2, "reply"]["26"] == shown[7, "response"]["26"] == "0000"
    assert ACCOUNT not in out
    revealed = messages(run("--json", "--reveal", "--why", "a test")[1])
    assert revealed[4, "covered"] == {n: v for n, v in revealed[9, "message"].items() if n != "128"} | {"31": "TRNOUT"}
    assert ACCOUNT in revealed[4, "covered"].values()
    assert "128" not in revealed[2, "reply"]


def test_a_message_without_its_mac_is_not_called_bad(run: Run) -> None:
    """As text, too: DE128 is made while the record is on its way to the disk, and nothing is wrong without it."""
    _, out, _ = run("--fields")
    assert "bad at byte" not in out
    assert "covered=" in out
    assert "covered, " in out
    assert "reply, " in out
    assert "action_code                  0000" in out


def test_sizes_stand_under_the_names_that_they_had(run: Run) -> None:
    """Programs read them: a name that was there stays."""
    bodies = {record["position"]: record.get("body") for record in map(json.loads, run("--json")[1].splitlines())}
    assert bodies[4] == {"key": "key-1", "content": b"8 bytes.".hex(), "covered": len(COVERED)}
    assert {"covered", "response"} <= set(bodies[7])
    assert {"reply_bytes"} <= set(bodies[2])
