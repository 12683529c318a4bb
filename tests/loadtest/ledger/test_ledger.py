"""The ledger balances true books and sees every kind of false entry."""

from collections.abc import Callable

import pytest

from gateway import log
from loadtest.ledger.oracle import INVARIANTS, HubEvent, JournalEvent, Ledger, ProcessorEvent, Verdict, fpid_hash
from loadtest.ledger.promises import OUTBOUND, SIMULATED

H, P, J = HubEvent, ProcessorEvent, JournalEvent
Event = HubEvent | ProcessorEvent | JournalEvent
Books = list[Event]

END = H("end")


def answered(fpid: str = "a", at: int = 1, code: str = "0000") -> Books:
    return [
        H("sent", fpid, link=1, mti="9200"), J(at, "RECEIVED", fpid), P("asked", fpid), P("answered", fpid, code),
        J(at + 1, "ANSWERED", fpid, code), J(at + 2, "REPLIED", fpid), H("replied", fpid, link=1, code=code),
    ]  # fmt: skip


def stood_in(fpid: str = "s", at: int = 1) -> Books:
    return [
        H("sent", fpid, link=1, mti="9200"), J(at, "RECEIVED", fpid), J(at + 1, "STOOD_IN", fpid, "0083"),
        H("replied", fpid, code="0083"), P("noticed", fpid, position=at + 1), J(at + 2, "TOLD", told=at + 1),
    ]  # fmt: skip


def reversed_(fpid: str = "r", at: int = 1) -> Books:
    return [
        H("sent", fpid, link=1, mti="9200"), H("timed-out", fpid, why="link-lost"),
        H("reversal-sent", fpid, mti="9420"), J(at, "REVERSED", fpid), H("reversed", fpid, code="0000"),
        P("noticed", fpid, position=at), J(at + 1, "TOLD", told=at),
    ]  # fmt: skip


def undelivered(fpid: str = "u", at: int = 1) -> Books:
    return [
        H("sent", fpid, mti="9200"), J(at, "RECEIVED", fpid), J(at + 1, "STOOD_IN", fpid, "0083"),
        H("timed-out", fpid, why="link-lost"), J(at + 2, "UNDELIVERED", fpid, "0083"), H("given-up", fpid),
        P("noticed", fpid, position=at + 1), P("noticed", fpid, position=at + 2),
        J(at + 3, "TOLD", told=at + 1), J(at + 4, "TOLD", told=at + 2),
    ]  # fmt: skip


def orphaned(fpid: str = "o", at: int = 1) -> Books:
    return [
        H("sent", fpid, mti="9200"), J(at, "RECEIVED", fpid), H("timed-out", fpid, why="link-lost"),
        J(at + 1, "ORPHANED", fpid), H("given-up", fpid), P("noticed", fpid, position=at + 1),
        J(at + 2, "TOLD", told=at + 1),
    ]  # fmt: skip


def declined(fpid: str = "d", at: int = 1) -> Books:
    return [
        H("sent", fpid, mti="9200"), J(at, "RECEIVED", fpid), P("asked", fpid), J(at + 1, "DECLINED", fpid, "1909"),
        J(at + 2, "REPLIED", fpid), H("replied", fpid, code="1909"), P("noticed", fpid, position=at + 1),
        J(at + 3, "TOLD", told=at + 1),
    ]  # fmt: skip


def unanswered(fpid: str = "w", at: int = 1) -> Books:
    return [
        H("sent", fpid, mti="9200"), J(at, "RECEIVED", fpid), J(at + 1, "UNANSWERED", fpid),
        H("timed-out", fpid, why="patience"), H("given-up", fpid), P("noticed", fpid, position=at + 1),
        J(at + 2, "TOLD", told=at + 1),
    ]  # fmt: skip


