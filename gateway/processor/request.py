"""Turns a submission into the 9200 that leaves, or says what is wrong with it, member by member. Pure.

Reading has two speeds. A correct submission goes fast: it is decoded into `Submitted`, placed into a `PaymentRequest`
and encoded by the compiled plan. A doubtful one is examined slowly, to report everything that is wrong: each fault
names the JSON member and the rule that it breaks, never the value.

An unknown member is a fault, and so is one that comes twice: a payment with a misspelt reference must not leave without
one. msgspec passes over both, so they are found by counting colons: the body must have as many as what was read of
it, written again, or it is examined. (Both have the colons within values; each further member adds one.)
"""

import hashlib
import re
from collections.abc import Callable, Iterator, Sequence
from functools import lru_cache
from typing import Any, NamedTuple

import msgspec
from msgspec import UNSET, Struct

from gateway import config
from gateway.processor.messages import Amount, Fault, Submitted, encode
from gateway.processor.writing import CURRENCIES
from gateway.strict_json import Pairs, is_repeated, pairs_of
from gateway.wire import walk
from gateway.wire.codec import Codec
from gateway.wire.fields import Charset, Field
from gateway.wire.message import PaymentRequest
from gateway.wire.values import is_blank, is_day

KEY_MAX = 100
"""Characters of an Idempotency-Key."""
CONTENT_BYTES = 8
FAULTS_MAX = 32
"""Faults in one response, at most."""
UNKNOWN_MEMBER = "is not known here"
NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,39}")
"""An unknown member is quoted only when it looks like a name: it is the client's text."""

MEMBERS: dict[str, str] = {
    "processing_code": "PrcgCd", "original_amount": "InstdAmt/Amt", "rejected_amount": "RjctdAmt/Amt",
    "amount": "IntrBkSttlmAmt/Amt", "exchange_rate": "XchgRate", "date_sent": "IntrBkSttlmDt", "trn": "TxId",
    "submitting_member": "SubmgMmb", "creditor_account": "CdtrAcct/Id", "credit_items": "CdtItms",
    "debtor_agent": "DbtrAgt/MmbId", "debtor_account": "DbtrAcct/Id", "charges": "ChrgsInf",
    "agency_agent": "DbtrAgcyAgt/MmbId", "agency_account": "DbtrAgcyAcct/Id", "original_currency": "InstdAmt/Ccy",
    "currency": "IntrBkSttlmAmt/Ccy", "payment_data": "PmtData", "end_to_end": "EndToEndId",
    "numeric_reference": "NbRef", "file_id": "FileId", "creditor_agent": "CdtrAgt/MmbId", "sender": "InstgAgt/MmbId",
    "debtor_name": "Dbtr/Nm", "debtor_address": "Dbtr/PstlAdr", "creditor_name": "Cdtr/Nm",
    "creditor_address": "Cdtr/PstlAdr", "reference": "RmtInf/Strd/CdtrRefInf/Ref", "remittance": "RmtInf/Ustrd",
    "regulatory": "RgltryRptg", "private": "PrvtUse", "return_code": "RtrRsnInf/Rsn/Prtry",
    "returned_fpid": "OrgnlFPID",
}  # fmt: skip
"""The member that each attribute of a 9200 comes from. DE15, 29 and 99 are missing: the hub adds them
(docs/protocol.md section 3)."""


class Malformed(ValueError):
    """It is not JSON, or a member comes twice (HTTP 400). The text says why in our words."""

    def __init__(self, detail: str, faults: tuple[Fault, ...] = ()) -> None:
        super().__init__(detail)
        self.faults = faults


class Invalid(ValueError):
    """It is JSON, and not a payment that could leave here (HTTP 422)."""

    def __init__(self, faults: list[Fault]) -> None:
        super().__init__("it is no payment that could leave here")
        self.faults = tuple(faults[:FAULTS_MAX])


class Outgoing(NamedTuple):
    """A payment as it will leave."""

    request: PaymentRequest
    covered: bytes
    """The 9200 up to and without DE128."""
    content: bytes
    """Digest of it, eight bytes."""


