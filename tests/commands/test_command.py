"""`fps-gateway journal`: what a person sees of a journal, offline and while it is written."""

import io
import json
import sys
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest
import trio

from gateway import log
from gateway.__main__ import main
from gateway.config import JournalSettings
from gateway.disk import RealDisk
from gateway.journal import looking
from gateway.journal.record import HEADER_BYTES
from gateway.journal.segment import name_of
from gateway.journal.writer import Journal
from gateway.payments import steps
from gateway.payments.steps import Decision, Dropped, Kind, Parked, Rejected, Started, Told
from tests.fakes.journal import SETTINGS, WALL_NS, fill, running

PENCE = 8_675_309
SECRETS = ["TRN1SECRET", "ACCOUNT12345678", "NAME OF A PERSON", str(PENCE)]
SECOND = 1_000_000_000


@pytest.fixture
def settings(tmp_path: Path) -> JournalSettings:
    """On the real disk."""
    return msgspec.structs.replace(SETTINGS, dir=str(tmp_path / "journal"))


@pytest.fixture
def run(settings: JournalSettings, capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str, str]]:
    """Run a command on the journal: exit code, standard output, standard error."""

    def command_run(name: str, *arguments: str) -> tuple[int, str, str]:
        capsys.readouterr()
        code = main(["journal", name, settings.dir, *arguments])
        return code, *capsys.readouterr()

    return command_run


Run = Callable[..., tuple[int, str, str]]


def record_a_day(journal: Journal) -> None:
    """Some of everything."""
    put = journal.append
    fpid = SECRETS[0].ljust(42)
    raw = f"no message: {SECRETS[1]} {SECRETS[2]}".encode()
    put(Kind.STARTED, steps.pack(Started("a", "0.1", "f" * 16)), wall_ns=WALL_NS)
    put(Kind.RECEIVED, raw, fpid=fpid, link=1, wall_ns=WALL_NS + SECOND)
    put(
        Kind.STOOD_IN,
        steps.pack(Decision("0083", "", b"8 bytes.", raw, raw, PENCE)),
        fpid=fpid,
        wall_ns=WALL_NS + 2 * SECOND,
    )
    put(Kind.PARKED, steps.pack(Parked(3, 422)), fpid=fpid, wall_ns=WALL_NS + 3 * SECOND)
    put(Kind.REJECTED, steps.pack(Rejected("650", "byte 3", raw, raw)), wall_ns=WALL_NS + 4 * SECOND)
    put(Kind.PARKED, steps.pack(Parked(1, 400)), wall_ns=WALL_NS + 5 * SECOND)
    put(Kind.TOLD, steps.pack(Told(1)), wall_ns=WALL_NS + 6 * SECOND)


async def a_day(settings: JournalSettings) -> None:
    """A journal with that in it."""
    disk = RealDisk()
    async with running(disk, settings) as journal:
        record_a_day(journal)
    disk.release()


@pytest.fixture
def day(settings: JournalSettings) -> None:
    """A day in the journal."""
    trio.run(a_day, settings)


def test_a_whole_journal_verifies(day: None, run: Run) -> None:
    """Exit code 0, and how much was verified."""
    code, out, err = run("verify")
    assert (code, err) == (0, "")
    assert "is whole: 7 records, positions 1 to 7, 1 segment, chain " in out


def test_damage_is_said_with_its_place(day: None, run: Run, settings: JournalSettings) -> None:
    """Exit code 1; the file, the offset, the position; nothing of the content."""
    path = Path(settings.dir) / name_of(1)
    data = bytearray(path.read_bytes())
    data[data.index(SECRETS[1].encode())] ^= 1
    path.write_bytes(data)
    code, out, err = run("verify")
    assert (code, out) == (1, "")
    assert "segment 0000000001.segment, offset 4212, position 2: the record's checksum does not fit" in err
    assert run("stat")[0] == 1


def test_a_torn_tail_is_no_damage(settings: JournalSettings, run: Run) -> None:
    """It is said, with its place, and the exit code is 0: it may be being written just now."""

    async def write() -> None:
        disk = RealDisk()
        async with running(disk, settings, clean=False) as journal:
            await fill(journal, [[b"one"], [b"two" * 1000]])
        disk.release()

    trio.run(write)
    path = Path(settings.dir) / name_of(1)
    data = bytearray(path.read_bytes())
    data[HEADER_BYTES + 1024 : HEADER_BYTES + 1536] = bytes(512)
    path.write_bytes(data)
    code, out, _ = run("verify")
    assert code == 0
    assert "is whole: 1 record, positions 1 to 1" in out
    assert "not whole, being written just now or torn; a start cuts it off: segment 0000000001.segment" in out
    assert path.read_bytes() == data
    code, out, err = run("show")
    assert (code, out.count("\n")) == (0, 1)
    assert "not whole" in err


