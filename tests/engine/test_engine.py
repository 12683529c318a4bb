"""The engine: batches in, batches out, and nothing leaves before its record is durable and its MAC is made."""

from collections.abc import Iterator

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway import config
from gateway.engine import COMMIT_WITHIN_S
from gateway.errors import HubFault
from gateway.payments import steps
from gateway.payments.outcomes import Outcomes, Replay
from gateway.payments.steps import Kind
from gateway.payments.work import Answer
from gateway.wire.message import (
    Advice,
    NetworkRequest,
    PaymentResponse,
    ReversalRequest,
    ReversalResponse,
    Usm,
)
from tests.conftest import Logged, Reached
from tests.fakes.engine import PAIR, FakeLink, World, codes, payment, sealed


@pytest.fixture
def world() -> World:
    return World()


def test_a_chunk_of_payments_moves_as_one_batch_at_every_stage(world: World) -> None:
    """A hundred payments: one message to the token each way, one write for each record, one flush."""
    world.frames(*(payment(f"TRN{number}") for number in range(100)))
    assert [len(batch) for batch in world.signer.batches] == [100]
    world.macs()
    assert world.journal.commits == 1
    assert not world.processor.asked, "nothing acts before it is durable"
    world.sync()
    assert (world.processor.batches, len(world.processor.asked)) == (1, 100)
    world.engine.on_answers([Answer(ask.fpid, "0000", "", ask.context) for ask in world.processor.asked])
    world.turn()
    assert world.journal.commits == 2
    world.macs()
    assert not world.link.sent, "nothing is replied before it is durable"
    world.sync()
    assert codes(world.link) == ["9210/0000"] * 100
    assert world.link.flushes == 1
    world.written()
    assert world.journal.kinds().count("REPLIED") == 100
    assert world.engine.in_flight == 0


def test_more_payments_than_are_decided_at_once_are_a_limit_that_says_so(world: World, reached: Reached) -> None:
    """What is not asked about is stood in for and counted, in one line while it lasts; with room, it is over."""
    world.frames(*(payment(f"TRN{number}") for number in range(1007)))
    world.settle()
    assert len(world.processor.asked) == 1000
    assert reached("node.payments_max") == ([1000], 7)
    assert world.engine.arriving._places.reached
    world.engine.on_answers([Answer(ask.fpid, "0000", "", ask.context) for ask in world.processor.asked])
    world.turn()
    world.settle()
    world.written()
    assert not world.engine.arriving._places.reached


@given(st.permutations(["sync", "macs"]))
def test_a_reply_leaves_when_it_is_durable_and_authentic_whichever_comes_first(order: list[str]) -> None:
    world = World()
    world.frames(payment())
    world.macs()
    world.sync()
    world.answer()
    first, second = order
    getattr(world, first)()
    assert not world.link.sent
    getattr(world, second)()
    assert codes(world.link) == ["9210/0000"]


def test_a_result_counts_when_the_signer_says_so_and_only_once() -> None:
    """The signer fills a job in before it reports it; a sync in between must not make two replies of it."""
    world = World()
    world.frames(payment())
    world.macs()
    world.sync()
    world.answer()
    jobs = world.signer.done()
    world.sync()
    world.engine.on_macs(jobs)
    world.turn()
    assert codes(world.link) == ["9210/0000"]


def test_a_record_that_nobody_waits_for_shares_the_next_batch_or_goes_soon(world: World) -> None:
    """REPLIED costs no sync of its own while there is other work, and does not lie about for long without."""
    world.frames(payment())
    world.macs()
    world.sync()
    world.answer()
    world.macs()
    world.sync()
    commits = world.journal.commits
    world.written()
    assert world.journal.kinds()[-1] == "REPLIED"
    assert world.journal.commits == commits
    world.now_s += COMMIT_WITHIN_S
    world.turn()
    assert world.journal.commits == commits + 1


def test_a_payment_under_our_own_name_is_refused_and_said(logged: Logged) -> None:
    """930 on DE98: nobody is asked, and a line says so, without whom it names."""
    world = World(msgspec.structs.replace(PAIR, own_senders=("040004",)))
    world.frames(payment())
    world.settle()
    assert "RECEIVED" not in world.journal.kinds()
    assert codes(world.link) == ["9210/1930"]
    (line,) = logged("payment refused: it says that we sent it")
    assert "040004" not in str(line)


def test_the_timer_stands_in_at_its_own_deadline_counted_from_the_first_byte(world: World) -> None:
    world.frames(payment())
    world.macs()
    world.now_s += 1.0
    world.sync()
    world.now_s = 10.0 + PAIR.deadlines.stand_in_after_s - 0.001
    world.turn()
    assert "STOOD_IN" not in world.journal.kinds()
    world.now_s += 0.001
    world.turn()
    assert "STOOD_IN" in world.journal.kinds()