def request_of(submitted: Submitted, key: str) -> PaymentRequest:
    """The 9200 of a submission. Without a TxId it has the TRN that `trn_of` makes of the key.

    Raises `Invalid` for a value that cannot be placed into a 9200 at all. `Reader` checks it against the field table.
    """
    s = submitted
    try:
        debtor, creditor, remittance, original = s.Dbtr, s.Cdtr, s.RmtInf, s.InstdAmt
        structured = remittance.Strd if remittance is not UNSET else UNSET
        return PaymentRequest(
            "9200", b"", 0, "",
            s.PrcgCd,
            _pence(original) if original is not UNSET else "",
            _pence(s.RjctdAmt) if s.RjctdAmt is not UNSET else "",
            _pence(s.IntrBkSttlmAmt),
            s.XchgRate,
            _day(s.IntrBkSttlmDt),
            "", "",
            s.TxId or trn_of(key),
            s.SubmgMmb,
            s.CdtrAcct.Id,
            s.CdtItms,
            s.DbtrAgt.MmbId,
            s.DbtrAcct.Id,
            s.ChrgsInf,
            s.DbtrAgcyAgt.MmbId if s.DbtrAgcyAgt is not UNSET else "",
            s.DbtrAgcyAcct.Id if s.DbtrAgcyAcct is not UNSET else "",
            _number_of(original.Ccy) if original is not UNSET else "",
            _number_of(s.IntrBkSttlmAmt.Ccy),
            s.PmtData,
            s.EndToEndId,
            s.NbRef,
            s.FileId,
            s.CdtrAgt.MmbId,
            s.InstgAgt.MmbId,
            "",
            debtor.Nm,
            debtor.PstlAdr,
            creditor.Nm if creditor is not UNSET else "",
            creditor.PstlAdr if creditor is not UNSET else "",
            structured.CdtrRefInf.Ref if structured is not UNSET else "",
            remittance.Ustrd if remittance is not UNSET else "",
            s.RgltryRptg,
            s.PrvtUse,
            s.RtrRsnInf.Rsn.Prtry if s.RtrRsnInf is not UNSET else "",
            s.OrgnlFPID,
        )  # fmt: skip
    except (KeyError, ValueError):
        raise Invalid(list(_unplaceable(s))) from None


class Reader:
    """Reads submissions by one field table."""

    def __init__(self, codec: Codec, group: config.Group) -> None:
        """`group`: its payment types may leave here."""
        self._encode = codec.encode
        self._holds = codec.fits
        table = self._table = codec.table
        usual = table.layouts["9200"].mandatory
        self._usual = self._ours(usual)
        self._kinds = {
            kind.code: self._ours((*usual, *kind.mandatory)) for kind in table.types.values() if kind.group == group
        }
        """For each payment type: the fields that it needs."""
        self._needed = {kind: _bits(numbers) for kind, numbers in self._kinds.items()}
        known = {field.name for field in table.fields.values()}
        self._homeless = [name for name in MEMBERS if name not in known]
        """Attributes that this table has no field for."""

    def _ours(self, numbers: Sequence[int]) -> tuple[int, ...]:
        """Those of these fields that come from a member."""
        fields = self._table.fields
        return tuple(sorted({n for n in numbers if n in fields and fields[n].name in MEMBERS}))

    def read(self, body: bytes, key: str) -> Outgoing:
        """Read one. Raises `Malformed` or `Invalid`."""
        try:
            submitted = _decode(body)
        except msgspec.ValidationError as error:
            _examine(body)
            raise Invalid([misfit(str(error))]) from None
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            raise Malformed("the body is not JSON in UTF-8") from None
        again = encode(submitted)
        if (
            body.count(b":") != again.count(b":")
            or body.count(b'"ClrSysId"') != again.count(b'"ClrSysId"')
            # one that stands elsewhere, saying something else, must not make up for one that an agent lacks
            or body.count(b'"GBDSC"') != again.count(b'"GBDSC"')
            or b"\\" in body
            # nor one that comes twice for one that another agent lacks; mostly each begins its object
            or (body.count(b'{"ClrSysId"') != body.count(b'"ClrSysId"') and is_repeated(body))
        ):
            _examine(body)
        request = request_of(submitted, key)
        needed = self._needed.get(request.processing_code[:2], 0)
        if not (needed and self._fits(submitted, request) and self._holds(request)) and (
            faults := self._faults(submitted, request)  # the quick check doubts more than is wrong
        ):
            raise Invalid(faults)
        try:
            covered = self._encode(request)
        except ValueError:
            raise self._invalid(submitted, request) from None
        if int(covered[4:36], 16) & needed != needed:
            raise self._invalid(submitted, request)
        digest = hashlib.blake2b(covered, digest_size=CONTENT_BYTES, person=b"fps-submit")
        return Outgoing(request, covered, digest.digest())

    def _fits(self, submitted: Submitted, r: PaymentRequest) -> bool:
        """Whether the members fit together, which no rule of a field knows."""
        a_return = submitted.MsgTp == "pacs.004"
        return not (
            (submitted.LclInstrm and submitted.LclInstrm != r.processing_code[:2])
            or bool(r.returned_fpid) is not a_return
            or bool(r.return_code) is not a_return
            or (a_return and (is_blank(r.return_code) or is_blank(r.returned_fpid)))
            or (submitted.RjctdAmt is not UNSET and _number_of(submitted.RjctdAmt.Ccy) != r.currency)
            or any(getattr(r, name) for name in self._homeless)
        )

    def _invalid(self, submitted: Submitted, request: PaymentRequest) -> Invalid:
        faults = self._faults(submitted, request)
        assert faults, "what does not leave has a fault"
        return Invalid(faults)

    def _faults(self, submitted: Submitted, request: PaymentRequest) -> list[Fault]:
        return [*self._misplaced(submitted, request), *self._unfit(request)]

    def _misplaced(self, s: Submitted, r: PaymentRequest) -> Iterator[Fault]:
        """Faults between members."""
        kind = r.processing_code[:2]
        if kind not in self._kinds and kind.isascii():
            yield _fault("PrcgCd", "begins with a payment type that does not leave by this gateway")
        if s.LclInstrm and s.LclInstrm != kind:
            yield _fault("LclInstrm", "must be the first two digits of PrcgCd")
        if s.MsgTp == "pacs.004":
            if is_blank(r.return_code):
                yield _fault("RtrRsnInf", "is missing: a pacs.004 has it")
            if is_blank(r.returned_fpid):
                yield _fault("OrgnlFPID", "is missing: a pacs.004 has it")
        elif r.return_code or r.returned_fpid:
            yield _fault("MsgTp", "must be pacs.004 where there is RtrRsnInf or OrgnlFPID")
        if s.RjctdAmt is not UNSET and _number_of(s.RjctdAmt.Ccy) != r.currency:
            yield _fault("RjctdAmt/Ccy", "must be the currency of IntrBkSttlmAmt")
        yield from self._missing(r, kind)

    def _missing(self, r: PaymentRequest, kind: str) -> Iterator[Fault]:
        for number in self._kinds.get(kind, self._usual):
            name = self._table.fields[number].name
            if is_blank(getattr(r, name)):
                yield _fault(MEMBERS[name], "is missing or empty")
        for name in self._homeless:
            if getattr(r, name):
                yield _fault(MEMBERS[name], "has no field in the field table that is configured")

    def _unfit(self, request: PaymentRequest) -> Iterator[Fault]:
        """Faults against the field table."""
        for number, name in self._table.attributes("9200"):
            value: str = getattr(request, name)
            member = MEMBERS.get(name)
            if not value or member is None:
                continue
            field = self._table.fields[number]
            try:
                data = walk.bytes_of(value)
            except ValueError:
                yield _fault(member, "holds a character that the scheme does not allow")
                continue
            bad = walk.misfit(self._table, field, data, ruled=True)
            if bad is not None and not (bad.kind == "rule" and is_blank(value)):
                yield _fault(member, _said(field)[bad.kind])
            elif field.charset == "digits" and not field.prefix and len(data) != field.width:
                yield _fault(member, _said(field)["width"])
            elif not field.prefix and value.endswith(" ") and not is_blank(value):
                yield _fault(member, "must not end with a space: it is padded with them")


