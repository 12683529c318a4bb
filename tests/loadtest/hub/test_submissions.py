"""What becomes of what participants submit: a playbook for each code and path, over the hub without I/O."""

from collections.abc import Callable
from typing import Any

import pytest

from gateway.wire.codec import fpid_of
from gateway.wire.message import Advice, PaymentRequest, PaymentResponse, ReversalRequest
from loadtest.hub.bank import SimulatedBank
from loadtest.hub.injections import Injection
from loadtest.ledger.oracle import fpid_hash
from tests.loadtest.conftest import payment_request as request

TO_BETA = {"creditor_agent": "700003"}
STANDING_ORDER = {**TO_BETA, "processing_code": "300000"}


def test_a_payment_for_the_simulated_bank_is_answered_at_once(bench: Any) -> None:
    """The 9210 copies 3, 12, 31, 51, 98 and adds 15, 29 and 27; the book says submitted, relayed, outcome, answered."""
    link = bench.link()
    bench.say(link, request())
    (answer,) = bench.out(link)
    assert isinstance(answer, PaymentResponse)
    assert (answer.fault, fpid_of(answer), answer.action_code) == (0, fpid_of(request()), "0000")
    assert (answer.settlement_date, answer.settlement_cycle, answer.asynchronous) == ("20250301", "001", "0")
    assert answer.processing_code == request().processing_code
    assert [event.event for event in bench.events] == ["submitted", "relayed", "outcome", "answered"]
    assert {event.fpid for event in bench.events} == {fpid_hash(fpid_of(request()))}
    assert not bench.scheme.faults
    assert bench.scheme.outstanding == 0


# --- the order of judgement

REFUSED: dict[str, tuple[dict[str, str], str, str]] = {
    "a field missing": ({"amount": ""}, "9930", "006"),
    "a day that there is not": ({"date_sent": "20270229"}, "9930", "012"),
    "an amount of nothing": ({"amount": "0" * 14}, "9930", "006"),
    "another currency": ({"currency": "978"}, "9930", "051"),
    "what only the hub adds": ({"settlement_date": "20250301"}, "9930", "015"),
    "a return that says not of what": ({"processing_code": "200000"}, "9930", "126"),
    "a sort code that is another's": ({"debtor_agent": "700003"}, "9950", ""),
    "a sender that is another": ({"sender": "700003"}, "9950", ""),
    "a sort code of nobody": ({"creditor_agent": "990000"}, "9908", ""),
    "a receiver that is away": (TO_BETA, "9910", ""),
}


@pytest.mark.parametrize("what", REFUSED)
def test_the_hub_refuses(bench: Any, what: str) -> None:
    """Each with its code, and DE44 where a field is wrong; nobody gets the payment; a repeat is refused the same."""
    changed, code, field = REFUSED[what]
    link = bench.link()
    for mti in ("9200", "9201"):
        bench.say(link, request(**changed, mti=mti))
        (answer,) = bench.out(link)
        assert (answer.mti, answer.fault, answer.action_code, answer.field_in_error) == ("9210", 0, code, field)
    assert not bench.said("relayed", "sent")
    assert [event.code for event in bench.said("outcome")] == [code]
    assert bool(bench.scheme.faults) == (code in {"9930", "9950"})


def test_a_bad_value_is_refused_with_its_field(bench: Any) -> None:
    """The gateway's codec would not write it: bytes are changed behind it."""
    link = bench.link()
    for before, after, field in ((b"12345678", b"1234_678", "035"), (b"0000012345", b"00000123A5", "006")):
        bench.say_bytes(link, bench.codec.encode(request(trn=f"V{field}")).replace(before, after))
        (answer,) = bench.out(link)
        assert (answer.action_code, answer.field_in_error) == ("9930", field)


def test_without_sign_on_to_submit_9934_and_a_fault(bench: Any) -> None:
    """Signed on to receive is not signed on to submit; after 882 it is over, too."""
    link = bench.link(on=False)
    bench.manage(link, "891")
    assert bench.submit(link) == ["9934"]
    bench.manage(link, "881")
    assert bench.submit(link, trn="A2") == ["0000"]
    bench.manage(link, "882")
    assert bench.submit(link, trn="A3") == ["9934"]
    assert list(bench.scheme.faults) == ["submitted without being signed on to submit"] * 2


