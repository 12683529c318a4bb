"""What the status of a whole response says about the request that it answers. Pure.

A question has an answer, or was read by nobody, or met somebody who has no time for it, or decides nothing. Only the
middle two are asked again: a 2xx that holds no answer, a refusal of the interface or an error of the processor's may
have been a decision already, which stand-in must not race.

| status | a question | a notice | says who |
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
"""What a busy processor, or a load balancer with nobody behind it, says: asking again soon may help."""
REFUSING: Final = frozenset({400, 409, 410, 413, 422})
"""What judges the notice itself. Every other status may come from whoever stands in front of the processor (no route
yet, a credential that has run out) and speak of no notice at all."""
CROSSINGS_MAX: Final = 3
"""How often one request is sent again at once, having been read by nobody. Beyond it, that is no accident."""


class Told(NamedTuple):
    """How telling went."""

    status: int
    """The HTTP status; 0 when none came."""
    retry_after_s: float
    """What the processor asked for; 0 when nothing."""
    reason: str
    """In words fit for a log."""

    @property
    def acknowledged(self) -> bool:
        """Any 2xx."""
        return 200 <= self.status < 300

    @property
    def refused(self) -> bool:
        """For good: telling it again would get the same."""
        return self.status in REFUSING
