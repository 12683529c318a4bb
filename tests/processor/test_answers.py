"""What the processor's answers are taken for: every shape of the table, and that no refusal is ever an acceptance."""

import gzip
import html
import json
import random
import re
import zlib
from contextlib import suppress
from urllib.parse import quote

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from gateway.processor import answers
from gateway.processor.answers import FAULTS, Answers, Decided, NotAnAnswer
from gateway.processor.messages import encode, status_of
from gateway.strict_json import REPEATED
from gateway.wire.codes import built_in
from tests.fuzz import jsons
from tests.processor.answer_shapes import ACSP, R1114, SHAPES, Shape

READER = Answers()
RULES = {
    answers.NO_JSON, answers.NO_STATUS, REPEATED, "FldInErr without RJCT", "ACSP with another code than 0000",
    "ACTC without a code of a qualified accept",
}  # fmt: skip
"""What is said of what decides nothing with a 200."""


def outcome_of(status: int, body: bytes, reader: Answers = READER) -> str:
    """As the table says it."""
    try:
        decided = reader.read(status, body)
    except NotAnAnswer as error:
        return "nothing" if str(error).split(": ")[0] in RULES | {f"status {status}"} else str(error)
    code, field, fault = decided
    assert not fault or fault in FAULTS or fault == f"RJCT with status {status}"
    if code == "0000":
        assert not fault
        return "accepted"
    if code in built_in().qualified:
        assert not fault
        return f"qualified {code}"
    return f"refused {code}{field and '/' + field}{fault and ' !'}"


@pytest.mark.parametrize("shape", SHAPES, ids=lambda shape: shape.what.replace(" ", "-"))
def test_every_shape_of_an_answer(shape: Shape) -> None:
    """What each is taken for, and the same the second time, when it may be remembered."""
    assert [outcome_of(shape.status, shape.body) for _ in range(2)] == [shape.outcome] * 2


def test_what_is_not_as_agreed_is_said_by_its_rule() -> None:
    """Every rule that a refusal may break is broken by a row of the table."""
    broken = set()
    for shape in SHAPES:
        if shape.outcome.endswith("!"):
            broken.add(READER.read(shape.status, shape.body).fault)
    assert broken >= set(FAULTS)


def test_a_refusal_of_no_use_goes_with_the_configured_code() -> None:
    """Whatever is configured stands for a reason of no use, and never for one of use."""
    reader = Answers(refused_code="1168")
    assert outcome_of(200, b'{"TxSts":"RJCT"}', reader) == "refused 1168 !"
    assert outcome_of(200, R1114, reader) == "refused 1114"


def test_wherever_a_refusal_is_cut_off_behind_its_status_it_stays_one() -> None:
    """Of a refusal in any encoding that is cut short, what has the status refuses; what has not decides nothing."""
    for encoding in ("utf-8", "utf-16", "utf-32-be"):
        whole = R1114.decode().encode(encoding)
        outcomes = [outcome_of(200, whole[:length]) for length in range(len(whole))]
        first = next(n for n, outcome in enumerate(outcomes) if outcome != "nothing")
        assert first <= len(R1114[:14].decode().encode(encoding))
        assert all(outcome.startswith("refused 11") for outcome in outcomes[first:])


@given(st.integers(0, 2**32))
@example(6587)
@example(120086)
def test_a_spoilt_refusal_is_never_accepted(seed: int) -> None:
    """Members more, less, twice, of other types, in other spellings: while a TxSts says RJCT it is refused."""
    luck = random.Random(seed)  # noqa: S311 - a test's luck
    body = R1114
    for _ in range(luck.randrange(1, 4)):
        body = jsons.spoil(body, luck)
    said = _said(body)
    outcome = outcome_of(200, body)
    if "RJCT" in said:
        assert outcome.startswith("refused")
    elif not any(one in {"ACSP", "ACTC"} for one in said if isinstance(one, str)):
        # the word may stand in brackets below the name, which our reader unwraps and this test's own does not
        assert outcome == "nothing" or (outcome.endswith("!") and b"RJCT" in body)


def _said(body: bytes) -> list[object]:
    """The values of every TxSts, by a reader of its own."""
    found: list[object] = []

    def hook(pairs: list[tuple[str, object]]) -> None:
        found.extend(value for name, value in pairs if name == "TxSts")

    json.loads(body, object_pairs_hook=hook)
    return found


@given(st.binary(max_size=200), st.sampled_from([200, 202, 404, 503]))
def test_any_bytes(body: bytes, status: int) -> None:
    """Any bytes with any status are an answer or `NotAnAnswer`, and what is said of them quotes nothing."""
    outcome_of(status, body)


