"""A limit that is reached says so: once for each time that it lasts, and at most once a minute."""

import pytest

from gateway import metrics
from gateway.log.limit import SAY_EVERY_S, Limit
from tests.conftest import Logged


@pytest.mark.parametrize("name", metrics.LIMITS)
def test_a_limit_is_said_once_for_each_time(name: str, logged: Logged) -> None:
    """Its name and figure stand in the line; every episode and everything turned away is counted."""
    before = (metrics.LIMIT_REACHED[name]._value.get(), metrics.LIMIT_TURNED_AWAY[name]._value.get())
    limit = Limit(name, 7)
    for now_s in (0.0, 1.0, 2.0):
        limit.hit(now_s, "payments wait", 2)
    (line,) = logged("limit reached")
    assert (line["level"], line["where"], line["limit"], line["reason"]) == ("warning", name, 7, "payments wait")
    limit.eased()
    assert not limit.reached
    limit.hit(3.0, "payments wait")
    limit.eased()
    assert len(logged("limit reached")) == 1, "it was said a moment ago"
    limit.hit(SAY_EVERY_S, "payments wait")
    assert len(logged("limit reached")) == 2
    after = (metrics.LIMIT_REACHED[name]._value.get(), metrics.LIMIT_TURNED_AWAY[name]._value.get())
    assert (after[0] - before[0], after[1] - before[1]) == (3, 6)
