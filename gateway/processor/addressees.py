"""The receivers of notices: the processor, told of everything done in its absence, and our peers, told the news."""

from collections.abc import Callable
from typing import NamedTuple

from gateway import metrics
from gateway.payments import steps
from gateway.payments.steps import TOLD_KINDS, Kind
from gateway.processor.messages import encode
from gateway.processor.notices import Decoder, Record, notice_id, notice_of
from gateway.scheme.news import HandedOn
from gateway.wire.meanings import Meanings


class Addressee(NamedTuple):
    """The receiver of notices: what it is told of, and in which words."""

    name: str
    """Of the follower, and in the TOLD and PARKED records: it must never change for a journal."""
    kinds: frozenset[Kind]
    write: Callable[[Record], bytes]
    """The body of the request that tells a record."""
    telling: metrics.Telling
    said: tuple[str, str]
    """The receiver and its notices in words, for `health`: `processor`, `notices`."""


def the_processor(node: str, decoder: Decoder, meanings: Meanings | None = None) -> Addressee:
    """The processor, told of everything that was done in its absence."""

    def write(record: Record) -> bytes:
        return encode(notice_of(record, node, decoder, meanings))

    return Addressee("processor", TOLD_KINDS, write, metrics.NOTICES, ("processor", "notices"))


def peer(node: str, name: str) -> Addressee:
    """A process of ours, told the scheme's news."""

    def write(record: Record) -> bytes:
        said = steps.unpack(record.kind, record.body)
        assert isinstance(said, steps.News)
        return encode(HandedOn(notice_id(node, record.position), said.message, said.stamp))

    return Addressee(f"peer-{name}", frozenset({Kind.USM}), write, metrics.peer_news(name), (f"peer {name}", "news"))


def handed_on(record: Record) -> bool:
    """Whether another process told us: then we tell nobody."""
    if record.kind != Kind.USM:
        return False
    said = steps.unpack(record.kind, record.body)
    assert isinstance(said, steps.News)
    return bool(said.source)
