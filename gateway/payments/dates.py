"""The dates that an unknown payment may bear, and whether our clock can be trusted to judge them. Pure.

A frame that was captured once is authentic for ever: its MAC is right. While its FPID is remembered it gets its stored
outcome; after that only its date (DE12) tells it from a new payment. So only the date of an *unknown* FPID is judged.
A repeat gets its outcome and a reversal its positive answer, whatever their date.

Today is the day of the calendar in the United Kingdom, by the wall clock: DE12 is written there. In summer UTC is
still in yesterday for an hour after midnight, and a payment of that hour would seem to be of tomorrow.

Where our clock cannot be right, or the hub's differs from it on every link, a date decides nothing: the processor is
asked with a mark. DE7 says no year and no time zone, so a clock that is a whole year wrong agrees with the hub.
"""

from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, date, datetime, timedelta
from enum import Enum, auto
from functools import lru_cache

from gateway import config
from gateway.clock import Now
from gateway.errors import ConfigurationError
from gateway.wire.fields import PaymentType

_S = 10**9
_DAY_NS = 86_400 * _S
_HOUR_NS = 3_600 * _S
_EPOCH = date(1970, 1, 1).toordinal()
_YEAR_S = 365.2425 * 86_400
BEHIND_NS_MAX = _DAY_NS
"""How much earlier than the last record our clock may be. A step of an hour, or another server's clock, is less."""
STEP_NS_MAX = _DAY_NS + _S
"""A clock that is set by more while we run moves the window: no date is refused until the hub says the same."""
AHEAD_NS_MAX = 2 * 366 * _DAY_NS
"""How much later than the last record our clock may be. Nobody goes on with a journal after so long."""
AHEAD_OF_RELEASE_NS_MAX = 10 * 366 * _DAY_NS
"""How much later than the release our clock may be, without a journal. Nobody runs a version for longer."""
WHOLE_YEARS_WITHIN_S = 3 * 86_400.0
"""How near to whole years a difference may be a year that somebody typed wrong. The hub's clock says no year."""


class Verdict(Enum):
    """The judgement of an unknown payment's date."""

    ORDINARY = auto()
    UNUSUAL = auto()
    """The processor is asked with a mark, and stand-in does not accept it."""
    REFUSED = auto()
    """1930, and DE44 is 012."""


SYNCHRONOUS_BACK_DAYS = 2
AHEAD_DAYS = 1
"""The window of a payment type that the configuration does not name. A type that is not synchronous may go back as far
as FPIDs are remembered."""


class Window:
    """Judges DE12 by the payment's type."""

    def __init__(self, dates: config.Dates, types: Mapping[str, PaymentType], business_days: int) -> None:
        self._types = types
        self._back, self._ahead = dates.back_days, dates.ahead_days
        self._remembered_days = config.days_spanned(business_days) - 1  # today is one of them
        self._hour = 0
        self._ordinary = set[tuple[str, str]]()
        """Types and dates that were found ordinary in this hour: a day begins with one."""

    def judge(self, payment_type: str, date_sent: str, now: Now, in_doubt: Callable[[Now], bool]) -> Verdict:
        """`in_doubt`: whether today is not known for sure."""
        hour, key = now.wall_ns // _HOUR_NS, (payment_type, date_sent)
        if hour != self._hour:
            self._hour = hour
            self._ordinary.clear()
        elif key in self._ordinary:
            return Verdict.ORDINARY
        kind = self._types.get(payment_type)
        synchronous = kind is not None and kind.synchronous
        back = self._back.get(payment_type, SYNCHRONOUS_BACK_DAYS if synchronous else self._remembered_days)
        ahead = self._ahead.get(payment_type, AHEAD_DAYS)
        if -back <= day_of(date_sent) - uk_day(now.wall_ns) <= ahead:
            self._ordinary.add(key)
            return Verdict.ORDINARY
        return Verdict.REFUSED if synchronous and not in_doubt(now) else Verdict.UNUSUAL


def check(pair: config.Pair, types: Mapping[str, PaymentType]) -> None:
    """Check the windows against the field table. Raises `ConfigurationError` for a type that would never come."""
    mistakes = list(strange_types(pair, types))
    if mistakes:
        raise ConfigurationError(mistakes)


def strange_types(pair: config.Pair, types: Mapping[str, PaymentType]) -> Iterator[str]:
    """Windows of types that the field table does not have."""
    for name, days in (("back_days", pair.dates.back_days), ("ahead_days", pair.dates.ahead_days)):
        for code in days:
            if code not in types:
                yield f"pair.dates.{name}.{code}: is no payment type of the field table"


@lru_cache(maxsize=256)  # the same few days come again and again
def day_of(date_sent: str) -> int:
    """The day's number since 1970 of YYYYMMDD, which is a day (the field table says so)."""
    return date(int(date_sent[:4]), int(date_sent[4:6]), int(date_sent[6:])).toordinal() - _EPOCH