def test_an_answer_that_comes_together_with_its_deadline_wins(world: World) -> None:
    world.frames(payment())
    world.macs()
    world.sync()
    world.now_s += PAIR.deadlines.stand_in_after_s
    world.answer()
    assert "ANSWERED" in world.journal.kinds()
    assert "STOOD_IN" not in world.journal.kinds()


@pytest.mark.parametrize("body", [b"", b"garbage", b"9999" + b"0" * 60, b"9200" + b"F" * 40], ids=repr)
def test_what_cannot_be_read_is_advised_and_kept(world: World, body: bytes) -> None:
    world.frames(body)
    world.macs()
    assert not world.link.sent
    world.sync()
    assert codes(world.link) == ["9624/650"]
    assert world.journal.kinds() == ["REJECTED"]


def test_a_wrong_mac_is_advised_and_nothing_else_happens(world: World) -> None:
    body = payment()
    world.frames(body[:-1] + (b"0" if body[-1:] != b"0" else b"1"))
    world.macs()
    world.macs()
    world.sync()
    assert codes(world.link) == ["9624/690"]
    assert world.journal.kinds() == ["REJECTED"]
    assert not world.processor.asked


def test_an_advice_is_never_answered_with_an_advice(world: World) -> None:
    """Two gateways that cannot read each other must not talk for ever."""
    world.frames(b"9624 what", sealed(Advice(mti="9624", function_code="650"), key="other"))
    world.macs()
    world.sync()
    assert not world.link.sent
    assert not world.signer.batches
    assert world.journal.kinds() == ["REJECTED", "REJECTED"]


@pytest.mark.parametrize("function_code", ["650", "670", "672", "690", "999"])
def test_an_advice_with_a_wrong_mac_is_counted_and_never_answered(world: World, function_code: str) -> None:
    """Whatever it says, and whichever payment it names; two ends that answer each other's 9624 never stop."""
    names = {"processing_code": "100000", "date_sent": "20261122", "trn": "A", "currency": "826", "sender": "040004"}
    for stamp in ("1122101112", ""):
        advice = Advice(mti="9624", transmission_time=stamp, message_id="7", function_code=function_code, **names)  # type: ignore[arg-type]  # by name
        world.frames(sealed(advice, key="other"))
        world.settle()
    assert world.engine.counts["wrong_mac"] == 2
    assert world.journal.kinds() == ["REJECTED", "REJECTED"]
    assert not world.link.sent


def test_what_no_hsm_can_verify_is_kept_and_not_acted_upon(world: World) -> None:
    world.frames(payment())
    world.macs(error="unavailable")
    world.sync()
    assert world.journal.kinds() == ["REJECTED"]
    assert not world.link.sent
    assert not world.processor.asked


def test_a_reply_that_no_hsm_makes_a_mac_for_is_undelivered(world: World) -> None:
    world.frames(payment())
    world.macs()
    world.sync()
    world.answer()
    world.macs(error="unavailable")
    world.sync()
    assert world.journal.kinds() == ["RECEIVED", "ANSWERED", "UNDELIVERED"]
    assert world.engine.in_flight == 0


def test_when_the_disk_does_not_keep_up_no_payment_is_taken_in_but_management_goes_on(world: World) -> None:
    """A gateway in trouble must be able to sign off, and to hear that it is."""
    echo = NetworkRequest(mti="9804", transmission_time="1122120000", message_id="000001", function_code="831")
    world.journal.room = False
    world.frames(payment(), sealed(echo))
    world.macs()
    assert [message.mti for message in world.link.managed] == ["9804"]
    assert world.journal.kinds() == ["MANAGEMENT_IN"]
    assert world.engine.counts["not_taken_in"] == 1


def test_replies_and_management_are_urgent_and_new_payments_are_not(world: World) -> None:
    """Under a flood of payments a reply that is owed, and a sign-off, must not stand behind it."""
    echo = NetworkRequest(mti="9804", transmission_time="1122120000", message_id="000001", function_code="831")
    world.frames(payment(), sealed(echo))
    assert [job.urgent for job in world.signer.batches[0]] == [False, True]
    world.macs()
    world.sync()
    world.answer()
    assert [job.urgent for job in world.signer.batches[0]] == [True]


