"""What the journal says of the past, taken in while it is opened: what the engine begins with."""

import msgspec

from gateway.payments.dates import BEHIND_NS_MAX
from gateway.payments.outcomes import Outcomes, Replay
from gateway.payments.steps import Kind
from gateway.payments.submissions import Replay as SubmissionsReplay
from gateway.payments.submissions import Submissions
from gateway.scheme import news, ring
from gateway.scheme.ring import Ring
from gateway.wire.codec import Codec
from gateway.wire.meanings import Meanings

_FIRST_OUTBOUND = Kind.SUBMITTED
"""All kinds from here on are not of payments that come. Here, because this is looked at for every record of weeks."""


class Past:
    """Takes every record once, in order."""

    def __init__(self, business_days: int, codec: Codec, meanings: Meanings) -> None:
        self.inbound = Replay(Outcomes(business_days))
        self.outbound = SubmissionsReplay(Submissions(business_days), codec)
        self.recorded_ns = 0
        """When the last record was written, by the wall clock, leaving out those of a clock far behind; 0: none."""
        self.ring: Ring | None = None
        """The latest of the keys; None: those of the configuration."""
        self.news = news.Replay(meanings, codec)
        self.meanings = meanings

    def record(self, kind: Kind, time_ns: int, fpid: str, body: bytes) -> None:
        """Take in one record. Raises `msgspec.DecodeError` when its body is none of its kind."""
        if time_ns > self.recorded_ns - BEHIND_NS_MAX:
            self.recorded_ns = time_ns
        try:
            self.inbound.record(kind, time_ns, fpid, body)
            if kind >= _FIRST_OUTBOUND:
                self.outbound.record(kind, time_ns, fpid, body)
                if kind == Kind.KEYS:
                    self.ring = ring.unpack(body)
                else:
                    self.news.record(kind, time_ns, body)
        except (ValueError, RecursionError):
            # of its shape, and not its kind's all the same: a code that is no number, bytes that are no text
            raise msgspec.DecodeError("the body is none of its kind") from None

    @property
    def unfinished(self) -> int:
        """Payments that the last process left under way."""
        return len(self.inbound.unfinished) + len(self.outbound.unfinished)
