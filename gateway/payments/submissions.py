"""Outcomes of the payments that we submitted, remembered under the processor's key and under the FPID: an index over
the journal, rebuilt by reading it. Pure.

It holds payments at rest (`outbound_law.RESTING`); `outbound` holds those under way. Each takes some 130 bytes: its own
text is written once, text that many payments of a day share is written once for all, and both indexes point there.
"""

from typing import NamedTuple

import msgspec
from msgspec import Struct, structs

from gateway.config import days_spanned
from gateway.errors import HubFault
from gateway.memory.days import Days
from gateway.memory.pages import Pages
from gateway.memory.table import Table
from gateway.payments import steps
from gateway.payments.outbound_law import RESTS, State
from gateway.payments.steps import Kind
from gateway.payments.submitting import STOPPED
from gateway.payments.work import Standing
from gateway.wire.codec import Codec
from gateway.wire.message import PaymentResponse

_TRN_CHARS = 18
"""The TRN comes first in an FPID."""
_PLACE_BYTES = 5
_COMMONS_MAX = 4096
"""Shared texts at most for a day. Beyond that, each is written with its payment."""
_FIRST, _LAST = Kind.SUBMITTED, Kind.UNSENT
"""The kinds of record that say how it stands."""


class Known(Struct, frozen=True, gc=False):
    """An outbound payment at rest."""

    key: str
    content: bytes
    """Digest of what was submitted: eight bytes."""
    standing: Standing

    def __repr__(self) -> str:
        """Names no payment."""
        return f"<Known {self.standing.state.name}>"


class Unfinished(NamedTuple):
    """A payment that a restart finds under way."""

    key: str
    content: bytes
    covered: bytes
    """The request up to and without DE128."""
    submitted_ns: int
    """When it was recorded, or, after UNKNOWN, submitted again."""
    repeats: int
    """Requests sent since then, but for the first."""

    def __repr__(self) -> str:
        """Nothing of the request."""
        return f"<Unfinished, {self.repeats} repeats>"


class _Common(Struct, frozen=True, array_like=True, gc=False):
    """The part of a standing that many payments of a day share."""

    state: State
    code: str
    field: str
    by: str
    settlement: str
    asynchronous: str
    fpid: str
    """Without the TRN: type, date, currency and sender."""

    def __repr__(self) -> str:
        """Names nobody."""
        return f"<_Common {self.state.name}>"


class _Text(Struct, frozen=True, array_like=True, gc=False):
    """The part that is a payment's own."""

    key: str
    content: bytes
    trn: str
    common: int | _Common
    """Its number in its day."""
    redirected_agent: str
    redirected_account: str

    def __repr__(self) -> str:
        """Names no payment."""
        return "<_Text>"


_pack = msgspec.msgpack.Encoder().encode
_unpack = msgspec.msgpack.Decoder(_Text).decode


class _Day:
    """The texts of a day."""

    __slots__ = ("commons", "numbers", "pages")

    def __init__(self) -> None:
        self.pages = Pages()
        self.commons: list[_Common] = []
        self.numbers: dict[tuple[object, ...], int] = {}
        """Of each in `commons`, by its fields."""

    def write(self, known: Known) -> int:
        """Returns where it can be read."""
        s = known.standing
        common = (s.state, s.code, s.field, s.by, s.settlement, s.asynchronous, s.fpid[_TRN_CHARS:])
        number = self.numbers.get(common)
        if number is None and len(self.commons) < _COMMONS_MAX:
            number = self.numbers[common] = len(self.commons)
            self.commons.append(_Common(*common))
        what = common if number is None else number
        trn = s.fpid[:_TRN_CHARS]
        text = _pack((known.key, known.content, trn, what, s.redirected_agent, s.redirected_account))
        return self.pages.write(text)  # a `_Text`

    def read(self, place: int) -> Known:
        """What was written there."""
        text = _unpack(self.pages.read(place))
        c = self.commons[text.common] if isinstance(text.common, int) else text.common
        standing = Standing(
            text.trn + c.fpid, c.state, c.code, c.field, c.by, text.redirected_agent, text.redirected_account,
            c.settlement, c.asynchronous,
        )  # fmt: skip
        return Known(text.key, text.content, standing)