def uk_day(wall_ns: int) -> int:
    """The number since 1970 of the day that it is in the United Kingdom."""
    return (wall_ns + (_HOUR_NS if _is_summer(wall_ns // _HOUR_NS) else 0)) // _DAY_NS


@lru_cache(maxsize=8)
def _is_summer(hour: int) -> bool:
    """From the last Sunday of March to that of October, from and to 01:00 UTC (The Summer Time Order 2002)."""
    year = (datetime(1970, 1, 1, tzinfo=UTC) + timedelta(hours=hour)).year
    return _last_sunday(year, 3) * 24 + 1 <= hour < _last_sunday(year, 10) * 24 + 1


def _last_sunday(year: int, month: int) -> int:
    last = date(year, month, 31)
    return last.toordinal() - last.isoweekday() % 7 - _EPOCH


class Clocks:
    """Whether our wall clock can be right, by the journal and the release; and what the hub's clocks say of it."""

    def __init__(self, differs_s: float, recorded_ns: int = 0, released_ns: int = 0) -> None:
        """`differs_s`: how much a hub's clock may differ. `recorded_ns`: when the journal's last record was written,
        `released_ns`: when this version was released; 0: not known.
        """
        self._differs_s = differs_s
        self._recorded_ns = recorded_ns
        self._released_ns = released_ns
        self._by_link: dict[int, float] = {}
        """The hub's time as it was last heard there, less our monotonic time then, in seconds: so a step of our wall
        clock shows at once."""
        self._offset_ns: int | None = None
        """Our wall clock less the monotonic one, at the last look."""
        self._stepped = False
        """It was set by more than a day while we ran, and the hub has not said since that it is right."""
        self.trouble = ""
        """Why our clock cannot be right; empty when it can."""

    def hub_differs(self, now: Now) -> bool:
        """Whether the hub's clock differs from ours on every link that it was heard on."""
        ours_s = now.wall_ns / _S - now.mono_s
        return bool(self._by_link) and all(abs(its - ours_s) > self._differs_s for its in self._by_link.values())

    def in_doubt(self, now: Now) -> bool:
        """Whether no date may be refused for what our clock says."""
        return self._stepped or self._steps(now) or bool(self._unvouched_trouble(now)) or self.hub_differs(now)

    def heard(self, link: int, transmission_time: str, now: Now) -> None:
        """A management message of the hub said its time, MMDDhhmmss."""
        its_s = nearest_s(transmission_time, now.wall_ns)
        if its_s is not None:
            self._by_link[link] = its_s - now.mono_s
            if abs(its_s - now.wall_ns / _S) <= self._differs_s:
                self._stepped = False

    def gone(self, link: int) -> None:
        """A link has ended: the time that was heard there counts no more."""
        self._by_link.pop(link, None)

    def look(self, now: Now) -> str:
        """Judge our clock anew; returns `trouble`. Once it is right again, there is none any more."""
        self._stepped = self._stepped or self._steps(now)
        self._offset_ns = now.wall_ns - round(now.mono_s * _S)
        self.trouble = self._unvouched_trouble(now)
        if not self.trouble:
            self._recorded_ns = now.wall_ns
        return self.trouble

    def _steps(self, now: Now) -> bool:
        """Whether our wall clock was set by more than a day since the last look."""
        offset_ns = now.wall_ns - round(now.mono_s * _S)
        return self._offset_ns is not None and abs(offset_ns - self._offset_ns) > STEP_NS_MAX

    def _unvouched_trouble(self, now: Now) -> str:
        trouble = self._trouble(now.wall_ns)
        return "" if trouble and self._vouched_for(now) else trouble

    def _trouble(self, wall_ns: int) -> str:
        if self._recorded_ns and wall_ns < self._recorded_ns - BEHIND_NS_MAX:
            return "the wall clock is more than a day earlier than the journal's last record"
        if wall_ns < self._released_ns:
            return "the wall clock is earlier than the release of this version"
        latest_ns = max(self._recorded_ns, self._released_ns)
        if self._recorded_ns and wall_ns > latest_ns + AHEAD_NS_MAX:
            return "the wall clock is years later than the journal's last record"
        if self._released_ns and wall_ns > latest_ns + AHEAD_OF_RELEASE_NS_MAX:
            return "the wall clock is many years later than the release of this version"
        return ""

    def _vouched_for(self, now: Now) -> bool:
        """Whether the hub has our time, so that the journal's was wrong. The hub's time does not show a wrong year."""
        if now.wall_ns < self._released_ns or not self._by_link or self.hub_differs(now):
            return False
        return _from_whole_years_s(abs(now.wall_ns - self._recorded_ns) / _S) > WHOLE_YEARS_WITHIN_S


def nearest_s(transmission_time: str, wall_ns: int) -> float | None:
    """MMDDhhmmss in seconds since 1970, in the year that is nearest to our time; None when it says no time."""
    ours = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(seconds=wall_ns // _S)
    try:
        said = [
            datetime.strptime(f"{year:04}{transmission_time}", "%Y%m%d%H%M%S").replace(tzinfo=UTC)
            for year in (ours.year - 1, ours.year, ours.year + 1)
            if transmission_time[:4] != "0229" or _leap(year)
        ]
    except ValueError:
        return None
    return min(said, key=lambda moment: abs(moment - ours)).timestamp() if said else None


def _leap(year: int) -> bool:
    return year % 4 == 0 and (year % 100 != 0 or year % 400 == 0)


def _from_whole_years_s(apart: float) -> float:
    """How far a difference is from one, two, three … years; one of less than half a year is near to none."""
    years = max(1, round(apart / _YEAR_S))
    return abs(apart - years * _YEAR_S)
