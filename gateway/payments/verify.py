"""How a payment that is not fit to be decided is answered. Pure judgement of a decoded, authentic request
(docs/protocol.md section 6). The codec has found the first field at fault, by the field table.

Order of judgement in the whole: frame, parse, MAC (before this), fields (here), duplicate, date window (after this).
"""

from typing import NamedTuple

from gateway.wire.message import PaymentRequest, ReversalRequest

UNREADABLE = "650"
"""DE24 of a 9624 about a message that cannot be answered otherwise."""
WRONG_MAC = "690"
"""DE24 of a 9624 about a message whose MAC is wrong."""
REVERSAL_PROBLEM = "672"
"""DE24 of a 9624 about a reversal that does not say what it reverses. Which of 670, 671 and 672 means reversals is not
public; the note lists them as return, scheme return, reversal, in this order."""


class BadField(NamedTuple):
    """A field of a request is in error. How to answer depends on what else is there."""

    field: int
    """The first data element in error."""
    answerable: bool
    """Whether every field is there that a 9210 copies. If not, a 9624 answers."""


def fault_of(request: PaymentRequest) -> BadField:
    """The field that the codec found in error, and how to answer."""
    return BadField(request.fault, answerable=names_a_payment(request))


def names_a_payment(request: PaymentRequest | ReversalRequest) -> bool:
    """Whether DE3, 12, 31, 51 and 98, which a response copies and an FPID is made of, are there and well-formed."""
    return (
        _digits(request.processing_code, 6)
        and _digits(request.date_sent, 8)
        and _digits(request.currency, 3)
        and 0 < len(request.trn) <= 18
        and request.trn.isascii()
        and 0 < len(request.sender) <= 11
        and request.sender.isascii()
    )


def _digits(value: str, width: int) -> bool:
    return len(value) == width and value.isascii() and value.isdigit()