def test_a_wrong_mac_gets_a_9624_that_says_which_payment(bench: Any) -> None:
    """No 9210, nothing remembered: the same payment with a right MAC is a new one."""
    link = bench.link()
    bench.say(link, request(), key=bytes(16))
    (advice,) = bench.out(link)
    assert isinstance(advice, Advice)
    assert (advice.fault, advice.function_code, advice.trn, advice.sender) == (0, "690", "A1", "600002")
    assert not bench.said("submitted")
    assert bench.submit(link) == ["0000"]
    assert list(bench.scheme.faults) == ["9200: wrong MAC"]


UNREADABLE: dict[str, Callable[[bytes], bytes]] = {
    "bitmaps that are not hex": lambda body: body[:4] + b"X" * 32 + body[36:],
    "a field cut off": lambda body: body[:-9],
    "a byte too many": lambda body: body + b"0",
    "a length that is no number": lambda body: body.replace(b"0812345678", b"0X12345678"),
    "no TRN": lambda body: body.replace(b"02A1", b"0200").replace(b"0200", b"02  "),
    "letters in the date": lambda body: body.replace(b"20250301", b"2025MARC"),
}


@pytest.mark.parametrize("what", UNREADABLE)
def test_what_cannot_be_read_gets_a_9624(bench: Any, what: str) -> None:
    """Also what can be read but not be told from other payments."""
    link = bench.link()
    bench.say_bytes(link, UNREADABLE[what](bench.codec.encode(request())))
    (advice,) = bench.out(link)
    assert (advice.mti, advice.function_code) == ("9624", "650")
    assert bench.scheme.faults
    assert not bench.said("submitted", "outcome")


def test_what_is_missing_comes_before_what_is_forbidden(bench: Any) -> None:
    """Sign-on, fields, limits, sort code, FPID, route, receiver: the first that is wrong decides."""
    link = bench.link(on=False)
    everything = {"amount": "", "debtor_agent": "990000", "creditor_agent": "990000"}
    assert bench.submit(link, **everything, trn="A1") == ["9934"]
    bench.manage(link, "881")
    bench.out(link)
    assert bench.submit(link, **everything, trn="A2") == ["9930"]
    del everything["amount"]
    bench.scheme.bulletins.announce([bench.scheme.first], "975", {85: "00", 86: "0000000000012344"}, bench.now_s)
    assert bench.submit(link, **everything, trn="A3") == ["9940"]
    assert bench.submit(link, **everything, amount="00000000012344", trn="A4") == ["9950"]
    del everything["debtor_agent"]
    assert bench.submit(link, **everything, amount="00000000012344", trn="A5") == ["9908"]


# --- one payment, one outcome


def test_the_same_content_gets_the_stored_answer_on_the_link_that_asks(bench: Any) -> None:
    """As 9201 or 9200, on another link, whatever has changed since; it is carried out once."""
    one, two = bench.link(), bench.link()
    assert bench.submit(one) == ["0000"]
    bench.scheme.bulletins.announce([bench.scheme.first], "971", {40: "01"}, bench.now_s)
    assert bench.submit(two, mti="9201") == ["0000"]
    assert bench.submit(one) == ["0000"]
    bench.out(two)
    assert bench.submit(two, trn="A2") == ["9943"]
    assert len(bench.said("relayed")) == 1
    assert [event.code for event in bench.said("outcome")] == ["0000", "9943"]
    assert [event.link for event in bench.said("answered")] == [1, 2, 1, 2]


