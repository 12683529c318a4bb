"""A latency histogram with logarithmic buckets: fixed relative error, any range, cheap to record, mergeable.

The layout is that of HdrHistogram: below 2^8 microseconds each microsecond has a bucket; above, each power of two is
divided into 128, so that a value is known to better than 0.8 %. The largest value is kept exactly.
"""

import math

_SUB_BITS = 7
_EXACT_BELOW = 1 << (_SUB_BITS + 1)

QUANTILES = (0.5, 0.9, 0.99, 0.999)
"""What a report shows, with the maximum."""


class Histogram:
    """Counts durations. Seconds go in and come out; buckets are in microseconds."""

    __slots__ = ("count", "counts", "peak_s", "sum_s")

    def __init__(self) -> None:
        self.counts: dict[int, int] = {}
        self.count = 0
        self.sum_s = 0.0
        self.peak_s = 0.0

    def record(self, seconds: float) -> None:
        """Count one duration; a negative one (a clock's doing) counts as 0."""
        value = int(seconds * 1e6)
        if value < _EXACT_BELOW:
            index = max(value, 0)
        else:
            shift = value.bit_length() - _SUB_BITS - 1
            index = (shift << _SUB_BITS) + (value >> shift)
        counts = self.counts
        counts[index] = counts.get(index, 0) + 1
        self.count += 1
        self.sum_s += seconds
        if seconds > self.peak_s:  # noqa: PLR1730 - max() costs three times as much, once per payment
            self.peak_s = seconds

    def quantile_s(self, share: float) -> float:
        """The duration below or at which this share of all lies: the upper edge of its bucket. NaN when empty."""
        if not self.count:
            return math.nan
        wanted = max(1, math.ceil(share * self.count))
        seen = 0
        for index in sorted(self.counts):
            seen += self.counts[index]
            if seen >= wanted:
                return min(_upper_edge_us(index) / 1e6, self.peak_s)
        raise AssertionError("the buckets do not add up to the count")

    def merge(self, other: "Histogram") -> None:
        """Add another's counts to ours."""
        for index, number in other.counts.items():
            self.counts[index] = self.counts.get(index, 0) + number
        self.count += other.count
        self.sum_s += other.sum_s
        self.peak_s = max(self.peak_s, other.peak_s)

    def since(self, earlier: "Histogram") -> "Histogram":
        """What was counted after `earlier` was copied from this. Its maximum is known to a bucket only."""
        recent = Histogram()
        recent.counts = {
            i: n - earlier.counts.get(i, 0) for i, n in self.counts.items() if n > earlier.counts.get(i, 0)
        }
        recent.count = self.count - earlier.count
        recent.sum_s = self.sum_s - earlier.sum_s
        recent.peak_s = min(_upper_edge_us(max(recent.counts)) / 1e6, self.peak_s) if recent.counts else 0.0
        return recent

    def copy(self) -> "Histogram":
        """A copy that does not change when this does."""
        other = Histogram()
        other.merge(self)
        return other

    def summary(self) -> dict[str, float]:
        """Count, mean, the quantiles and the maximum, in milliseconds, for JSON. Empty: only the count."""
        if not self.count:
            return {"count": 0}
        shown = {f"p{share * 100:g}_ms": round(self.quantile_s(share) * 1e3, 3) for share in QUANTILES}
        mean_ms = round(self.sum_s / self.count * 1e3, 3)
        return {"count": self.count, "mean_ms": mean_ms, **shown, "max_ms": round(self.peak_s * 1e3, 3)}


class Latencies:
    """Histograms by name: what they hold in all, and since somebody last looked."""

    def __init__(self, *names: str) -> None:
        self._histograms = {name: Histogram() for name in names}
        self._seen: dict[str, Histogram] = {}

    def __getitem__(self, name: str) -> Histogram:
        return self._histograms[name]

    def summaries(self) -> dict[str, dict[str, float]]:
        """Each one's `summary`."""
        return {name: histogram.summary() for name, histogram in self._histograms.items()}

    def recent(self) -> dict[str, dict[str, float]]:
        """The same of what was counted since the last call."""
        fresh = {name: now.since(self._seen.get(name, Histogram())) for name, now in self._histograms.items()}
        self._seen = {name: now.copy() for name, now in self._histograms.items()}
        return {name: histogram.summary() for name, histogram in fresh.items()}

    def reset(self) -> None:
        """Start anew: what came before was a warm-up."""
        self._histograms = {name: Histogram() for name in self._histograms}
        self._seen = {}


def _upper_edge_us(index: int) -> int:
    """The first microsecond past the bucket."""
    if index < _EXACT_BELOW:
        return index + 1
    shift = (index >> _SUB_BITS) - 1
    return ((index - (shift << _SUB_BITS)) + 1) << shift
