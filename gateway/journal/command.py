"""`fps-gateway journal verify|show|tail|stat|forget DIR`: look at a journal, offline or while its gateway runs.

All but `forget` read only and take no lock. What a running gateway is just writing is not an error: damage counts when
it is there at a second look, too.
"""

import argparse
import collections
import os
import sys
import time
from collections.abc import Iterator
from datetime import UTC, datetime

from gateway.disk import Directory, File, RealDisk
from gateway.errors import GatewayError, Refusal
from gateway.exitcodes import ExitCode
from gateway.journal.manifest import Manifest, cursor_name, forget_follower, read_cursor, read_manifest
from gateway.journal.record import HEADER_BYTES, Damage, Record, read_header
from gateway.journal.recovery import Corrupt
from gateway.journal.segment import Scan, Torn, Walk, name_of, number_of
from gateway.journal.showing import Filter, Printer, when
from gateway.steps import Kind, Parked, Told, unpack

POLL_S = 0.2
"""How often `tail --follow` looks."""
PROGRESS_EVERY_S = 0.1
LOOKS_MAX = 5
"""How often `verify` begins again when a running gateway deletes segments under it."""
GOOD, BAD = 0, 1

_EPILOG = """\
exit codes: 0 whole, or done; 1 damaged, the place is said; 2 the command line makes no sense, or it is no journal."""


