"""Whatever is submitted, repeated, lost, spoilt and answered, in whatever order: each payment has one outcome, is
carried out at most once, and everyone who hears of it hears the same.
"""

from collections import defaultdict
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.wire.codec import fpid_of
from gateway.wire.message import NetworkRequest, PaymentRequest, PaymentResponse, ReversalRequest, Usm
from loadtest.hub.injections import Injection
from loadtest.ledger.oracle import fpid_hash
from tests.loadtest.conftest import Bench, payment_request

PAYMENTS = 6
"""Odd ones go to beta, the others to the simulated bank."""
ASYNCHRONOUS = {0, 3, 5}
INCONCLUSIVE = {"9909", "9913"}
NUMBERS = st.integers(0, PAYMENTS - 1)
FAULTS = ("swallow", "late", "twice", "drop", "lose", "9909", "9909-after", "650", "690")

ACTIONS = st.one_of(
    st.tuples(st.just("submit"), NUMBERS, st.sampled_from(["9200", "9201"])),
    st.tuples(st.just("submit"), NUMBERS, st.just("9201")),
    st.tuples(st.just("conflict"), NUMBERS),
    st.tuples(st.just("answer"), NUMBERS, st.sampled_from(["0000", "0000", "0083", "1114"])),
    st.tuples(st.just("lose"), st.sampled_from(["alpha", "beta"]), NUMBERS),
    st.tuples(st.just("dial"), st.sampled_from(["alpha", "beta"])),
    st.tuples(st.just("wait"), st.sampled_from([0.3, 4.0, 11.0, 35.0])),
    st.tuples(st.just("inject"), st.sampled_from(FAULTS)),
    st.tuples(st.just("suspend"), st.sampled_from(["00", "01"])),
)
LINKS_MAX = 3