def overruled(fpid: str = "v", at: int = 1) -> Books:
    return [
        H("sent", fpid, mti="9200"), J(at, "RECEIVED", fpid), P("asked", fpid), P("answered", fpid, "1114"),
        J(at + 1, "ANSWERED", fpid, "0000"), J(at + 2, "OVERRULED", fpid, "1114", said="0000"),
        H("replied", fpid, code="0000"), P("noticed", fpid, position=at + 2), J(at + 3, "TOLD", told=at + 2),
    ]  # fmt: skip


def news(at: int) -> Books:
    return [
        H("usm", why="n"), J(at, "USM"), H("usm-acknowledged", why="n"), P("noticed", position=at, kind="USM"),
        J(at + 1, "PERMITS"), J(at + 2, "TOLD", told=at),
    ]  # fmt: skip


REVERSED = reversed_()


def judge(*books: Books, end: bool = True) -> Verdict:
    ledger = Ledger()
    for event in [event for book in books for event in book] + ([END] if end else []):
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


def test_true_books_balance_and_every_payment_has_its_account() -> None:
    """Sent = answered + stood in + refused + declined + reversed + undelivered + orphaned + unanswered + unreached."""
    refused: Books = [H("sent", "f"), J(4, "REFUSED", "f", "1930"), H("replied", "f", code="1930")]
    unreached: Books = [H("sent", "n"), H("timed-out", "n", why="link-lost"), H("given-up", "n")]
    verdict = judge(
        answered(at=1), refused, stood_in(at=5), reversed_(at=8), undelivered(at=10), orphaned(at=15), unreached,
        declined(at=18), unanswered(at=22),
    )  # fmt: skip
    assert broken(verdict) == set()
    assert verdict.sent == 9
    assert all(verdict.accounts[name] == 1 for name in verdict.accounts if name != "lost")
    assert verdict.accounts["lost"] == 0


def without(book: Books, drop: Callable[[Event], bool]) -> Books:
    return [event for event in book if not drop(event)]


def kind(name: str) -> Callable[[Event], bool]:
    return lambda event: isinstance(event, JournalEvent) and event.kind == name


