"""Where the order of all books is known, nothing acts before it is durable, and each site answers for itself."""

import pytest

from loadtest.ledger.oracle import HubEvent, JournalEvent, Ledger, ProcessorEvent, Verdict
from tests.loadtest.ledger.test_ledger import broken

H, P, J = HubEvent, ProcessorEvent, JournalEvent
Event = HubEvent | ProcessorEvent | JournalEvent
Books = list[tuple[str, Event]]
"""In the order in which it happened, each with its node: of a record, the moment from which the disk held it."""

A, B = 1, 2
"""Links, of the nodes a and b."""


def judge(books: Books, *, undurable: tuple[int, ...] = ()) -> Verdict:
    """`undurable`: positions that no disk ever held."""
    ledger = Ledger(ordered=True)
    for link, node in ((A, "a"), (B, "b")):
        ledger.hub(H("connected", link=link, why=node), 1)
    for at, (node, event) in enumerate(books, 10):
        if isinstance(event, HubEvent):
            ledger.hub(event, at)
        elif isinstance(event, ProcessorEvent):
            ledger.processor(event, at)
        else:
            ledger.journal(event, node)
            if event.position not in undurable:
                ledger.durable(node, event.position, at)
    ledger.hub(H("end"), 10_000)
    return ledger.verdict()


def moved(books: Books, which: int, to: int) -> Books:
    """The same with this entry elsewhere."""
    books = list(books)
    books.insert(to, books.pop(which))
    return books


CAME: Books = [
    ("", H("sent", "p", link=A, mti="9200")),
    ("a", J(1, "RECEIVED", "p")),
    ("", P("asked", "p")),
    ("", P("answered", "p", "0000")),
    ("a", J(2, "ANSWERED", "p", "0000")),
    ("", H("replied", "p", link=A, code="0000")),
]
REVERSED: Books = [
    ("", H("sent", "p", link=A, mti="9200")),
    ("", H("timed-out", "p", link=A, why="link-lost")),
    ("", H("reversal-sent", "p", link=B)),
    ("b", J(1, "REVERSED", "p")),
    ("", H("reversed", "p", link=B, code="0000")),
    ("", P("noticed", "p", node="b", position=1, kind="REVERSED")),
    ("b", J(2, "TOLD", told=1)),
]
LEFT: Books = [
    ("", P("submitting", "q", key="k")),
    ("a", J(1, "SUBMITTED", "q", key="k")),
    ("", P("submitted", "q", status=202, state="PENDING", node="a")),
    ("", H("submitted", "q", link=A, mti="9200")),
    ("", H("relayed", "q")),
    ("", H("outcome", "q", code="0000")),
    ("", H("answered", "q", link=A, code="0000")),
    ("a", J(2, "SETTLED", "q", "0000", by="receiver")),
    ("", P("noticed", "q", "0000", "a", 2, kind="SETTLED")),
    ("a", J(3, "TOLD", told=2)),
]
UNSENT: Books = [
    ("", P("submitting", "q", key="k")),
    ("a", J(1, "SUBMITTED", "q", key="k")),
    ("", P("submitted", "q", status=202, state="PENDING", node="a")),
    ("a", J(2, "UNSENT", "q")),
    ("", P("noticed", "q", node="a", position=2, kind="UNSENT")),
    ("a", J(3, "TOLD", told=2)),
]


@pytest.mark.parametrize("books", [CAME, REVERSED, LEFT, UNSENT])
def test_what_is_durable_first_keeps_every_promise(books: Books) -> None:
    """And without an order the same books balance, too."""
    assert broken(judge(books)) == set()
    ledger = Ledger()
    for node, event in books:
        if isinstance(event, HubEvent):
            ledger.hub(event)
        elif isinstance(event, ProcessorEvent):
            ledger.processor(event)
        else:
            ledger.journal(event, node)
    ledger.hub(H("end"))
    assert broken(ledger.verdict()) == set()


