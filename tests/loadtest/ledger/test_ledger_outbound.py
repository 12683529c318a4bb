"""The ledger balances true books of payments that leave, and sees every kind of false entry in them."""

from collections.abc import Callable

import pytest

from loadtest.ledger.oracle import HubEvent, JournalEvent, Ledger, ProcessorEvent, Verdict
from loadtest.ledger.promises import OUTBOUND

H, P, J = HubEvent, ProcessorEvent, JournalEvent
Event = HubEvent | ProcessorEvent | JournalEvent
Books = list[Event]


def story(fpid: str, at: int, code: str = "0000", by: str = "receiver", *, node: str = "") -> Books:
    """Submitted, acknowledged, sent, answered, settled, told."""
    return [
        P("submitting", fpid, key="k" + fpid), J(at, "SUBMITTED", fpid, key="k" + fpid),
        P("submitted", fpid, status=202, state="PENDING"), H("submitted", fpid, link=1, mti="9200"),
        H("relayed", fpid), H("outcome", fpid, code=code), H("answered", fpid, link=1, code=code),
        J(at + 1, "SETTLED", fpid, code, by=by), P("noticed", fpid, code, node, at + 1, kind="SETTLED"),
        J(at + 2, "TOLD", told=at + 1),
    ]  # fmt: skip


def ends(fpid: str, at: int, kind: str, *, sent: bool) -> Books:
    """Submitted, and then nobody said anything."""
    left: Books = [H("submitted", fpid, link=1, mti="9200")] if sent else []
    return [
        P("submitting", fpid, key="k" + fpid), J(at, "SUBMITTED", fpid, key="k" + fpid), *left,
        J(at + 1, kind, fpid), P("submitted", fpid, status=200, state=kind),
        P("noticed", fpid, position=at + 1, kind=kind), J(at + 2, "TOLD", told=at + 1),
    ]  # fmt: skip


def declined_here(fpid: str, at: int) -> Books:
    """After news."""
    return [
        H("usm", code="971"), J(at, "USM"), P("noticed", position=at, kind="USM"), J(at + 1, "TOLD", told=at),
        P("submitting", fpid), P("submitted", fpid, "9943", status=503),
    ]  # fmt: skip


def received(fpid: str, at: int, code: str = "0000", *, link: int = 2) -> Books:
    """The other end: sent on by the hub, and answered by its receiver in time."""
    return [
        H("sent", fpid, link=link, mti="9200"), J(at, "RECEIVED", fpid), P("asked", fpid), P("answered", fpid, code),
        J(at + 1, "ANSWERED", fpid, code), H("replied", fpid, code=code),
    ]  # fmt: skip


def asynchronous(fpid: str, at: int) -> Books:
    """Its sender was told 0000 before its receiver had said anything."""
    outcome = H("outcome", fpid, code="0000")
    return [
        H("outcome", fpid, code="0000", why="asynchronous") if event == outcome else event for event in story(fpid, at)
    ]


def tried(fpid: str, *statuses: int) -> Books:
    """Submitted, and nothing came of it."""
    return [P("submitting", fpid), *(P("submitted", fpid, status=status) for status in statuses)]


def repeated(fpid: str = "a") -> Books:
    """The first answer was lost with its connection; the repeat gets the same one."""
    return [
        P("submitting", fpid), J(1, "SUBMITTED", fpid), H("submitted", fpid, link=1, mti="9200"), H("relayed", fpid),
        H("outcome", fpid, code="0000"), J(2, "RETRIED", fpid), H("submitted", fpid, link=2, mti="9201"),
        H("answered", fpid, link=2, code="0000"), J(3, "SETTLED", fpid, "0000", by="receiver"),
        P("submitted", fpid, "0000", status=200, state="SETTLED"),
        P("noticed", fpid, "0000", position=3, kind="SETTLED"), J(4, "TOLD", told=3),
    ]  # fmt: skip


