"""A payment that is about to be submitted, with everything that identifies it. Pure.

The scheme identifies a payment by its FPID: TRN, payment type, date, currency and sender (docs/protocol.md section 4).
A gateway identifies it by its key. All of these are fixed here, once, before the first attempt: the TRN is written into
the body even where a gateway would derive it, and the date is the caller's. So both sites make the same FPID of it,
whatever their versions, across midnight, and after a restart of the processor.
"""

import msgspec
from msgspec import structs

from gateway.processor.messages import Sensitive, Submitted, encode
from gateway.processor.request import KEY_MAX, Invalid, misfit, request_of, trn_of
from gateway.strict_json import Reader
from gateway.wire.codec import fpid_of


class Prepared(Sensitive, frozen=True, gc=False):
    """A payment about to be submitted: plain data, to be stored before the first attempt and used for all.

    Any of msgspec's formats will do, or a column for each field. Making one of values that do not belong together, or
    that were changed meanwhile, raises ValueError: a payment never changes its FPID.
    """

    key: str
    """The Idempotency-Key: 1 to 100 visible ASCII characters, unique for ever."""
    fpid: str
    """Names the payment for ever: 42 characters, padding included."""
    body: str
    """The JSON that is submitted. It is customer data: keep it where payments may be kept."""

    def __post_init__(self) -> None:
        """Check that it is as `prepare` made it."""
        if not (0 < len(self.key) <= KEY_MAX and all("!" <= letter <= "~" for letter in self.key)):
            raise ValueError(f"a key has 1 to {KEY_MAX} visible ASCII characters")
        submitted = _read(self.body)
        if not submitted.TxId or fpid_of(request_of(submitted, self.key)) != self.fpid:
            raise ValueError("the payment is another one than its FPID says")


def prepare(payment: Submitted, key: str) -> Prepared:
    """Fix which payment it is. Store the result durably before it is submitted for the first time.

    `key` is the caller's own name of the payment and never used for another one. Without a `TxId` the TRN is derived
    from it. `IntrBkSttlmDt` stays as it is, also when days pass.

    Raises `Invalid` (a ValueError; `faults` say which member breaks which rule) for a payment that no gateway would
    take, and ValueError for an unusable key. Only a gateway checks the values against its field table: `Rejected`.
    """
    if not key.isascii():
        raise ValueError(f"a key has 1 to {KEY_MAX} visible ASCII characters")
    whole = structs.replace(payment, TxId=payment.TxId or trn_of(key))
    body = encode(whole).decode()
    fpid = fpid_of(request_of(_read(body), key))
    if not fpid:
        raise ValueError("TxId, PrcgCd, IntrBkSttlmDt, currency and InstgAgt make no FPID: one is empty or too long")
    return Prepared(key, fpid, body)


_submitted = Reader(Submitted)


def _read(body: str) -> Submitted:
    """Raises ValueError."""
    try:
        return _submitted(body.encode())
    except msgspec.ValidationError as error:
        raise Invalid([misfit(str(error))]) from None
    except (msgspec.DecodeError, UnicodeError):
        raise ValueError("the body is not JSON") from None
