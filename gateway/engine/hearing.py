"""Carries out the commands of `news`: the scheme's news through the shells."""

from gateway import config, log
from gateway.clock import Now
from gateway.engine.batch import Batch
from gateway.engine.shells import hub_link
from gateway.payments import steps
from gateway.payments.links import Link
from gateway.payments.steps import Kind
from gateway.scheme import news
from gateway.scheme.news import HandedOn, Heard, Lift, News, Report, Taken
from gateway.wire.codec import Codec
from gateway.wire.meanings import Meanings
from gateway.wire.message import Usm

_log = log.get("news")

NEWS_LIFTED = "news_lifted"
"""The name of its count."""


class Hearing(news.Commands):
    """Carries the scheme's news through the shells."""

    def __init__(
        self, settings: config.News, meanings: Meanings, codec: Codec, replay: news.Replay, batch: Batch
    ) -> None:
        self.story = News(settings, meanings, codec, self, replay)
        self._batch = batch
        self._handed_in: list[tuple[HandedOn, Taken]] = []
        self._lifts: list[tuple[Lift, str, Taken]] = []

    def hand_in(self, handed_on: HandedOn, taken: Taken) -> None:
        """Another process of ours hands news on: noted for the next wake-up."""
        self._handed_in.append((handed_on, taken))

    def order(self, lift: Lift, reason: str, done: Taken) -> None:
        """An operator lifts what news has set: noted for the next wake-up."""
        self._lifts.append((lift, reason, done))

    def take(self, now: Now) -> None:
        """Hand the story what was handed in, and let it do what is due."""
        handed_in, self._handed_in = self._handed_in, []
        for handed_on, taken in handed_in:
            self.story.on_handed_on(handed_on, taken, now)
        lifts, self._lifts = self._lifts, []
        for lift, reason, done in lifts:
            self.story.on_lift(lift, reason, done)
        self.story.handle_timer(now)

    def record(self, kind: Kind, body: bytes, fpid: str, link: Link) -> int:
        """See `news.Commands`; so are all that follow."""
        return self._batch.record(kind, body, fpid, link)

    def when_news_recorded(self, position: int, heard: Heard) -> None:
        """Bring it back when it is durable."""
        self._batch.wait_for_disk(position, lambda now: self.story.on_recorded(heard, now))

    def when_lift_recorded(self, position: int, lifted: steps.Lifted, done: Taken) -> None:
        """Bring it back when it is durable."""
        self._batch.wait_for_disk(position, lambda now: self.story.on_lift_recorded(lifted, done, now))

    def acknowledge(self, link: Link, usm: Usm) -> None:
        """Have the session send the 9834."""
        hub_link(link).manage(usm, self._batch.now)

    def report(self, report: Report) -> None:
        """Say it: somebody is on call for this."""
        again = report.outcome == "again"
        say = _log.info if again else _log.error if report.urgent else _log.warning
        say(
            "the scheme's news came again" if again else "the scheme has news",
            function_code=report.function_code,
            detail=report.what,
            state=report.state,
            institution=report.institution,
            outcome=report.outcome,
            source=report.source,
            reason=report.why,
        )

    def report_lift(self, what: str, institution: str) -> None:
        """Log and count it; the operator's reason is in the journal."""
        self._batch.count(NEWS_LIFTED)
        _log.warning("an operator lifts what the scheme's news has set", detail=what, institution=institution)