def judge(*books: Books) -> Verdict:
    ledger = Ledger()
    for event in [event for book in books for event in book] + [H("end")]:
        if isinstance(event, HubEvent):
            ledger.hub(event)
        elif isinstance(event, ProcessorEvent):
            ledger.processor(event)
        else:
            ledger.journal(event)
    return ledger.verdict()


def broken(verdict: Verdict) -> set[str]:
    assert verdict.balances == (not any(invariant.violations for invariant in verdict.invariants))
    return {invariant.name for invariant in verdict.invariants if invariant.violations}


def without(book: Books, drop: Callable[[Event], bool]) -> Books:
    return [event for event in book if not drop(event)]


def test_true_books_balance_and_every_submission_has_its_account() -> None:
    """Each account once, and nothing lost."""
    verdict = judge(
        story("a", 1), story("q", 4, "0083"), story("r", 7, "1114"), declined_here("d", 10),
        ends("k", 12, "UNKNOWN", sent=True), ends("s", 15, "UNSENT", sent=False), tried("n", 503, 503),
        tried("i", 422), tried("u", 0, 504),
    )  # fmt: skip
    assert broken(verdict) == set()
    assert verdict.submitted == 9
    assert all(verdict.outbound[name] == 1 for name in verdict.outbound if name != "lost")
    assert (verdict.outbound["lost"], verdict.sent) == (0, 0)


def test_a_refusal_of_the_hub_is_a_settlement_by_the_hub() -> None:
    """9xxx is the hub's word, 0xxx and 1xxx the receiver's."""
    books = without(story("a", 1, "9908", by="hub"), lambda event: event == H("relayed", "a"))
    assert judge(books).outbound["refused"] == 1


def test_a_repeat_with_the_same_answer_is_one_payment() -> None:
    """9201 may come as often as it must: the hub carries it out once."""
    verdict = judge(repeated())
    assert broken(verdict) == set()
    assert (verdict.outbound["accepted"], verdict.figures["outbound repeats"]) == (1, 1)


def test_unknown_may_be_settled_later() -> None:
    """And both are told."""
    books: Books = [
        *ends("a", 1, "UNKNOWN", sent=True), H("relayed", "a"), H("outcome", "a", code="0000"),
        H("answered", "a", link=1, code="0000"),
        J(4, "SETTLED", "a", "0000", by="receiver"), P("noticed", "a", "0000", position=4, kind="SETTLED"),
        J(5, "TOLD", told=4),
    ]  # fmt: skip
    verdict = judge(books)
    assert broken(verdict) == set()
    assert (verdict.outbound["accepted"], verdict.outbound["unknown"]) == (1, 0)


def test_unsent_may_be_submitted_again_and_leave_then() -> None:
    """The same key once more, after nothing left the first time."""
    books: Books = [*ends("a", 1, "UNSENT", sent=False), *without(story("a", 4), lambda event: event == SUBMITTING)]
    verdict = judge(books)
    assert broken(verdict) == set()
    assert verdict.outbound["accepted"] == 1


SUBMITTING = P("submitting", "a", key="ka")


def test_two_sites_may_have_the_same_payment() -> None:
    """The processor heard nothing of the first and tried the second: both end, with one code, carried out once."""
    ledger = Ledger()
    for event in (
        SUBMITTING, P("submitted", "a", status=0), H("submitted", "a", mti="9200"), H("relayed", "a"),
        H("outcome", "a", code="0000"), H("answered", "a", code="0000"), H("submitted", "a", mti="9200"),
        H("answered", "a", code="0000"), P("submitted", "a", "0000", status=200, state="SETTLED"), H("end"),
    ):  # fmt: skip
        ledger.hub(event) if isinstance(event, HubEvent) else ledger.processor(event)
    for node, kind in (("n1", "UNKNOWN"), ("n2", "SETTLED")):
        code, by = ("0000", "receiver") if kind == "SETTLED" else ("", "")
        ledger.journal(J(1, "SUBMITTED", "a", key="ka"), node)
        ledger.journal(J(2, kind, "a", code, by=by), node)
        ledger.processor(P("noticed", "a", code, node, 2, kind=kind))
        ledger.journal(J(3, "TOLD", told=2), node)
    verdict = ledger.verdict()
    assert broken(verdict) == set()
    assert verdict.outbound["accepted"] == 1