def test_a_known_payment_that_comes_as_new_is_counted(bench: Any) -> None:
    """Not a fault: two sites may both send one. A repeat is not counted, nor another participant's payment."""
    link, beta = bench.link(), bench.link("beta")
    assert bench.submit(link) == ["0000"]
    assert bench.submit(link, mti="9201") == ["0000"]
    assert bench.submit(beta, sender="700003", debtor_agent="700003") == ["0000"]
    assert not bench.scheme.counts["9200 again"]
    assert bench.submit(link) == ["0000"]
    bench.submit(link, **TO_BETA, trn="A2")
    bench.submit(bench.link(), **TO_BETA, trn="A2")
    assert bench.scheme.counts["9200 again"] == 2
    assert not bench.scheme.faults


def test_a_repeat_of_an_unknown_payment_is_a_new_one(bench: Any) -> None:
    """9201 without a 9200 before."""
    assert bench.submit(bench.link(), mti="9201") == ["0000"]


def test_other_content_under_the_same_fpid_is_9913_and_a_fault(bench: Any) -> None:
    """And it changes nothing: the first content still gets its answer."""
    link = bench.link()
    assert bench.submit(link) == ["0000"]
    assert bench.submit(link, mti="9201", amount="00000000099999") == ["9913"]
    assert bench.submit(link, mti="9201") == ["0000"]
    assert list(bench.scheme.faults) == ["the FPID of another payment"]
    assert [event.code for event in bench.said("outcome")] == ["0000"]


# --- from bank to bank


def test_a_payment_crosses_the_hub_and_its_answer_comes_back(bench: Any) -> None:
    """The receiver gets it with 15, 29 and 99, signed for it; the sender gets the receiver's code."""
    sender, receiver = bench.link("alpha"), bench.link("beta")
    assert bench.submit(sender, **TO_BETA) == []
    (asked,) = bench.out(receiver)
    assert isinstance(asked, PaymentRequest)
    assert (asked.fault, asked.mti, fpid_of(asked)) == (0, "9200", fpid_of(request()))
    assert (asked.settlement_date, asked.settlement_cycle, asked.receiving_member) == ("20250301", "001", "700003")
    assert bench.codec.content_digest(PaymentRequest(
        **{name: getattr(asked, name) for name in asked.__struct_fields__ if name not in {"body", "receiving_member"}}
    )) == bench.codec.content_digest(request(**TO_BETA))  # fmt: skip
    bench.respond(receiver, asked, "1114")
    assert bench.codes(sender) == ["1114"]
    assert [event.event for event in bench.events] == ["submitted", "relayed", "sent", "replied", "outcome", "answered"]
    assert [event.member for event in bench.said("submitted", "sent", "replied", "answered")] == [
        "alpha", "beta", "beta", "alpha",
    ]  # fmt: skip
    assert bench.scheme.outstanding == 0


def test_the_receivers_syntax_error_comes_back_with_its_field(bench: Any) -> None:
    """1930 and DE44."""
    sender, receiver = bench.link("alpha"), bench.link("beta")
    bench.submit(sender, **TO_BETA)
    bench.respond(receiver, bench.out(receiver)[0], "1930", "121")
    (answer,) = bench.out(sender)
    assert (answer.action_code, answer.field_in_error) == ("1930", "121")


@pytest.mark.parametrize("to", ["700003", "400001"])
def test_an_account_that_moved_is_said_with_an_acceptance(bench: Any, to: str) -> None:
    """DE57 and DE58, also to a repeat; not with a refusal."""
    sender, receiver = bench.link("alpha"), bench.link("beta")
    for trn, code in (("M1", "0000"), ("M2", "1114")):
        bench.parties[2].bank = SimulatedBank(code)
        moved = {"creditor_agent": to, "creditor_account": "55555555", "trn": trn}
        bench.say(sender, request(**moved))
        for asked in bench.out(receiver):
            bench.respond(receiver, asked, code)
        bench.say(sender, request(**moved, mti="9201"))
        answers = bench.out(sender)
        assert [answer.action_code for answer in answers] == [code] * 2
        said = ("700009", "66666666") if code == "0000" else ("", "")
        assert {(answer.redirected_agent, answer.redirected_account) for answer in answers} == {said}


