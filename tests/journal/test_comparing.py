"""Two copies of one journal: where they part, which is behind, what is damaged; never what is in them."""

import io
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple, TypeVar

import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from gateway import log
from gateway.__main__ import main
from gateway.disk import File, RealDirectory, RealDisk
from gateway.errors import Refusal
from gateway.journal.comparing import Comparison, Side, compare
from gateway.journal.looking import Watch, look
from gateway.journal.manifest import Manifest, create_manifest, read_manifest, write_manifest
from gateway.journal.record import HEADER_BYTES
from gateway.journal.segment import Walk, name_of
from gateway.payments.steps import Kind
from tests.fakes.disk import Blob, FakeDisk
from tests.fakes.journal import DIR, ID, SETTINGS, WALL_NS, durable, fill, running

SECOND = 1_000_000_000


T = TypeVar("T")


class Entry(NamedTuple):
    """A record to be written."""

    size: int
    fill: str = "\0"
    kind: Kind = Kind.RECEIVED
    fpid: str = "F" * 42
    link: int = 1
    step_s: int = 1

    @property
    def body(self) -> bytes:
        """Of that size."""
        return self.fill.encode() * self.size


def book(entries: list[Entry], cuts: int = 1, *, segment_bytes: int = 65536, clean: bool = True) -> FakeDisk:
    """A journal with these records, so many in each batch."""
    disk = FakeDisk()

    async def write() -> None:
        async with running(disk, replace(SETTINGS, segment_bytes=segment_bytes), clean=clean) as journal:
            time_ns = WALL_NS
            for number, entry in enumerate(entries, 1):
                time_ns += entry.step_s * SECOND
                journal.append(entry.kind, entry.body, fpid=entry.fpid, link=entry.link, wall_ns=time_ns)
                if not number % cuts:
                    await durable(journal)
            await durable(journal)

    trio.run(write)
    disk.kill()
    return disk


def compared(one: FakeDisk, other: FakeDisk) -> Comparison:
    """What there is to say of them."""
    sides = [Side(disk.directory(DIR), Watch()) for disk in (one, other)]
    return compare(*sides)


def copied(disk: FakeDisk) -> FakeDisk:
    """Another disk with the same files."""
    made = FakeDisk()
    directory = made.directory(DIR, create=True)
    made.directories[DIR] = directory
    for name, blob in disk.directories[DIR].files.items():
        another = Blob()
        another.content, another.durable = bytearray(blob.content), bytearray(blob.content)
        directory.files[name] = directory.durable[name] = another
    return made


def forget_segments(disk: FakeDisk, oldest: int) -> None:
    """Delete the segments before one, as retention does."""
    directory = disk.directory(DIR)
    manifest = read_manifest(directory)
    assert manifest is not None
    write_manifest(directory, replace(manifest, oldest=oldest, turn=manifest.turn + 1))
    for number in range(1, oldest):
        directory.remove(name_of(number))


def walked(disk: FakeDisk) -> Walk:
    """A journal, read."""
    return look(disk.directory(DIR), Watch())


def one_of(names: list[T], number: int) -> T:
    """One of them: which files there are depends on what the disk was doing at the end."""
    return names[number % len(names)]


numbers = st.integers(0, 1 << 20)
small = st.integers(0, 300).map(Entry)
large = st.just(Entry(20_000))
entries = st.lists(small | large, max_size=12)
one_or_more = st.lists(small | large, min_size=1, max_size=12)
cuts = st.integers(1, 5)
sizes = st.sampled_from([65536, 131072])


@given(entries, cuts, cuts, sizes, sizes, st.sampled_from(["clean", "killed"]))
def test_the_same_records_are_the_same_however_they_lie_on_the_disk(
    written: list[Entry], one: int, other: int, size: int, other_size: int, end: str
) -> None:
    """Batches, segments and the mark of a clean end are each copy's own."""
    found = compared(
        book(written, one, segment_bytes=size), book(written, other, segment_bytes=other_size, clean=end == "clean")
    )
    assert found.outcome == "SAME"
    assert found.common == ([1, len(written)] if written else [])
    assert (found.behind, found.difference) == (None, None)