def test_a_payment_that_crossed_two_gateways_is_judged_at_both_ends() -> None:
    """It has an account in each direction, and one code."""
    verdict = judge(story("a", 8), received("a", 11))
    assert broken(verdict) == set()
    assert (verdict.accounts["answered"], verdict.outbound["accepted"]) == (1, 1)


def test_what_is_refused_after_its_sender_was_told_otherwise_comes_back() -> None:
    """And the scheme return is a payment that must arrive; one that was accepted does not come back."""
    back: Books = [H("returned", "a", code="1114", why="b"), *received("b", 13)]
    assert broken(judge(asynchronous("a", 8), received("a", 11, "1114"), back)) == set()
    assert broken(judge(asynchronous("a", 8), received("a", 11))) == set()


def test_an_injected_answer_that_settles_nothing_changes_nothing() -> None:
    """The hub says that it malfunctioned; the repeat is answered."""
    books: Books = [*repeated(), H("answered", "a", link=1, code="9909", why="malfunction")]
    verdict = judge(books)
    assert broken(verdict) == set()
    assert verdict.figures["answers injected"] == 1


def test_news_is_told_though_it_is_about_no_payment() -> None:
    """And handing it on to another process does not count as telling the processor."""
    told: Books = [
        J(1, "USM"),
        P("noticed", position=1, kind="USM"),
        J(2, "TOLD", told=1),
        J(3, "TOLD", told=1, to="sip-a"),
    ]
    assert broken(judge(list(told))) == set()
    assert broken(judge([told[0], J(2, "TOLD", told=1, to="sip-a")])) == {"told"}


def test_news_that_was_handed_on_is_told_by_whoever_heard_it() -> None:
    """And by nobody else; but it must have been heard."""
    ledger = Ledger()
    ledger.journal(J(1, "USM"), "usm-a")
    ledger.journal(J(2, "TOLD", told=1), "usm-a")
    ledger.journal(J(3, "TOLD", told=1, to="sip-a"), "usm-a")
    ledger.journal(J(1, "USM", source="usm-a/1"), "sip-a")
    ledger.processor(P("noticed", node="usm-a", position=1, kind="USM"))
    ledger.hub(H("end"))
    assert broken(ledger.verdict()) == set()
    assert broken(judge([J(1, "USM", source="usm-a/7")])) == {"told-what-happened"}
    assert broken(judge([J(1, "USM", source="nothing")])) == {"told-what-happened"}