class Submissions:
    """Both indexes."""

    def __init__(self, business_days: int) -> None:
        self._by_key, self._by_fpid = Table(_PLACE_BYTES), Table(_PLACE_BYTES)
        self._calendar = Days(days_spanned(business_days), self._drop)
        self._days: dict[int, _Day] = {}
        """By mark."""
        self._forgotten: list[Pages] = []

    def __len__(self) -> int:
        return len(self._by_key)

    def of_key(self, key: str) -> Known | None:
        """What is known under the processor's key."""
        return self._read(self._by_key.get(key))

    def of_fpid(self, fpid: str) -> Known | None:
        """What is known under the FPID."""
        return self._read(self._by_fpid.get(fpid))

    def put(self, known: Known, wall_ns: int) -> None:
        """Remember, in place of what was known before."""
        mark = self._calendar.mark(wall_ns)
        if self._forgotten and not self._forgotten[-1].shed():
            self._forgotten.pop()
        day = self._days.get(mark)
        if day is None:
            day = self._days[mark] = _Day()
        place = day.write(known).to_bytes(_PLACE_BYTES)
        self._by_key.put(known.key, place, mark)
        self._by_fpid.put(known.standing.fpid, place, mark)

    def _read(self, found: tuple[bytes, int] | None) -> Known | None:
        if found is None:
            return None
        place, mark = found
        return self._days[mark].read(int.from_bytes(place))

    def _drop(self, mark: int) -> None:
        self._by_key.drop(mark)
        self._by_fpid.drop(mark)
        day = self._days.pop(mark, None)
        if day is not None:
            self._forgotten.append(day.pages)


def standing_of(fpid: str, settlement: steps.Settlement, response: PaymentResponse | None) -> Standing:
    """Where a settled payment stands; `response` is the 9210, where there was one."""
    standing = Standing(fpid, RESTS[Kind.SETTLED], settlement.code, settlement.field, settlement.by)
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
        self.cut_off: dict[str, Unfinished] = {}
        """What is UNKNOWN because an operator had stopped submitting, by FPID: repeated after the start."""
        self.submit_mode: steps.SubmitMode | None = None
        """The latest order whether payments leave; None: there is none."""
        self._codec = codec

    def record(self, kind: Kind, time_ns: int, fpid: str, body: bytes) -> None:
        """Take in one record."""
        if kind < _FIRST or (kind > _LAST and kind != Kind.SUBMIT_MODE):  # cheap: this runs for every record of weeks
            return
        match steps.unpack(kind, body):
            case steps.Submitted() as submission:
                self.unfinished[fpid] = Unfinished(
                    submission.key, submission.content, submission.covered, time_ns, repeats=0
                )
            case steps.Retry() as retry:
                self._retried(fpid, retry, time_ns)
            case steps.Settlement() as settlement:
                standing = standing_of(fpid, settlement, self._response(settlement.response))
                self._rests(Known(settlement.key, settlement.content, standing), time_ns)
            case steps.Unsettled() as unsettled:
                standing = Standing(fpid, RESTS[kind], unsettled.code)
                self._rests(Known(unsettled.key, unsettled.content, standing), time_ns)
                if kind == Kind.UNKNOWN and unsettled.reason == STOPPED:
                    self.cut_off[fpid] = Unfinished(
                        unsettled.key, unsettled.content, unsettled.covered, time_ns, repeats=unsettled.attempts
                    )
            case steps.SubmitMode() as order:
                self.submit_mode = order

    def _retried(self, fpid: str, retry: steps.Retry, time_ns: int) -> None:
        self.cut_off.pop(fpid, None)
        under_way = self.unfinished.get(fpid)
        if under_way is not None:
            self.unfinished[fpid] = under_way._replace(repeats=under_way.repeats + 1)
        else:  # it was UNKNOWN, and the processor submitted it again
            self.unfinished[fpid] = Unfinished(retry.key, retry.content, retry.covered, time_ns, repeats=1)

    def _rests(self, known: Known, time_ns: int) -> None:
        self.unfinished.pop(known.standing.fpid, None)
        self.cut_off.pop(known.standing.fpid, None)
        self.submissions.put(known, time_ns)

    def _response(self, raw: bytes) -> PaymentResponse | None:
        """The 9210; None when the field table has changed so that it is none any more."""
        try:
            message = self._codec.decode(raw) if raw else None
        except HubFault:
            return None
        return message if isinstance(message, PaymentResponse) else None
