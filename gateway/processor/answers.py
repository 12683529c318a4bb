"""Reads what the processor decided out of any response. Pure.

**A refusal never becomes an acceptance.** When there is no answer, stand-in answers, and stand-in accepts. So an
acceptance has to be exactly right, and a refusal need not be:

* An acceptance is a 200 with JSON in which no member comes twice, whose TxSts is ACSP or ACTC, with a code of its own.
* A refusal is any whole response, of any status, in which a TxSts says RJCT: beside another one, within other members,
  in text that is no JSON or is cut off, in another encoding, escaped, compressed. A refusal that is not as agreed has a
  *fault*, the rule that it breaks, which is logged. Without a usable reason it leaves with `pair.refused_code`.
* Everything else decides nothing: `NotAnAnswer`. So does an error page that quotes the question: a customer's text may
  say TxSts and RJCT, and a proxy in front of the processor is no processor. In a response that is neither a 200 nor
  JSON, the words of the question do not count.

tests/processor/answer_shapes.py lists the shapes. The document for the processor's team describes only what is exactly
right (`messages.Status`); nothing else here is promised.
"""

import html
import json
import re
import zlib
from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import Any, NamedTuple
from urllib.parse import unquote

import msgspec
from msgspec import Struct

from gateway.strict_json import REPEATED, Pairs, Reader, pairs_of
from gateway.wire.codes import ACCEPTED, SYNTAX_ERROR, Codes, built_in
from gateway.wire.values import names_a_field

REFUSED_CODE = "1100"
"""DE26 of a refusal that names no code of use, where nothing else is configured."""
PLAIN_MAX = 1024
"""Bodies that are remembered with their decision: those without a fault, which are few."""
PLAIN_BYTES_MAX = 256
UNPACKED_BYTES_MAX = 1 << 20
"""Bytes of a compressed body, unpacked, at most; the rest is cut off."""

NO_JSON = "not the JSON of an answer"
NO_STATUS = "TxSts is none of ACSP, ACTC, RJCT"
NO_REASON = "RJCT without a code that a receiver may refuse with"
NO_FIELD = "FldInErr is no field number"
NOWHERE = f"{SYNTAX_ERROR} without FldInErr"
NOT_ONCE = f"RJCT, and {REPEATED}"
UNREAD = "RJCT in what is not the JSON of an answer"
FAULTS = (NO_REASON, NO_FIELD, NOWHERE, NOT_ONCE, UNREAD)
"""The rules that a refusal may break, beside a status that is not 200."""


class Decided(NamedTuple):
    """What the processor decided, in the scheme's codes."""

    code: str
    """DE26."""
    field: str
    """DE44, three digits, with 1930; else empty: another code says that no field failed."""
    fault: str = ""
    """The rule that a refusal breaks; empty: none."""


class NotAnAnswer(ValueError):
    """A response decides nothing. The text says why in our words, never with the content."""


class _Reason(Struct, gc=False, omit_defaults=True):
    Prtry: str = ""


class _ReasonInformation(Struct, gc=False, omit_defaults=True):
    Rsn: _Reason | None = None
    FldInErr: str | None = None
    AddtlInf: str | None = None


class _Answer(Struct, gc=False, omit_defaults=True):
    """`Status` without its patterns: what is wrong is said in our words, and reading is ten times faster."""

    TxSts: str
    StsRsnInf: _ReasonInformation | None = None


class Answers:
    """Reads answers by one table of codes."""

    def __init__(self, codes: Codes | None = None, refused_code: str = REFUSED_CODE) -> None:
        """`codes` None: the built-in table. `refused_code`: for a refusal without a usable code."""
        self._codes = codes or built_in()
        self._refused_code = refused_code
        self._plain: dict[bytes, Decided] = {}

    def read(self, status: int, body: bytes, asked: Callable[[], Iterable[str]] = tuple) -> Decided:
        """Read the whole response to a question. `asked`: the texts in the question. Raises `NotAnAnswer`."""
        if status == 200:
            plain = self._plain.get(body)
            return plain if plain is not None else self._read(body)
        refusal = self._refusal(body)
        if refusal is None or (refusal.fault == UNREAD and _is_quoted(body, asked())):
            raise NotAnAnswer(f"status {status}")
        return refusal._replace(fault=refusal.fault or f"RJCT with status {status}")

    def _read(self, body: bytes) -> Decided:
        answer, why = None, NO_JSON
        try:
            answer = _answer(body)
        except msgspec.DecodeError as error:
            why = REPEATED if str(error) == REPEATED else _why_unread(body)
        # finds an acceptance in a microsecond: in JSON without a backslash this word can be spelt in no other way
        innocent = answer is not None and b"\\" not in body and b"rjct" not in body.lower()
        decided = None if innocent else self._refusal(body)
        if decided is None:
            if answer is None:
                raise NotAnAnswer(why)
            decided = self._accepted(answer)
        if not decided.fault and len(body) <= PLAIN_BYTES_MAX and len(self._plain) < PLAIN_MAX:
            self._plain[body] = decided
        return decided

    # --- a refusal

    def _refusal(self, body: bytes) -> Decided | None:
        """The refusal in this body; None: there is none."""
        text = _text_of(body)
        try:
            said = _refuses(pairs_of(text))
        except msgspec.DecodeError:
            said = _SAID.search(_unescaped(text)) is not None
        return self._refused(body, text) if said else None

    def _refused(self, body: bytes, text: str) -> Decided:
        """The refusal, with its own code where that stands once, in its place, and is one that a receiver may give."""
        try:
            answer = _answer(text.encode("utf-8", "replace"))
        except msgspec.DecodeError as error:
            return Decided(self._refused_code, "", NOT_ONCE if str(error) == REPEATED else UNREAD)
        if not _is_refusal("TxSts", answer.TxSts):
            return Decided(self._refused_code, "", NOT_ONCE)
        why = answer.StsRsnInf
        code = why.Rsn.Prtry if why is not None and why.Rsn is not None else ""
        field = why.FldInErr or "" if why is not None else ""
        fault = UNREAD if answer.TxSts != "RJCT" or text.encode("utf-8", "replace") != body else ""
        if field and not names_a_field(field):
            field, fault = "", NO_FIELD
        if code not in self._codes.receiver:
            return Decided(self._refused_code, "", NO_REASON)
        if code == SYNTAX_ERROR and not field:
            return Decided(self._refused_code, "", fault or NOWHERE)
        return Decided(code, field.zfill(3) if code == SYNTAX_ERROR else "", fault)

    # --- an acceptance

    def _accepted(self, answer: _Answer) -> Decided:
        status, why = answer.TxSts, answer.StsRsnInf
        code = why.Rsn.Prtry if why is not None and why.Rsn is not None else ""
        if status not in {"ACSP", "ACTC"}:
            raise NotAnAnswer(NO_STATUS)
        if why is not None and why.FldInErr:
            raise NotAnAnswer("FldInErr without RJCT")
        if status == "ACSP":
            if code not in {"", ACCEPTED}:
                raise NotAnAnswer("ACSP with another code than 0000")
            return Decided(ACCEPTED, "")
        if code not in self._codes.qualified:
            raise NotAnAnswer("ACTC without a code of a qualified accept")
        return Decided(code, "")