def test_what_is_no_journal(run: Run, settings: JournalSettings) -> None:
    """Exit code 2."""
    assert run("verify") == (2, "", f"fps-gateway journal: {settings.dir}: No such directory\n")
    Path(settings.dir).mkdir()
    assert run("show") == (2, "", f"fps-gateway journal: {settings.dir} holds no journal\n")
    assert run("stat")[0] == 2


def test_records_are_shown_without_what_is_a_customers(day: None, run: Run) -> None:
    """Position, time, kind, link, payment, bytes; codes, reasons, positions and sizes of structured bodies."""
    code, out, err = run("show", "--fields")
    assert (code, err) == (0, "")
    assert not [secret for secret in SECRETS if secret in out]
    lines = [line for line in out.splitlines() if not line.startswith("            ")]
    assert len(lines) == 7
    name = log.fpid_hash(SECRETS[0].ljust(42))
    assert lines[1].split() == ["2", "2023-11-14T22:13:21.000000Z", "RECEIVED", "1", name, "44"]
    assert "STOOD_IN" in lines[2]
    assert "code=0083 content=382062797465732e reply_bytes=44 request_bytes=44" in lines[2]
    assert lines[3].endswith("position=3 status=422 to=processor")
    assert "function_code=650 where=byte 3" in lines[4]


def test_everything_is_shown_when_asked(day: None, run: Run) -> None:
    """With --reveal, and only then."""
    out = run("show", "--reveal", "--why", "a test")[1]
    assert SECRETS[0] in out
    shown = [json.loads(line) for line in run("show", "--json", "--reveal", "--why", "a test")[1].splitlines()]
    assert shown[1]["fpid"] == SECRETS[0].ljust(42)
    assert "messages" in shown[2]


def test_json_has_one_object_per_line(day: None, run: Run) -> None:
    """With the body's safe fields, and no message unless asked."""
    out = run("show", "--json")[1]
    assert not [secret for secret in SECRETS if secret in out]
    shown = [json.loads(line) for line in out.splitlines()]
    assert [item["position"] for item in shown] == list(range(1, 8))
    assert shown[3]["body"] == {"position": 3, "status": 422, "to": "processor"}
    assert shown[0]["body"] == {"node": "a", "version": "0.1", "fingerprint": "f" * 16}
    assert "fpid" not in shown[1]
    assert "messages" not in shown[2]


@pytest.mark.parametrize(
    ("arguments", "positions"),
    [
        (["--kind", "parked"], [4, 6]),
        (["--kind", "PARKED", "--kind", "TOLD", "--limit", "2"], [4, 6]),
        (["--from", "3", "--to", "5"], [3, 4, 5]),
        (["--from", "2023-11-14T22:13:25"], [6, 7]),
        (["--to", "2023-11-14T22:13:21+00:00"], [1, 2]),
        (["--fpid-hash", log.fpid_hash(SECRETS[0].ljust(42))], [2, 3, 4]),
        (["--parked"], [3]),
        (["--from", "100"], []),
        (["--limit", "1"], [1]),
    ],
)
def test_filters(day: None, run: Run, arguments: list[str], positions: list[int]) -> None:
    """By kind, payment, place, time; parked and never acknowledged since."""
    shown = [json.loads(line)["position"] for line in run("show", "--json", *arguments)[1].splitlines()]
    assert shown == positions


PARKED_OF_TWO = [
    ([], []),
    ([Parked(1, 422)], [1]),
    ([Parked(1, 422), Told(1)], []),
    ([Parked(1, 422), Dropped(1, "settled by hand")], []),
    ([Parked(1, 422, "peer-usm"), Told(1)], [1]),
    ([Parked(1, 422), Dropped(1, "settled by hand", "peer-usm")], [1]),
    ([Parked(1, 422), Parked(1, 422, "peer-usm"), Told(1)], [1]),
]
"""News has two receivers: what one of them took, or a person dropped for it, the other one may still refuse."""


@pytest.mark.parametrize(("happened", "positions"), PARKED_OF_TWO)
def test_what_is_parked_is_known_by_receiver(
    settings: JournalSettings, run: Run, happened: list[Parked | Told | Dropped], positions: list[int]
) -> None:
    """An acknowledgement by another receiver does not end it."""
    kinds = {Parked: Kind.PARKED, Told: Kind.TOLD, Dropped: Kind.DROPPED}

    async def write() -> None:
        disk = RealDisk()
        async with running(disk, settings) as journal:
            journal.append(Kind.USM, b"", wall_ns=WALL_NS)
            for each in happened:
                journal.append(kinds[type(each)], steps.pack(each), wall_ns=WALL_NS)
        disk.release()

    trio.run(write)
    shown = [json.loads(line)["position"] for line in run("show", "--json", "--parked")[1].splitlines()]
    assert shown == positions