# --- pieces

_decode = msgspec.json.Decoder(Submitted).decode
_CROCKFORD = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
_PAIRS = [a + b for a in _CROCKFORD for b in _CROCKFORD]
_NUMBERS = {letters: number for number, letters in CURRENCIES.items()}


def trn_of(key: str) -> str:
    """The TRN of a submission without one: "G" and 85 bits of the key's BLAKE2b in Crockford's base 32.

    Both sites make the same one, and so the same FPID.
    """
    number = int.from_bytes(hashlib.blake2b(key.encode("ascii"), digest_size=11, person=b"fps-trn").digest()) >> 3
    pairs = [_PAIRS[number >> shift & 1023] for shift in range(75, 0, -10)]
    return f"G{''.join(pairs)}{_CROCKFORD[number & 31]}"


def _pence(amount: Amount) -> str:
    """Fourteen digits. Raises ValueError."""
    pounds, dot, pence = amount.Amt.partition(".")
    digits = pounds + pence
    if not (dot and len(pence) == 2 and 0 < len(pounds) <= 12 and digits.isascii() and digits.isdigit()):
        raise ValueError
    return digits.zfill(14)


def _number_of(currency: str) -> str:
    """Three digits. Raises KeyError."""
    if len(currency) == 3 and currency.isascii() and currency.isdigit():
        return currency
    return _NUMBERS[currency]


@lru_cache(maxsize=64)  # a day's payments have one or two
def _day(text: str) -> str:
    """YYYYMMDD of YYYY-MM-DD. Raises ValueError: no table lets DE12 be anything but a day."""
    digits = text[:4] + text[5:7] + text[8:]
    if len(text) != 10 or text[4] != "-" or text[7] != "-" or not is_day(digits):
        raise ValueError
    return digits


