"""What became of the payments that we submitted, remembered under the processor's key and under the FPID: an index
over the journal, rebuilt by reading it. Pure.

Here are payments at rest (`lifecycle.RESTING`); what is under way is `outbound`'s. About 500 bytes for each.
"""

from typing import NamedTuple

from msgspec import Struct, structs

from gateway import steps
from gateway.config import days_spanned
from gateway.days import Days
from gateway.errors import HubFault
from gateway.lifecycle import State
from gateway.steps import Kind
from gateway.wire.codec import Codec
from gateway.wire.message import PaymentResponse
from gateway.work import Standing


class Known(Struct, frozen=True, gc=False):
    """An outbound payment at rest."""

    key: str
    content: bytes
    """Digest of what was submitted: eight bytes."""
    standing: Standing


class Unfinished(NamedTuple):
    """What a restart finds under way."""

    key: str
    content: bytes
    covered: bytes
    """The request up to and without DE128."""
    submitted_ns: int
    """When it was recorded, or, after UNKNOWN, submitted again."""
    repeats: int
    """Requests sent since then, but for the first."""


class Submissions:
    """Both indexes."""

    def __init__(self, business_days: int) -> None:
        days = days_spanned(business_days)
        self._by_key: Days[Known] = Days(days)
        self._by_fpid: Days[Known] = Days(days)

    def __len__(self) -> int:
        return len(self._by_key)

    def of_key(self, key: str) -> Known | None:
        """What is known under the processor's key."""
        return self._by_key.get(key)

    def of_fpid(self, fpid: str) -> Known | None:
        """What is known under the FPID."""
        return self._by_fpid.get(fpid)

    def put(self, known: Known, wall_ns: int) -> None:
        """Remember, in place of what was known before."""
        self._by_key.put(known.key, known, wall_ns)
        self._by_fpid.put(known.standing.fpid, known, wall_ns)


def standing_of(fpid: str, settlement: steps.Settlement, response: PaymentResponse | None) -> Standing:
    """Where a settled payment stands; `response` is the 9210, where there was one."""
    standing = Standing(fpid, State.SETTLED, settlement.code, settlement.field, settlement.by)
    if response is None:
        return standing
    return structs.replace(
        standing,
        redirected_agent=response.redirected_agent,
        redirected_account=response.redirected_account,
        settlement=response.settlement_date + response.settlement_cycle,
        asynchronous=response.asynchronous,
    )


class Replay:
    """Reads the journal's records, at the start, into `submissions`; what was under way is `unfinished`, by FPID."""

    def __init__(self, submissions: Submissions, codec: Codec) -> None:
        self.submissions = submissions
        self.unfinished: dict[str, Unfinished] = {}
        self._codec = codec

    def record(self, kind: Kind, time_ns: int, fpid: str, body: bytes) -> None:
        """Take in one record."""
        if kind < Kind.SUBMITTED or kind > Kind.UNSENT:  # cheap: this runs for every record of weeks
            return
        match steps.unpack(kind, body):
            case steps.Submission() as submission:
                self.unfinished[fpid] = Unfinished(
                    submission.key, submission.content, submission.covered, time_ns, repeats=0
                )
            case steps.Retry() as retry:
                self._retried(fpid, retry, time_ns)
            case steps.Settlement() as settlement:
                standing = standing_of(fpid, settlement, self._response(settlement.response))
                self._rests(Known(settlement.key, settlement.content, standing), time_ns)
            case steps.Unsettled() as unsettled:
                state = State.UNKNOWN if kind == Kind.UNKNOWN else State.UNSENT
                standing = Standing(fpid, state, unsettled.code)
                self._rests(Known(unsettled.key, unsettled.content, standing), time_ns)

    def _retried(self, fpid: str, retry: steps.Retry, time_ns: int) -> None:
        under_way = self.unfinished.get(fpid)
        if under_way is not None:
            self.unfinished[fpid] = under_way._replace(repeats=under_way.repeats + 1)
        else:  # it was UNKNOWN, and the processor submitted it again
            self.unfinished[fpid] = Unfinished(retry.key, retry.content, retry.covered, time_ns, repeats=1)

    def _rests(self, known: Known, time_ns: int) -> None:
        self.unfinished.pop(known.standing.fpid, None)
        self.submissions.put(known, time_ns)

    def _response(self, raw: bytes) -> PaymentResponse | None:
        """The 9210; None when the field table has changed so that it is none any more."""
        try:
            message = self._codec.decode(raw) if raw else None
        except HubFault:
            return None
        return message if isinstance(message, PaymentResponse) else None
