"""A payment has one digest, whoever holds it and in whatever form, and shows nothing of itself in it."""

import msgspec

from gateway.config import Pair
from gateway.processor.request import Reader
from gateway.processor.writing import payment_of
from gateway.wire import fields
from gateway.wire.codec import Codec
from gateway.wire.message import PaymentRequest
from loadtest.processor import instructions
from loadtest.traffic import payments
from loadtest.traffic.contents import NO_MAC, Contents

TABLE = fields.load("")
CONTENTS = Contents(TABLE)


def test_a_question_to_the_processor_says_what_the_hub_sent() -> None:
    """For every kind of payment that the generator makes."""
    generator = payments.Generator(TABLE, "R", "20260301", seed=3)
    digests = set()
    for _ in range(50):
        made = generator.make()
        request = Codec().decode(made.covered + NO_MAC)
        assert isinstance(request, PaymentRequest)
        asked = msgspec.json.encode(payment_of(request, made.fpid))
        digest = CONTENTS.of_message(made.fpid, made.covered)
        assert CONTENTS.of_json(made.fpid, asked) == digest
        assert CONTENTS.of_notice(made.fpid, b'{"payment":' + asked + b"}") == digest
        digests.add(digest)
    assert len(digests) == 50


def test_what_leaves_says_what_was_submitted() -> None:
    """For every kind of payment that the mock processor submits."""
    generator, reader = (
        instructions.InstructionGenerator("R", "20260301", seed=3),
        Reader(Codec(), Pair(group="sip").group),
    )
    for _ in range(50):
        made = generator.make()
        covered = reader.read(made.body, made.key).covered
        assert CONTENTS.of_message(made.fpid, covered) == CONTENTS.of_json(made.fpid, made.body)


def test_a_penny_more_is_another_digest() -> None:
    """And so is a repeat's none: MTI and what the hub adds are no content."""
    made = payments.Generator(TABLE, "R", "20260301").make()
    digest = CONTENTS.of_message(made.fpid, made.covered)
    assert CONTENTS.of_message(made.fpid, b"9201" + made.covered[4:]) == digest
    at = 36 + 6
    more = b"%014d" % (int(made.covered[at : at + 14]) + 1)
    assert CONTENTS.of_message(made.fpid, made.covered[:at] + more + made.covered[at + 14 :]) != digest
    assert CONTENTS.of_message("", b"nothing of this kind") != digest
    assert CONTENTS.of_notice(made.fpid, b'{"kind":"USM"}') == ""


def test_what_must_not_show_is_collected() -> None:
    """Accounts, names, references, the amount in both forms, TRN and FPID; of what stands in other lines nothing."""
    contents = Contents(TABLE, collect=True)
    made = instructions.InstructionGenerator("R", "20260301").make()
    contents.of_json(made.fpid, made.body)
    payment = msgspec.json.decode(made.body)
    amount = payment["IntrBkSttlmAmt"]["Amt"]
    shown = {payment["DbtrAcct"]["Id"], payment["CdtrAcct"]["Id"], payment["Dbtr"]["Nm"], payment["TxId"], made.fpid}
    assert shown <= contents.words
    assert {amount, amount.replace(".", "").zfill(14)} <= contents.words
    assert not contents.words & {"600002", "400001", "GBP", "826"}
