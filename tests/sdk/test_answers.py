"""What a response says, and who may say it."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.http.visitor import REASONS
from gateway.processor import openapi
from gateway.processor.examples import FPID, PENDING, REJECTED, SETTLED, UNKNOWN, UNSENT
from gateway.processor.messages import Problem, Progress, Reason, ReasonInformation, Status
from gateway.sdk import answers
from gateway.sdk.answers import Met, Word, code_of
from gateway.sdk.submission import IN_DOUBT

encode = msgspec.json.encode
SAID = {"title": "x", "detail": "y"}


@pytest.mark.parametrize(
    ("progress", "met"),
    [
        (PENDING, Met.PENDING),
        (SETTLED, Met.SETTLED),
        (REJECTED, Met.SETTLED),
        (UNKNOWN, Met.UNKNOWN),
        (UNSENT, Met.UNSENT),
    ],
)
def test_where_it_stands(progress: Progress, met: Met) -> None:
    """The same whoever asked how, submitting or looking; members that are not known yet are passed over."""
    more = encode({**msgspec.to_builtins(progress), "new": 1})
    for body in (encode(progress), more):
        assert answers.submitted(FPID, 200, body) == Word(met, progress)
        assert answers.submitted(FPID, 202, body) == Word(met, progress)
        assert answers.looked(FPID, 200, body) == Word(met, progress)


@pytest.mark.parametrize("status", sorted(REASONS))
def test_every_status_of_the_door(status: int) -> None:
    """With the gateway's own problem it is what the document says; without, it is somebody else's and says nothing."""
    unclear, declined = {200, 202, 404, 504}, {403, 408, 500, 503}
    met = Met.UNCLEAR if status in unclear else Met.DECLINED if status in declined else Met.REJECTED
    assert answers.submitted(FPID, status, encode({**SAID, "status": status})).met is met
    for body in (b"", b"<html>", b"{}", encode({**SAID, "status": status + 1}), b"\xff"):
        assert answers.submitted(FPID, status, body).met is Met.UNCLEAR


def test_every_response_of_the_document_is_known() -> None:
    """What the document promises of a submission is what is read here: who changes the one is sent to the other."""
    statuses = {int(status) for status in openapi.document()["paths"]["/payments"]["post"]["responses"]}
    assert statuses == {200, 202, 504, *answers.PROBLEMS}


def test_a_look_that_finds_nothing() -> None:
    """404 by the gateway; by somebody else it is a wrong path."""
    assert answers.looked(FPID, 404, encode(Problem("Not Found", 404))) == Word(Met.ABSENT)
    assert answers.looked(FPID, 404, b"not here").met is Met.UNCLEAR
    assert answers.looked(FPID, 503, encode(Problem("x", 503))).met is Met.UNCLEAR


def test_another_payment_under_our_key() -> None:
    """Wherever it comes from: it must not be taken for ours."""
    other = encode(SETTLED).replace(b"PMT0", b"PMT9")
    assert answers.submitted(FPID, 200, other).met is Met.MISTAKEN
    assert answers.looked(FPID, 200, other).met is Met.MISTAKEN


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"[]",
        b"\xff\xfe",
        encode(SETTLED)[:-1],
        encode(Progress(FPID, "x", "SETTLED")),
        encode(Progress(FPID, "x", "SETTLED", Status("RJCT"))),
        encode(Progress(FPID, "x", "SETTLED", Status("RJCT", ReasonInformation(Reason("0000"))))),
        encode(Progress(FPID, "x", "SETTLED", Status("ACSP", ReasonInformation(Reason("1114"))))),
        b'{"state":"PENDING"}',
    ],
)
def test_a_success_that_says_nothing(body: bytes) -> None:
    """It may have been taken. Status and code that contradict each other say nothing, least of all that it is paid."""
    assert answers.submitted(FPID, 200, body).met is Met.UNCLEAR


@pytest.mark.parametrize(
    ("retry_after", "seconds"),
    [(b"", 0.0), (b"7", 7.0), (b"99999", 60.0), (b"soon", 0.0), (b"-1", 0.0), (b"1" * 9, 0.0)],
)
def test_when_to_come_again(retry_after: bytes, seconds: float) -> None:
    word = answers.submitted(FPID, 503, encode(Problem("x", 503, code="9945")), retry_after)
    assert (word.met, word.retry_after_s) == (Met.DECLINED, seconds)
    assert word.problem is not None
    assert word.problem.code == "9945"


def test_the_code_of_an_outcome() -> None:
    """ACSP may leave it out."""
    assert code_of(Status("ACSP")) == "0000"
    assert isinstance(REJECTED.decided, Status)
    assert code_of(REJECTED.decided) == "9910"


@given(st.integers(100, 599), st.binary(max_size=200))
def test_anything_at_all_is_read(status: int, body: bytes) -> None:
    """And is in doubt: only a gateway's own words say more."""
    assert answers.submitted(FPID, status, body).met in IN_DOUBT
    assert answers.looked(FPID, status, body).met in IN_DOUBT
