"""Payments as a bank's processor submits them: the JSON of each, for some microseconds, and the FPID that it will have.

As in `payments`, each kind is encoded once with marks where it varies, and a payment is one formatting of the template.
The names of the JSON are restated here (gateway/processor/openapi.py describes them), and so is what an FPID is made of
(docs/protocol.md section 4), so that one mistake cannot hide in both. Pure: the randomness comes from a seed, the date
from the caller.
"""

import random
from typing import Any, NamedTuple

import msgspec

from loadtest.traffic.payments import NAMES, REFERENCES

Json = dict[str, Any]

CURRENCY = "826"
RETURN = "20"
_KINDS: tuple[Json, ...] = (
    {},
    {"EndToEndId": "E2E-0000000000000001", "RmtInf": {"Ustrd": "Paid by the load generator; no such payment exists."}},
    {"NbRef": "0042"},
)
"""Additional members of a payment: none, references, a number."""


class Instruction(NamedTuple):
    """A payment about to be submitted."""

    key: str
    """The idempotency key."""
    fpid: str
    """The 42 characters that identify it for ever."""
    body: bytes
    """The JSON."""


class InstructionGenerator:
    """Makes instructions. `run` (up to 6 characters) keeps the TRNs of different runs apart; `date` is YYYYMMDD."""

    def __init__(
        self,
        run: str,
        date: str,
        *,
        sender: str = "600002",
        receivers: tuple[str, ...] = ("400001",),
        payment_type: str = "10",
        seed: int = 1,
    ) -> None:
        """`sender` and `receivers`: sort codes, of the bank that submits and of those that get it."""
        self._draw = random.Random(seed)  # noqa: S311 - synthetic load, not a secret
        self._prefix = f"S{payment_type}{run[:6]:0<6}"
        self._made = 0
        self._tail = f"{payment_type}{date}{CURRENCY}{sender:<11}"
        self._templates = [_template({**_whole(sender, payment_type, date), **kind}) for kind in _KINDS]
        self._receivers = [code.encode() for code in receivers]
        self._names = [_text(name) for name in NAMES]
        self._references = [_text(reference) for reference in REFERENCES]

    def make(self) -> Instruction:
        """The next payment."""
        self._made += 1
        trn = f"{self._prefix}{self._made:09d}"
        bits = self._draw.getrandbits(64)
        pence = 1 + (bits >> 2) % 99_999
        body = self._templates[bits % len(self._templates)] % (
            trn.encode(),
            b"%d.%02d" % divmod(pence, 100),
            self._names[bits >> 48 & 15],
            b"%08d" % ((bits >> 20) % 100_000_000),
            b"%08d" % ((bits >> 28) % 100_000_000),
            self._receivers[(bits >> 56) % len(self._receivers)],
            self._names[bits >> 52 & 15],
            self._references[bits >> 59 & 7],
        )
        return Instruction(trn, trn + self._tail, body)


def return_of(payment: Json, date: str, *, reason: str = "00000014", trn: str = "") -> Instruction:
    """A return (type 20) of a payment that came, as the gateway's question showed it. Raises KeyError.

    `reason` is DE126, by default that none is given.
    """
    original, sender = str(payment["FPID"]), _sort_code(payment["CdtrAgt"])
    trn = trn or f"R{original[1:18]}".strip()
    body: Json = {
        **_whole(sender, RETURN, date),
        "MsgTp": "pacs.004",
        "TxId": trn,
        "IntrBkSttlmAmt": payment["IntrBkSttlmAmt"],
        "Dbtr": {"Nm": (payment.get("Cdtr") or {}).get("Nm") or "ACCOUNT HOLDER"},
        "DbtrAcct": payment["CdtrAcct"],
        "DbtrAgt": payment["CdtrAgt"],
        "Cdtr": {"Nm": payment["Dbtr"]["Nm"]},
        "CdtrAcct": payment["DbtrAcct"],
        "CdtrAgt": payment["DbtrAgt"],
        "RmtInf": {"Strd": {"CdtrRefInf": {"Ref": "RETURNED"}}},
        "RtrRsnInf": {"Rsn": {"Prtry": reason}},
        "OrgnlFPID": original,
    }
    return Instruction(trn, f"{trn:<18}{RETURN}{date}{CURRENCY}{sender:<11}", msgspec.json.encode(body))


def _whole(sender: str, payment_type: str, date: str) -> Json:
    """The members of every payment; `None` where the value varies."""
    return {
        "MsgTp": "pacs.008",
        "LclInstrm": payment_type,
        "PrcgCd": f"{payment_type}0000",
        "TxId": None,
        "IntrBkSttlmAmt": {"Ccy": "GBP", "Amt": None},
        "IntrBkSttlmDt": f"{date[:4]}-{date[4:6]}-{date[6:]}",
        "Dbtr": {"Nm": None, "PstlAdr": "1 INVENTED ROAD, NOWHERE, NO1 1NO"},
        "DbtrAcct": {"Id": None},
        "DbtrAgt": {"ClrSysId": "GBDSC", "MmbId": sender},
        "InstgAgt": {"ClrSysId": "GBDSC", "MmbId": sender},
        "SubmgMmb": sender,
        "ChrgsInf": "001003SHA",
        "PmtData": "00100200",
        "CdtrAcct": {"Id": None},
        "CdtrAgt": {"ClrSysId": "GBDSC", "MmbId": None},
        "Cdtr": {"Nm": None},
        "RmtInf": {"Strd": {"CdtrRefInf": {"Ref": None}}},
    }


def _template(payment: Json) -> bytes:
    """The JSON with a place for each value that varies, in the order of `_whole`."""
    remittance = payment["RmtInf"]
    if "Strd" not in remittance:
        payment = {**payment, "RmtInf": {"Strd": {"CdtrRefInf": {"Ref": None}}, **remittance}}
    # the values that vary are the nulls: nothing else is
    return msgspec.json.encode(payment).replace(b"%", b"%%").replace(b"null", b'"%b"')


def _text(value: str) -> bytes:
    """As it stands between the quotes of a JSON string."""
    return msgspec.json.encode(value)[1:-1]


def _sort_code(agent: Json) -> str:
    return str(agent["MmbId"])