def test_a_drain_waits_for_what_is_being_verified(world: World) -> None:
    """A payment that the hub sent before it took our sign-off is in flight, wherever it is."""
    world.engine.frames(world.link, [(world.now_s, payment())], world.now_s)
    assert world.engine.in_flight == 1
    world.turn()
    assert world.engine.in_flight == 1
    world.macs()
    assert world.engine.in_flight == 1
    world.engine.frames(world.link, [(world.now_s, b"garbage")], world.now_s)
    assert world.engine.in_flight == 2


def test_a_question_about_a_payment_that_is_reversed_is_void(world: World) -> None:
    world.frames(payment())
    world.macs()
    world.sync()
    assert not world.processor.asked[0].void
    Ledger(world).do_reversal("TRN1")
    world.macs()
    assert world.processor.asked[0].void


def test_a_usm_is_acknowledged_only_when_it_is_durable_and_other_management_at_once(world: World) -> None:
    echo = NetworkRequest(mti="9804", transmission_time="1122120000", message_id="000001", function_code="831")
    usm = Usm(mti="9824", transmission_time="1122120000", message_id="000002", function_code="971")
    world.frames(sealed(echo), sealed(usm))
    world.macs()
    assert [message.mti for message in world.link.managed] == ["9804"]
    world.sync()
    assert [message.mti for message in world.link.managed] == ["9804", "9824"]
    assert world.journal.kinds()[:2] == ["MANAGEMENT_IN", "USM"]


def test_a_management_message_of_ours_does_not_wait_for_the_disk(world: World) -> None:
    message = NetworkRequest(mti="9804", transmission_time="1122120000", message_id="000001", function_code="892")
    world.engine.transmit(world.link, message)
    world.turn()
    world.macs()
    assert codes(world.link) == ["9804/892"]
    assert world.journal.kinds() == ["MANAGEMENT_OUT"]


def test_a_response_to_nothing_is_kept_and_changes_nothing(world: World) -> None:
    response = PaymentResponse(
        mti="9210", processing_code="100000", date_sent="20261122", action_code="0000", trn="X", currency="826",
        sender="040004",
    )  # fmt: skip
    world.frames(sealed(response))
    world.macs()
    assert world.journal.kinds() == ["UNPLACED"]
    assert not world.link.sent


def test_when_the_link_ends_before_the_reply_is_written_it_is_undelivered(world: World) -> None:
    world.frames(payment())
    world.macs()
    world.sync()
    world.answer()
    world.macs()
    world.sync()
    world.engine.unsent(world.link, world.link.contexts, surely=False)
    world.turn()
    kind, body, _ = world.journal.records[-1]
    assert kind is Kind.UNDELIVERED
    undelivered = steps.unpack(kind, body)
    assert isinstance(undelivered, steps.Undelivered)
    assert undelivered.reason == "link-lost-writing"


def test_a_reply_that_became_too_late_before_it_was_written_is_undelivered(world: World) -> None:
    """A machine that sleeps between our word and the wire: the link says how long the reply was of use."""
    world.frames(payment())
    world.macs()
    world.sync()
    world.answer()
    world.macs()
    world.sync()
    assert world.link.untils == [world.now_s + PAIR.deadlines.reply_within_s], "no second has passed"
    world.engine.expired(world.link, world.link.contexts)
    world.turn()
    kind, body, _ = world.journal.records[-1]
    assert kind is Kind.UNDELIVERED
    undelivered = steps.unpack(kind, body)
    assert isinstance(undelivered, steps.Undelivered)
    assert undelivered.reason == "too-late"


def test_a_reply_leaves_on_the_connection_of_its_request_or_not_at_all(world: World) -> None:
    other = FakeLink(id=2)
    world.frames(payment())
    world.macs()
    world.sync()
    world.link.open = False
    world.frames(payment("TRN2"), link=other)
    world.macs()
    world.sync()
    world.answer(index=0)
    world.answer(index=1)
    world.macs()
    world.macs()
    world.sync()
    assert not world.link.sent
    assert codes(other) == ["9210/0000"]
    assert world.journal.kinds().count("UNDELIVERED") == 1


def test_a_frame_error_is_advised_at_once(world: World) -> None:
    world.engine.frame_error(world.link, HubFault("length 70000 over the limit"))
    world.macs()
    world.sync()
    assert codes(world.link) == ["9624/650"]


def test_statistics_name_what_was_counted(world: World) -> None:
    world.frames(payment())
    world.macs()
    statistics = world.engine.statistics()
    assert statistics["counts"] == {"received": 1}
    assert statistics["in_flight"] == 1


def reversal(trn: str = "TRN1", mti: str = "9420") -> bytes:
    return sealed(
        ReversalRequest(
            mti=mti, processing_code="100000", amount="00000000001000", date_sent="20261122", trn=trn,
            currency="826", sender="040004", action_code="4021",
        )
    )  # fmt: skip