def add_parser(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Mount the command."""
    parser = subparsers.add_parser(
        "journal",
        help="verify and show a journal, offline or while its gateway runs",
        description=__doc__,
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = parser.add_subparsers(dest="journal_command", required=True, metavar="COMMAND")
    for name, text, action in (
        ("verify", "verify every record, and the chain through all of them", _verify),
        ("show", "print records", _show),
        ("tail", "print the last records", _tail),
        ("stat", "what is in it: segments, kinds, bytes, followers", _stat),
        ("forget", "stop keeping records for a follower that is gone for good (the gateway must not run)", _forget),
    ):
        command = commands.add_parser(name, help=text, description=text)
        command.add_argument("dir", metavar="DIR", help="the journal's directory")
        command.set_defaults(run=run, journal_action=action)
        if name in {"show", "tail"}:
            _add_showing(command)
        if name == "show":
            _add_filters(command)
        elif name == "tail":
            command.add_argument("-n", "--limit", type=int, default=20, help="how many (default: %(default)s)")
            command.add_argument("-f", "--follow", action="store_true", help="go on printing what is written")
        elif name == "stat":
            command.add_argument("--json", action="store_true", help="as one JSON object")
        elif name == "forget":
            command.add_argument("follower", metavar="NAME", help="the follower")


def _add_showing(command: argparse.ArgumentParser) -> None:
    command.add_argument("--json", action="store_true", help="one JSON object per line")
    command.add_argument("--fields", action="store_true", help="the fields of messages, too; sensitive ones masked")
    command.add_argument("--reveal", action="store_true", help="everything in clear: customers' data")


def _add_filters(command: argparse.ArgumentParser) -> None:
    kinds = ", ".join(kind.name for kind in Kind)
    command.add_argument("--kind", action="append", default=[], metavar="KIND", help=f"may be repeated: {kinds}")
    command.add_argument("--fpid-hash", default="", metavar="HASH", help="one payment, by the name it has in the log")
    command.add_argument("--from", dest="since", default="", metavar="WHERE", help="a position, or a time (ISO 8601)")
    command.add_argument("--to", dest="until", default="", metavar="WHERE", help="the same, inclusive")
    command.add_argument("--parked", action="store_true", help="notices that the processor refused for good")
    command.add_argument("--limit", type=int, default=0, help="how many at most (0: all)")


def run(args: argparse.Namespace) -> int:
    """Do what `add_parser` offers; return the exit code."""
    disk = RealDisk()
    try:
        directory = disk.directory(args.dir)
        code: int = args.journal_action(directory, args)
        sys.stdout.flush()
    except BrokenPipeError:
        # whoever read us has seen enough; what Python flushes at its end must not fail once more
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return BAD
    except KeyboardInterrupt:
        return ExitCode.INTERRUPTED
    except ValueError as error:
        return _failed(str(error), ExitCode.USAGE)
    except OSError as error:
        return _failed(f"{args.dir}: {error.strerror or error.__class__.__name__}", ExitCode.USAGE)
    except GatewayError as error:
        return _failed(str(error), BAD)
    finally:
        disk.release()
    return code


def _failed(text: str, code: int) -> int:
    sys.stderr.write(f"fps-gateway journal: {text}\n")
    return code


def _manifest(directory: Directory) -> Manifest:
    manifest = read_manifest(directory)
    if manifest is None:
        raise ValueError(f"{directory.path} holds no journal")
    return manifest


# --- verify


def _verify(directory: Directory, _: argparse.Namespace) -> int:
    walk = look(directory, _progress(directory))
    first = walk.segments[0].first if walk.segments else walk.position
    segments = f"{len(walk.segments)} segment{'' if len(walk.segments) == 1 else 's'}"
    sys.stdout.write(
        f"{directory.path} is whole: {walk.position - first} records, positions {first} to {walk.position - 1},"
        f" {segments}, chain {walk.chain.hex()}\n"
    )
    if walk.torn is not None:
        sys.stdout.write(_torn(walk.torn))
    return GOOD


def _torn(torn: Torn) -> str:
    where = f"segment {name_of(torn.number)}, offset {torn.offset}, position {torn.position}"
    text = "a batch at the end is not whole, being written just now or torn; a start cuts it off"
    return f"{text}: {where}, {torn.end - torn.offset} bytes\n"


class Watch:
    """Is told of each batch."""

    def batch(self, walk: Walk, records: list[Record]) -> None:
        """A batch was read."""

    def again(self) -> None:
        """All is read again, from the start."""

    def end(self) -> None:
        """Nothing more is read."""


def look(directory: Directory, watch: Watch) -> Walk:
    """Walk through a whole journal, also one that is being written to. Raises `Corrupt`, `Refusal`, `OSError`."""
    seen: tuple[str, int] | None = None
    for _ in range(LOOKS_MAX):
        walk = Walk(directory, _manifest(directory))
        try:
            for records in walk:
                watch.batch(walk, records)
            watch.end()
        except FileNotFoundError:
            seen = None  # retention deleted it just now
        except Corrupt as corrupt:
            if seen == (corrupt.segment, corrupt.offset):
                raise
            seen = corrupt.segment, corrupt.offset
        else:
            return walk
        watch.again()
    raise Refusal(f"{directory.path} changes faster than it can be read")


class _Progress(Watch):
    """A line on a terminal."""

    def __init__(self, segments: int) -> None:
        self._segments = max(segments, 1)
        self._records = 0
        self._next_s = 0.0

    def batch(self, walk: Walk, records: list[Record]) -> None:
        self._records += len(records)
        now_s = time.monotonic()
        if now_s >= self._next_s:
            self._next_s = now_s + PROGRESS_EVERY_S
            done = len(walk.segments) + 1
            sys.stderr.write(f"\r{self._records} records, segment {done} of {self._segments} ")
            sys.stderr.flush()

    def again(self) -> None:
        self._records = 0

    def end(self) -> None:
        sys.stderr.write("\r\x1b[K")


def _progress(directory: Directory) -> Watch:
    if not sys.stderr.isatty():
        return Watch()
    return _Progress(sum(number_of(name) is not None for name in directory.names()))


# --- show, tail


class Reader:
    """Reads on from segment to segment, each verified from its own header on; stops where nothing more is yet."""

    def __init__(self, directory: Directory, number: int) -> None:
        self._directory = directory
        self._journal = _manifest(directory).journal
        self._number = number
        self._file: File | None = None
        self._scan: Scan | None = None
        self.unfinished: Damage | None = None
        """What the records end at, if that is not the end: a batch that is being written, or torn, or damaged."""

    def records(self) -> Iterator[Record]:
        """All there are now. Call again for what came since. Raises `Corrupt` where a segment ends before its time."""
        stuck = -1
        while (scan := self._opened()) is not None:
            for batch in scan.again():
                yield from batch
            following = _header(self._directory, self._number + 1)
            self.unfinished = scan.damage
            if following is None:
                return
            if following == scan.position:
                self.close()
                self._number += 1
            elif stuck == scan.offset:
                what = scan.damage.what if scan.damage else "there is no mark of a batch"
                raise Corrupt(self._directory.path, name_of(self._number), scan.offset, scan.position, what)
            else:
                stuck = scan.offset  # written to while we looked: look again

    def close(self) -> None:
        """Let go of the file."""
        if self._file is not None:
            self._file.close()
        self._file = self._scan = None

    def _opened(self) -> Scan | None:
        if self._scan is None:
            try:
                self._file = self._directory.open(name_of(self._number))
                header = read_header(self._file.read(0, HEADER_BYTES))
            except (FileNotFoundError, Damage):
                self.close()
                return None
            self._scan = Scan(self._file, self._journal, HEADER_BYTES, header.first, header.chain)
        return self._scan


def _header(directory: Directory, number: int) -> int | None:
    """First position of a segment, None when it is not in use."""
    try:
        file = directory.open(name_of(number))
    except FileNotFoundError:
        return None
    try:
        return read_header(file.read(0, HEADER_BYTES)).first
    except Damage:
        return None
    finally:
        file.close()


def begun(directory: Directory) -> list[tuple[int, int]]:
    """(number, first position) of each segment in use, oldest first."""
    oldest = _manifest(directory).oldest
    numbers = [number for number in map(number_of, directory.names()) if number is not None and number >= oldest]
    return [(number, first) for number in numbers if (first := _header(directory, number)) is not None]


def reader(directory: Directory, position: int = 0) -> Reader:
    """A reader that begins with the segment in which a position is."""
    segments = begun(directory)
    before = [number for number, first in segments if first <= position]
    oldest = segments[0][0] if segments else _manifest(directory).oldest
    return Reader(directory, before[-1] if before else oldest)


def _show(directory: Directory, args: argparse.Namespace) -> int:
    wanted = _filter(directory, args)
    printer = Printer(sys.stdout.write, json=args.json, fields=args.fields, reveal=args.reveal)
    shown = 0
    reading = reader(directory, wanted.first)
    for record in reading.records():
        if record.position > wanted.last:
            break
        if wanted.takes(record):
            printer.record(record)
            shown += 1
            if shown == args.limit:
                break
    reading.close()
    if reading.unfinished is not None:
        sys.stderr.write(f"a batch at the end is not whole: {reading.unfinished.what}; `verify` says more\n")
    return GOOD


def _filter(directory: Directory, args: argparse.Namespace) -> Filter:
    unknown = [name for name in args.kind if name.upper() not in Kind.__members__]
    if unknown:
        raise ValueError(f"no such kind: {', '.join(unknown)}")
    chosen: dict[str, int] = {}
    for text, position, moment in ((args.since, "first", "since_ns"), (args.until, "last", "until_ns")):
        if text.isdecimal():
            chosen[position] = int(text)
        elif text:
            chosen[moment] = _time_ns(text)
    return Filter(
        kinds=frozenset(Kind[name.upper()] for name in args.kind),
        fpid_hash=args.fpid_hash,
        positions=parked(directory) if args.parked else None,
        **chosen,
    )


def _time_ns(text: str) -> int:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError as error:
        raise ValueError(f"neither a position nor a time: {text}") from error
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return round(moment.timestamp() * 1_000_000) * 1000


def parked(directory: Directory) -> frozenset[int]:
    """Positions of the steps whose notice was parked and has not been acknowledged since."""
    found: set[int] = set()
    reading = reader(directory)
    for record in reading.records():
        if record.kind is Kind.PARKED:
            body = unpack(record.kind, record.body)
            assert isinstance(body, Parked)
            found.add(body.position)
        elif record.kind is Kind.TOLD:
            told = unpack(record.kind, record.body)
            assert isinstance(told, Told)
            found.discard(told.position)
    reading.close()
    return frozenset(found)


def _tail(directory: Directory, args: argparse.Namespace) -> int:
    printer = Printer(sys.stdout.write, json=args.json, fields=args.fields, reveal=args.reveal)
    segments = begun(directory)
    # the last two segments hold the last records, or as many as anyone wants to see
    reading = Reader(directory, segments[-2:][0][0] if segments else _manifest(directory).oldest)
    for record in collections.deque(reading.records(), max(args.limit, 0)):
        printer.record(record)
    while args.follow:
        sys.stdout.flush()
        time.sleep(POLL_S)
        for record in reading.records():
            printer.record(record)
    reading.close()
    return GOOD


# --- stat


class _Counts(Watch):
    """Counts what is read."""

    def __init__(self) -> None:
        self.again()

    def batch(self, walk: Walk, records: list[Record]) -> None:  # noqa: ARG002  as `Watch` has it
        for record in records:
            self.records[record.kind] += 1
            self.bytes[record.kind] += len(record.body)
            self.times[0] = min(self.times[0], record.time_ns)
            self.times[1] = max(self.times[1], record.time_ns)
        self.batches += 1

    def again(self) -> None:
        self.records: collections.Counter[Kind] = collections.Counter()
        self.bytes: collections.Counter[Kind] = collections.Counter()
        self.times = [1 << 63, -(1 << 63)]
        self.batches = 0


def _stat(directory: Directory, args: argparse.Namespace) -> int:
    counts = _Counts()
    walk = look(directory, counts)
    manifest = _manifest(directory)
    total = counts.records.total()
    first = walk.segments[0].first if walk.segments else walk.position
    facts = {
        "journal": manifest.journal.hex(),
        "first_position": first,
        "last_position": walk.position - 1,
        "records": total,
        "batches": counts.batches,
        "segments": len(walk.segments),
        "segments_unused": len(walk.unused),
        "bytes": sum(info.end for info in walk.segments),
        "free_bytes": directory.free_bytes(),
        "oldest_time": when(counts.times[0]) if total else "",
        "newest_time": when(counts.times[1]) if total else "",
        "torn_bytes": walk.torn.end - walk.torn.offset if walk.torn is not None else 0,
        "torn_files": sum(name.endswith(".torn") for name in directory.names()),
    }
    kinds = {
        kind.name: {"records": counts.records[kind], "bytes": counts.bytes[kind]}
        for kind in Kind
        if counts.records[kind]
    }
    followers = {}
    for name in manifest.followers:
        cursor = read_cursor(directory, name)[0]
        followers[name] = {"cursor": cursor, "lag": walk.position - max(cursor, first)}
    if args.json:
        import msgspec

        whole = {**facts, "kinds": kinds, "followers": followers}
        sys.stdout.write(msgspec.json.encode(whole).decode() + "\n")
        return GOOD
    for fact, value in facts.items():
        sys.stdout.write(f"{fact.replace('_', ' '):18} {value}\n")
    for title, table in (("kind", kinds), ("follower", followers)):
        for name, row in table.items():
            sys.stdout.write(f"{title:9} {name:16} " + "  ".join(f"{key} {value}" for key, value in row.items()) + "\n")
    return GOOD


# --- forget


def _forget(directory: Directory, args: argparse.Namespace) -> int:
    directory.lock()
    manifest = _manifest(directory)
    if args.follower not in manifest.followers:
        known = ", ".join(manifest.followers) or "none"
        raise ValueError(f"{directory.path} has no follower {args.follower}; it has: {known}")
    forget_follower(directory, manifest, args.follower)
    if cursor_name(args.follower) in directory.names():
        directory.remove(cursor_name(args.follower))
        directory.sync()
    sys.stdout.write(f"follower {args.follower} is forgotten\n")
    return GOOD
