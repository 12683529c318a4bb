"""Look at a journal, offline or while its gateway runs; or begin the first journal of a gateway (`init`).

All commands except `forget` and `init` only read, and take no lock. A batch that a running gateway is just writing is
no damage: damage counts when it is still there at a second look.
"""

import argparse
import collections
import sys
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from functools import partial

from gateway.commands import revealing
from gateway.config import file as config_file
from gateway.disk import Directory, RealDisk
from gateway.errors import ConfigurationError, GatewayError
from gateway.exitcodes import ExitCode
from gateway.journal import comparing, verifying
from gateway.journal.looking import RecordReader, Watch, begun, look, manifest_of, reader
from gateway.journal.manifest import cursor_name, forget_follower, read_cursor
from gateway.journal.record import Record
from gateway.journal.recovery import Newer
from gateway.journal.segment import Walk
from gateway.journal.showing import Filter, RecordPrinter, counted, split_body, when, whole_fpid, whole_trn
from gateway.journal.verifying import TokensOf
from gateway.machine import harmless
from gateway.machine.arguments import COUNT_OR_NONE, Commands
from gateway.payments.steps import BODIES, Dropped, Kind, Parked, Told, unpack

POLL_S = 0.2
"""Pause between two looks of `tail --follow`."""
GOOD, BAD = 0, 1
KEYED_KINDS = frozenset(kind for kind, body in BODIES.items() if {"key", "covered"} <= set(body.__struct_fields__))
"""Kinds of record that hold the idempotency key of a payment (the key in a seal is another thing)."""

_INIT = """Begin the journal of a gateway that has never had one. It is refused with exit code 75, and nothing is
changed, when there is one already, when a gateway runs on it, or when its volume is not mounted here."""
_EPILOG = """\
exit codes (`compare --help` has its own):
   0  the journal is whole, or the command is done
   1  the journal is damaged, or a seal is wrong; the place is printed
   2  the command line makes no sense, or there is no journal
   3  the journal is whole, but no token can judge some of its seals, or no seal holds
  66  `show`: no record matches
  75  a newer gateway wrote the journal, and nothing was changed
  78  the configuration holds mistakes"""


