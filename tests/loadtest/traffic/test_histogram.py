"""The histogram's quantiles are those of the sorted values, to better than one percent."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loadtest.traffic.histogram import Histogram


@given(st.lists(st.floats(0, 3600), min_size=1, max_size=300), st.floats(0.001, 1))
def test_a_quantile_is_within_a_bucket_of_the_sorted_value(values: list[float], share: float) -> None:
    """Never under by more than a microsecond's rounding, never over by more than a bucket's width."""
    histogram = Histogram()
    for value in values:
        histogram.record(value)
    exact = sorted(values)[max(1, math.ceil(share * len(values))) - 1]
    assert exact - 1e-9 <= histogram.quantile_s(share) <= exact * 1.008 + 2e-6


def test_merging_is_recording_together() -> None:
    """Counts of two runs or two links add up."""
    one, two, both = Histogram(), Histogram(), Histogram()
    for index in range(1000):
        (one if index % 3 else two).record(index / 997)
        both.record(index / 997)
    one.merge(two)
    assert one.counts == both.counts
    assert one.summary() == both.summary()


def test_an_empty_histogram_says_so() -> None:
    """There is no latency of nothing."""
    assert Histogram().summary() == {"count": 0}
    assert math.isnan(Histogram().quantile_s(0.5))


def test_the_maximum_is_exact() -> None:
    """It is the one value that everybody asks about."""
    histogram = Histogram()
    histogram.record(0.123456789)
    assert histogram.quantile_s(1) == histogram.peak_s == 0.123456789
    assert histogram.summary()["max_ms"] == pytest.approx(123.457)
