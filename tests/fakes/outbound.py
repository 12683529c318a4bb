"""What tests of payments that leave do with an engine between fakes."""

from collections.abc import Callable

import trio
import trio.testing

from gateway.payments.outbound_law import RESTING
from gateway.payments.work import Submission
from gateway.wire.message import PaymentRequest
from tests.fakes.engine import PAIR, FakeLink, World, response, submission

LIMITS = PAIR.submit


class Heard:
    """Collects what submitters are told: of the outcome, those who wait for it; of durability, the others."""

    def __init__(self) -> None:
        self.all: list[Submission] = []

    def of(self, submitted: Submission) -> Submission:
        """Have this one's result collected."""
        submitted.done = self._hear
        return submitted

    def _hear(self, submitted: Submission) -> None:
        final = submitted.refused or (submitted.standing and submitted.standing.state in RESTING)
        if final or not submitted.wait:
            self.all.append(submitted)

    @property
    def states(self) -> list[str]:
        return [one.refused or (one.standing.state.name if one.standing else "") for one in self.all]


def kinds(world: World) -> list[str]:
    return world.journal.kinds()


def sent(link: FakeLink) -> list[str]:
    return [message.mti for message in link.sent]


def answer(world: World, code: str = "0000", link: FakeLink | None = None, **changes: str) -> None:
    """The hub answers the last request on this link."""
    link = link or world.link
    request = next(message for message in reversed(link.sent) if isinstance(message, PaymentRequest))
    world.frames(response(request, code, **changes), link=link)
    world.macs()


def second(world: World) -> FakeLink:
    """Another link that is signed on to submit."""
    link = FakeLink(id=2, site="hub2")
    world.submitting.append(link)
    return link


def unknown(world: World, heard: Heard) -> None:
    """Bring a payment to UNKNOWN by silence."""
    world.submit(heard.of(submission(wait=True)))
    world.settle()
    for _ in range(50):
        if heard.all:
            return
        world.later(LIMITS.answer_within_s)
        world.turn()
        world.settle()
    raise AssertionError("it is repeated for ever")


def start(world: World) -> int:
    """An operator starts submitting again, and the disk does its work."""
    return started(world, world.settle)


def started(world: World, meanwhile: Callable[[], object]) -> int:
    """An operator starts submitting again, and this happens while the record is on its way."""
    taken_up: list[int] = []

    async def order() -> None:
        taken_up.append(await world.engine.control.start_submitting())

    async def both() -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(order)
            await trio.testing.wait_all_tasks_blocked()
            meanwhile()

    trio.run(both)
    return taken_up[0]
