"""The pure pieces: when to pause, sets of positions, where the processor is."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.backoff import backoff_s, jittered_s
from gateway.errors import ConfigurationError
from gateway.http.breaker import Breaker
from gateway.http.directory import Endpoint, FixedDirectory, endpoint
from gateway.memory.positions import Positions
from tests.fakes.processor import settings


@pytest.mark.parametrize(
    ("times", "luck", "expected"),
    [(0, 1.0, 0.5), (0, 0.0, 0.25), (1, 1.0, 1.0), (5, 1.0, 16.0), (6, 1.0, 30.0), (6, 0.0, 15.0), (10_000, 1.0, 30.0)],
)
def test_pauses(times: int, luck: float, expected: float) -> None:
    """They double up to the longest; luck moves them in their upper half."""
    assert jittered_s(backoff_s(times, 0.5, 30.0), luck) == expected


def test_a_breaker_opens_and_closes() -> None:
    """Closed until so many failures in a row; then one probe after each pause; closed by the first success."""
    breaker = Breaker(1.0, 8.0, after=2)
    breaker.failed(0.0, 0.0, 1.0)
    breaker.succeeded()
    breaker.failed(1.0, 1.0, 1.0)
    assert (breaker.open, breaker.allows(1.0)) == (False, True)
    breaker.failed(2.0, 2.0, 1.0)
    assert (breaker.open, breaker.allows(2.9), breaker.allows(3.0)) == (True, False, True)
    breaker.started(3.0)
    assert not breaker.allows(3.0)
    breaker.failed(3.5, 3.0, 1.0)
    assert (breaker.allows(5.4), breaker.allows(5.5)) == (False, True)
    breaker.started(5.5)
    breaker.succeeded()
    assert (breaker.open, breaker.allows(5.5)) == (False, True)


def test_what_was_under_way_when_it_opened() -> None:
    """Many failures of one moment are one reason to pause, not many."""
    breaker = Breaker(1.0, 64.0)
    breaker.failed(1.0, 0.5, 1.0)
    for _ in range(5):
        breaker.failed(1.2, 0.5, 1.0)
    assert (breaker.failures, breaker.until_s) == (1, 2.0)


def test_a_probe_without_an_end() -> None:
    """When a probe says nothing, another goes after the longest pause."""
    breaker = Breaker(1.0, 8.0)
    breaker.failed(0.0, 0.0, 1.0)
    breaker.started(1.0)
    assert (breaker.allows(8.9), breaker.allows(9.0)) == (False, True)


def test_a_pause_that_was_asked_for() -> None:
    """The other end may ask for a longer pause."""
    breaker = Breaker(1.0, 8.0)
    breaker.failed(0.0, 0.0, 1.0, at_least_s=5.0)
    assert breaker.until_s == 5.0


@given(st.lists(st.tuples(st.booleans(), st.integers(0, 5000))))
def test_positions_are_a_set(steps: list[tuple[bool, int]]) -> None:
    """Whatever is put in and taken out, in any order, it is what a set would be."""
    positions, model = Positions(), set[int]()
    for put, position in steps:
        (positions.add if put else positions.discard)(position)
        (model.add if put else model.discard)(position)
        assert len(positions) == len(model)
    assert all((position in positions) == (position in model) for position in range(5001))
    assert len(positions._spans) == len({position >> 10 for position in model})


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("http://processor", Endpoint("processor", 80, tls=False, authority="processor", path="")),
        ("https://processor/", Endpoint("processor", 443, tls=True, authority="processor", path="")),
        ("https://p.bank:8443/fps/v1/", Endpoint("p.bank", 8443, tls=True, authority="p.bank:8443", path="/fps/v1")),
        ("http://[::1]:81", Endpoint("::1", 81, tls=False, authority="[::1]:81", path="")),
    ],
)
def test_a_url(url: str, expected: Endpoint) -> None:
    """Host, port, what goes into the Host header, and the path before ours."""
    assert endpoint(settings(url)) == expected
    directory = FixedDirectory(expected)
    assert (directory.primary(), directory.inquiries()) == (expected, (expected,))


@pytest.mark.parametrize(
    "url", ["http://:80", "http://a:b@c", "http://h/?x", "http://h/#x", f"http://{'x' * 70}.bank", "http://h\n/"]
)
def test_no_url_of_ours(url: str) -> None:
    """What does not name a place and nothing else is a mistake in the configuration."""
    with pytest.raises(ConfigurationError, match=r"node\.processor\.url"):
        endpoint(settings(url))