@given(one_or_more, st.data(), cuts, cuts)
def test_a_copy_that_ends_before_is_behind(written: list[Entry], data: st.DataObject, one: int, other: int) -> None:
    """The report says by how many records, and by how many seconds, whichever copy is named first."""
    kept = data.draw(st.integers(0, len(written) - 1))
    short, long = book(written[:kept], one), book(written, other)
    for which, found in enumerate((compared(short, long), compared(long, short))):
        assert found.outcome == "BEHIND"
        assert found.common == ([1, kept] if kept else [])
        assert found.behind is not None
        assert found.behind.copy == which
        assert found.behind.records == len(written) - kept
        assert found.behind.seconds == (len(written) - kept if kept else None)


@given(
    one_or_more,
    st.data(),
    st.sampled_from(
        [
            ({"size": 7, "fill": "x"}, ["body"]),
            ({"kind": Kind.REJECTED}, ["kind"]),
            ({"fpid": "G" * 42}, ["fpid"]),
            ({"link": 2}, ["link"]),
            ({"step_s": 7}, ["time_ns"]),
        ]
    ),
)
def test_copies_that_part_say_where_and_in_what(
    written: list[Entry], data: st.DataObject, change: tuple[dict[str, object], list[str]]
) -> None:
    """The first position that differs, and its record in both, whatever follows; without a word of what is in it."""
    at = data.draw(st.integers(0, len(written) - 1))
    more = [*written[:at], written[at]._replace(**change[0]), *data.draw(entries)]  # type: ignore[arg-type]  # by name
    one, other = book(written, data.draw(cuts)), book(more, data.draw(cuts))
    found = compared(one, other)
    assert found.outcome == "DIFFERENT"
    assert found.common == ([1, at] if at else [])
    assert found.behind is None
    assert found.difference is not None
    assert (found.difference.position, found.difference.fields) == (at + 1, change[1])
    assert [shown.bytes for shown in found.difference.records] == [len(written[at].body), len(more[at].body)]
    assert [copy.last_position for copy in found.copies] == [len(written), len(more)]


@given(one_or_more, cuts, numbers, numbers | st.integers(0, 8192), st.integers(0, 7))
def test_one_bit_is_damage_with_its_place_and_never_a_difference(
    written: list[Entry], batches: int, which: int, at: int, bit: int
) -> None:
    """Or it is a torn tail, or in a file that says nothing of records."""
    whole = book(written, batches)
    bad = copied(whole)
    files = bad.directories[DIR].files
    name = one_of([name for name in sorted(files) if files[name].content], which)
    content = files[name].content
    content[at % len(content)] ^= 1 << bit
    found = compared(whole, bad)
    copy = found.copies[1]
    if found.outcome == "DAMAGED":
        assert copy.damage is not None
        assert copy.damage.segment == name
        assert found.common == ([1, copy.last_position] if copy.last_position else [])
    elif found.outcome == "BEHIND":
        assert copy.torn_bytes
    else:
        assert found.outcome == "SAME"
        assert copy.torn_bytes or not name.endswith(".segment"), "in a segment that was not used yet"
    assert found.copies[0].damage is None


@given(one_or_more, cuts, numbers, numbers | st.integers(0, 8192))
def test_a_file_that_was_cut_off_is_damage(written: list[Entry], batches: int, which: int, at: int) -> None:
    """A copy that was interrupted, say."""
    whole = book(written, batches)
    bad = copied(whole)
    files = bad.directories[DIR].files
    name = one_of([name for name in sorted(files) if name.endswith(".segment") and any(files[name].content)], which)
    content = files[name].content
    del content[1 + at % (len(content) - 1) :]
    found = compared(bad, whole)
    assert found.outcome == "DAMAGED"
    damage = found.copies[0].damage
    assert damage is not None
    assert damage.segment == name