def test_a_repeat_while_the_receiver_decides_waits_with_the_first(bench: Any) -> None:
    """One request to the receiver, and an answer on each connection that asked."""
    one, two, receiver = bench.link(), bench.link(), bench.link("beta")
    bench.submit(one, **TO_BETA)
    assert bench.submit(two, **TO_BETA, mti="9201") == []
    assert bench.submit(two, **TO_BETA, amount="00000000000001") == ["9913"]
    (asked,) = bench.out(receiver)
    bench.respond(receiver, asked, "0000")
    assert (bench.codes(one), bench.codes(two)) == (["0000"], ["0000"])


def test_an_answer_goes_to_the_connection_of_its_request_or_nowhere(bench: Any) -> None:
    """The sender's link is gone: the outcome stays, and a repeat on another link hears it."""
    sender, receiver = bench.link(), bench.link("beta")
    bench.submit(sender, **TO_BETA)
    bench.lose(sender)
    other = bench.link()
    bench.respond(receiver, bench.out(receiver)[0], "0000")
    assert bench.codes(other) == []
    assert bench.scheme.counts["answers undeliverable"] == 1
    assert bench.submit(other, **TO_BETA, mti="9201") == ["0000"]


@pytest.mark.parametrize("how", ["silence", "link-lost"])
def test_a_silent_receiver_of_a_synchronous_payment_is_9911_and_reversed(bench: Any, how: str) -> None:
    """And so it stays: a late answer of the receiver changes nothing."""
    sender, receiver = bench.link(), bench.link("beta")
    bench.submit(sender, **TO_BETA)
    (asked,) = bench.out(receiver)
    if how == "silence":
        bench.wait(10.2)
    else:
        bench.lose(receiver)
        receiver = bench.link("beta")
        bench.wait(10.2)
    assert bench.codes(sender) == ["9911"]
    reversal = next(message for message in bench.out(receiver) if isinstance(message, ReversalRequest))
    assert fpid_of(reversal) == fpid_of(asked)
    if how == "silence":
        bench.respond(receiver, asked, "0000")
    bench.respond(receiver, reversal, "0000")
    assert bench.submit(sender, **TO_BETA, mti="9201") == ["9911"]
    assert [event.code for event in bench.said("outcome")] == ["9911"]
    assert bench.scheme.outstanding == 0


# --- asynchronous types


def test_an_asynchronous_payment_is_answered_after_its_receiver(bench: Any) -> None:
    """By default the sender hears the receiver's own code, when that comes in time."""
    sender, receiver = bench.link(), bench.link("beta")
    assert bench.submit(sender, **STANDING_ORDER) == []
    bench.respond(receiver, bench.out(receiver)[0], "1160")
    (answer,) = bench.out(sender)
    assert (answer.action_code, answer.asynchronous) == ("1160", "0")


def test_when_the_receiver_is_silent_the_sender_is_not_kept_waiting(bench: Any) -> None:
    """0000 and DE27 1; the receiver is asked again (9201), and its refusal comes back as a scheme return."""
    sender, receiver = bench.link(), bench.link("beta")
    bench.submit(sender, **STANDING_ORDER)
    first = bench.out(receiver)[0]
    bench.wait(10.2)
    (answer,) = bench.out(sender)
    assert (answer.action_code, answer.asynchronous) == ("0000", "1")
    again = bench.out(receiver)[0]
    assert (again.mti, fpid_of(again)) == ("9201", fpid_of(first))
    bench.respond(receiver, again, "1114")
    (back,) = bench.out(sender)
    assert isinstance(back, PaymentRequest)
    assert (back.fault, back.processing_code[:2], back.return_code) == (0, "25", "00000001")
    assert (back.returned_fpid, back.amount) == (fpid_of(first), first.amount)
    assert (back.creditor_agent, back.creditor_account) == (first.debtor_agent, first.debtor_account)
    bench.respond(sender, back, "0000")
    assert bench.submit(sender, **STANDING_ORDER, mti="9201") == ["0000"]
    assert [(event.code, event.why) for event in bench.said("outcome")] == [("0000", "asynchronous")]
    assert bench.scheme.outstanding == 0