def add_parser(subparsers: Commands, tokens_of: TokensOf, begin: Callable[[Sequence[str]], int]) -> None:
    """Mount the command. `begin` makes the journal that a configuration's files name, and returns the exit code: the
    journal does not know where it may lie.
    """
    parser = subparsers.add_parser(
        "journal",
        help="begin, verify, compare and show a journal, offline or while its gateway runs",
        description=__doc__,
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = parser.add_subparsers(dest="journal_command", required=True, metavar="COMMAND")
    beginning = commands.add_parser(
        "init", help="begin the journal of a gateway that has never had one", description=_INIT
    )
    config_file.add_argument(beginning)
    beginning.set_defaults(run=run, dirs=(), journal_action=lambda args: begin(args.config))
    for name, text, action in (
        (
            "verify",
            "verify every record, the chain through all records, and the seals",
            partial(verifying.verify, tokens_of=tokens_of),
        ),
        ("compare", "compare two copies of a journal, such as those of two servers or of a backup", comparing.run),
        ("show", "print records", _show),
        ("tail", "print the last records", _tail),
        ("stat", "print what a journal holds: segments, kinds of record, bytes, followers", _stat),
        ("forget", "stop keeping records for a follower that is gone for good; the gateway must not run", _forget),
    ):
        command = commands.add_parser(
            name,
            help=text,
            description=f"{text[0].upper()}{text[1:]}.",
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        copies = 2 if name == "compare" else 1
        command.add_argument(
            "dirs",
            metavar="DIR",
            nargs=copies,
            help="the journal's directory" if copies == 1 else "the directory of a copy",
        )
        command.set_defaults(run=run, journal_action=action)
        if name == "verify":
            verifying.add_arguments(command)
            command.epilog = _EPILOG
        if name in {"show", "tail"}:
            _add_showing(command)
        if name == "show":
            _add_filters(command)
            command.epilog = _EPILOG
        elif name == "tail":
            command.add_argument(
                "-n", "--limit", type=COUNT_OR_NONE, default=20, help="number of records (default: %(default)s)"
            )
            command.add_argument(
                "-f", "--follow", action="store_true", help="go on, and print records as they are written"
            )
        elif name == "compare":
            command.epilog = comparing.EPILOG
        if name in {"compare", "stat"}:
            command.add_argument("--json", action="store_true", help="print one JSON object")
        if name == "forget":
            command.add_argument("follower", metavar="NAME", help="the follower's name, as `stat` prints it")


def _add_showing(command: argparse.ArgumentParser) -> None:
    command.add_argument("--json", action="store_true", help="print one JSON object per line")
    command.add_argument(
        "--fields", action="store_true", help="print the fields of messages, too, with sensitive values masked"
    )
    revealing.add_options(command)


def _add_filters(command: argparse.ArgumentParser) -> None:
    kinds = ", ".join(kind.name for kind in Kind)
    command.add_argument(
        "--kind", action="append", default=[], metavar="KIND", help=f"records of this kind (may be repeated): {kinds}"
    )
    command.add_argument(
        "--fpid-hash", default="", metavar="HASH", help="one payment, by the hash of its FPID, as the log has it"
    )
    command.add_argument("--fpid", default="", help="one payment, by its FPID; missing blanks are filled in")
    command.add_argument("--trn", default="", help="payments with this TRN, of any day and any sender")
    command.add_argument("--key", default="", help="payments that were submitted with this idempotency key")
    command.add_argument(
        "--from", dest="since", default="", metavar="WHERE", help="records from a position or a time (ISO 8601) on"
    )
    command.add_argument(
        "--to", dest="until", default="", metavar="WHERE", help="records up to a position or a time, inclusive"
    )
    command.add_argument("--parked", action="store_true", help="records whose notice the processor refused for good")
    command.add_argument("--limit", type=COUNT_OR_NONE, default=0, help="records at most (0: all)")


def run(args: argparse.Namespace) -> int:
    """Do what `add_parser` offers; return the exit code."""
    disk = RealDisk()
    try:
        directories = [_directory(disk, path) for path in args.dirs]
        code: int = revealing.permitted(directories[0], args) if getattr(args, "reveal", False) else GOOD
        if code == GOOD:
            code = args.journal_action(*directories, args)
    except OSError as error:
        return _failed(f"{', '.join(args.dirs)}: {error.strerror or error.__class__.__name__}", ExitCode.USAGE)
    except (KeyboardInterrupt, ValueError, GatewayError) as error:
        code = next(code for kind, code in _CODES if isinstance(error, kind))
        return code if isinstance(error, KeyboardInterrupt) else _failed(str(error), code)
    finally:
        disk.release()
    return code


_CODES: tuple[tuple[type[BaseException], int], ...] = (
    (KeyboardInterrupt, ExitCode.INTERRUPTED),
    (ValueError, ExitCode.USAGE),
    (ConfigurationError, ExitCode.CONFIGURATION),
    (Newer, ExitCode.REFUSED),
    (GatewayError, BAD),
)
"""By error, the first that fits."""


def _directory(disk: RealDisk, path: str) -> Directory:
    try:
        return disk.directory(path)
    except OSError as error:
        raise ValueError(f"{path}: {error.strerror or error.__class__.__name__}") from error


def _failed(text: str, code: int) -> int:
    sys.stderr.write(f"fps-gateway journal: {harmless.line(text)}\n")
    return code


# --- show, tail


def _show(directory: Directory, args: argparse.Namespace) -> int:
    wanted = _filter(directory, args)
    printer = RecordPrinter(sys.stdout.write, json=args.json, fields=args.fields, reveal=args.reveal)
    shown = seen = 0
    reading = reader(directory, wanted.first)
    for record in reading.records():
        if record.position > wanted.last:
            break
        seen += 1
        if wanted.takes(record):
            printer.record(record)
            shown += 1
            if shown == args.limit:
                break
    reading.close()
    if reading.unfinished is not None:
        sys.stderr.write(f"a batch at the end is not whole: {reading.unfinished.what}; `verify` says more\n")
    if shown or wanted == Filter():
        return GOOD
    # said aloud: no output and success would be read as "it never came"
    sys.stderr.write(f"0 of {counted(seen, 'record')} {'matches' if seen == 1 else 'match'}\n")
    return ExitCode.NOT_FOUND


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
        fpid=whole_fpid(args.fpid) if args.fpid else "",
        trn=whole_trn(args.trn) if args.trn else "",
        fpids=submitted_under(directory, args.key) if args.key else None,
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
    """Positions of the steps whose notice a receiver refused for good, and did not acknowledge since; nor did a person
    drop it.
    """
    found: set[tuple[int, str]] = set()
    reading = reader(directory)
    for record in reading.records():
        if record.kind in {Kind.TOLD, Kind.PARKED, Kind.DROPPED}:
            match unpack(record.kind, record.body):
                case Parked(position=position, to=to):
                    found.add((position, to))
                case Told(position=position, to=to) | Dropped(position=position, to=to):
                    found.discard((position, to))
    reading.close()
    return frozenset(position for position, _ in found)


def submitted_under(directory: Directory, key: str) -> frozenset[str]:
    """FPIDs of the payments that were submitted under an idempotency key."""
    found: set[str] = set()
    reading = reader(directory)
    for record in reading.records():
        if record.kind in KEYED_KINDS and split_body(record)[0].get("key") == key:
            found.add(record.fpid)
    reading.close()
    return frozenset(found)


def _tail(directory: Directory, args: argparse.Namespace) -> int:
    printer = RecordPrinter(sys.stdout.write, json=args.json, fields=args.fields, reveal=args.reveal)
    segments = begun(directory)
    # the last two segments hold the last records, or as many as anyone wants to see
    reading = RecordReader(directory, segments[-2:][0][0] if segments else manifest_of(directory).oldest)
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
    manifest = manifest_of(directory)
    total = counts.records.total()
    first = walk.segments[0].first if walk.segments else walk.position
    facts = {
        "journal": manifest.journal.hex(),
        "format": manifest.format,
        "writer": manifest.writer,
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
        sys.stdout.write(f"{fact.replace('_', ' '):18} {harmless.shown(value)}\n")
    for title, table in (("kind", kinds), ("follower", followers)):
        for name, row in table.items():
            said = "  ".join(f"{key} {harmless.shown(value)}" for key, value in row.items())
            sys.stdout.write(f"{title:9} {harmless.shown(name):16} {said}\n")
    return GOOD


# --- forget


def _forget(directory: Directory, args: argparse.Namespace) -> int:
    directory.lock()
    manifest = manifest_of(directory)
    if args.follower not in manifest.followers:
        known = ", ".join(manifest.followers) or "none"
        raise ValueError(f"{directory.path} has no follower {args.follower}; it has: {known}")
    forget_follower(directory, manifest, args.follower)
    if cursor_name(args.follower) in directory.names():
        directory.remove(cursor_name(args.follower))
        directory.sync()
    sys.stdout.write(f"follower {harmless.shown(args.follower)} is forgotten\n")
    return GOOD
