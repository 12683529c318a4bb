"""`fps-gateway journal verify`: every record, the chain through all of them, and the seals of the HSM."""

import argparse
import collections
import sys
from collections.abc import Sequence
from itertools import starmap
from typing import Protocol

from gateway.disk import Directory
from gateway.journal import seals
from gateway.journal.looking import look, progress
from gateway.journal.seals import Ask, FoundSeal, SealFault, Seals, SealVerdict
from gateway.journal.segment import Torn, Walk, name_of
from gateway.journal.showing import counted

WHOLE, DAMAGED, NOT_KNOWN = 0, 1, 3
FAULTS_SHOWN_MAX = 20
NS = 1_000_000_000


class TokensOf(Protocol):
    """Makes the question about seals to a gateway's tokens. The command passes it in: the journal knows no HSM."""

    def __call__(self, files: Sequence[str], older: Sequence[str]) -> Ask:
        """`files`: its configuration; `older`: labels of keys that were in use before the one that is configured.

        Raises `ConfigurationError`.
        """


def add_arguments(command: argparse.ArgumentParser) -> None:
    """Add the arguments of `verify` besides the directory."""
    command.add_argument(
        "--config", action="append", default=[], metavar="FILE",
        help="a file of the gateway's configuration (may be repeated): its tokens make the MAC of each seal again",
    )  # fmt: skip
    command.add_argument(
        "--key", action="append", default=[], metavar="LABEL",
        help="a seal key that was in use before pair.mac.seal_key, and is trusted, too (may be repeated)",
    )  # fmt: skip


def verify(directory: Directory, args: argparse.Namespace, tokens_of: TokensOf) -> int:
    """Do it; returns the exit code."""
    if args.key and not args.config:
        raise ValueError("--key says which keys seals are checked with, and without --config none is")
    ask = tokens_of(args.config, args.key) if args.config else None
    found = Seals(progress(directory))
    walk = look(directory, found)
    found.finish(directory)
    first = walk.segments[0].first if walk.segments else walk.position
    sys.stdout.write(
        f"{directory.path} is whole: {counted(walk.position - first, 'record')},"
        f" positions {first} to {walk.position - 1}, {counted(len(walk.segments), 'segment')},"
        f" chain {walk.chain.hex()}\n"
    )
    if walk.torn is not None:
        sys.stdout.write(_torn(walk.torn))
    if ask is not None:
        return _judge(directory, walk, found, ask(found.found))
    sys.stdout.write(f"seals: {found.count}, their MACs not checked: that takes the tokens of a --config\n")
    _say_unsealed(found, _farthest(found.found))
    return _say_faults(directory, walk, found.faults) or WHOLE


def _torn(torn: Torn) -> str:
    where = f"segment {name_of(torn.number)}, offset {torn.offset}, position {torn.position}"
    text = "a batch at the end is not whole, being written just now or torn; a start cuts it off"
    return f"{text}: {where}, {torn.end - torn.offset} bytes\n"


def _judge(directory: Directory, walk: Walk, found: Seals, opinions: list[seals.Opinion]) -> int:
    said = list(zip(found.found, opinions, strict=True))
    holding = [seal for seal, opinion in said if opinion.verdict is SealVerdict.HOLDS]
    wrong = [SealFault(seal.at, opinion.why) for seal, opinion in said if opinion.verdict is SealVerdict.WRONG]
    unknown = collections.Counter(opinion.why for _, opinion in said if opinion.verdict is SealVerdict.UNKNOWN)
    sys.stdout.write(f"seals: {found.count}, of which {len(holding)} hold")
    farthest = _farthest(holding)
    sys.stdout.write(f", the last of position {farthest.position}\n" if farthest is not None else "\n")
    for why, count in unknown.items():
        sys.stdout.write(f"seals that nobody can say anything of: {count}: {why}\n")
    if found.gone:
        sys.stdout.write(f"seals of records that are deleted by now, not checked: {len(found.gone)}\n")
    _say_unsealed(found, farthest)
    faults = sorted(found.faults + wrong)
    nobody_vouches = not holding and bool(found.last)
    if nobody_vouches:
        sys.stdout.write(
            "no seal is known to hold: the chain alone vouches for these records, and anybody can make one\n"
        )
    return _say_faults(directory, walk, faults) or (NOT_KNOWN if unknown or nobody_vouches else WHOLE)


def _farthest(found: list[FoundSeal]) -> FoundSeal | None:
    """The seal that covers most, and of these the first: anybody can write one that holds once more, and later."""
    return max(found, key=lambda seal: seal.position, default=None)


def _say_unsealed(found: Seals, farthest: FoundSeal | None) -> None:
    """What the last seal does not cover. The seal itself is behind what it seals, so there is always something."""
    if not found.last:
        return
    first, since = found.first, ""
    if farthest is not None:
        first = farthest.position + 1
        since = f", {max(found.last_ns - farthest.time_ns, 0) / NS:.1f} s since the seal"
    count = found.last + 1 - first
    sys.stdout.write(f"not sealed: {counted(count, 'record')}, positions {first} to {found.last}{since}\n")


def _say_faults(directory: Directory, walk: Walk, faults: list[SealFault]) -> int:
    """Say each with its place; returns the exit code, 0 when there are none."""

    def line(at: int, what: str) -> str:
        segment = next(name_of(info.number) for info in walk.segments if info.first <= at <= info.last)
        return f"journal {directory.path}: a wrong seal: segment {segment}, position {at}: {what}\n"

    sys.stderr.writelines(starmap(line, faults[:FAULTS_SHOWN_MAX]))
    if len(faults) > FAULTS_SHOWN_MAX:
        sys.stderr.write(f"… and {len(faults) - FAULTS_SHOWN_MAX} more\n")
    return DAMAGED if faults else WHOLE