_answer = Reader(_Answer)
_SAID = re.compile(r"txsts\W{1,40}rjct(?!\w)", re.IGNORECASE)
_ESCAPED = re.compile(r"\\u([0-9a-fA-F]{4})")
_BEGINNINGS = {
    b"\x1f\x8b": "it is compressed (gzip), which nobody asked for",
    b"\x28\xb5\x2f\xfd": "it is compressed (zstd), which nobody asked for",
    b"x\x01": "it is compressed (deflate), which nobody asked for",
    b"x\x5e": "it is compressed (deflate), which nobody asked for",
    b"x\x9c": "it is compressed (deflate), which nobody asked for",
    b"x\xda": "it is compressed (deflate), which nobody asked for",
    b"\xef\xbb\xbf": "it begins with a byte order mark",
    b"\xff\xfe": "it is in another encoding than UTF-8",
    b"\xfe\xff": "it is in another encoding than UTF-8",
    b"{\0": "it is in another encoding than UTF-8",
    b"\0": "it is in another encoding than UTF-8",
    b"<": "it is HTML or XML",
}
"""First bytes of a body, and what they show."""
_GZIP, _ZLIB = 31, 15
"""Values of zlib's `wbits`."""


def _refuses(value: Any) -> bool:
    """Whether a member of this JSON says so, or of JSON that stands there in a string, as in an envelope. No customer
    can write an object into a payment: the scheme has no closing brace.
    """
    waiting = [value]
    while waiting:
        one = waiting.pop()
        if isinstance(one, Pairs):
            if any(_is_refusal(name, inner) for name, inner in one):
                return True
            waiting.extend(inner for _, inner in one)
        elif isinstance(one, list):
            waiting.extend(one)
        elif isinstance(one, str) and one.lstrip()[:1] in {"{", "[", '"'}:
            with suppress(msgspec.DecodeError):
                waiting.append(pairs_of(one))
    return False


def _is_refusal(name: str, value: Any) -> bool:
    """Whether a member is a TxSts that says RJCT, in whatever case and however many brackets it is wrapped in."""
    while isinstance(value, list) and len(value) == 1:
        value = value[0][1] if isinstance(value, Pairs) else value[0]
    return name.casefold() == "txsts" and isinstance(value, str) and value.strip().upper() == "RJCT"


def _is_quoted(body: bytes, asked: Iterable[str]) -> bool:
    """Whether a response that is no JSON says RJCT in the question's own words alone, however it escapes them."""
    text = _text_of(body)
    with suppress(msgspec.DecodeError):
        pairs_of(text)
        return False  # JSON: a member says so, which no customer can write
    said = _unescaped(text)
    for quote in sorted(filter(_SAID.search, map(_unescaped, asked)), key=len, reverse=True):
        said = said.replace(quote, " ")
    return _SAID.search(said) is None


def _unescaped(text: str) -> str:
    """A text as it was before HTML, JSON or a URL escaped it, as far as it is ASCII."""
    text = _ESCAPED.sub(lambda found: chr(int(found[1], 16)), text)
    text = re.sub(r"\\+[rn]", " ", text).replace("\\", "")  # no payment holds a backslash
    return re.sub(r"[^!-~]+", " ", html.unescape(unquote(text))).strip().casefold()


def _why_unread(body: bytes) -> str:
    """Why this is not the JSON of an answer, where it begins as something else that people's servers send."""
    what = next(
        (what for begins, what in _BEGINNINGS.items() if body.startswith(begins)), "" if body else "it is empty"
    )
    return f"{NO_JSON}: {what}" if what else NO_JSON


def _text_of(body: bytes) -> str:
    """The body as text, whatever its encoding; bytes that are no text are replaced."""
    kind = _GZIP if body[:2] == b"\x1f\x8b" else _ZLIB if body[:1] == b"x" else 0
    if kind:
        with suppress(zlib.error):  # it only looked like it
            body = zlib.decompressobj(kind).decompress(body, UNPACKED_BYTES_MAX)
    return body.decode(json.detect_encoding(body), "replace").removeprefix("\ufeff")