def _unplaceable(s: Submitted) -> Iterator[Fault]:
    amounts = {"IntrBkSttlmAmt": s.IntrBkSttlmAmt, "InstdAmt": s.InstdAmt, "RjctdAmt": s.RjctdAmt}
    for name, amount in amounts.items():
        if isinstance(amount, Amount):
            if _fails(_pence, amount):
                yield _fault(f"{name}/Amt", _RULES["Amt"])
            if _fails(_number_of, amount.Ccy):
                yield _fault(f"{name}/Ccy", "is no currency that is known here by its letters: give its three digits")
    if _fails(_day, s.IntrBkSttlmDt):
        yield _fault("IntrBkSttlmDt", _RULES["IntrBkSttlmDt"])


def _fails(conversion: Callable[[Any], str], value: object) -> bool:
    try:
        conversion(value)
    except (KeyError, ValueError):
        return True
    return False


def _bits(numbers: Sequence[int]) -> int:
    return sum(1 << (128 - number) for number in set(numbers))


def _fault(member: str, detail: str) -> Fault:
    return Fault(f"#/{member}" if member else "#", detail)


_ALLOWED: dict[Charset, str] = {
    "digits": "digits only",
    "text": "part of ASCII only",
    "wide": "part of ASCII, and the letters of windows-1252",
    "hex": "hexadecimal digits only",
}


def _said(field: Field) -> dict[str, str]:
    """The rule that a value breaks, by the kind of misfit in this field."""
    digits = field.charset == "digits" and not field.prefix
    return {
        "width": f"must be {field.width} digits" if digits else f"must be at most {field.width} characters",
        "characters": f"must be {field.width} digits"
        if digits
        else f"holds a character that the scheme does not allow ({_ALLOWED[field.charset]})",
        "nested": "must be tag (3 digits), length (3 digits), value, repeated",
        "rule": field.rule.words if field.rule is not None else "",
    }


# --- saying what is wrong with its shape

_RULES = {
    "MsgTp": "must be pacs.008 or pacs.004",
    "PrcgCd": "must be six digits",
    "ClrSysId": "must be GBDSC",
    "Amt": "must be a string like 12.34: up to 12 digits, a point, two digits",
    "IntrBkSttlmDt": "must be a day, YYYY-MM-DD",
}
_PLACE = re.compile(r" - at `\$((?:\.[A-Za-z_]+)*)`\Z")
_MISSING = re.compile(r"Object missing required field `([A-Za-z]+)`")
_HUBS_OWN = {"FPID", "ClrSysRef", "InstdAgt"}


def misfit(said: str) -> Fault:
    """The error of msgspec in our words: its own may quote the value."""
    place = _PLACE.search(said)
    path = place[1].strip(".").replace(".", "/") if place else ""
    missing = _MISSING.match(said)
    if missing:
        return _fault(f"{path}/{missing[1]}".strip("/"), "is missing")
    rule = _RULES.get(path.rpartition("/")[2])
    if rule is None:
        rule = "must be an object" if said.startswith("Expected `object`") else "must be a string"
    return _fault(path, rule)


def _examine(body: bytes) -> None:
    """Raise for members that come twice or are unknown, if there are any."""
    try:
        value = pairs_of(body)
    except msgspec.DecodeError:
        raise Malformed("the body is not JSON in UTF-8") from None
    twice, strange = list[Fault](), list[Fault]()
    _compare(value, Submitted, "", twice, strange)
    if twice:
        raise Malformed("a member comes twice", tuple(twice[:FAULTS_MAX]))
    if strange:
        raise Invalid(strange)


def _compare(value: object, kind: type[Struct], place: str, twice: list[Fault], strange: list[Fault]) -> None:
    if not isinstance(value, Pairs):
        return
    known = _SHAPES[kind]
    seen = set[str]()
    for name, inner in value:
        here = f"{place}/{name}".strip("/")
        if name not in known:
            if not place and name in _HUBS_OWN:
                strange.append(_fault(name, "is added by the hub"))
            elif NAME.fullmatch(name):
                strange.append(_fault(here, UNKNOWN_MEMBER))
            else:
                strange.append(_fault(place, "holds a member that is not known here"))
            continue
        if name in seen:
            twice.append(_fault(here, "comes twice"))
        seen.add(name)
        inside = known[name]
        if inside is not None:
            _compare(inner, inside, here, twice, strange)


def _shapes(kind: type[Struct]) -> Iterator[tuple[type[Struct], dict[str, type[Struct] | None]]]:
    members = {field.encode_name: config.struct_in(field.type) for field in msgspec.structs.fields(kind)}
    tag = kind.__struct_config__.tag_field
    yield kind, members | ({tag: None} if tag else {})
    for inner in members.values():
        if inner is not None:
            yield from _shapes(inner)


_SHAPES = dict(_shapes(Submitted))
