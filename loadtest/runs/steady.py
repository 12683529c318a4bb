"""Does anything grow: samples of a process over a long time, and what they say. Pure but for `sample`.

A process of Python that remembers payments grows with them, by a bounded number of bytes for each; nothing else of it
may grow. Latencies and threads are compared by medians of the first and the last quarter, so that a fault in between,
or at one end, does not decide. Open files by the least of each quarter: a fault leaves hundreds of connections, which
are closed when they were idle for long enough; what leaks stays.
"""

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import median
from typing import NamedTuple

FILES_SLACK = 24
"""Connections come and go: so many more may be open in the end."""
LATENCY_SLACK_MS = 2.0
"""A difference that no ratio is needed for."""
PAYMENTS_MIN = 100_000
"""Fewer payments between the first sample that is judged and the last say nothing of memory: one fault's connections
are as large as what is remembered of tens of thousands."""
JUDGED_FROM_S = 600.0
"""A shorter run says nothing of files and latencies: connections that a fault has left are closed after more than a
minute, and a few faults fill half of its windows."""
SAMPLES_MIN = 8
"""Fewer say nothing."""
WARM_UP = 0.25
"""So much of the samples, from the first on, is not judged for memory: pages are touched, pools become as large as they
get."""


class Sample(NamedTuple):
    """One process at one moment."""

    at_s: float
    """Since the beginning."""
    payments: int
    """That it has handled since its start, both directions."""
    rss_bytes: int
    uss_bytes: int
    """What would be free if it ended."""
    files: int
    """Open file descriptors."""
    threads: int


class Window(NamedTuple):
    """The latencies of a time, milliseconds; NaN where nothing was measured."""

    at_s: float
    p50_in_ms: float
    p99_in_ms: float
    p50_out_ms: float
    p99_out_ms: float


class Limits(NamedTuple):
    """What is flat."""

    bytes_per_payment: float = 150.0
    ratio_p50: float = 1.5
    """Of the last quarter's median to the first's."""
    ratio_p99: float = 2.0


class Finding(NamedTuple):
    """One thing that was looked at."""

    what: str
    first: float
    last: float
    """In the first and the last quarter; for memory: bytes for each payment, in the first and the second half."""
    holds: bool | None
    """None: the run was too short to say."""
    limit: str


def sample(pid: int, at_s: float, payments: int) -> Sample:
    """Look at a process. Raises OSError when it has ended."""
    of = Path(f"/proc/{pid}")
    kib: dict[str, int] = {}
    for line in (of / "smaps_rollup").read_text().splitlines()[1:]:
        name, _, rest = line.partition(":")
        kib[name] = int(rest.split()[0])
    status = dict(line.split(":", 1) for line in (of / "status").read_text().splitlines())
    return Sample(
        at_s,
        payments,
        kib["Rss"] * 1024,
        (kib["Private_Clean"] + kib["Private_Dirty"]) * 1024,
        len(os.listdir(of / "fd")),  # noqa: PTH208 - names are all that is wanted
        int(status["Threads"]),
    )


def growth(samples: Sequence[Sample]) -> float:
    """Bytes for each payment: the slope of the line through the samples' memory. 0 when there is none."""
    points = [(each.payments, each.uss_bytes) for each in samples]
    mean_x = sum(x for x, _ in points) / len(points)
    mean_y = sum(y for _, y in points) / len(points)
    spread = sum((x - mean_x) ** 2 for x, _ in points)
    return sum((x - mean_x) * (y - mean_y) for x, y in points) / spread if spread else 0.0


def judge(samples: Sequence[Sample], windows: Sequence[Window], limits: Limits) -> list[Finding]:
    """What grew, and what did not. Raises ValueError when there are too few samples."""
    judged = samples[int(len(samples) * WARM_UP) :]
    if len(judged) < SAMPLES_MIN or len(windows) < SAMPLES_MIN:
        raise ValueError(f"{len(judged)} samples and {len(windows)} windows: at least {SAMPLES_MIN} are needed")
    half = len(judged) // 2
    slope = growth(judged)
    enough = judged[-1].payments - judged[0].payments >= PAYMENTS_MIN
    long = samples[-1].at_s - samples[0].at_s >= JUDGED_FROM_S
    files = _count("open files", [each.files for each in samples], min, FILES_SLACK)
    findings = [
        Finding(
            f"memory for each payment, bytes (over all: {slope:.0f})",
            growth(judged[:half]),
            growth(judged[half:]),
            slope <= limits.bytes_per_payment if enough else None,
            f"{limits.bytes_per_payment:g} over all",
        ),
        files if long else files._replace(holds=None),
        _count("threads", [each.threads for each in samples], median, 0),
    ]
    for name, column, ratio in (
        ("p50 of payments that come, ms", 1, limits.ratio_p50),
        ("p99 of payments that come, ms", 2, limits.ratio_p99),
        ("p50 of payments that leave, ms", 3, limits.ratio_p50),
        ("p99 of payments that leave, ms", 4, limits.ratio_p99),
    ):
        values = [window[column] for window in windows if window[column] == window[column]]  # NaN is not itself
        if len(values) >= SAMPLES_MIN:
            first, last = _quarters(values, median)
            holds = last <= first * ratio or last <= first + LATENCY_SLACK_MS
            findings.append(Finding(name, first, last, holds if long else None, f"{ratio:g} times"))
    return findings


def _count(what: str, numbers: Sequence[int], by: "_By", slack: int) -> Finding:
    first, last = _quarters(numbers, by)
    return Finding(what, first, last, last <= first + slack, f"{slack} more" if slack else "no more")


def _quarters(values: Sequence[float], by: "_By") -> tuple[float, float]:
    """The median, or the least, of the first and the last quarter."""
    quarter = max(1, len(values) // 4)
    return float(by(values[:quarter])), float(by(values[-quarter:]))


_By = Callable[[Sequence[float]], float]