def test_answered_at_once_it_may_still_come_back(make_bench: Any) -> None:
    """With the other setting the sender hears 0000 and DE27 1 before the receiver has said anything."""
    bench = make_bench(asynchronous_answer="at-once")
    sender, receiver = bench.link(), bench.link("beta")
    bench.say(sender, request(**STANDING_ORDER))
    (answer,) = bench.out(sender)
    assert (answer.action_code, answer.asynchronous) == ("0000", "1")
    bench.respond(receiver, bench.out(receiver)[0], "1161")
    (back,) = bench.out(sender)
    assert back.return_code == "00000003"
    (event,) = bench.said("returned")
    assert (event.fpid, event.code, event.why) == (
        fpid_hash(fpid_of(request(**STANDING_ORDER))), "1161", fpid_hash(fpid_of(back)),
    )  # fmt: skip


def test_a_receiver_that_never_answers_sends_it_back_in_the_end(make_bench: Any) -> None:
    """When no repeat is left."""
    bench = make_bench(repeats_max=2, patience_s=1.0)
    sender, _ = bench.link(), bench.link("beta")
    bench.submit(sender, **STANDING_ORDER)
    bench.wait(5)
    answer, back, *_ = bench.out(sender)
    assert (answer.action_code, back.return_code) == ("0000", "00000014")


# --- the simulated bank

WAYS = {
    "accept": ("0000", 0.0),
    "0083": ("0083", 0.0),
    "1114": ("1114", 0.0),
    "slow=0.5": ("0000", 0.5),
    "slow=12": ("9911", 10.0),
    "silent": ("9911", 10.0),
}


@pytest.mark.parametrize("rule", WAYS)
def test_the_simulated_bank_answers_by_rule(make_bench: Any, rule: str) -> None:
    """At once, late or never, and then the hub's patience decides."""
    code, after_s = WAYS[rule]
    bench = make_bench(rule)
    link = bench.link()
    bench.submit(link)
    if after_s:
        assert not bench.said("answered")
        assert bench.scheme.outstanding == 1
        bench.wait(after_s - 0.2)
        assert not bench.said("answered")
        bench.wait(0.4)
    assert [event.code for event in bench.said("answered")] == [code]
    assert bench.scheme.outstanding == 0


def test_a_rule_may_mix_ways_and_says_how_often_each_comes(make_bench: Any) -> None:
    """By weight, from a seed."""
    bench = make_bench("0000*8,1114*2")
    link = bench.link()
    codes = [bench.submit(link, trn=f"B{number}")[0] for number in range(200)]
    assert 20 < codes.count("1114") < 60
    assert set(codes) == {"0000", "1114"}


@pytest.mark.parametrize("rule", ["", "maybe", "9911", "0000*0", "slow=x", "1930"])
def test_a_rule_that_makes_no_sense_is_refused(make_bench: Any, rule: str) -> None:
    """Codes of the hub are not a bank's to say."""
    with pytest.raises(ValueError, match=r".*"):
        make_bench(rule)


# --- faults on demand


def inject(bench: Any, what: Any, **more: Any) -> None:
    bench.scheme.submissions.injections.add(Injection(what, **more))


def test_a_swallowed_answer_is_heard_by_a_repeat(bench: Any) -> None:
    """The payment was carried out."""
    link = bench.link()
    inject(bench, "swallow")
    assert bench.submit(link) == []
    assert bench.submit(link, mti="9201") == ["0000"]
    assert len(bench.said("relayed")) == 1


def test_a_late_answer_comes_late_and_says_why_in_the_book(bench: Any) -> None:
    """Also when a repeat was answered meanwhile."""
    link = bench.link()
    inject(bench, "late", after_s=20.0)
    assert bench.submit(link) == []
    assert bench.submit(link, mti="9201") == ["0000"]
    bench.wait(20.2)
    assert bench.codes(link) == ["0000"]
    assert [event.why for event in bench.said("answered")] == ["", "late"]


def test_an_answer_twice(bench: Any) -> None:
    """The same on the same link."""
    inject(bench, "twice")
    assert bench.submit(bench.link()) == ["0000", "0000"]