BROKEN: dict[str, tuple[Books, set[str]]] = {
    "a payment without any reply or reversal": ([H("sent", "x"), J(1, "RECEIVED", "x")], {"accounted"}),
    "a reply that nobody decided": (
        [H("sent", "x"), H("replied", "x", code="0000")],
        {"accounted", "durable-before-reply"},
    ),
    "a reply with another code than the journal's": (
        [*answered()[:-1], H("replied", "a", code="1100")],
        {"accounted", "durable-before-reply"},
    ),
    "given up with the link up, unknown to the journal": (
        [H("sent", "x"), H("timed-out", "x", why="patience"), H("given-up", "x")],
        {"accounted"},
    ),
    "a reversal that the journal does not have": (
        [H("sent", "x"), H("timed-out", "x", why="patience"), H("reversal-sent", "x"), H("reversed", "x", code="0000")],
        {"accounted", "reversals-recorded"},
    ),
    "a reversal answered with a refusal": (
        [H("reversed", "r", code="1909") if event == H("reversed", "r", code="0000") else event for event in REVERSED],
        {"reversals-recorded", "in-time"},
    ),
    "a reversal that the hub never sent": ([*answered(), J(4, "REVERSED", "a"), P("noticed", "a", position=4),
                                            J(5, "TOLD", told=4)], {"reversals-recorded"}),
    "accepted after its reversal": (
        [*REVERSED, J(3, "ANSWERED", "r", "0000"), P("answered", "r", code="0000")], {"one-outcome"},
    ),
    "two decisions": ([*answered(), J(4, "STOOD_IN", "a", "0083"), P("noticed", "a", position=4), J(5, "TOLD", told=4)],
                      {"one-outcome"}),
    "two answers heard": (
        [*answered(), J(4, "REFUSED", "a", "1181"), H("replied", "a", code="1181")],
        {"one-outcome"},
    ),
    "a late reply to a payment never reversed": (
        [*answered()[:-1], H("timed-out", "a", why="patience"), H("replied", "a", code="0000", late=True)],
        {"accounted", "in-time"},
    ),
    "turned away because our own systems are down": (
        [H("sent", "x"), J(1, "REFUSED", "x", "1909"), H("replied", "x", code="1909")],
        {"nobody-turned-away"},
    ),
    "an overruling of what the processor never said": (
        [P("answered", "v", "0000") if event == P("answered", "v", "1114") else event for event in overruled()],
        {"answers-kept"},
    ),
    "taken in twice": ([*answered(), J(4, "RECEIVED", "a")], {"received-once"}),
    "taken in though never sent": ([J(1, "RECEIVED", "x")], {"received-once"}),
    "an answer that the processor never gave": (
        without(answered(), lambda event: isinstance(event, ProcessorEvent) and event.event == "answered"),
        {"answers-kept"},
    ),
    "a refusal after stand-in that nobody is told of": (
        [*stood_in(), J(4, "LATE_ANSWER", "s", "1114")],
        {"answers-kept"},
    ),
    "asked about before it was received": (
        [H("sent", "x"), P("asked", "x"), J(1, "REFUSED", "x", "1930"), H("replied", "x", code="1930")],
        {"asked-after-durable"},
    ),
    "a stand-in not told": (stood_in()[:-2], {"told"}),
    "a stand-in that is marked told and was not": (
        without(stood_in(), lambda event: isinstance(event, ProcessorEvent)),
        {"told"},
    ),
    "a stand-in told, but not yet marked": (without(stood_in(), kind("TOLD")), {"told"}),
    "a notice of nothing": ([*answered(), P("noticed", "a", position=2)], {"told-what-happened"}),
    "a notice of another payment's step": (
        [*stood_in(), *answered(at=4), P("noticed", "a", position=5)],
        {"told-what-happened"},
    ),
    "told marks a step that is none": ([*answered(), J(4, "TOLD", told=1)], {"told-what-happened"}),
    "notices in the wrong order": (
        [
            *undelivered()[:6],
            P("noticed", "u", position=3), P("noticed", "u", position=2), J(4, "TOLD", told=3), J(5, "TOLD", told=2),
        ],
        {"told-in-order"},
    ),
    "sent twice as new": ([*answered(), H("sent", "a", mti="9200", link=2)], {"hub-honest"}),
    "news acknowledged, and in no journal": (
        [J(1, "STARTED"), J(2, "PERMITS"), H("usm", why="n"), H("usm-acknowledged", why="n")], {"news-kept"},
    ),
    "two pieces of news acknowledged, and one in the journal": (
        [*news(1), H("usm", why="m"), H("usm-acknowledged", why="m")], {"news-kept"},
    ),
    "a key taken, and in no journal": (
        [J(1, "STARTED"), J(2, "KEYS"), H("key", why="alpha: own taken", code="A1B2C3")], {"keys-kept"},
    ),
    "received otherwise than sent": (
        [H("sent", "a", content="1"), J(1, "RECEIVED", "a", content="2"), *answered()[2:]], {"content-kept"},
    ),
    "asked about otherwise than sent": (
        [H("sent", "a", content="1"), J(1, "RECEIVED", "a"), P("asked", "a", content="2"), *answered()[3:]],
        {"content-kept"},
    ),
    "told of otherwise than sent": (
        [H("sent", "s", content="1"), *stood_in()[1:4], P("noticed", "s", position=2, content="2"), stood_in()[5]],
        {"content-kept"},
    ),
    "a gap in the journal": ([*answered(), J(9, "STOPPED")], {"journal-whole"}),
    "a position twice": ([*answered(), J(3, "STOPPED")], {"journal-whole"}),
    "a fault that the hub saw": ([*answered(), H("fault", "a", why="wrong link")], {"hub-satisfied"}),
    "mischief that got no answer": ([H("mischief", why="wrong-mac"), H("mischief-missed", why="nothing came")],
                                    {"mischief-answered"}),
}  # fmt: skip