def decided(world: World) -> None:
    world.frames(payment())
    world.settle()
    world.answer()
    world.settle()
    world.written()
    world.later(0.1)
    world.settle()
    world.link.sent.clear()


def test_a_late_refusal_is_told_also_when_the_payment_was_given_up_and_came_again() -> None:
    """The answer to the first question is about the same payment: stand-in accepted it meanwhile."""
    rules = config.StandIn(mode="never", otherwise="nothing")
    world = World(msgspec.structs.replace(PAIR, stand_in=rules))
    world.frames(payment())
    world.settle()
    for _ in range(20):
        world.later(0.5)
        world.settle()
    assert "UNANSWERED" in world.journal.kinds()
    world.engine.arriving.mode.switch("timer", world.now)
    world.frames(payment(mti="9201"))
    world.settle()
    world.later(PAIR.deadlines.stand_in_after_s)
    world.settle()
    world.answer("1114", 0)
    assert world.journal.kinds()[-1] == "LATE_REFUSAL"


@pytest.mark.parametrize(
    ("before", "body", "reply"),
    [
        (False, reversal(), "9430/0000"),
        (True, reversal(), "9430/0000"),
        (True, payment(mti="9201"), "9210/0000"),
        (True, payment(amount="00000000007777"), "9210/1181"),
        (False, payment(debtor_name=""), "9210/1930"),
        (False, b"garbage", "9624/650"),
    ],
    ids=["reversal-of-the-unknown", "reversal", "repeat", "conflict", "bad-field", "garbage"],
)
def test_nothing_at_all_is_replied_before_its_record_is_durable(body: bytes, reply: str, *, before: bool) -> None:
    """Not even what needs no decision."""
    world = World()
    if before:
        decided(world)
    world.frames(body)
    for _ in range(3):
        while world.signer.batches:
            world.macs()
        world.turn()
    assert codes(world.link) == []
    world.sync()
    assert codes(world.link) == [reply]


def test_a_repeats_reply_does_not_leave_after_a_reversal_that_came_meanwhile() -> None:
    """Its MAC is being made when the hub takes the payment back."""
    world = World()
    decided(world)
    world.frames(payment(mti="9201"))
    world.macs()
    (reply,) = world.signer.batches
    world.signer.batches.clear()
    world.frames(reversal())
    world.macs()
    world.signer.batches.append(reply)
    world.settle()
    assert codes(world.link) == ["9430/0000"]


EVENTS = [
    "payment", "repeat", "conflict", "reversal", "macs", "no-hsm", "sync", "answer", "refuse", "later", "written",
    "lost", "restart", "timer", "always", "never", "scheme-return",
]  # fmt: skip
MUST_ACCEPT_PENCE = 1234
"""What one scheme return may be accepted with beyond the daily total."""
RULES = [
    config.StandIn(),
    config.StandIn(mode="never", otherwise="nothing"),
    config.StandIn(mode="always", daily_total_max=2500),
    config.StandIn(amount_max=5000, daily_total_max=9000, otherwise="nothing"),
]


