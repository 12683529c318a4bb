"""The mock hub, whatever happens in whatever order: it crashes by nothing, and each payment has one end."""

import random
from collections import Counter

import pytest

from gateway.wire.message import Message, PaymentRequest, ReversalRequest
from loadtest.hub import mischief
from loadtest.hub.scheme import HubSettings, Link
from loadtest.traffic.payments import Generator
from tests.loadtest.conftest import ALPHA, Bench

ENDS = frozenset({"replied", "reversed", "given-up"})
STEPS = 150


class Walk:
    """A hub, one participant that does as the luck says, and what it was asked and has not answered."""

    def __init__(self, seed: int) -> None:
        self.luck = random.Random(seed)  # noqa: S311 - a walk that replays
        settings = HubSettings(synchronous=self.luck.random() < 0.5, repeats_max=self.luck.choice((0, 1, 20)))
        self.bench = Bench(synchronous=settings.synchronous, repeats_max=settings.repeats_max)
        self.generator = Generator(self.bench.scheme.table, "WALK", "20250301", receiver=ALPHA)
        self.links: list[Link] = []
        self.asked: list[tuple[Link, Message]] = []

    def step(self) -> None:
        self.luck.choice(
            (self.up, self.lose, self.pay, self.pay, self.misbehave, self.wait, self.answer, self.answer)
        )()

    def up(self) -> None:
        if len(self.links) < 4:
            link = self.bench.link()
            link.node = self.luck.choice(("one", "two"))
            self.links.append(link)

    def lose(self) -> None:
        if self.links:
            link = self.links.pop(self.luck.randrange(len(self.links)))
            self.bench.lose(link)
            self.asked = [(other, message) for other, message in self.asked if other is not link]

    def pay(self) -> None:
        scheme = self.bench.scheme
        scheme.pay([self.bench.now_s] * self.luck.choice((1, 1, 5)), self.generator, self.bench.now_s)

    def misbehave(self) -> None:
        scheme, what = self.bench.scheme, self.luck.choice(("duplicate", *sorted(mischief.KINDS)))
        if (link := scheme.next_link()) is not None:
            mischief.KINDS[what](mischief.Scene(scheme, link, self.generator, self.bench.now_s))

    def wait(self) -> None:
        self.bench.wait(self.luck.choice((0.1, 1.0, 11.0)))

    def answer(self) -> None:
        """One of what was asked, or none, or once more; where it was asked or, wrongly, elsewhere."""
        self.hear()
        if self.asked and self.links:
            at = self.luck.randrange(len(self.asked))
            link, message = self.asked[at] if self.luck.random() < 0.1 else self.asked.pop(at)
            link = self.luck.choice(self.links) if self.luck.random() < 0.02 else link
            self.respond(link, message, self.luck.choice(("0000", "0000", "0083", "1114", "1181")))

    def hear(self) -> None:
        """What the hub wrote; mischief may be no message at all."""
        for link in self.links:
            frames, link.out = link.out, []
            for frame in frames:
                try:
                    message = self.bench.codec.decode(frame[4:])
                except Exception:  # noqa: BLE001,S112 - the gateway's business, tried elsewhere
                    continue
                if isinstance(message, PaymentRequest | ReversalRequest) and not message.fault:
                    self.asked.append((link, message))

    def respond(self, link: Link, message: Message, code: str) -> None:
        assert isinstance(message, PaymentRequest | ReversalRequest)
        self.bench.respond(link, message, "0000" if isinstance(message, ReversalRequest) else code)

    def finish(self) -> None:
        """All is well, and everything is answered where it was asked."""
        self.up()
        for _ in range(100):
            if not self.bench.scheme.outstanding and not self.bench.scheme.pending_mischief():
                return
            self.bench.wait(1.0)
            self.hear()
            asked, self.asked = self.asked, []
            for link, message in asked:
                self.respond(link, message, "0000")
        pytest.fail("the hub waits for ever")


@pytest.mark.parametrize("seed", range(60))
def test_each_payment_has_one_end_whatever_happens(seed: int) -> None:
    """Links come and go, patience ends, mischief borrows an FPID, and responses are late, doubled, wrong or missing."""
    walk = Walk(seed)
    for _ in range(STEPS):
        walk.step()
    walk.finish()
    sent = {event.fpid for event in walk.bench.said("sent")}
    ends = Counter(event.fpid for event in walk.bench.said(*ENDS) if not event.late)
    assert sent
    assert ends == dict.fromkeys(sent, 1)
    began, over = walk.bench.said("mischief"), walk.bench.said("mischief-answered", "mischief-missed")
    assert len(began) == len(over) + walk.bench.scheme.counts["mischief void"]
    assert not any(link.waiting or link.reversing for link in walk.links)


def test_mischief_borrows_no_fpid_whose_response_a_slow_link_may_still_bring() -> None:
    """It would be taken for the response to mischief, and what comes behind it for another one to the payment."""
    bench = Bench(synchronous=False, repeats_max=3)
    generator = Generator(bench.scheme.table, "WALK", "20250301", receiver=ALPHA)
    links = [bench.link(), bench.link()]
    bench.scheme.pay([bench.now_s], generator, bench.now_s)
    (slow,) = [link for link in links if bench.out(link)]
    (quick,) = [link for link in links if link is not slow]
    bench.wait(11.0)
    (repeat,) = bench.out(quick)
    assert isinstance(repeat, PaymentRequest)
    bench.respond(quick, repeat, "0000")
    assert bench.scheme.deliveries.samples, "it could be borrowed"

    def borrow() -> list[Message]:
        mischief.duplicate(mischief.Scene(bench.scheme, slow, generator, bench.now_s))
        return bench.out(slow)

    assert borrow() == []
    bench.respond(slow, repeat, "0000")
    (borrowed,) = borrow()
    assert isinstance(borrowed, PaymentRequest)
    bench.respond(slow, borrowed, "1181")
    assert not bench.scheme.faults