@pytest.mark.parametrize("case", BROKEN)
def test_false_books_do_not_balance(case: str) -> None:
    """Each invariant, broken on purpose, is named by the verdict, and no other is."""
    books, expected = BROKEN[case]
    assert broken(judge(books)) == expected


def test_every_invariant_is_broken_by_some_case() -> None:
    """The table above leaves no invariant untried; those of payments that leave have a table of their own.

    Those that only a simulation can judge are broken by its canaries.
    """
    assert set().union(*(expected for _, expected in BROKEN.values())) >= set(INVARIANTS) - set(OUTBOUND) - set(
        SIMULATED
    )


def test_news_and_keys_that_stand_in_a_journal_are_kept() -> None:
    """Heard on two links it is one; a key is recorded besides what every start records, and may be taken twice."""
    taken = H("key", why="alpha: own taken", code="A1B2C3")
    again: Books = [H("usm", why="n", link=2), H("usm-acknowledged", why="n", link=2)]
    keys: Books = [J(4, "STARTED"), J(5, "KEYS"), J(6, "KEYS"), taken, taken, J(7, "KEYS")]
    verdict = judge(news(1), again, keys)
    assert broken(verdict) == set()
    assert [one.checked for one in verdict.invariants if one.name in {"news-kept", "keys-kept"}] == [1, 1]


def test_a_journal_whose_beginning_was_deleted_proves_nothing_of_news_and_keys() -> None:
    """They may have stood there."""
    books: Books = [
        J(9, "STARTED"), J(10, "KEYS"), H("key", why="alpha: own taken", code="A1B2C3"),
        H("usm", why="n"), H("usm-acknowledged", why="n"),
    ]  # fmt: skip
    assert broken(judge(books)) == set()


@pytest.mark.parametrize(
    ("first", "right"), [(J(1, "STARTED"), True), (J(2, "STARTED"), False), (J(1, "RECEIVED"), False)]
)
def test_a_journal_that_is_known_to_be_new_begins_with_a_start(first: JournalEvent, right: bool) -> None:  # noqa: FBT001 - a case
    """In a load test nothing is old enough to be deleted; elsewhere a journal may begin anywhere."""
    for whole in (True, False):
        ledger = Ledger(whole=whole)
        ledger.journal(first, "sip-a")
        ledger.hub(END)
        wrong = {one.name for one in ledger.verdict().invariants if one.violations}
        assert ("journal-whole" in wrong) == (whole and not right)


def test_what_the_rules_decide_in_the_processors_stead_is_no_fault() -> None:
    """1909 where stand-in might not accept, silence where the rules say so, acceptance of what must be accepted."""
    assert broken(judge(declined(at=1), unanswered(at=5), overruled(at=8))) == set()


def test_a_hub_that_did_not_finish_does_not_balance() -> None:
    """Books that were closed while payments may still be on their way prove nothing."""
    assert broken(judge(answered(), end=False)) == {"accounted"}


def test_repeats_of_a_notice_are_allowed_and_counted() -> None:
    """At least once is the promise; again is no fault."""
    verdict = judge([*stood_in(), P("noticed", "s", position=2)])
    assert verdict.balances
    assert verdict.figures["notices acknowledged again"] == 1


def test_a_parked_notice_is_accounted_for_and_counted() -> None:
    """What the processor will not take is parked where people see it: said, not lost."""
    books: Books = [*stood_in()[:-2], P("noticed", "s", position=2, acknowledged=False), J(3, "PARKED", told=2)]
    verdict = judge(books)
    assert verdict.balances
    assert (verdict.figures["parked"], verdict.figures["notices not acknowledged"]) == (1, 1)