class World:
    """Alpha, which submits; beta, which answers as a gateway does; the hub between them."""

    def __init__(self, asynchronous_answer: str, in_the_end: str) -> None:
        self.in_the_end = in_the_end
        """What beta answers what it has not answered yet."""
        self.conflicts = 0
        self.bench = Bench("0000*2,slow=3,slow=30", asynchronous_answer=asynchronous_answer)
        self.links: dict[str, list[Any]] = {"alpha": [], "beta": []}
        self.heard: dict[str, set[str]] = defaultdict(set)
        self.returned: set[str] = set()
        self.queue: list[tuple[Any, PaymentRequest]] = []
        self.decided: dict[str, str] = {}
        self.reversed: set[str] = set()
        self.asked: dict[str, list[str]] = defaultdict(list)
        self.dial("alpha")
        self.dial("beta")

    # --- what happens

    def do(self, action: Any) -> None:
        kind, *arguments = action
        getattr(self, kind)(*arguments)
        self.pump()

    def request(self, number: int, **changed: str) -> PaymentRequest:
        """Payments differ in type and receiver."""
        payment_type = "300000" if number in ASYNCHRONOUS else "100000"
        to = "700003" if number % 2 else "400001"
        return payment_request(trn=f"P{number}", processing_code=payment_type, creditor_agent=to, **changed)

    def submit(self, number: int, mti: str) -> None:
        for link in self.links["alpha"][number % 2 : number % 2 + 1] or self.links["alpha"][:1]:
            self.bench.say(link, self.request(number, mti=mti))

    def conflict(self, number: int) -> None:
        for link in self.links["alpha"][:1]:
            used = {event.fpid for event in self.bench.said("relayed", "outcome")}
            if fpid_hash(fpid_of(self.request(number))) in used:
                self.conflicts += 1
                self.bench.say(link, self.request(number, mti="9201", amount="00000000099999"))

    def answer(self, number: int, code: str) -> None:
        if self.queue:
            link, asked = self.queue.pop(number % len(self.queue))
            fpid = fpid_of(asked)
            code = "1100" if fpid in self.reversed else self.decided.setdefault(fpid, code)
            if link in self.links["beta"]:
                self.bench.respond(link, asked, code)

    def lose(self, name: str, number: int) -> None:
        if self.links[name]:
            self.bench.lose(self.links[name].pop(number % len(self.links[name])))

    def dial(self, name: str) -> None:
        if len(self.links[name]) < LINKS_MAX:
            link = self.bench.link(name, on=False)
            self.links[name].append(link)
            for function in ("881", "891"):
                self.bench.manage(link, function)

    def wait(self, seconds: float) -> None:
        until_s = self.bench.now_s + seconds
        while self.bench.now_s < until_s:
            self.bench.wait(1.0)
            self.pump()

    def inject(self, what: Any) -> None:
        self.bench.scheme.submissions.injections.add(Injection(what, after_s=7.0))

    def suspend(self, value: str) -> None:
        self.bench.scheme.bulletins.announce([self.bench.scheme.first], "972", {67: value}, self.bench.now_s)

    # --- what comes of it

    def pump(self) -> None:
        """Everyone reads and does what needs no decision."""
        for name, links in self.links.items():
            for link in list(links):
                for message in self.bench.out(link):
                    self.hear(name, link, message)
                if link.closing:
                    links.remove(link)
                    self.bench.lose(link)

    def hear(self, name: str, link: Any, message: Any) -> None:
        if isinstance(message, NetworkRequest | Usm):
            self.bench.confirm(link, message)
        elif isinstance(message, PaymentResponse):
            self.heard[fpid_of(message)].add(message.action_code)
        elif isinstance(message, ReversalRequest):
            self.reversed.add(fpid_of(message))
            self.bench.respond(link, message, "0000")
        elif isinstance(message, PaymentRequest) and name == "alpha":
            self.returned.add(message.returned_fpid)
            self.bench.respond(link, message, "0000")
        elif isinstance(message, PaymentRequest):
            self.asked[fpid_of(message)].append(message.mti)
            self.queue.append((link, message))

    def settle(self) -> None:
        """Nothing new happens: everything comes to its end."""
        self.bench.scheme.submissions.injections.clear()
        self.suspend("00")
        for _ in range(40):
            self.dial("alpha")
            self.dial("beta")
            while self.queue:
                self.answer(0, self.in_the_end)
                self.pump()
            self.wait(4.0)
        assert self.bench.scheme.outstanding == 0

    def carried_out(self, fpid: str) -> bool:
        """Whether beta has the money."""
        return self.decided.get(fpid, "1")[0] == "0" and fpid not in self.reversed

    def judge(self) -> None:
        for number in range(PAYMENTS):
            request = self.request(number)
            fpid = fpid_of(request)
            hashed = fpid_hash(fpid)
            outcomes = [event.code for event in self.bench.said("outcome") if event.fpid == hashed]
            relayed = [event for event in self.bench.said("relayed") if event.fpid == hashed]
            assert len(outcomes) <= 1
            assert len(relayed) <= 1
            assert self.asked[fpid].count("9200") <= 1
            conclusive = self.heard[fpid] - INCONCLUSIVE
            assert conclusive <= set(outcomes)
            if outcomes:
                self.judge_outcome(number, fpid, outcomes[0], was_relayed=bool(relayed))

    def judge_outcome(self, number: int, fpid: str, code: str, *, was_relayed: bool) -> None:
        accepted = code[0] == "0"
        assert was_relayed or not accepted
        if number % 2:
            kept = self.carried_out(fpid)
            back = fpid in self.returned
            assert accepted is (kept or back), f"{code}, carried out: {kept}, returned: {back}"
            assert not (kept and back)
        self.heard[fpid].clear()
        for mti in ("9201", "9200"):
            self.submit(number, mti)
            self.pump()
        assert self.heard[fpid] == {code}


@given(st.lists(ACTIONS, max_size=40), st.sampled_from(["at-once", "after"]), st.sampled_from(["0000", "1114"]))
@settings(max_examples=150, deadline=None)
def test_each_payment_has_one_outcome_and_is_carried_out_at_most_once(
    actions: list[Any], asynchronous_answer: str, in_the_end: str
) -> None:
    """The sender's code, the receiver's books and every repeat agree, or the money came back."""
    world = World(asynchronous_answer, in_the_end)
    for action in actions:
        world.do(action)
    world.settle()
    world.judge()
    assert set(world.bench.scheme.faults) <= ({"the FPID of another payment"} if world.conflicts else set())