@pytest.mark.parametrize(
    ("books", "expected"),
    [
        pytest.param(moved(CAME, 1, 2), {"asked-after-durable"}, id="asked before RECEIVED was durable"),
        pytest.param(moved(CAME, 1, 0), {"received-once"}, id="received before it was sent"),
        pytest.param(moved(CAME, 4, 5), {"durable-before-reply"}, id="replied before the decision was durable"),
        pytest.param(moved(CAME, 3, 4), {"answers-kept"}, id="decided before the processor answered"),
        pytest.param(moved(REVERSED, 3, 4), {"reversals-recorded"}, id="9430 before REVERSED was durable"),
        pytest.param(moved(REVERSED, 3, 5), {"reversals-recorded", "told-what-happened"}, id="told before REVERSED"),
        pytest.param(moved(LEFT, 1, 2), {"taken-after-durable"}, id="202 before SUBMITTED was durable"),
        pytest.param(moved(LEFT, 3, 1), {"sent-after-durable"}, id="9200 before SUBMITTED was durable"),
        pytest.param(moved(LEFT, 7, 6), {"settled-as-answered"}, id="settled before the hub answered"),
        pytest.param(moved(LEFT, 7, 8), {"told-what-happened"}, id="told before SETTLED was durable"),
        pytest.param(
            [*UNSENT[:3], ("", H("submitted", "q", link=A, mti="9200")), *UNSENT[3:]],
            {"never-failed"},
            id="sent in the life that ends unsent",
        ),
        pytest.param(
            [*LEFT[:7], ("", P("submitted", "q", "0000", status=200, state="SETTLED", node="a")), *LEFT[7:]],
            {"outcome-as-recorded"},
            id="200 and SETTLED before that was durable",
        ),
        pytest.param(
            [("", H("usm", why="n")), ("", H("usm-acknowledged", link=A, why="n")), ("a", J(1, "USM", source="b/1")),
             ("b", J(1, "USM")), ("", P("noticed", node="b", position=1, kind="USM")), ("b", J(2, "TOLD", told=1))],
            {"news-kept"},
            id="9834 before USM was durable",
        ),
        pytest.param(
            [("a", J(1, "STARTED")), ("a", J(2, "KEYS")), ("", H("key", link=A, why="own taken", code="A1")),
             ("a", J(3, "KEYS"))],
            {"keys-kept"},
            id="a key taken before KEYS was durable",
        ),
        pytest.param(
            [("", P("submitting", "q", key="k")), ("", H("usm", why="n")),
             ("", P("submitted", "q", "9943", status=503, node="a")), ("a", J(1, "USM")),
             ("", P("noticed", node="a", position=1, kind="USM")), ("a", J(2, "TOLD", told=1))],
            {"declined-by-news"},
            id="declined before the news was durable",
        ),
    ],
)  # fmt: skip
def test_what_acts_before_it_is_durable_is_seen(books: Books, expected: set[str]) -> None:
    assert broken(judge(books)) == expected


def test_a_record_that_no_disk_ever_held_proves_nothing() -> None:
    """It stands in the journal as read in the end: in a page cache that was written out later, or never."""
    assert broken(judge(CAME, undurable=(2,))) == {"durable-before-reply"}
    assert broken(judge(LEFT, undurable=(1,))) == {"taken-after-durable", "sent-after-durable"}


# --- two sites that share nothing

BOTH: Books = [
    ("", H("sent", "p", link=A, mti="9200")),
    ("a", J(1, "RECEIVED", "p")),
    ("a", J(2, "STOOD_IN", "p", "0083")),
    ("", H("timed-out", "p", link=A, why="link-lost")),
    ("a", J(3, "UNDELIVERED", "p", "0083")),
    ("", H("sent", "p", link=B, mti="9201")),
    ("b", J(1, "RECEIVED", "p")),
    ("", P("asked", "p")),
    ("", P("answered", "p", "1114")),
    ("b", J(2, "ANSWERED", "p", "1114")),
    ("", H("replied", "p", link=B, code="1114")),
    ("", P("noticed", "p", node="a", position=2, kind="STOOD_IN")),
    ("", P("noticed", "p", node="a", position=3, kind="UNDELIVERED")),
    ("a", J(4, "TOLD", told=2)),
    ("a", J(5, "TOLD", told=3)),
]
"""Stood in at a, whose reply was lost; refused at b by the processor, which is told of the other."""