def test_a_parked_notice_that_is_dropped_is_accounted_for_and_counted() -> None:
    """A person has said why. What was never refused, or was acknowledged, is no person's to drop."""
    head: Books = [*stood_in()[:-2], P("noticed", "s", position=2, acknowledged=False)]
    dropped = judge([*head, J(3, "PARKED", told=2), J(4, "DROPPED", told=2)])
    assert dropped.balances
    assert (dropped.figures["parked"], dropped.figures["dropped"]) == (0, 1)
    assert broken(judge([*head, J(3, "DROPPED", told=2)])) == {"told"}
    told: Books = [*head, J(3, "PARKED", told=2), P("noticed", "s", position=2), J(4, "TOLD", told=2)]
    assert broken(judge([*told, J(5, "DROPPED", told=2)])) == {"told"}


def test_a_parked_notice_that_is_told_after_all_may_come_after_later_ones() -> None:
    """They went past it, as they must; acknowledged, it is parked no more. One that was not parked has its turn."""
    head: Books = [
        *stood_in()[:-2],
        J(3, "REVERSED", "s"),
        H("reversed", "s"),
        P("noticed", "s", position=3),
        J(4, "TOLD", told=3),
    ]
    tail: Books = [P("noticed", "s", position=2), J(6, "TOLD", told=2)]
    parked = judge([*head, J(5, "PARKED", told=2), *tail])
    assert "told-in-order" not in broken(parked)
    assert parked.figures["parked"] == 0
    assert "told-in-order" in broken(judge([*head, J(5, "REPLIED", "s"), *tail]))


def test_a_duplicate_with_other_content_is_no_second_outcome() -> None:
    """1181 refuses a message; the payment keeps its outcome."""
    books = [*answered(), H("mischief", why="duplicate"), J(4, "REFUSED", "a", "1181"), H("mischief-answered")]
    assert broken(judge(books)) == set()


def test_a_payment_of_mischief_is_not_counted_as_sent_but_its_notices_are_judged() -> None:
    """Mischief has an account of its own; what the journal promises about it is owed all the same."""
    book = [H("mischief", "s", why="half"), *stood_in()[:-2]]
    verdict = judge(book)
    assert verdict.sent == 0
    assert broken(verdict) == {"told"}


def test_an_asynchronous_payment_answered_to_its_repeat_is_answered() -> None:
    """A late reply to the first request is no second outcome when the repeat has the same code in time."""
    books: Books = [
        *answered()[:-1],
        H("timed-out", "a", why="patience"),
        H("sent", "a", mti="9201", link=2),
        J(4, "REPEATED", "a", "0000"),
        H("replied", "a", code="0000", link=1, late=True),
        H("replied", "a", code="0000", link=2),
    ]
    verdict = judge(books)
    assert verdict.balances
    assert (verdict.accounts["answered"], verdict.figures["repeats sent"], verdict.figures["replies late"]) == (1, 1, 1)


def test_an_orphan_that_is_repeated_may_be_taken_in_again() -> None:
    """A restart forgets nothing, but an undecided payment that comes again is decided then."""
    books: Books = [
        H("sent", "o"), J(1, "RECEIVED", "o"), H("timed-out", "o", why="link-lost"), J(2, "ORPHANED", "o"),
        H("sent", "o", mti="9201"), J(3, "RECEIVED", "o"), J(4, "STOOD_IN", "o", "0083"),
        H("replied", "o", code="0083"), P("noticed", "o", position=2), P("noticed", "o", position=4),
        J(5, "TOLD", told=2), J(6, "TOLD", told=4),
    ]  # fmt: skip
    assert broken(judge(books)) == set()


def test_only_the_first_violations_are_shown() -> None:
    """A thousand violations are a number and five examples."""
    verdict = judge([J(position, "RECEIVED", f"x{position}") for position in range(1, 1001)])
    wrong = next(invariant for invariant in verdict.invariants if invariant.name == "received-once")
    assert (wrong.violations, len(wrong.first)) == (1000, 5)


def test_the_hash_is_the_gateways() -> None:
    """A payment has one name in the gateway's log, its journal's listing and the ledger."""
    assert fpid_hash("0" * 42) == log.fpid_hash("0" * 42)
