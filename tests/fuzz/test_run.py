"""The fuzzer itself: a short run over every target, and what it does with a finding."""

import importlib.util
import os
import random
import subprocess
import sys
from pathlib import Path

import pytest

from tests.fuzz import corpus, runner
from tests.fuzz.shrink import shrunk
from tests.fuzz.target import MODULES, Dice, Target, pieces, target_of

SECONDS = float(os.environ.get("FUZZ_SECONDS", "45"))
needs_atheris = pytest.mark.skipif(
    importlib.util.find_spec("atheris") is None, reason="there is no wheel of atheris here"
)


@needs_atheris
@pytest.mark.system
def test_a_short_run_over_all_targets_finds_nothing() -> None:
    """Something new each time; a finding is kept below tests/fuzz/findings, and the output says how to have it again.

    FUZZ_SECONDS says how long it takes in all (45).
    """
    command = [sys.executable, "-m", "tests.fuzz", "--seconds", f"{SECONDS:g}", "--jobs", "2"]
    done = subprocess.run(
        command, cwd=runner.TOP, capture_output=True, text=True, check=False, timeout=300 + 5 * SECONDS
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert all(name in done.stdout for name in MODULES)


def _broken(data: bytes) -> None:
    assert b"BUG" not in data, "found it"


def test_a_finding_is_made_small() -> None:
    """All that it does not need is left out."""
    target = Target(_broken, list)
    assert shrunk(target, b"some words before the BUG, and some behind") == b"BUG"
    assert shrunk(target, b"nothing wrong") == b"nothing wrong"


def test_a_replay_shows_what_is_wrong(tmp_path: Path) -> None:
    """The command that is printed runs one input, and says when nothing is wrong with it."""
    file = tmp_path / "input"
    file.write_bytes(next(iter(target_of("frame").samples())))
    command = [sys.executable, "-m", "tests.fuzz", "--target", "frame", "--replay", str(file)]
    done = subprocess.run(command, cwd=runner.TOP, capture_output=True, text=True, check=False, timeout=60)
    assert (done.returncode, done.stdout) == (0, f"frame: nothing is wrong with {file}\n")


def test_a_corpus_is_as_small_as_it_can_be() -> None:
    """Of inputs that reach the same the smallest is kept; what reaches nothing new is not."""
    target = target_of("keydata")
    kept = corpus.chosen(target, [*target.samples(), *target.samples(), b"", b"x" * 5000])
    assert len(set(kept)) == len(kept) <= len(list(target.samples())) + 1
    assert all(len(data) <= corpus.BYTES_MAX for data in kept)


@pytest.mark.parametrize("name", MODULES)
def test_spoiling_takes_anything(name: str) -> None:
    """A mutator gets whatever the fuzzer made of its own results, and never raises."""
    spoil = target_of(name).spoil
    if spoil is None:
        return
    luck = random.Random(1)  # noqa: S311  a seed that replays
    for data in (b"", b"\0", b"{", b"=", b"[" * 50, luck.randbytes(200), *target_of(name).samples()):
        for _ in range(20):
            data = spoil(data, luck)[:4096]  # noqa: PLW2901  again and again


def test_dice_end_in_zeros() -> None:
    """Every input is a whole one, however short."""
    dice = Dice(b"\3ab")
    assert (dice.short(), bool(dice), dice.upto(9), dice.pick("xyz"), dice.odds(2), dice.rest()) == (
        b"ab", False, 0, "x", False, b"",
    )  # fmt: skip
    assert b"".join(pieces(b"abcdefgh", 5)) == b"".join(pieces(b"abcdefgh", 0)) == b"abcdefgh"
