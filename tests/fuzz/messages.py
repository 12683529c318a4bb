"""Any bytes as the body of a message, of any kind; and all that is computed over one."""

import re

from msgspec import structs

from gateway.wire.codec import Codec, Unparseable, fpid_of, join_mac, split_mac
from gateway.wire.message import (
    Advice,
    Message,
    PaymentRequest,
    PaymentResponse,
    ReversalRequest,
    ReversalResponse,
)
from gateway.wire.walk import HEADER_END
from tests.fuzz import good
from tests.fuzz.target import Target

FAST = Codec()
"""Compiles a plan for each shape; which shapes it still knows changes nothing that can be seen."""
SLOW = Codec()
_SAID = re.compile(
    r"(?:MTI|bitmap|message|DE[0-9]{1,3}) at byte [0-9]{1,5}: (?:"
    r"the message ends within the (?:MTI|bitmaps|field|length)|no message type of the scheme|"
    r"the bit of the secondary bitmap must be set|is in the bitmap and not in the field table|"
    r"must be in the bitmap: every message has a MAC|[0-9]{1,5} bytes are left over after the last field|"
    r"the length must be [23] digits|the length is over the maximum of [0-9]{1,3}|must be an upper-case hex digit|"
    r"must be 16 upper-case hex digits|is missing, and the reply would copy it)"
)
"""Everything that may be said of a message that cannot be read: nothing that was in it."""
_UNFIT = re.compile(
    r"9[0-9]{3} DE[0-9]{1,3} \([a-z_]+\): (?:a character is not in windows-1252|[0-9]+ characters are over the maximum "
    r"of [0-9]+|[0-9]+ of [0-9]+ characters are not allowed in a field of (?:digits|text|wide|hex)|"
    r"the nested fields do not add up)"
)


def run(body: bytes) -> None:
    """A message or the one error, by the plan as by the law; what it says can be written and read again."""
    slowly: Message | Unparseable
    try:
        slowly = SLOW._read_slowly(body)
    except Unparseable as error:
        slowly = error
    for _ in range(9 if body[:HEADER_END] not in FAST._readers else 1):
        try:
            message = FAST.decode(body)
        except Unparseable as error:
            assert isinstance(slowly, Unparseable), "the plan cannot read what the law can"
            assert str(error) == str(slowly)
            continue
        assert message == slowly
    explained(body, slowly)
    if isinstance(slowly, Unparseable):
        assert _SAID.fullmatch(str(slowly)), str(slowly)
        assert slowly.function_code == "650"
        assert 0 <= slowly.position <= len(body)
    else:
        written(slowly)


def explained(body: bytes, read: Message | Unparseable) -> None:
    """What is said for people agrees with what the gateway reads."""
    parts = FAST.explain(body)
    fatal = [part for part in parts if part.fatal]
    faults = [part for part in parts if part.fault and not part.fatal]
    if isinstance(read, Unparseable):
        assert fatal
        assert (fatal[0].field, fatal[0].fault) == (read.field, read.what)
    else:
        assert not fatal
        assert (min(part.field for part in faults) if faults else 0) == read.fault
    at = 0
    for part in parts:
        if part.width:
            assert part.position == at
            at += part.width
        assert part.value not in repr(part) or len(part.value) < 8


def written(message: Message) -> None:
    """Writing what was read, and reading that, changes nothing."""
    assert split_mac(message.body) == (message.body[:-16], bytes.fromhex(message.mac))
    assert FAST.content_digest(message) == SLOW.content_digest(message)
    computed(message)
    try:
        covered = FAST.encode(message)
    except ValueError as error:
        assert message.fault, "what is right cannot be written"
        assert _UNFIT.fullmatch(str(error)), str(error)
        return
    assert covered == SLOW._write_slowly(message)
    body = join_mac(covered, bytes.fromhex(message.mac))
    again = FAST.decode(body)
    assert structs.replace(again, body=message.body, fault=message.fault) == message
    # an attribute's field may have been bad only because of what is no attribute
    assert not again.fault or message.fault
    assert FAST.encode(again) == covered
    assert FAST.content_digest(again) == FAST.content_digest(structs.replace(again, body=b""))
    stamped = structs.replace(again, body=body[:-16] + b"0123456789ABCDEF")
    assert FAST.content_digest(stamped) == FAST.content_digest(again)


def computed(message: Message) -> None:
    """The FPID, and what we would reply."""
    if isinstance(message, PaymentRequest | PaymentResponse | ReversalRequest | ReversalResponse | Advice):
        assert len(fpid_of(message)) in {0, 42}
    if not isinstance(message, PaymentRequest | ReversalRequest):
        return
    try:
        covered = FAST.respond(message, "1114", "044")
    except Unparseable as error:
        assert _SAID.fullmatch(str(error)), str(error)
        assert message.fault, "what is right can be replied to"
        return
    reply = FAST.decode(join_mac(covered, good.MAC))
    assert isinstance(reply, PaymentResponse | ReversalResponse)
    assert fpid_of(reply) == fpid_of(message)
    assert reply.action_code == "1114"
    assert SLOW.respond(message, "1114", "044") == covered


TARGET = Target(run, lambda: list(good.bodies()), good.spoil, words=[b"FFFFFFFFFFFFFFFF", b"8000000000000001", b"\x81"])
