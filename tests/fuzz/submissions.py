"""Any body as a submitted payment."""

import hashlib
import json
import re

from gateway.processor.request import Invalid, Malformed, Reader
from gateway.wire.codec import fpid_of, join_mac
from tests.fakes.door import BODY
from tests.fuzz import good, jsons
from tests.fuzz.target import Target

READERS = [Reader(good.CODEC, "sip"), Reader(good.CODEC, "fdp")]
KEY = "key-1"
_POINTER = re.compile(r"#(?:/[A-Za-z_][A-Za-z0-9_]{0,39}){0,6}")
_DETAIL = re.compile(
    r"is missing(?: or empty|: a pacs\.004 has it)?|is not known here|is added by the hub|comes twice|"
    r"holds a member that is not known here|has no field in the field table that is configured|"
    r"must (?:be an object|be a string|not begin or end with a space or a line break|not be zero|be 826|"
    r"not end with a space: it is padded with them|be a day of the calendar|be pacs\.008 or pacs\.004|"
    r"be pacs\.004 where there is RtrRsnInf or OrgnlFPID|be six digits|"
    r"be GBDSC|be a string like 12\.34: up to 12 digits, a point, two digits|be a day, YYYY-MM-DD|be [0-9]+ digits|"
    r"be at most [0-9]+ characters|be [0-9]+ characters, padding included|be the first two digits of PrcgCd|"
    r"be the currency of IntrBkSttlmAmt|be tag \(3 digits\), length \(3 digits\), value, repeated)|"
    r"holds a character that the scheme does not allow(?: \([a-zA-Z0-9 ,-]+\))?|"
    r"begins with a payment type that does not leave by this gateway|"
    r"is no currency that is known here by its letters: give its three digits"
)
"""Every rule in its words: none quotes a value."""


def run(data: bytes) -> None:
    """A payment that is right on the wire, or faults that name members and rules; written otherwise it is the same."""
    reader, body = READERS[data[:1] == b"\1"], data[1:]
    try:
        outgoing = reader.read(body, KEY)
    except (Malformed, Invalid) as wrong:
        assert isinstance(wrong, Malformed) or wrong.faults
        for fault in wrong.faults:
            assert _POINTER.fullmatch(fault.pointer), fault.pointer
            assert _DETAIL.fullmatch(fault.detail), fault.detail
        return
    message = good.CODEC.decode(join_mac(outgoing.covered, good.MAC))
    assert message.fault == 0, f"what leaves is bad in DE{message.fault}"
    for name in outgoing.request.__struct_fields__[4:]:
        assert getattr(message, name) == getattr(outgoing.request, name), f"{name} is not what was submitted"
    assert len(fpid_of(outgoing.request)) == 42
    digest = hashlib.blake2b(outgoing.covered, digest_size=8, person=b"fps-submit").digest()
    assert outgoing.content == digest
    otherwise = json.dumps(json.loads(body), indent=1, sort_keys=True).encode()
    assert reader.read(otherwise, KEY) == outgoing


def samples() -> list[bytes]:
    """A payment, a return, and one with everything."""
    a_return = BODY | {
        "MsgTp": "pacs.004", "RtrRsnInf": {"Rsn": {"Prtry": "00000014"}},
        "OrgnlFPID": "TEST000000000000011020251122826200000     ",
    }  # fmt: skip
    whole = BODY | {
        "InstdAmt": {"Ccy": "EUR", "Amt": "1.00"}, "XchgRate": "000000000001", "CdtItms": "0001",
        "ChrgsInf": "001003SHA",
        "SubmgMmb": "200000", "NbRef": "0001", "EndToEndId": "E2E", "FileId": "F", "LclInstrm": "10",
        "DbtrAgcyAgt": {"ClrSysId": "GBDSC", "MmbId": "200000"}, "DbtrAgcyAcct": {"Id": "1"}, "RgltryRptg": "R",
        "PrvtUse": "P", "PmtData": "001003ABC", "Cdtr": {"Nm": "Ü", "PstlAdr": "A"},
        "RmtInf": {"Ustrd": "words", "Strd": {"CdtrRefInf": {"Ref": "r"}}},
    }  # fmt: skip
    bodies = [json.dumps(body, separators=(",", ":")).encode() for body in (BODY, a_return, whole)]
    return [kind + body for kind in (b"\0", b"\1") for body in (*bodies, b"{}", b"[" * 50, b'"\\ud800"')]


TARGET = Target(run, samples, lambda data, luck: data[:1] + jsons.spoil(data[1:], luck), jsons.WORDS)