def test_two_sites_may_differ_where_one_stood_in_and_the_processor_hears_of_it() -> None:
    """One outcome in each journal, the processor's own is one, and all else was said in its stead and told."""
    assert broken(judge(BOTH)) == set()
    late = [*BOTH, ("", H("replied", "p", link=A, code="0083", late=True))]
    assert broken(judge(late)) == set()


@pytest.mark.parametrize(
    ("books", "expected"),
    [
        pytest.param(
            [*BOTH, ("", H("replied", "p", link=A, code="1114", late=True))],
            {"durable-before-reply"},
            id="a says what b decided",
        ),
        pytest.param(
            [*BOTH, ("b", J(3, "STOOD_IN", "p", "0083")),
             ("", P("noticed", "p", node="b", position=3, kind="STOOD_IN")), ("b", J(4, "TOLD", told=3))],
            {"one-outcome"},
            id="b decides twice",
        ),
        pytest.param(
            [(node, J(2, "ANSWERED", "p", "0083") if event == J(2, "STOOD_IN", "p", "0083") else event)
             for node, event in BOTH
             if not (isinstance(event, P) and event.position == 2) and event != J(4, "TOLD", told=2)],
            {"one-outcome", "answers-kept", "journal-whole"},
            id="the processor's word is one at a and another at b",
        ),
        pytest.param([one for one in BOTH if one[1] != P("noticed", "p", node="a", position=2, kind="STOOD_IN")],
                     {"told"}, id="what a said in the processor's stead is not told"),
        pytest.param(
            [*REVERSED[:2], ("a", J(1, "REVERSED", "p")), *REVERSED[2:3], *REVERSED[4:5],
             ("", P("noticed", "p", node="a", position=1, kind="REVERSED")), ("a", J(2, "TOLD", told=1))],
            {"reversals-recorded"},
            id="b answers a reversal that only a recorded",
        ),
        pytest.param(
            [*LEFT[:3], ("", H("submitted", "q", link=B, mti="9200")), *LEFT[3:]],
            {"sent-after-durable", "sent-once"},
            id="b sends what only a recorded",
        ),
        pytest.param(
            [*LEFT[:2], ("", P("submitted", "q", status=202, state="PENDING", node="b")), *LEFT[2:]],
            {"taken-after-durable"},
            id="b acknowledges what only a recorded",
        ),
    ],
)  # fmt: skip
def test_each_site_answers_for_itself(books: Books, expected: set[str]) -> None:
    assert broken(judge(books)) == expected


def test_what_was_dropped_is_never_told() -> None:
    """Before the drop was durable it may have been; by another site's notice of the same number, too."""
    books: Books = [
        *REVERSED[:-2],
        ("", P("noticed", "p", node="b", position=1, kind="REVERSED", acknowledged=False)),
        ("b", J(2, "PARKED", told=1)),
        ("b", J(3, "DROPPED", told=1)),
    ]
    assert broken(judge(books)) == set()
    told = ("", P("noticed", "p", node="b", position=1, kind="REVERSED", acknowledged=False))
    assert broken(judge([*books, told])) == {"told"}
    assert broken(judge([*books[:-1], told, books[-1]])) == set()


def test_one_site_may_call_unsent_what_the_other_settled() -> None:
    """Each says what became of it there; whoever submitted at both hears both."""
    at_b: Books = [
        ("b", J(1, "SUBMITTED", "q", key="k")),
        ("", P("submitted", "q", status=202, state="PENDING", node="b")),
        ("b", J(2, "UNSENT", "q")),
        ("", P("noticed", "q", node="b", position=2, kind="UNSENT")),
        ("b", J(3, "TOLD", told=2)),
    ]
    assert broken(judge([*LEFT, *at_b])) == set()
    assert broken(
        judge([*LEFT[:3], *at_b[:2], ("", H("submitted", "q", link=B, mti="9200")), *LEFT[3:], *at_b[2:]])
    ) == {"never-failed"}
