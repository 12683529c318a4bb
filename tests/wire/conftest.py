"""A codec, and one good message of each type to spoil."""

from collections.abc import Callable

import pytest

from gateway.wire.codec import Codec, join_mac
from gateway.wire.message import TYPES, Message

_VALUES = {
    "processing_code": "100000",
    "amount": "00000000012345",
    "transmission_time": "0131120000",
    "message_id": "000042",
    "date_sent": "20250131",
    "function_code": "831",
    "action_code": "0000",
    "trn": "TRN0000000001",
    "creditor_account": "12345678",
    "debtor_agent": "200000",
    "debtor_account": "87654321",
    "currency": "826",
    "creditor_agent": "400000",
    "sender": "200000",
    "debtor_name": "A SENDER",
}


@pytest.fixture(scope="session")
def codec() -> Codec:
    return Codec()


@pytest.fixture(scope="session")
def good(codec: Codec) -> Callable[..., Message]:
    """Build a good message of an MTI: every mandatory field, and what is asked for."""

    def build(mti: str, **values: str) -> Message:
        names = [codec.table.fields[number].name for number in codec.table.layouts[mti].mandatory]
        return TYPES[mti](mti=mti, **({name: _VALUES[name] for name in names} | values))  # type: ignore[arg-type]  # text

    return build


@pytest.fixture(scope="session")
def wire(codec: Codec, good: Callable[..., Message]) -> Callable[..., bytes]:
    """Encode such a message, with a MAC."""

    def build(mti: str, **values: str) -> bytes:
        return join_mac(codec.encode(good(mti, **values)), b"\xa1\xb2\xc3\xd4\xe5\xf6\x07\x18")

    return build
