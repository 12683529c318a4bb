"""What the status of a whole response says about the request that it answers. Pure.

A question is answered, was read by nobody, met a processor that has no time, or stays undecided. It is asked again in
the two middle cases only: a 2xx that holds no answer, a refusal of the interface or an error of the processor's may
have been a decision already, which stand-in must not race.

| status | a question | a notice | source |
| --- | --- | --- | --- |
| 200 | is answered, or decides nothing | taken | |
| another 2xx | decides nothing | taken | |
| 408 | read by nobody: again at once, on another connection | the same | RFC 9110, 15.5.9 |
| 421 | the same: this connection leads to the wrong host | the same | RFC 9110, 15.5.20 |
| 425 | the same: it might be a replay, says who reads TLS for it | the same | RFC 8470, 5.2 |
| 429 | nobody has time: again after a pause | again after a pause | RFC 6585, 4 |
| 502, 503, 504 | nobody is there: again after a pause, on another connection | the same | RFC 9110, 15.6 |
| 400, 409, 410, 413, 422 | decides nothing | refused for good | RFC 9110, 15.5 |
| anything else | decides nothing | again after a pause | |
"""

from typing import Final, NamedTuple

UNREAD: Final = frozenset({408, 421, 425})
"""Nobody read the request: it crossed with the end of its connection, or came to the wrong place."""
AGAIN: Final = frozenset({429, 502, 503, 504})
"""A busy processor, or a load balancer with nobody behind it: asking again soon may help."""
REFUSING: Final = frozenset({400, 409, 410, 413, 422})
"""Statuses that judge the notice itself. Any other may come from a proxy in front of the processor (no route yet, a
credential that has run out) and says nothing about the notice."""
CROSSINGS_MAX: Final = 3
"""Times that a request that nobody read is sent again at once. More of them are no accident."""


class Told(NamedTuple):
    """How telling went."""

    status: int
    """The HTTP status; 0 when none came."""
    retry_after_s: float
    """The pause that the processor asked for; 0: none."""
    reason: str
    """In words fit for a log."""

    @property
    def acknowledged(self) -> bool:
        """Whether it is taken: any 2xx."""
        return 200 <= self.status < 300

    @property
    def refused(self) -> bool:
        """Whether it is refused for good: telling it again would get the same."""
        return self.status in REFUSING
