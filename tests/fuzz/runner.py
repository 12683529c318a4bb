"""Runs targets for a while, each in a process of its own, and says what came of it."""

import contextlib
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

from tests.fuzz import corpus
from tests.fuzz.target import Target, target_of

TOP = corpus.HERE.parent.parent
START_S = 1.5
"""What a process needs before it fuzzes: the gateway is imported with probes."""
INPUT_S_MAX = 10
"""An input that takes so long is a finding: something grows faster than it does."""
RSS_MB_MAX = 1500
SAY_EVERY_S = 10.0
_PULSE = re.compile(r"#(\d+)\s.* cov: (\d+) ft: \d+ corp: (\d+)")

Say = Callable[[str], None]


@dataclass
class Outcome:
    """What came of one target."""

    name: str
    runs: int = 0
    points: int = 0
    inputs: int = 0
    elapsed_s: float = 0.0
    findings: list[Path] = field(default_factory=list)
    said: list[str] = field(default_factory=list)
    """The last lines of a process that failed."""
    found: list[bytes] = field(default_factory=list)
    """Inputs that reached more than those before."""

    @property
    def good(self) -> bool:
        """Nothing was found."""
        return not self.findings and not self.said

    def __str__(self) -> str:
        rate = self.runs / self.elapsed_s if self.elapsed_s else 0.0
        verdict = "ok" if self.good else f"{len(self.findings)} FOUND" if self.findings else "FAILED"
        figures = f"{self.runs:>9} runs{rate:>8.0f}/s{self.points:>7} points{self.inputs:>6} inputs"
        return f"{self.name:14}{figures}  {verdict}"


def run(names: list[str], seconds: float, jobs: int, *, keep: bool, say: Say) -> list[Outcome]:
    """Fuzz these for so long in all, so many at a time."""
    each_s = max(2.0, seconds * min(jobs, len(names)) / len(names) - START_S)
    targets = {name: target_of(name) for name in names}
    with ThreadPoolExecutor(jobs) as pool:
        outcomes = list(pool.map(lambda name: fuzz(name, targets[name], each_s, say=say), names))
    for outcome in outcomes if keep else ():
        kept = corpus.keep(outcome.name, targets[outcome.name], outcome.found)
        say(f"{outcome.name}: {kept} kept")
    return outcomes


def fuzz(name: str, target: Target, seconds: float, *, say: Say) -> Outcome:
    """Fuzz one target."""
    outcome, began_s = Outcome(name), time.monotonic()
    with tempfile.TemporaryDirectory(prefix=f"fuzz-{name}-") as scratch:
        work, seeds, found = (Path(scratch) / folder for folder in ("work", "seeds", "found"))
        for folder in (work, seeds, found):
            folder.mkdir()
        for data in target.samples():
            (seeds / corpus.name_of(data)).write_bytes(data)
        words = Path(scratch) / "words"
        words.write_text("".join(f'"{_escaped(word)}"\n' for word in target.words), encoding="ascii")
        kept = [str(corpus.CORPUS / name)] if corpus.files(name) else []
        options = {
            "max_total_time": int(seconds), "timeout": INPUT_S_MAX, "rss_limit_mb": RSS_MB_MAX, "max_len": 4096,
            "len_control": 0, "artifact_prefix": f"{found}/", "print_final_stats": 1,
            **({"dict": words} if target.words else {}),
        }  # fmt: skip
        command = [sys.executable, "-m", "tests.fuzz.worker", name]
        command += [f"-{option}={value}" for option, value in options.items()] + [str(work), *kept, str(seeds)]
        code = _watch(command, outcome, say)
        outcome.elapsed_s = time.monotonic() - began_s
        outcome.findings = [_shrunk(name, file) for file in sorted(found.iterdir())]
        if code == 0:
            outcome.said = []
        for file in outcome.findings:
            say(f"{name}: {file.relative_to(TOP)}")
            say("\n".join(outcome.said))
            say(f"again: {Path(sys.executable).name} -m tests.fuzz --target {name} --replay {file.relative_to(TOP)}")
        outcome.found = [file.read_bytes() for file in work.iterdir()]
    if code != 0 and not outcome.findings:
        say("\n".join(outcome.said))
    say(str(outcome))
    return outcome


def _watch(command: list[str], outcome: Outcome, say: Say) -> int:
    """Let it run; what it says becomes figures."""
    said_s = time.monotonic()
    with subprocess.Popen(
        command, cwd=TOP, stderr=subprocess.STDOUT, stdout=subprocess.PIPE, text=True, errors="replace"
    ) as process:
        assert process.stdout is not None
        for line in process.stdout:
            if pulse := _PULSE.match(line):
                outcome.runs, outcome.points, outcome.inputs = map(int, pulse.groups())
                if time.monotonic() - said_s > SAY_EVERY_S:
                    said_s = time.monotonic()
                    say(f"{outcome.name}: {outcome.runs} runs, {outcome.points} points, {outcome.inputs} inputs")
            elif not line.startswith(("INFO:", "stat::", "#", "Dictionary", "WARNING")):
                outcome.said = [*outcome.said[-40:], line.rstrip()]
            elif line.startswith("stat::number_of_executed_units:"):
                outcome.runs = int(line.split()[1])
        return process.wait()


def _shrunk(name: str, file: Path) -> Path:
    """Make it small and keep it."""
    if not file.name.startswith("timeout"):
        with contextlib.suppress(subprocess.TimeoutExpired):
            subprocess.run([sys.executable, "-m", "tests.fuzz.shrink", name, file], cwd=TOP, check=False, timeout=60)
    return corpus.save(name, file.read_bytes(), corpus.FINDINGS)


def _escaped(word: bytes) -> str:
    return "".join(chr(byte) if byte < 0x80 and chr(byte).isalnum() else f"\\x{byte:02x}" for byte in word)