@given(st.lists(large, min_size=4, max_size=12), numbers)
def test_what_one_has_deleted_is_no_difference(written: list[Entry], which: int) -> None:
    """Retention is each copy's own; the chain says that what is gone was the same."""
    whole, kept = book(written), book(written)
    forget_segments(kept, one_of([info.number for info in walked(kept).segments][1:], which))
    found = compared(whole, kept)
    assert found.outcome == "SAME"
    first = found.copies[1].first_position
    assert first > 1
    assert found.common == [first, len(written)]
    changed = [written[0]._replace(fill="x"), *written[1:]]
    found = compared(book(changed), kept)
    assert found.outcome == "DIFFERENT"
    assert found.difference is not None
    assert (found.difference.position, found.difference.records) == (first, [])


def test_copies_that_have_nothing_in_common_cannot_be_compared() -> None:
    """Unless one goes on just where the other ends."""
    written = [Entry(20_000)] * 9
    late = book(written)
    forget_segments(late, 2)
    first = compared(late, late).copies[0].first_position
    assert first > 2
    assert compared(book(written[: first - 2]), late).outcome == "NOT_KNOWN"
    found = compared(book(written[: first - 1]), late)
    assert (found.outcome, found.common) == ("BEHIND", [])
    assert found.behind is not None
    assert found.behind.records == 10 - first


def test_two_journals_are_not_compared() -> None:
    """Their names say that they are not the same."""
    disk = FakeDisk()
    create_manifest(disk.directory(DIR, create=True), Manifest(journal=bytes(16)))
    found = compared(book([Entry(0)]), disk)
    assert (found.outcome, found.difference, found.common) == ("DIFFERENT", None, [])
    assert [copy.journal for copy in found.copies] == [ID.hex(), bytes(16).hex()]


# --- as a command


SECRETS = ("TRN1SECRET", "ACCOUNT12345678")


@pytest.fixture
def write(tmp_path: Path) -> Callable[..., str]:
    """Write a journal into a directory of this name; returns the path."""

    def written(name: str, bodies: list[bytes]) -> str:
        settings = replace(SETTINGS, dir=str(tmp_path / name))

        async def run() -> None:
            disk = RealDisk()
            async with running(disk, settings) as journal:
                for number, body in enumerate(bodies):
                    time_ns = WALL_NS + number * SECOND
                    journal.append(Kind.RECEIVED, body, fpid=SECRETS[0].ljust(42), link=1, wall_ns=time_ns)
                    await durable(journal)
            disk.release()

        trio.run(run)
        return settings.dir

    return written


Write = Callable[[str, list[bytes]], str]


def test_the_same_in_words(write: Write, capsys: pytest.CaptureFixture[str]) -> None:
    """Exit code 0, and how far."""
    one, other = write("one", [b"a", b"b"]), write("other", [b"a", b"b"])
    assert main(["journal", "compare", one, other]) == 0
    said = capsys.readouterr()
    assert said.err == ""
    assert said.out.splitlines() == [
        f"{one}: journal {ID.hex()}, positions 1 to 2, newest 2023-11-14T22:13:21.000000Z",
        f"{other}: journal {ID.hex()}, positions 1 to 2, newest 2023-11-14T22:13:21.000000Z",
        "the same: positions 1 to 2",
    ]
    empty = write("empty", [])
    assert main(["journal", "compare", empty, empty]) == 0
    said = capsys.readouterr()
    assert said.out.splitlines() == [f"{empty}: journal {ID.hex()}, no records read"] * 2 + ["the same: both are empty"]


def test_one_that_is_behind_in_words(write: Write, capsys: pytest.CaptureFixture[str]) -> None:
    """Exit code 1, and which."""
    one, other = write("one", [b"a", b"b", b"c"]), write("other", [b"a"])
    assert main(["journal", "compare", one, other]) == 1
    said = capsys.readouterr().out.splitlines()
    assert said[2:] == [
        "the same: positions 1 to 1",
        f"{other} is behind: {one} goes on with 2 records, 2.000 s",
    ]
    assert main(["journal", "compare", write("empty", []), other]) == 1
    said = capsys.readouterr().out.splitlines()
    assert said[-1].endswith(f"is behind: {other} goes on with 1 record")


