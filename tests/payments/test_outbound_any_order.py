"""Whatever happens to payments that leave, in whatever order, the promises hold."""

import random
from collections import Counter
from collections.abc import Iterator
from typing import Any

import trio
from hypothesis import given
from hypothesis import strategies as st

from gateway import config
from gateway.payments import steps
from gateway.payments.outbound_law import State
from gateway.payments.steps import Kind
from gateway.payments.submissions import Replay as SubmissionsReplay
from gateway.payments.submissions import Submissions
from gateway.payments.submitting import STOPPED
from gateway.payments.work import Submission
from gateway.wire.codec import fpid_of
from gateway.wire.message import PaymentRequest
from tests.fakes.engine import CODEC, FakeLink, World, response, submission
from tests.fakes.outbound import LIMITS, start

EVENTS = [
    "submit", "submit-again", "submit-other", "macs", "no-hsm", "sync", "accept", "refuse", "nothing-said", "stray",
    "later", "much-later", "lose", "lose-unwritten", "lose-writing", "connect", "restart", "stop", "start",
]  # fmt: skip

OFTEN = ["submit", "macs", "macs", "sync", "sync", "accept", "refuse", "lose-unwritten"]
"""So that payments come somewhere."""


class Story:
    """Drives a world at random and holds it to the promises about payments that leave."""

    def __init__(self, seed: int) -> None:
        self.world = World()
        self.luck = random.Random(seed)  # noqa: S311 - to be replayed
        self.links: list[FakeLink] = [self.world.link]
        self.submitted: list[Submission] = []
        self.told: list[Submission] = []
        self.written: dict[str, int] = {}
        """By FPID: requests that may have left."""
        self.checked = 0
        """Records that were held against what was known when they were written."""
        self.said: dict[str, set[str]] = {}
        """By FPID: what the hub said conclusively."""
        self.stopped: trio.Event | None = None
        """An operator has stopped submitting; set when that is durable."""
        self.sent_most = 0
        """Requests that had left by then."""

    def run(self, events: Iterator[str]) -> None:
        for event in events:
            getattr(self, "do_" + event.replace("-", "_"))()
            self.check()
            self.check_stopped()
        while self.world.engine.outbound.in_flight:
            self.do_later()
            self.world.settle()
        self.check()
        self.check_stopped()
        self.check_memory()

    def check(self) -> None:
        settled: dict[str, int] = {}
        for number, (kind, body, fpid) in enumerate(self.world.journal.records, 1):
            if kind is Kind.SETTLED:
                settlement = steps.unpack(kind, body)
                assert isinstance(settlement, steps.Settlement)
                assert settlement.code in self.said[fpid], "the outcome is what the hub said"
                settled[fpid] = number
            if kind is Kind.UNSENT and number > self.checked:  # submitted again it may leave
                assert not self.written.get(fpid), "what may have left is never given up as unsent"
        self.checked = len(self.world.journal.records)
        kinds_of = [(kind, fpid) for kind, _, fpid in self.world.journal.records if kind is Kind.SETTLED]
        assert len(kinds_of) == len(set(kinds_of)), "one outcome for each payment"
        durable = {
            (steps.unpack(kind, body).covered, fpid)  # type: ignore[attr-defined]
            for kind, body, fpid in self.world.journal.records[: self.world.journal.durable]
            if kind in (Kind.SUBMITTED, Kind.RETRIED)
        }
        for link in self.links:
            for message in link.sent:
                if isinstance(message, PaymentRequest):
                    assert (message.body[:-16], fpid_of(message)) in durable, "what left is durable"
        firsts = Counter(
            fpid_of(message)
            for link in self.links
            for message in link.sent
            if isinstance(message, PaymentRequest) and message.mti == "9200"
        )
        assert all(count == 1 for count in firsts.values()), "what may have left goes again as a repeat"
        for one in self.told:
            assert one.refused or one.standing
            if one.standing and one.standing.state is State.SETTLED:
                assert settled[one.standing.fpid] <= self.world.journal.durable, "what is reported is durable"
            if one.standing and one.standing.state in {State.UNKNOWN, State.UNSENT}:
                said = [
                    number
                    for number, (kind, _, fpid) in enumerate(self.world.journal.records, 1)
                    if fpid == one.standing.fpid and kind.name == one.standing.state.name
                ]
                assert min(said) <= self.world.journal.durable, "so is that nobody knows, or that it never left"

    def check_stopped(self) -> None:
        if self.stopped is not None:
            assert len(self.requests()) <= self.sent_most, "while submitting is stopped no request leaves"

    def check_memory(self) -> None:
        """What memory holds is what the journal says."""
        self.world.sync()
        replay = SubmissionsReplay(Submissions(7), CODEC)
        for kind, body, fpid in self.world.journal.records:
            replay.record(kind, self.world.now.wall_ns, fpid, body)
        assert not replay.unfinished
        for _, _, fpid in self.world.journal.records:
            known = replay.submissions.of_fpid(fpid)
            if known is not None:
                assert self.world.engine.look(known.key) == known.standing
        unknown = self.world.engine.outbound.unknown.values()
        assert {payment.fpid for payment in unknown if payment.reason == STOPPED} == replay.cut_off.keys()

    def requests(self) -> list[PaymentRequest]:
        return [message for link in self.links for message in link.sent if isinstance(message, PaymentRequest)]

    def submission(self, key: str, trn: str, **changes: Any) -> None:
        one = submission(key, trn, wait=self.luck.random() < 0.5, **changes)
        one.done = self.told.append
        self.submitted.append(one)
        self.world.submit(one)

    def do_submit(self) -> None:
        number = self.luck.randrange(4)
        self.submission(f"key-{number}", f"OUT{number}")

    do_submit_again = do_submit

    def do_submit_other(self) -> None:
        self.submission(f"key-{self.luck.randrange(4)}", f"OUT{self.luck.randrange(4)}", amount="00000000000001")

    def do_macs(self) -> None:
        if self.world.signer.batches:
            self.world.macs()
            self.note_written()

    def do_no_hsm(self) -> None:
        if self.world.signer.batches:
            self.world.macs(error="unavailable")

    def do_sync(self) -> None:
        self.world.sync()
        self.note_written()

    def note_written(self) -> None:
        for link in self.links:
            for message in link.sent:
                if isinstance(message, PaymentRequest):
                    self.written.setdefault(fpid_of(message), 0)
        self.written = dict.fromkeys(self.written, 0) | {
            fpid_of(message): 1 for link in self.links for message in link.sent if isinstance(message, PaymentRequest)
        }

    def say(self, code: str) -> None:
        link = self.luck.choice(self.links)
        requests = [message for message in link.sent if isinstance(message, PaymentRequest)]
        if requests and link.open:
            request = self.luck.choice(requests)
            self.said.setdefault(fpid_of(request), set()).add(code)
            self.world.frames(response(request, code), link=link)

    def do_accept(self) -> None:
        self.say("0000")

    def do_refuse(self) -> None:
        self.say("1114")

    def do_nothing_said(self) -> None:
        self.say("9909")

    def do_stray(self) -> None:
        """An answer on a connection that may never have carried the request."""
        requests = [m for link in self.links for m in link.sent if isinstance(m, PaymentRequest)]
        link = self.luck.choice(self.links)
        self.world.settle()  # what it meets is what has left by now
        if requests and link.open:
            request = self.luck.choice(requests)
            if any(fpid_of(m) == fpid_of(request) for m in link.sent if isinstance(m, PaymentRequest)):
                self.said.setdefault(fpid_of(request), set()).add("0082")
            self.world.frames(response(request, "0082"), link=link)
            self.world.settle()
            self.note_written()

    def do_later(self) -> None:
        self.world.later(LIMITS.pause_max_s)
        self.note_written()

    def do_much_later(self) -> None:
        self.world.later(LIMITS.answer_within_s)
        self.note_written()

    def do_lose(self, *, surely: bool | None = None) -> None:
        link = self.luck.choice(self.links)
        if link.open:
            if surely:
                waiting = [context for context in link.contexts if context is not None]
                kept = len(link.sent) - len(waiting)
                link.sent = link.sent[: max(kept, 0)]
            self.world.down(link, surely=surely)
            self.note_written()

    def do_lose_unwritten(self) -> None:
        self.do_lose(surely=True)

    def do_lose_writing(self) -> None:
        self.do_lose(surely=False)

    def do_connect(self) -> None:
        link = FakeLink(id=max(link.id for link in self.links) + 1)
        self.links.append(link)
        self.world.submitting.append(link)

    def do_stop(self) -> None:
        for link in self.links:
            if self.luck.random() < 0.5:  # what it was given is written
                link.contexts.clear()
        self.stopped = self.world.engine.control.stop_submitting()
        self.sent_most = len(self.requests())
        self.note_written()
        self.world.turn()

    def do_start(self) -> None:
        start(self.world)
        self.stopped = None
        self.note_written()

    def do_restart(self) -> None:
        self.world = self.world.restarted(after_s=1.0)
        if self.stopped is not None and self.stopped.is_set():
            assert self.world.engine.outbound.submitting.stopped, "a durable stop holds over restarts"
        elif not self.world.engine.outbound.submitting.stopped:
            self.stopped = None
        for link in self.links:
            link.open = False
        self.checked = min(self.checked, len(self.world.journal.records))
        self.told = [one for one in self.told if not one.standing or one.standing.state is not State.WAITING]
        self.world.link.id = max(link.id for link in self.links) + 1
        self.links.append(self.world.link)


@given(st.integers(0, 1 << 32), st.lists(st.sampled_from(EVENTS + OFTEN), min_size=30, max_size=100))
def test_whatever_happens_in_whatever_order_the_promises_hold(seed: int, events: list[str]) -> None:
    """One outcome per payment, which is what the hub said; nothing leaves or is reported before it is durable; what may
    have left is never given up as unsent; while an operator has stopped it nothing leaves; memory is what the journal
    says; and no impossibility is met.
    """
    Story(seed).run(iter(events))


def test_the_defaults_fit_the_scheme() -> None:
    """The hub owes the sender an answer within 15 seconds: no repeat before that."""
    assert config.Submit().answer_within_s > config.Deadlines().sender_answer_s
