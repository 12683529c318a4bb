"""Plays what can happen to a payment through the real engine, and reads off who hears what and the last record.

The playbooks are in `arriving` and `leaving`. Nobody writes down what the hub and the processor hear.
"""

import itertools
from collections.abc import Callable
from dataclasses import dataclass

from gateway import config
from gateway.payments import steps
from gateway.payments.outbound_law import RESTING
from gateway.payments.steps import Kind
from gateway.payments.work import Submission
from gateway.wire.message import Message, PaymentRequest
from tests.fakes.engine import PAIR, FakeLink, World, payment, response, submission
from tests.fakes.outbound import start

BESIDE = frozenset({Kind.PERMITS, Kind.KEYS, Kind.STAND_IN_MODE, Kind.STARTED, Kind.STOPPED, Kind.SEALED, Kind.USM,
                    Kind.SUBMIT_MODE})  # fmt: skip
"""Kinds of record that are about no payment."""


class Play:
    """What a playbook plays on, and what is read off afterwards."""

    def __init__(self, pair: config.Pair = PAIR) -> None:
        self.world = World(pair)
        self.links = [self.world.link]
        self.told: list[str] = []
        self.asked = 0

    # --- a payment that arrives

    def arrives(self, *bodies: bytes) -> None:
        """The hub sends this, and everything of ours is done that can be."""
        self.world.frames(*(bodies or (payment(),)))
        self.settle()

    def answers(self, code: str = "0000") -> None:
        """The processor answers."""
        self.world.answer(code)
        self.settle()

    def silence(self, seconds: float) -> None:
        """Nobody says anything for so long."""
        self.world.later(seconds)
        self.settle()

    def silence_to_the_last_moment(self) -> None:
        """The processor says nothing: stand-in's time comes, and then the last moment."""
        self.silence(PAIR.deadlines.stand_in_after_s)
        self.silence(PAIR.deadlines.last_moment_s - PAIR.deadlines.stand_in_after_s)

    def settle(self) -> None:
        """Tokens, disk and links do their work."""
        self.world.settle()
        self.world.written()
        self.world.settle()

    def restart(self) -> None:
        """Killed and started again."""
        self._count_asked()
        self.world = self.world.restarted()
        self.links.append(self.world.link)
        self.settle()

    def comes_back(self) -> None:
        """The link is gone, and a new one stands."""
        self.world.link = FakeLink(id=self.world.link.id + 10)
        self.world.submitting.append(self.world.link)
        self.links.append(self.world.link)

    # --- a payment that leaves

    def submits(self, **changes: str) -> None:
        """The processor submits it, and waits for the outcome."""
        submitted = submission(wait=True, **changes)
        submitted.done = self._hear
        self.world.submit(submitted)
        self.settle()

    def submits_without_writing(self) -> None:
        """The same, and the request stays in the link's buffer."""
        submitted = submission(wait=True)
        submitted.done = self._hear
        self.world.submit(submitted)
        self.world.settle()

    def operator_stops(self) -> None:
        """An operator stops submitting."""
        self.world.engine.control.stop_submitting()
        self.settle()

    def operator_starts(self) -> None:
        """An operator starts it again."""
        start(self.world)
        self.settle()

    def _hear(self, submitted: Submission) -> None:
        standing = submitted.standing
        if submitted.refused:
            self.told.append(f"{submitted.refused} {submitted.code}".strip())
        elif standing is not None and standing.state in RESTING:
            by = f" by the {standing.by}" if standing.by else ""
            self.told.append(f"{standing.state.name} {standing.code}".strip() + by)

    def second_link(self) -> FakeLink:
        """One more link, to the other site of the hub."""
        link = FakeLink(id=2, site="hub2")
        self.world.submitting.append(link)
        self.links.append(link)
        return link

    def hub_answers(self, code: str = "0000", link: FakeLink | None = None) -> None:
        """The hub answers the last request on this link."""
        link = link or self.world.link
        request = next(message for message in reversed(link.sent) if isinstance(message, PaymentRequest))
        self.world.frames(response(request, code), link=link)
        self.settle()

    def silence_to_the_end(self) -> None:
        """The hub says nothing to any attempt."""
        for _ in range(60):
            self.silence(PAIR.submit.answer_within_s)

    # --- what is read off

    def _count_asked(self) -> None:
        self.asked += len(self.world.processor.asked)

    def hub_hears(self) -> str:
        """All that left, in order of links."""
        return in_turn([said(message) for link in self.links for message in link.sent])

    def processor_hears(self) -> str:
        """A question, replies to its submissions, notices."""
        self._count_asked()
        notices = [f"notice {kind.name}" for kind, _, _ in self.world.journal.records if kind in NOTICES]
        return in_turn(["question"] * self.asked + self.told + notices)

    def last_record(self) -> str:
        """The last one about a payment."""
        kinds = [kind.name for kind, _, _ in self.world.journal.records if kind not in BESIDE]
        return kinds[-1] if kinds else "none"


OTHER_AMOUNT = "00000000009999"
"""Not that of `payment` and `submission`."""
NOTICES = steps.TOLD_KINDS - BESIDE


def in_turn(heard: list[str]) -> str:
    """One after another; what comes several times in a row is counted."""
    runs = [(what, len(list(same))) for what, same in itertools.groupby(heard)]
    return ", ".join(what if times == 1 else f"{times} × {what}" for what, times in runs) or "nothing"


def said(message: Message) -> str:
    """A message in short: its type, its code, and the field that it complains of."""
    code = getattr(message, "action_code", "") or getattr(message, "function_code", "")
    where = getattr(message, "field_in_error", "")
    return f"{message.mti} {code}".strip() + (f" (DE44 {where})" if where else "")


@dataclass(frozen=True)
class Fate:
    """One thing that can happen to a payment."""

    name: str
    when: str
    play: Callable[[], Play]
    test: str
    """A test that looks closer."""

    def row(self) -> tuple[str, str, str, str, str, str]:
        """Play it, and say what was heard."""
        play = self.play()
        return self.name, self.when, play.hub_hears(), play.processor_hears(), play.last_record(), self.test


def fate(
    of: list[Fate], name: str, when: str, test: str, pair: config.Pair = PAIR
) -> Callable[[Callable[[Play], None]], Callable[[Play], None]]:
    """Put a playbook into a table."""

    def put(act: Callable[[Play], None]) -> Callable[[Play], None]:
        def play() -> Play:
            on = Play(pair)
            act(on)
            return on

        of.append(Fate(name, when, play, test))
        return act

    return put
