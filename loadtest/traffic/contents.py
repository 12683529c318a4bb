"""What a payment says, in eight bytes that do not say it: equal for everyone who holds the same payment.

A message and a processor's JSON are read here into the same facts (amount, accounts, sort codes, names, references), by
other code than the gateway's, and the digest of the facts stands in the books. Its key is the FPID, which the books do
not hold. Whoever wants to know that nothing of a payment shows anywhere has a `Contents` that remembers what must not.
"""

import hashlib
from typing import Any

import msgspec

from gateway.wire.fields import FieldTable
from loadtest.traffic import iso

CURRENCIES = {"GBP": "826", "EUR": "978", "USD": "840"}
"""Those that this load is made of; others keep their digits."""
FACTS = (3, 6, 12, 35, 42, 43, 51, 62, 71, 95, 98, 116, 117, 118, 119, 120, 121, 126, 127)
"""Data elements that both a message and a JSON have, when the payment has them. DE31 is part of the FPID."""
SENSITIVE = (35, 43, 62, 116, 117, 118, 119, 120, 121)
"""What may show nowhere, as it stands; besides, amounts and the TRN."""
LETTERS_MIN = 4
"""What is shorter may stand in a line for another reason."""
NO_MAC = b"0" * 16

_decode = msgspec.json.Decoder(dict[str, Any]).decode
_Facts = dict[int, str]


class Contents:
    """Reads payments by a field table; `collect`: and remembers what of them is sensitive, in `words`."""

    def __init__(self, table: FieldTable, *, collect: bool = False) -> None:
        self._table = table
        self._collect = collect
        self.words: set[str] = set()

    def of_message(self, fpid: str, covered: bytes) -> str:
        """The digest of a 9200 or 9201, up to and without DE128. Of what cannot be read: of its bytes."""
        try:
            _, fields = iso.read(self._table, covered + NO_MAC)
        except iso.Unreadable:
            return _digest(fpid, covered)
        facts = {number: fields[number] for number in FACTS if number in fields}
        if amount := facts.get(6, ""):
            facts[6] = amount.lstrip("0")
        return self._said(fpid, facts)

    def of_json(self, fpid: str, body: bytes) -> str:
        """The digest of a payment in the processor's names. Of what cannot be read: of its bytes."""
        try:
            facts = _facts(_decode(body))
        except (msgspec.DecodeError, KeyError, TypeError, AttributeError):
            return _digest(fpid, body)
        return self._said(fpid, facts)

    def of_notice(self, fpid: str, body: bytes) -> str:
        """The digest of the payment in a notice; empty when there is none in it."""
        try:
            payment = _decode(body).get("payment")
            return self._said(fpid, _facts(payment)) if payment else ""
        except (msgspec.DecodeError, KeyError, TypeError, AttributeError):
            return _digest(fpid, body)

    def _said(self, fpid: str, facts: _Facts) -> str:
        facts = {number: value.rstrip(" ") for number, value in facts.items()}
        if self._collect:
            self.words.update(facts[number] for number in SENSITIVE if len(facts.get(number, "")) >= LETTERS_MIN)
            if pence := facts.get(6, ""):
                self.words.update((f"{pence:0>14}", f"{pence[:-2] or '0'}.{pence[-2:]:0>2}"))  # as DE6 and in pounds
            self.words.add(fpid[:18].rstrip(" "))
            self.words.add(fpid)
        return _digest(fpid, repr(sorted((n, v) for n, v in facts.items() if v)).encode())


def _digest(fpid: str, said: bytes) -> str:
    return hashlib.blake2b(said, digest_size=8, key=fpid.encode()[:64], person=b"fps-said").hexdigest()


def _facts(payment: dict[str, Any]) -> _Facts:
    """What the JSON says, by data element. Raises KeyError, TypeError or AttributeError."""
    amount, remittance = payment["IntrBkSttlmAmt"], payment.get("RmtInf") or {}
    debtor, creditor = payment["Dbtr"], payment.get("Cdtr") or {}
    reason = (payment.get("RtrRsnInf") or {}).get("Rsn") or {}
    reference = (remittance.get("Strd") or {}).get("CdtrRefInf") or {}
    return {
        3: payment["PrcgCd"],
        6: amount["Amt"].replace(".", "").lstrip("0"),
        12: payment["IntrBkSttlmDt"].replace("-", ""),
        35: payment["CdtrAcct"]["Id"],
        42: payment["DbtrAgt"]["MmbId"],
        43: payment["DbtrAcct"]["Id"],
        51: CURRENCIES.get(amount["Ccy"], amount["Ccy"]),
        62: payment.get("EndToEndId", ""),
        71: payment.get("NbRef", ""),
        95: payment["CdtrAgt"]["MmbId"],
        98: payment["InstgAgt"]["MmbId"],
        116: debtor.get("Nm", ""),
        117: debtor.get("PstlAdr", ""),
        118: creditor.get("Nm", ""),
        119: creditor.get("PstlAdr", ""),
        120: reference.get("Ref", ""),
        121: remittance.get("Ustrd", ""),
        126: reason.get("Prtry", ""),
        127: payment.get("OrgnlFPID", ""),
    }