@pytest.mark.parametrize(("what", "relayed"), [("drop", 1), ("lose", 0)])
def test_a_link_that_goes_after_a_request(bench: Any, what: str, relayed: int) -> None:
    """With the payment carried out, or lost; the repeat on another link is answered either way."""
    link = bench.link()
    inject(bench, what)
    assert bench.submit(link) == []
    assert link.closing
    bench.lose(link)
    assert len(bench.said("relayed")) == relayed
    assert bench.submit(bench.link(), mti="9201") == ["0000"]
    assert len(bench.said("relayed")) == 1


@pytest.mark.parametrize(("what", "relayed"), [("9909", 0), ("9909-after", 1)])
def test_a_malfunction_concludes_nothing(bench: Any, what: str, relayed: int) -> None:
    """Whether it was carried out or not, the repeat has the outcome."""
    link = bench.link()
    inject(bench, what)
    assert bench.submit(link) == ["9909"]
    assert len(bench.said("relayed")) == relayed
    assert bench.submit(link, mti="9201") == ["0000"]
    assert [event.code for event in bench.said("outcome")] == ["0000"]


@pytest.mark.parametrize("what", ["650", "690"])
def test_an_advice_on_demand_names_the_payment(bench: Any, what: str) -> None:
    """And the payment was not carried out."""
    link = bench.link()
    inject(bench, what)
    bench.say(link, request())
    (advice,) = bench.out(link)
    assert (advice.mti, advice.function_code, advice.trn) == ("9624", what, "A1")
    assert bench.submit(link, mti="9201") == ["0000"]
    assert len(bench.said("relayed")) == 1


def test_faults_come_as_often_as_they_were_ordered(bench: Any) -> None:
    """Of each `every` the last, of one participant only, `count` in all."""
    link = bench.link()
    inject(bench, "swallow", count=2, every=3, party=bench.scheme.parties["alpha"])
    answered = [bool(bench.submit(link, trn=f"N{number}")) for number in range(9)]
    assert answered == [True, True, False, True, True, False, True, True, True]
    assert not bench.scheme.submissions.injections


def test_a_fault_of_another_participant_is_not_for_this_one(bench: Any) -> None:
    """It waits for beta's requests."""
    inject(bench, "swallow", party=bench.scheme.parties["beta"])
    assert bench.submit(bench.link()) == ["0000"]
    assert len(bench.scheme.submissions.injections) == 1


# --- groups


def test_each_group_has_its_connections(make_bench: Any) -> None:
    """A payment goes to its receiver over its group's links; on another group's it is taken, and a fault."""
    bench = make_bench(groups=("sip", "sop"))
    sip, sop = bench.link("alpha", group="sip"), bench.link("alpha", group="sop")
    beta = bench.link("beta")
    bench.say(beta, request(sender="700003", debtor_agent="700003", creditor_agent="600002", processing_code="300000"))
    assert [message.mti for message in bench.out(sop)] == ["9200"]
    assert not bench.out(sip)
    assert bench.submit(sip, processing_code="300000") == ["0000"]
    assert list(bench.scheme.faults) == ["a payment of group sop on a connection of sip"]


def test_a_payment_is_counted_once_however_often_it_is_submitted(make_bench: type[Any]) -> None:
    """Under way and with its outcome; one that was turned back without an outcome is not counted until it has one."""
    bench = make_bench("slow=2")
    submissions, link = bench.scheme.submissions, bench.link()
    for mti in ("9200", "9201", "9201"):
        bench.say(link, request(mti=mti))
    assert submissions.payments == 1
    bench.wait(3)
    bench.say(link, request(mti="9201"))
    bench.say(link, request(trn="A2", creditor_agent="990000"))
    bench.say(link, request(trn="A2", creditor_agent="990000", mti="9201"))
    assert (submissions.payments, submissions.outcomes) == (2, {"0000": 1, "9908": 1})
    assert submissions.codes == {"0000": 4, "9908": 2}
    submissions.injections.add(Injection("9909"))
    bench.say(link, request(trn="A3"))
    assert submissions.payments == 2