class Ledger:
    """Drives a world at random and holds it to promises 1, 2 and 3 after every event."""

    def __init__(self, world: World | None = None) -> None:
        self.world = world or World()
        self.links: list[FakeLink] = [self.world.link]

    def run(self, events: Iterator[str]) -> None:
        for event in events:
            getattr(self, "do_" + event.replace("-", "_"))()
            self.check()
        for _ in range(6):  # let everything settle
            while self.world.signer.batches:
                self.do_macs()
            self.do_sync()
            self.do_later()
            self.do_written()
        self.check()
        assert not self.world.engine.inbound.in_flight, "every payment ends"
        assert self.world.engine.in_flight == 0
        self.check_memory()

    def check_memory(self) -> None:
        """What memory holds is what the journal says."""
        outcomes, engine = Outcomes(7), self.world.engine
        replay = Replay(outcomes)
        for kind, body, fpid in self.world.journal.records:
            replay.record(kind, self.world.now.wall_ns, fpid, body)
        assert not replay.unfinished
        for fpid in {fpid for _, _, fpid in self.world.journal.records if fpid}:
            assert engine.outcomes.get(fpid) == outcomes.get(fpid)
        wall_ns = self.world.now.wall_ns
        assert engine.outcomes.stood_in.on(wall_ns) == outcomes.stood_in.on(wall_ns)
        mode = engine.inbound.stand_in.statistics(self.world.now.wall_ns)["mode"]
        assert mode == (replay.stand_in_mode.mode if replay.stand_in_mode else self.world.pair.stand_in.mode)

    def check(self) -> None:
        journal = self.world.journal
        for link in self.links:
            reversed_ = set[str]()
            for message in link.sent:
                if isinstance(message, ReversalResponse):
                    reversed_.add(message.trn)
                elif isinstance(message, PaymentResponse) and message.trn in reversed_:
                    assert message.action_code in ("1100", "1181"), "a reversal is never forgotten"
        durable = journal.records[: journal.durable]
        codes_recorded = {
            steps.unpack(kind, body).code  # type: ignore[attr-defined]
            for kind, body, _ in durable
            if kind in (Kind.ANSWERED, Kind.STOOD_IN, Kind.DECLINED, Kind.REFUSED)
        }
        for link in self.links:
            for message in link.sent:
                if isinstance(message, PaymentResponse):
                    assert message.action_code in codes_recorded, "what was said is durable"
                    assert message.trn != "RETURN" or message.action_code in ("0000", "0080"), "it must be accepted"
        decisions: dict[str, int] = {}
        for kind, _, fpid in journal.records:
            if kind in (Kind.ANSWERED, Kind.STOOD_IN, Kind.DECLINED):
                decisions[fpid] = decisions.get(fpid, 0) + 1
        assert all(count == 1 for count in decisions.values()), "one outcome per payment"
        limit = self.world.pair.stand_in.daily_total_max
        assert not limit or self.world.engine.outcomes.stood_in.on(self.world.now.wall_ns) <= limit + MUST_ACCEPT_PENCE

    def do_payment(self) -> None:
        self.world.frames(payment(f"TRN{len(self.world.journal.records) % 5}"))

    def do_repeat(self) -> None:
        self.world.frames(payment("TRN0", mti="9201"), link=self.links[-1])

    def do_conflict(self) -> None:
        self.world.frames(payment("TRN0", amount="00000000007777"))

    def do_reversal(self, trn: str = "TRN0") -> None:
        self.world.frames(
            sealed(
                ReversalRequest(
                    mti="9420", processing_code="100000", amount="00000000001000", date_sent="20261122", trn=trn,
                    currency="826", sender="040004", action_code="4021",
                )
            )
        )  # fmt: skip

    def do_macs(self) -> None:
        if self.world.signer.batches:
            self.world.macs()

    def do_no_hsm(self) -> None:
        if self.world.signer.batches:
            self.world.macs(error="unavailable")

    def do_sync(self) -> None:
        self.world.sync()

    def do_answer(self) -> None:
        if self.world.processor.asked:
            self.world.answer("0000", len(self.world.processor.asked) // 2)

    def do_refuse(self) -> None:
        if self.world.processor.asked:
            self.world.answer("1114", -1)

    def do_later(self) -> None:
        self.world.now_s += 3.0
        self.world.turn()

    def do_written(self) -> None:
        for link in self.links:
            if link.open:
                self.world.link, current = link, self.world.link
                self.world.written()
                self.world.link = current

    def do_restart(self) -> None:
        """Killed: what is durable is all there is, and every connection is new."""
        new = self.world.restarted()
        for link in self.links:
            link.open = False
        new.link = FakeLink(id=self.links[-1].id + 1)
        self.links.append(new.link)
        self.world = new

    def do_timer(self) -> None:
        self.switch("timer")

    def do_always(self) -> None:
        self.switch("always")

    def do_never(self) -> None:
        self.switch("never")

    def switch(self, mode: config.StandInMode) -> None:
        self.world.engine.arriving.mode.switch(mode, self.world.now)

    def do_scheme_return(self) -> None:
        """Like a payment, and no refusal of the processor's gets through, and no rule in the end."""
        self.world.frames(
            payment("RETURN", processing_code="250000", return_code="00000001", returned_fpid="F" * 42,
                    amount=f"{MUST_ACCEPT_PENCE:014}")
        )  # fmt: skip

    def do_lost(self) -> None:
        """The connection breaks and another one is made."""
        link = self.links[-1]
        link.open = False
        contexts, link.contexts = [c for c in link.contexts if c is not None], []
        self.world.engine.unsent(link, contexts, surely=True)
        self.links.append(FakeLink(id=link.id + 1))
        self.world.link = self.links[-1]
        self.world.turn()


@given(st.sampled_from(RULES), st.lists(st.sampled_from(EVENTS), min_size=30, max_size=80))
def test_whatever_happens_in_whatever_order_the_promises_hold(rules: config.StandIn, events: list[str]) -> None:
    """One outcome per payment, nothing said before it is durable, every payment ends; and no impossibility is met."""
    Ledger(World(config.Pair(group="sip", stand_in=rules))).run(iter(events))