def test_different_ones_in_words_and_without_what_is_in_them(write: Write, capsys: pytest.CaptureFixture[str]) -> None:
    """Exit code 4. Kind, time, link, payment and size of the two records, and no more."""
    secret = SECRETS[1].encode()
    one, other = write("one", [b"a", b"b" + secret]), write("other", [b"a", secret, b"c"])
    assert main(["journal", "compare", one, other]) == 4
    said = capsys.readouterr()
    name = log.fpid_hash(SECRETS[0].ljust(42))
    record = f"RECEIVED 2023-11-14T22:13:21.000000Z link 1 payment {name}"
    assert said.out.splitlines()[2:] == [
        "the same: positions 1 to 1",
        "they differ from position 2 on, there in body:",
        f"  {one}: {record} 16 bytes, and 0 more records",
        f"  {other}: {record} 15 bytes, and 1 more record",
    ]
    assert main(["journal", "compare", "--json", one, other]) == 4
    out = capsys.readouterr().out
    found = json.loads(out)
    assert (found["outcome"], found["common"]) == ("DIFFERENT", [1, 1])
    assert found["difference"]["position"] == 2
    assert not [secret for secret in SECRETS if secret in said.out + out]


def test_damage_in_words(write: Write, capsys: pytest.CaptureFixture[str]) -> None:
    """Exit code 5, the place, and what the other copy has of what is not to be read here."""
    one, other = write("one", [b"a", b"b", b"c"]), write("other", [b"a", b"b", b"c"])
    path = Path(other) / name_of(1)
    data = bytearray(path.read_bytes())
    data[data.index(b"b", HEADER_BYTES + 200)] ^= 1
    path.write_bytes(data)
    assert main(["journal", "compare", one, other]) == 5
    said = capsys.readouterr().out.splitlines()
    assert f"{other} is damaged, and read as far as that: segment {name_of(1)}, offset " in said[2]
    assert said[3:] == ["the same: positions 1 to 1", f"{other} is behind: {one} goes on with 2 records, 2.000 s"]


def test_other_results_in_words(write: Write, capsys: pytest.CaptureFixture[str]) -> None:
    """Two journals, a difference in what is deleted, nothing in common, a torn tail; what is no journal: 2."""
    large = [bytes(20_000)] * 9
    one, late = write("one", large), write("late", large)
    directory = RealDisk().directory(late)
    manifest = read_manifest(directory)
    assert manifest is not None
    write_manifest(directory, replace(manifest, oldest=2, turn=manifest.turn + 1))
    first = Side(directory, Watch())
    assert first.fill()
    assert main(["journal", "compare", write("short", large[:1]), late]) == 3
    assert capsys.readouterr().out.splitlines()[-1].startswith("not known: no position is in both, nor does one go on")
    assert main(["journal", "compare", write("another", [b"", *large[1:]]), late]) == 4
    said = capsys.readouterr().out.splitlines()[-1]
    assert said == f"they differ before position {first.first}, in what one of them has deleted"
    write_manifest(directory, replace(manifest, journal=bytes(16), turn=manifest.turn + 2))
    assert main(["journal", "compare", one, late]) == 4
    assert capsys.readouterr().out.splitlines()[-1] == "these are two journals: their names differ"
    assert main(["journal", "compare", one, one + "-none"]) == 2
    assert capsys.readouterr().err == f"fps-gateway journal: {one}-none: No such directory\n"


