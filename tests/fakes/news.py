"""Unsolicited messages as the hub sends them, and the story's shells as lists."""

from dataclasses import dataclass, field
from math import inf
from typing import Any

from gateway import config
from gateway.clock import Now
from gateway.payments import steps
from gateway.payments.links import Link as StoryLink
from gateway.payments.steps import Kind
from gateway.scheme.news import Heard, News, Replay, Report, Taken
from gateway.wire.codec import Codec, join_mac
from gateway.wire.meanings import load
from gateway.wire.message import PaymentRequest, Usm

CODEC = Codec()
MEANINGS = load()
DAY_NS = 86_400 * 10**9
WALL_NS = 1_763_844_901_000_000_000
"""2025-11-22 20:55:01 UTC."""
OWN = "200000"
"""Our sort code, in payments of ours and as an institution."""
OTHER = "300000"
"""Another bank's."""


def usm(function: str, at: str = "1122205501", number: int = 1, **fields: Any) -> Usm:
    """A 9824 as it comes, with its bytes."""
    given: dict[str, Any] = {"date_sent": "20251122", **fields}
    message = Usm(mti="9824", function_code=function, transmission_time=at, message_id=f"{number:06}", **given)
    decoded = CODEC.decode(join_mac(CODEC.encode(message), bytes(8)))
    assert isinstance(decoded, Usm)
    return decoded


def outbound(kind: str = "10", amount: int = 12345, **fields: str) -> PaymentRequest:
    """A payment of ours to another bank, as it leaves."""
    given: dict[str, Any] = {"sender": OWN, "creditor_agent": OTHER, **fields}
    return PaymentRequest(mti="9200", processing_code=f"{kind}0000", amount=f"{amount:014}", **given)


def inbound(kind: str = "10", **fields: str) -> PaymentRequest:
    """A payment of another bank to us, as the hub sends it."""
    given: dict[str, Any] = {"sender": OTHER, "creditor_agent": OWN, "receiving_member": OWN, **fields}
    return outbound(kind, **given)


@dataclass
class Link:
    """A link of ours."""

    id: int = 1
    site: str = "hub-1"


@dataclass
class Shells:
    """What the story asked for, in order; nothing is durable until the test says so."""

    log: list[str] = field(default_factory=list)
    records: list[tuple[Kind, bytes, int]] = field(default_factory=list)
    reports: list[Report] = field(default_factory=list)
    waiting: list[Heard] = field(default_factory=list)
    lifting: list[tuple[steps.Lifted, Taken]] = field(default_factory=list)
    times_ns: list[int] = field(default_factory=list)
    """Of the records, where the test lets time pass."""
    wall_ns: int = WALL_NS
    mono_s: float = 0.0

    @property
    def now(self) -> Now:
        """The clocks."""
        return Now(self.mono_s, self.wall_ns)

    def record(self, kind: Kind, body: bytes, fpid: str, link: StoryLink) -> int:
        """Keep it."""
        assert fpid == ""
        self.records.append((kind, body, link.id))
        self.times_ns.append(self.wall_ns)
        self.log.append(kind.name)
        return len(self.records)

    def when_news_recorded(self, position: int, heard: Heard) -> None:
        """Keep it until `sync`."""
        assert position == len(self.records)
        self.waiting.append(heard)

    def when_lift_recorded(self, position: int, lifted: steps.Lifted, done: Taken) -> None:
        """Keep it until `sync`."""
        assert position == len(self.records)
        self.lifting.append((lifted, done))

    def acknowledge(self, link: StoryLink, usm: Usm) -> None:
        """A 9834 goes out."""
        self.log.append(f"9834 {usm.message_id} on {link.id}")

    def report(self, report: Report) -> None:
        """A line in the log."""
        self.reports.append(report)
        self.log.append(f"say {report.function_code} {report.outcome}")

    def report_lift(self, what: str, institution: str) -> None:
        """A line in the log."""
        self.log.append(f"say lifted {what} {institution}".rstrip())

    def sync(self, news: News) -> None:
        """Everything is durable."""
        waiting, self.waiting = self.waiting, []
        for heard in waiting:
            news.on_recorded(heard, self.now)
        lifting, self.lifting = self.lifting, []
        for lifted, done in lifting:
            news.on_lift_recorded(lifted, done, self.now)

    def kinds(self) -> list[str]:
        """The kinds of the records."""
        return [kind.name for kind, _, _ in self.records]


def hearing(settings: config.News | None = None, shells: Shells | None = None) -> tuple[News, Shells]:
    """A story that has begun with what the shells' records hold, and has recorded its permits."""
    shells = shells or Shells()
    replay = Replay(MEANINGS, CODEC)
    times_ns = shells.times_ns or [shells.wall_ns] * len(shells.records)
    for (kind, body, _), time_ns in zip(shells.records, times_ns, strict=True):
        replay.record(kind, time_ns, body)
    given = settings or config.News(own_institutions=(OWN,))
    news = News(given, MEANINGS, CODEC, shells, replay)
    assert news.next_timer() == inf
    news.begin(shells.now)
    shells.log.clear()
    return news, shells


def said(record: tuple[Kind, bytes, int]) -> steps.News:
    """The body of a USM record."""
    body = steps.unpack(record[0], record[1])
    assert isinstance(body, steps.News)
    return body
