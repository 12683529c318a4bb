"""The past as the journal tells it, read while the journal is opened. The engine begins with it."""

import msgspec

from gateway.acts.book import Book
from gateway.engine.reserving import spoken_for
from gateway.payments import steps
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
"""No kind from here on is of a payment that arrives. A constant, because every record of weeks is compared with it."""


class Past:
    """Takes every record once, in order."""

    def __init__(self, business_days: int, codec: Codec, meanings: Meanings) -> None:
        self.inbound = Replay(Outcomes(business_days))
        self.outbound = SubmissionsReplay(Submissions(business_days), codec)
        self.recorded_ns = 0
        """When the last record was written, by the wall clock; 0: never. Records of a clock far behind do not count."""
        self.ring: Ring | None = None
        """The latest ring of keys; None: the keys of the configuration."""
        self.message_ids = 0
        """Ids of our own management messages that earlier processes have spoken for."""
        self.news = news.Replay(meanings, codec)
        self.meanings = meanings
        self.book = Book()
        """The acts so far."""
        self.settings: dict[str, str] | None = None
        """Those of the start before; None: there was none, or its gateway kept none."""

    def record(self, kind: Kind, time_ns: int, fpid: str, body: bytes, position: int = 0) -> None:
        """Take in one record. Raises `msgspec.DecodeError` when its body is none of its kind."""
        if time_ns > self.recorded_ns - BEHIND_NS_MAX:
            self.recorded_ns = time_ns
        try:
            self.inbound.record(kind, time_ns, fpid, body)
            if kind >= _FIRST_OUTBOUND:
                self.outbound.record(kind, time_ns, fpid, body)
                if kind == Kind.KEYS:
                    self.ring = ring.unpack(body)
                elif kind == Kind.MESSAGE_IDS:
                    self.message_ids = max(self.message_ids, spoken_for(body))
                elif kind >= Kind.ACT:
                    self._note(kind, position, time_ns, body)
                else:
                    self.news.record(kind, time_ns, body)
        except (ValueError, RecursionError):
            # the shape is right, the content is not: a code that is no number, bytes that are no text
            raise msgspec.DecodeError("the body is none of its kind") from None

    def _note(self, kind: Kind, position: int, time_ns: int, body: bytes) -> None:
        said = steps.unpack(kind, body)
        if isinstance(said, steps.Act):
            self.book.take(position, time_ns, said)
        elif isinstance(said, steps.Configured):
            self.book.restarted()  # each start writes one, before anything else is done
            self.settings = said.settings

    @property
    def unfinished(self) -> int:
        """Payments that the last process left under way."""
        return len(self.inbound.unfinished) + len(self.outbound.unfinished)