def test_filters_that_make_no_sense(day: None, run: Run) -> None:
    """Exit code 2 and what is wrong."""
    assert run("show", "--kind", "NONE")[::2] == (2, "fps-gateway journal: no such kind: NONE\n")
    assert run("show", "--from", "soon")[::2] == (2, "fps-gateway journal: neither a position nor a time: soon\n")


def test_tail_shows_the_last(day: None, run: Run) -> None:
    """As many as asked for."""
    shown = run("tail", "-n", "2")[1]
    assert [line.split()[0] for line in shown.splitlines()] == ["6", "7"]
    assert run("tail", "-n", "0")[1] == ""


async def test_tail_follows_across_segments(settings: JournalSettings, monkeypatch: pytest.MonkeyPatch) -> None:
    """Records of a running gateway are seen while it writes, in order, from segment to segment."""
    disk = RealDisk()
    async with running(disk, settings) as journal:
        reading = looking.reader(disk.directory(settings.dir))
        assert list(reading.records()) == []
        seen = []
        for n in range(40):
            await fill(journal, [[b"%03d" % n * 1000]])
            seen += [record.position for record in reading.records()]
        reading.close()
    disk.release()
    assert seen == list(range(1, 41))


async def test_everything_works_beside_a_running_gateway(settings: JournalSettings, run: Run) -> None:
    """Verify, stat, show take no lock and see what is durable."""
    disk = RealDisk()
    async with running(disk, settings) as journal:
        follower = journal.follower("archive", frozenset(Kind))
        await fill(journal, [[b"%03d" % n * 1000] for n in range(40)])
        got: list[object] = []
        while len(got) < 30:
            got += await follower.batch(30 - len(got))
        follower.settle(follower.position)
        code, out, _ = run("verify")
        assert (code, "40 records" in out) == (0, True)
        assert len(run("show")[1].splitlines()) == 40
        assert json.loads(run("stat", "--json")[1])["followers"] == {"archive": {"cursor": 0, "lag": 40}}
        code, _, err = run("forget", "archive")
        assert code == 1
        assert "in use by another process" in err
    disk.release()
    facts = json.loads(run("stat", "--json")[1])
    assert facts["followers"] == {"archive": {"cursor": 31, "lag": 10}}
    assert (facts["records"], facts["first_position"], facts["last_position"]) == (40, 1, 40)
    assert facts["kinds"] == {"RECEIVED": {"records": 40, "bytes": 120_000}}
    assert facts["segments"] == 3
    out = run("stat")[1]
    assert "follower  archive          cursor 31  lag 10" in out
    assert "oldest time        2023-11-14T22:13:20.000000Z" in out


def test_a_follower_that_is_gone_is_forgotten(settings: JournalSettings, run: Run) -> None:
    """By hand, when no gateway runs; others stay."""

    async def write() -> None:
        disk = RealDisk()
        async with running(disk, settings) as journal:
            for name in ("archive", "processor"):
                journal.follower(name, frozenset({Kind.RECEIVED}))
            await fill(journal, [[b"x"]])
        disk.release()

    trio.run(write)
    assert run("forget", "nobody")[::2] == (
        2,
        f"fps-gateway journal: {settings.dir} has no follower nobody; it has: archive, processor\n",
    )
    assert run("forget", "archive")[:2] == (0, "follower archive is forgotten\n")
    assert list(json.loads(run("stat", "--json")[1])["followers"]) == ["processor"]


def test_progress_is_shown_on_a_terminal_only(
    day: None, run: Run, monkeypatch: pytest.MonkeyPatch, settings: JournalSettings
) -> None:
    """And goes to standard error, so that the result stands alone on standard output."""

    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    assert main(["journal", "verify", settings.dir]) == 0
    assert "7 records, segment 1 of " in terminal.getvalue()


async def test_damage_that_is_gone_at_a_second_look_is_none(
    settings: JournalSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A batch that is just being written may look like anything."""
    await a_day(settings)
    path = Path(settings.dir) / name_of(1)
    whole = path.read_bytes()
    path.write_bytes(whole.replace(SECRETS[1].encode(), b"ACCOUNT00000000"))

    class Mend(looking.Watch):
        def again(self) -> None:
            path.write_bytes(whole)

    walk = looking.look(RealDisk().directory(settings.dir), Mend())
    assert walk.position == 8
