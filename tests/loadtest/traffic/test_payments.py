"""Synthetic payments are good payments by the gateway's own codec, and no two are the same."""

from gateway.wire.codec import Codec, fpid_of
from gateway.wire.fields import load
from gateway.wire.message import PaymentRequest, ReversalRequest
from loadtest.traffic import iso, payments

TABLE = load()
MAC = b"0" * 16


def generator(seed: int = 1) -> payments.Generator:
    return payments.Generator(TABLE, "RUN", "20250301", seed=seed)


def test_every_payment_decodes_without_fault_and_has_its_own_fpid() -> None:
    """What the load test sends is what the scheme would, in every kind that there is."""
    codec, one = Codec(), generator()
    made = [one.make() for _ in range(500)]
    shapes = set()
    for payment in made:
        message = codec.decode(payment.covered + MAC)
        assert isinstance(message, PaymentRequest)
        assert message.fault == 0
        assert message.processing_code.startswith("10")
        assert fpid_of(message) == payment.fpid
        assert codec.encode(message) == payment.covered
        shapes.add(payment.covered[4:36])
    assert len(shapes) == 4
    assert len({payment.fpid for payment in made}) == 500


def test_the_same_seed_makes_the_same_payments() -> None:
    """A run can be repeated, byte for byte."""
    assert [generator(3).make() for _ in range(10)] == [generator(3).make() for _ in range(10)] != []
    assert generator(3).make().covered != generator(4).make().covered


def test_a_reversal_has_the_payments_fpid_and_its_reason() -> None:
    """4021: the request timed out."""
    payment = generator().make()
    message = Codec().decode(payments.reversal(TABLE, payment.covered, "9420") + MAC)
    assert isinstance(message, ReversalRequest)
    assert (message.fault, fpid_of(message), message.action_code) == (0, payment.fpid, "4021")


def test_what_the_hub_reads_is_what_the_gateway_reads() -> None:
    """Two readers of the same bytes, by the same table, find the same fields."""
    payment = generator().make()
    _, fields = iso.read(TABLE, payment.covered + MAC)
    message = Codec().decode(payment.covered + MAC)
    for number, value in fields.items():
        if number != 128:
            assert getattr(message, TABLE.fields[number].name) == value
