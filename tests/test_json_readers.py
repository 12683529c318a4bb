"""Whoever reads JSON: what says a member twice is taken by none of them, and the same said once by all."""

import json
from collections.abc import Callable

import msgspec
import pytest

from gateway.acts import table
from gateway.commands import drain as drain_command
from gateway.journal import manifest
from gateway.neighbours import sibling
from gateway.ops import news
from gateway.processor.request import Malformed, Reader
from gateway.sdk import answers, prepared
from gateway.strict_json import REPEATED
from gateway.volume import status
from gateway.wire.codec import Codec
from tests.fakes.door import BODY, FPID

Read = Callable[[bytes], object]
SUBMISSIONS = Reader(Codec(), "sip")
PARTS = '{"parts":{"node":"a","group":"sip","fingerprint":"0123456789abcdef","version":"1"}}'
DRAINED = '{"node":"a","draining":true,"over":true,"in_flight":1,"longest_s":1.0}'
DRBD = '[{"name":"r","role":"Primary","devices":[{"volume":0,"minor":0,"disk-state":"UpToDate","quorum":true}]}]'
PROBLEM = '{"title":"x","status":503}'
PAYMENT = json.dumps(BODY, separators=(",", ":"))
TAG = '"ClrSysId":"GBDSC",'


def stands(body: bytes) -> answers.Word:
    """What the library makes of a response to a submission; `ValueError` for what says nothing."""
    word = answers.submitted("F", 503 if b"title" in body else 200, body)
    if word.met is answers.Met.UNCLEAR:
        raise ValueError
    return word


def parcel(text: bytes) -> object:
    """A copy of the journal's manifest; `ValueError` for what is none."""
    slot = manifest._read_slot(text + b" " + manifest._sum(text) + b"\n")
    if slot is None:
        raise ValueError
    return slot


READERS: dict[str, tuple[Read, str, str, str]] = {
    "an act's reason": (lambda text: table.read(table.KINDS["drain"], text), '{"why":"x"}', '"why"', '"why":"y",'),
    "what an act takes": (
        lambda text: table.read(table.KINDS["stand-in"], text),
        '{"why":"x","what":{"mode":"timer"}}', '"mode"', '"mode":"never",'
    ),
    "news handed on": (news._read, '{"source":"a/1","message":""}', '"source"', '"source":"a/2",'),
    "the other site's /ready": (sibling._ready, PARTS, '"node"', '"node":"b",'),
    "the progress of a drain": (drain_command._progress, DRAINED, '"in_flight"', '"in_flight":0,'),
    "the status of DRBD": (lambda text: status.of_json(text, "r", 0), DRBD, '"role"', '"role":"Secondary",'),
    "the journal's manifest": (
        parcel, f'{{"format":1,"journal":"{"0" * 32}","oldest":1,"followers":[],"turn":1}}', '"turn"', '"turn":2,'
    ),
    "what a gateway says of a payment": (
        stands, '{"FPID":"F","TxId":"T","state":"PENDING"}', '"state"', '"state":"UNSENT",'
    ),
    "why a gateway takes no payment": (stands, PROBLEM, '"status"', '"status":200,'),
    "a submission": (lambda text: SUBMISSIONS.read(text, "key"), PAYMENT, '"Amt"', '"Amt":"1.00",'),
    "a prepared payment": (
        lambda text: prepared.Prepared("key", FPID, text.decode()), PAYMENT, '"Amt"', '"Amt":"1.00",'
    ),
}  # fmt: skip
"""Who reads, what it takes, and what makes a repeat of it when it is put before this."""


@pytest.mark.parametrize("name", READERS)
@pytest.mark.parametrize("escaped", [False, True])
def test_a_member_that_comes_twice_is_taken_by_nobody(name: str, *, escaped: bool) -> None:
    """Each takes its text; with a member of it twice it takes nothing, however the second one is spelt."""
    read, text, before, more = READERS[name]
    assert text.count(before) == 1
    read(text.encode())
    if escaped:
        more = f'"\\u{ord(more[1]):04x}{more[2:]}'
    with pytest.raises((ValueError, msgspec.DecodeError, status.UnreadableError)):
        read(text.replace(before, more + before).encode())


def test_a_repeated_clearing_system_makes_up_for_none() -> None:
    """One agent says its clearing system twice, another not at all: as many members as there should be, and wrong."""
    assert TAG in PAYMENT
    without = PAYMENT.replace("{" + TAG, "{", 1)
    SUBMISSIONS.read(without.encode(), "key")
    with pytest.raises(Malformed, match=REPEATED):
        SUBMISSIONS.read((without[::-1].replace(TAG[::-1], 2 * TAG[::-1], 1)[::-1]).encode(), "key")