def test_bodies_are_remembered_within_a_limit() -> None:
    """What was read once is remembered when it has no fault and is short, up to a number; the rest is read again."""
    reader = Answers()
    for number in range(2 * answers.PLAIN_MAX):
        assert (
            reader.read(200, ACSP + b" " * (number % answers.PLAIN_BYTES_MAX) + b"\n" * (number // 256)).code == "0000"
        )
    assert len(reader._plain) == answers.PLAIN_MAX
    assert max(map(len, reader._plain)) <= answers.PLAIN_BYTES_MAX


@pytest.mark.parametrize("code", ["0000", *sorted(built_in().qualified), *sorted({*built_in().receiver} - {"1930"})])
def test_a_status_says_what_it_was_made_of(code: str) -> None:
    """Every code that a payment can be decided with can be told, and is read back as itself."""
    assert READER.read(200, encode(status_of(code, "", built_in()))) == Decided(code, "")


def test_a_field_is_named_with_a_syntax_error_alone() -> None:
    """DE44 leaves with 1930 and never beside another code: another code says that no field failed."""
    for shape in SHAPES:
        with suppress(NotAnAnswer):
            decided = READER.read(shape.status, shape.body)
            assert bool(decided.field) == (decided.code == "1930"), shape.what


TEXTS = [
    "TxSts RJCT", 'INV 7; TxSts: "RJCT" <b>', "TXSTS=rjct é", "a\r\nTxSts\r\nRJCT(1114)", "TxSts,RJCT TxSts,RJCT",
]  # fmt: skip
"""What a customer may write into a payment."""
PAGES = {
    "as it came": lambda text: f"<html><body>Bad request: {text}</body></html>",
    "for HTML": lambda text: f"<html><pre>{html.escape(text)}</pre></html>",
    "as JSON within HTML": lambda text: f"<pre>{{&quot;Ustrd&quot;: {json.dumps(text)}}}</pre>",
    "escaped JSON within HTML": lambda text: html.escape(json.dumps(json.dumps({"Ustrd": text}))) + "<hr>",
    "as a URL": lambda text: f"No such page: /payments?{quote(text, safe=':, ')}",
    "twice": lambda text: f"{text}\n----\n{text}",
    "in Python": lambda text: f"ValidationError: {[text]!r}",
}


@pytest.mark.parametrize("page", PAGES)
@pytest.mark.parametrize("text", TEXTS)
@pytest.mark.parametrize("status", [400, 403, 413, 422, 500, 502])
def test_a_page_that_quotes_the_question_refuses_nothing(status: int, text: str, page: str) -> None:
    """Whoever stands in front of the processor shows what was sent: a customer's words are no decision."""
    asked = ["F" * 42, "Jane Doe", text]
    for encoding in ("utf-8", "cp1252"):
        body = PAGES[page](text).encode(encoding)
        with pytest.raises(NotAnAnswer, match=rf"^status {status}\Z"):
            READER.read(status, body, lambda: asked)
        refusal = READER.read(status, body + b"\n<TxSts>RJCT</TxSts>", lambda: asked)
        assert refusal == Decided("1100", "", answers.UNREAD), "its own word beside the quotation"


@pytest.mark.parametrize("text", TEXTS)
def test_what_the_processor_says_itself_refuses_whatever_the_question_said(text: str) -> None:
    """A customer's words cannot make a refusal of their own payment unread: not with 200, not in JSON."""
    asked = [text]
    for status, body in [
        (200, b"<TxSts>RJCT</TxSts>"), (200, text.encode() + R1114), (200, R1114[:-1]), (422, R1114),
        (400, b'{"was":' + json.dumps(text).encode() + b',"TxSts":"RJCT"}'), (500, R1114.decode().encode("utf-16")),
    ]:  # fmt: skip
        assert READER.read(status, body, lambda: asked).code in {"1100", "1114"}


YES = b'{"TxSts": "ACSP"}'


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (gzip.compress(YES, mtime=0), "compressed (gzip)"),
        (zlib.compress(YES), "compressed (deflate)"),
        (zlib.compress(YES, 9), "compressed (deflate)"),
        (b"\x28\xb5\x2f\xfd" + YES, "compressed (zstd)"),
        (b"\xef\xbb\xbf" + YES, "byte order mark"),
        (YES.decode().encode("utf-16"), "another encoding"),
        (YES.decode().encode("utf-16-le"), "another encoding"),
        (YES.decode().encode("utf-16-be"), "another encoding"),
        (YES.decode().encode("utf-32"), "another encoding"),
        (b"<html>", "HTML or XML"),
        (b"", "it is empty"),
    ],
    ids=ascii,
)
def test_what_is_no_answer_is_named(body: bytes, said: str) -> None:
    """An acceptance that somebody on the way has packed or marked is none; the log says what was done to it."""
    with pytest.raises(NotAnAnswer, match=re.escape(said)):
        READER.read(200, body)