BROKEN: dict[str, tuple[Books, set[str]]] = {
    "acknowledged, and in no journal": (
        [*tried("a", 202)],
        {"submissions-accounted", "taken-after-durable"},
    ),
    "recorded, and never ended": (
        [P("submitting", "a"), J(1, "SUBMITTED", "a"), P("submitted", "a", status=202)],
        {"submissions-accounted", "submissions-end"},
    ),
    "repeated, and never ended": (
        [P("submitting", "a"), J(1, "SUBMITTED", "a"), J(2, "RETRIED", "a"), P("submitted", "a", status=202)],
        {"submissions-accounted", "submissions-end"},
    ),
    "given up, repeated once more, and never ended": (
        [*ends("a", 1, "UNKNOWN", sent=True), J(4, "RETRIED", "a")],
        {"submissions-accounted", "submissions-end"},
    ),
    "answered with what is no answer": ([*tried("a", 500)], {"submissions-accounted"}),
    "sent before it was recorded": (
        [*tried("a", 0), H("submitted", "a", mti="9200")],
        {"submissions-accounted", "sent-after-durable"},
    ),
    "repeated before it was recorded": (
        [*story("a", 1), H("submitted", "a", mti="9201")],
        {"sent-after-durable"},
    ),
    "recorded though nobody submitted it": (
        without(story("a", 1), lambda event: isinstance(event, ProcessorEvent) and event.event != "noticed"),
        {"only-submitted"},
    ),
    "recorded under another key": (
        [P("submitting", "a", key="other") if event == SUBMITTING else event for event in story("a", 1)],
        {"only-submitted"},
    ),
    "a repeat that says that it is new": (
        [H("submitted", "a", link=2, mti="9200") if event == H("submitted", "a", link=2, mti="9201") else event
         for event in repeated()],
        {"sent-once"},
    ),
    "carried out twice": ([*story("a", 1), H("relayed", "a")], {"executed-once"}),
    "two outcomes at the hub": ([*story("a", 1), H("outcome", "a", code="0000")], {"executed-once"}),
    "refused as unavailable, and recorded": (
        [*tried("a", 503), J(1, "SUBMITTED", "a"), J(2, "UNSENT", "a"), P("noticed", "a", position=2),
         J(3, "TOLD", told=2)],
        {"refused-means-nothing"},
    ),
    "refused as invalid, and sent": (
        [*tried("a", 422), H("submitted", "a", mti="9200")],
        {"submissions-accounted", "refused-means-nothing", "sent-after-durable"},
    ),
    "said to be unsent, and the hub has it": (ends("a", 1, "UNSENT", sent=True), {"never-failed"}),
    "said to be unsent, sent again as new": (
        [*ends("a", 1, "UNSENT", sent=True), *without(story("a", 4), lambda event: event == SUBMITTING)],
        {"sent-once"},
    ),
    "refused as a duplicate of what was carried out": (
        [*story("a", 1, "9913", by="hub")[:5], H("outcome", "a", code="0000"), *story("a", 1, "9913", by="hub")[6:]],
        {"never-failed", "settled-as-answered"},
    ),
    "settled otherwise than answered": (
        [H("answered", "a", link=1, code="0083") if event == H("answered", "a", link=1, code="0000")
         else H("outcome", "a", code="0083") if event == H("outcome", "a", code="0000") else event
         for event in story("a", 1)],
        {"settled-as-answered"},
    ),
    "settled though nobody answered": (
        without(story("a", 1), lambda event: isinstance(event, HubEvent) and event.event == "answered"),
        {"settled-as-answered"},
    ),
    "settled by the wrong one": (story("a", 1, "0000", by="hub"), {"settled-as-answered"}),
    "declined by news, and recorded all the same": (
        [*declined_here("a", 1), J(3, "SUBMITTED", "a"), J(4, "UNSENT", "a"),
         P("noticed", "a", position=4, kind="UNSENT"), J(5, "TOLD", told=4)],
        {"refused-means-nothing"},
    ),
    "declined by news without any news": (
        [J(1, "STARTED"), *without(declined_here("a", 2), lambda event: event == H("usm", code="971"))],
        {"declined-by-news"},
    ),
    "declined by news after news that is in no journal": (
        [J(1, "STARTED"), H("usm", code="971"), P("submitting", "a"), P("submitted", "a", "9943", status=503)],
        {"declined-by-news"},
    ),
    "answered otherwise than its outcome": (
        [H("outcome", "a", code="1114") if event == H("outcome", "a", code="0000") else event
         for event in story("a", 1)],
        {"hub-honest"},
    ),
    "answered twice, with two codes": ([*story("a", 1), H("answered", "a", link=1, code="1114")], {"hub-honest"}),
    "answered, and never decided": (
        without(story("a", 1), lambda event: event == H("outcome", "a", code="0000")),
        {"hub-honest"},
    ),
    "accepted, and never passed on": (
        without(story("a", 1), lambda event: event == H("relayed", "a")),
        {"hub-honest"},
    ),
    "passed on, and never submitted": ([H("relayed", "x")], {"hub-honest"}),
    "decided, and never submitted": ([H("outcome", "x", code="1114")], {"hub-honest"}),
    "answered on a connection that never asked": (
        [*story("a", 1), H("answered", "a", link=9, code="0000")],
        {"hub-honest"},
    ),
    "submitted, and no attempt is booked": (
        without(story("a", 1), lambda event: isinstance(event, ProcessorEvent) and event.event == "submitted"),
        {"processor-honest"},
    ),
    "submitted under two keys": ([P("submitting", "a", key="other"), *story("a", 1)], {"processor-honest"}),
    "settled twice": (
        [*story("a", 1), J(4, "SETTLED", "a", "0000", by="receiver"), P("noticed", "a", position=4),
         J(5, "TOLD", told=4)],
        {"settled-once"},
    ),
    "a contradiction that is none": (
        [*story("a", 1), J(4, "CONTRADICTED", "a", "0000", by="receiver"), P("noticed", "a", position=4),
         J(5, "TOLD", told=4)],
        {"settled-once"},
    ),
    "a response with another outcome than the journal's": (
        [*story("a", 1), P("submitted", "a", "0083", status=200, state="SETTLED")],
        {"outcome-as-recorded"},
    ),
    "a response with an outcome that is not recorded": (
        [*story("a", 1), P("submitted", "a", status=200, state="UNKNOWN")],
        {"outcome-as-recorded"},
    ),
    "a notice with another code": (
        [P("noticed", "a", "0083", position=2, kind="SETTLED") if isinstance(event, ProcessorEvent)
         and event.event == "noticed" else event for event in story("a", 1)],
        {"outcome-as-recorded", "told-what-happened"},
    ),
    "a settlement not told": (story("a", 1)[:-2], {"told"}),
    "accepted at one end and refused at the other": (
        [*story("a", 8), *received("a", 11, "1114")],
        {"both-ends-agree"},
    ),
    "refused by the hub, and accepted by its receiver in time": (
        [*story("a", 8, "9911", by="hub"), *received("a", 11)],
        {"both-ends-agree"},
    ),
    "accepted, and reversed": (
        [*story("a", 8), *received("a", 11), H("reversal-sent", "a"), H("reversed", "a", code="0000"),
         J(13, "REVERSED", "a"), P("noticed", "a", position=13, kind="REVERSED"), J(14, "TOLD", told=13)],
        {"both-ends-agree"},
    ),
    "refused after its sender was told otherwise, and it does not come back": (
        [*asynchronous("a", 8), *received("a", 11, "1114")],
        {"both-ends-agree"},
    ),
    "accepted, and it comes back": (
        [*asynchronous("a", 8), *received("a", 11), H("returned", "a", why="b"), *received("b", 13)],
        {"both-ends-agree"},
    ),
    "it comes back twice": (
        [*asynchronous("a", 8), *received("a", 11, "1114"), H("returned", "a", why="b"), H("returned", "a", why="c"),
         *received("b", 13), *received("c", 15)],
        {"both-ends-agree"},
    ),
    "got by the hub otherwise than submitted": (
        [P("submitting", "a", key="ka", content="1"), *without(story("a", 1), lambda event: event == SUBMITTING),
         H("answered", "a", link=1, code="0000", content="2")],
        {"content-sent"},
    ),
    "it comes back, and the scheme return was never sent": (
        [*asynchronous("a", 8), *received("a", 11, "1114"), H("returned", "a", why="b")],
        {"both-ends-agree"},
    ),
    "a synchronous one comes back": (
        [*story("a", 8), *received("a", 11), H("returned", "a", why="b"), *received("b", 13)],
        {"both-ends-agree"},
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", BROKEN)
def test_false_books_do_not_balance(case: str) -> None:
    """Each invariant, broken on purpose, is named by the verdict, and no other is."""
    books, expected = BROKEN[case]
    assert broken(judge(books)) == expected


def test_every_invariant_is_broken_by_some_case() -> None:
    """The table above leaves no promise about payments that leave untried."""
    assert set().union(*(expected for _, expected in BROKEN.values())) >= set(OUTBOUND)