def test_what_cannot_be_compared_has_no_exit_code_that_says_it_could(
    write: Write, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A manifest that does not read: 5. Segments that go faster than one reads: 3."""
    one, other = write("one", [bytes(20_000)] * 9), write("other", [bytes(20_000)] * 9)
    deletes_while_it_is_read(monkeypatch, name_of(2), lambda: None, times=99)
    assert main(["journal", "compare", one, other]) == 3
    assert "changes faster than it can be read" in capsys.readouterr().err
    monkeypatch.undo()
    (Path(other) / "manifest").write_bytes(b"none")
    assert main(["journal", "compare", one, other]) == 5
    assert "neither copy of the manifest in it reads" in capsys.readouterr().err


def test_a_torn_tail_is_no_damage(write: Write, capsys: pytest.CaptureFixture[str]) -> None:
    """It is said, and that copy is behind."""
    one, other = write("one", [b"a", b"b" * 2000]), write("other", [b"a", b"b" * 2000])
    path = Path(other) / name_of(1)
    data = bytearray(path.read_bytes())
    end = data.rindex(b"b") + 17
    data[end - 600 :] = bytes(len(data) - end + 600)
    path.write_bytes(data)
    assert main(["journal", "compare", one, other]) == 1
    said = capsys.readouterr().out.splitlines()
    assert "bytes at the end are no whole batch: being written just now, or torn" in said[2]
    assert said[-1] == f"{other} is behind: {one} goes on with 1 record, 1.000 s"


def test_progress_is_shown_on_a_terminal_only(write: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    """On standard error, of one of the two."""

    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    one = write("one", [b"a", b"b"])
    assert main(["journal", "compare", one, one]) == 0
    assert terminal.getvalue().count("1 records, segment 1 of ") == 1


# --- beside a gateway


async def test_a_journal_that_is_written_goes_on_where_its_copy_ends(tmp_path: Path) -> None:
    """The copies are the same up to there, also when retention deletes during the reading."""
    settings = replace(SETTINGS, dir=str(tmp_path / "journal"))
    disk = RealDisk()
    async with running(disk, settings) as journal:
        await fill(journal, [[bytes(20_000)] for _ in range(8)])
        directory = disk.directory(settings.dir)
        one, other = Side(directory, Watch()), Side(directory, Watch())
        assert one.fill()
        one.drain()
        await fill(journal, [[b"more"], [b"and more"]])
        assert compare(one, other).behind is not None
    disk.release()


def deletes_while_it_is_read(
    monkeypatch: pytest.MonkeyPatch, name: str, delete: Callable[[], None], times: int = 1
) -> None:
    """When this segment is opened it is gone."""
    opened = RealDirectory.open
    left = [times]

    def gone(self: RealDirectory, asked: str, **how: bool) -> File:
        if asked == name and left[0]:
            left[0] -= 1
            delete()
            raise FileNotFoundError(2, "No such file or directory")
        return opened(self, asked, **how)

    monkeypatch.setattr(RealDirectory, "open", gone)


def test_what_is_deleted_while_one_reads_is_read_around(write: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    """As long as it had been read by then; otherwise nothing is said of it."""
    path = write("one", [bytes(20_000)] * 9)
    copy = write("copy", [bytes(20_000)] * 9)
    directory = RealDisk().directory(path)
    manifest = read_manifest(directory)
    assert manifest is not None
    deletes_while_it_is_read(
        monkeypatch, name_of(2), lambda: write_manifest(directory, replace(manifest, oldest=2, turn=9))
    )
    found = compare(Side(directory, Watch()), Side(RealDisk().directory(copy), Watch()))
    assert found.outcome == "SAME"
    assert found.common == [1, 9]


def test_what_is_deleted_faster_than_one_reads_is_not_compared(write: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    """Rather than passing over what nobody saw."""
    path = write("one", [bytes(20_000)] * 9)
    directory = RealDisk().directory(path)
    manifest = read_manifest(directory)
    assert manifest is not None
    deletes_while_it_is_read(
        monkeypatch, name_of(2), lambda: write_manifest(directory, replace(manifest, oldest=3, turn=9))
    )
    with pytest.raises(Refusal, match="changes faster than it can be read"):
        Side(directory, Watch()).drain()
    monkeypatch.undo()
    write_manifest(directory, replace(manifest, turn=10))
    deletes_while_it_is_read(monkeypatch, name_of(2), lambda: None, times=99)
    with pytest.raises(Refusal, match="changes faster than it can be read"):
        Side(directory, Watch()).drain()


def test_damage_that_is_gone_at_a_second_look_is_none(write: Write) -> None:
    """A batch that is just being written may look like anything."""
    path = write("one", [b"a", b"b", b"c"])
    segment = Path(path) / name_of(1)
    whole = segment.read_bytes()
    segment.write_bytes(whole[:4500] + b"x" + whole[4501:])

    class Mend(Watch):
        def batch(self, walk: object, records: object) -> None:
            if not mended:
                mended.append(True)
                segment.write_bytes(whole)

    mended: list[bool] = []
    side = Side(RealDisk().directory(path), Mend())
    side.drain()
    assert (side.damage, side.next) == (None, 4)
