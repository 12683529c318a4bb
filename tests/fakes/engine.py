"""An engine between fakes, turned by hand: journal, tokens, processor and links do what the test says, when it says."""

import hashlib
import random
from dataclasses import dataclass, field
from math import inf
from typing import Any, TypeVar

from gateway import config
from gateway.clock import Now
from gateway.engine import Engine
from gateway.engine.past import Past
from gateway.hub.exchanges import MessageIds
from gateway.payments import steps
from gateway.payments.ejection import Ejection
from gateway.payments.steps import Kind
from gateway.payments.work import Answer, Ask, Install, MacError, MacJob, Submission
from gateway.wire import meanings
from gateway.wire.codec import Codec, join_mac, split_mac
from gateway.wire.message import (
    Message,
    PaymentRequest,
    PaymentResponse,
)

ContextT = TypeVar("ContextT")

CODEC = Codec()
PAIR = config.Pair(group="sip")
MEANINGS = meanings.built_in()


def mac_of(key: str, data: bytes) -> bytes:
    return hashlib.blake2b(data, key=key.encode(), digest_size=8).digest()


@dataclass
class FakeJournal:
    """Records in a list; durable up to where the test says."""

    records: list[tuple[Kind, bytes, str]] = field(default_factory=list)
    durable: int = 0
    handed_over: int = 0
    commits: int = 0
    room: bool = True

    def append(self, kind: Kind, body: bytes = b"", *, fpid: str = "", link: int = 0, wall_ns: int) -> int:
        self.records.append((kind, body, fpid))
        return len(self.records)

    def commit(self) -> None:
        if self.handed_over < len(self.records):
            self.commits += 1
        self.handed_over = len(self.records)

    def has_room(self) -> bool:
        return self.room

    def has_room_for_act(self) -> bool:
        return self.room

    def kinds(self) -> list[str]:
        return [kind.name for kind, _, _ in self.records]


@dataclass
class FakeSigner:
    """Keeps the batches until the test lets them be done."""

    batches: list[list[MacJob]] = field(default_factory=list)
    held: tuple[Install, ...] = ()
    installing: list[Install] = field(default_factory=list)

    def hold(self, keys: tuple[Install, ...]) -> None:
        self.held = keys

    def install(self, key: Install) -> None:
        self.installing.append(key)

    def check_of(self, label: str) -> str:
        return mac_of(label, bytes(16))[:3].hex().upper()

    def submit(self, jobs: list[MacJob]) -> None:
        self.batches.append(jobs)

    def done(self, *, error: MacError = "") -> list[MacJob]:
        jobs = self.batches.pop(0)
        for job in jobs:
            made = mac_of(job.key, job.data)
            job.error = error or ("wrong-mac" if job.mac and job.mac != made else "")
            job.ok = not job.error
            if job.ok and not job.mac:
                job.made = made
        return jobs


@dataclass
class FakeProcessor:
    asked: list[Ask] = field(default_factory=list)
    batches: int = 0
    hindrance: str = ""
    """Why questions do not leave."""

    def ask(self, asks: list[Ask]) -> None:
        self.asked += asks
        self.batches += 1

    def why_unasked(self, ask: Ask) -> str:
        return self.hindrance


@dataclass(eq=False)
class FakeLink:
    id: int = 1
    site: str = "hub1"
    open: bool = True
    sent: list[Message] = field(default_factory=list)
    contexts: list[object] = field(default_factory=list)
    untils: list[float] = field(default_factory=list)
    """Until when each message is of use."""
    managed: list[Message] = field(default_factory=list)
    verdicts: list[tuple[str, int]] = field(default_factory=list)
    """What the engine said of each frame, with its size."""
    flushes: int = 0
    keys: list[str] = field(default_factory=lambda: [PAIR.mac.own_key])
    """By which of our keys what leaves may be signed."""
    signed_by: list[str] = field(default_factory=list)
    """By which each message was."""

    def send(self, body: bytes, context: object = None, *, until_s: float = inf) -> bool:
        covered, mac = split_mac(body)
        signed_by = next((key for key in self.keys if mac == mac_of(key, covered)), "")
        assert signed_by, "what leaves is authentic"
        if self.open:
            self.signed_by.append(signed_by)
            self.sent.append(CODEC.decode(body))
            self.contexts.append(context)
            self.untils.append(until_s)
        return self.open

    def recall(self, kind: type[ContextT]) -> list[ContextT]:
        """What `World.written` has not written yet."""
        recalled = [context for context in self.contexts if isinstance(context, kind)]
        waiting = len(self.sent) - len(self.contexts)
        gone = {waiting + at for at, context in enumerate(self.contexts) if isinstance(context, kind)}
        for at in sorted(gone, reverse=True):
            del self.sent[at], self.untils[at], self.signed_by[at]
        self.contexts = [context for context in self.contexts if not isinstance(context, kind)]
        return recalled

    def flush(self) -> None:
        self.flushes += 1

    def manage(self, message: Message, now: Now) -> None:
        self.managed.append(message)

    def proved(self, size: int) -> None:
        self.verdicts.append(("proved", size))

    def disproved(self, size: int, *, key_changes: bool) -> None:
        self.verdicts.append(("disproved while keys change" if key_changes else "disproved", size))

    def dropped(self, size: int) -> None:
        self.verdicts.append(("dropped", size))


class World:
    """An engine between fakes, turned by hand."""

    def __init__(self, pair: config.Pair = PAIR, codec: Codec = CODEC) -> None:
        self.pair, self.codec = pair, codec
        self.journal, self.signer, self.processor = FakeJournal(), FakeSigner(), FakeProcessor()
        self.link = FakeLink()
        self.submitting: list[FakeLink] = [self.link]
        self.now_s = 10.0
        self.closed = ""
        """Why the engine takes no submissions; empty when it does."""
        self.past = Past(7, CODEC, MEANINGS)
        self.engine = self.made()

    def made(self) -> Engine:
        """The engine, with `past` as it is now; it has not begun."""
        past, ids = self.past, MessageIds(self.past.message_ids)
        self.ejection = Ejection(config.Ejection(), self.pair.submit.answer_within_s, random.Random(1).random)  # noqa: S311
        engine = Engine(
            self.pair, 1000, self.codec, past, self.journal, self.signer, self.processor, lambda: self.now, ids,
            self.ejection, closed=lambda: self.closed,
        )  # fmt: skip
        engine.join(self)
        return engine

    @property
    def links(self) -> list[FakeLink]:
        """Those that stand."""
        return [link for link in self.submitting if link.open]

    def restarted(self, *, after_s: float = 0.0) -> "World":
        """Killed and started again: what is durable is all there is, and every connection is new."""
        new = World(self.pair, self.codec)
        new.now_s = self.now_s + after_s
        new.journal.records = self.journal.records[: self.journal.durable]
        new.journal.durable = new.journal.handed_over = self.journal.durable
        for kind, body, fpid in new.journal.records:
            new.past.record(kind, new.now.wall_ns - int(after_s * 1e9), fpid, body)
        new.engine = new.made()
        new.engine.begin(steps.Started("node", "0", "0"))
        new.link.id = self.link.id + 100
        return new

    def submitters(self) -> list[FakeLink]:
        """The links that are signed on to submit."""
        return [link for link in self.submitting if link.open]

    def recall(self, kind: type[ContextT]) -> list[ContextT]:
        return [context for link in self.links for context in link.recall(kind)]

    @property
    def now(self) -> Now:
        return Now(self.now_s, 1_795_348_800 * 10**9)

    def turn(self) -> None:
        self.engine.turn(self.now)

    def frames(self, *bodies: bytes, link: FakeLink | None = None) -> None:
        self.engine.frames(link or self.link, [(self.now_s, body) for body in bodies], self.now_s)
        self.turn()

    def macs(self, *, error: MacError = "") -> None:
        self.engine.on_macs(self.signer.done(error=error))
        self.turn()

    def sync(self) -> None:
        self.journal.durable = self.journal.handed_over
        self.engine.on_durable(self.journal.durable)
        self.turn()

    def answer(self, code: str = "0000", index: int = 0) -> None:
        self.engine.on_answers([Answer("", code, "", self.processor.asked[index].context)])
        self.turn()

    def submit(self, *submissions: Submission) -> None:
        self.engine.submit(list(submissions))
        self.turn()

    def later(self, seconds: float) -> None:
        self.now_s += seconds
        self.turn()

    def settle(self) -> None:
        """Let tokens and disk do all that waits for them."""
        for _ in range(4):
            while self.signer.batches:
                self.macs()
            self.sync()

    def down(self, link: FakeLink, *, surely: bool | None = None) -> None:
        """A connection ends; what it had not written comes back, surely unsent or not; None: all was written."""
        link.open = False
        contexts, link.contexts = [context for context in link.contexts if context is not None], []
        if surely is not None and contexts:
            self.engine.unsent(link, contexts, surely=surely)
        self.engine.link_down(link, "gone")
        self.turn()

    def written(self) -> None:
        contexts, self.link.contexts = self.link.contexts, []
        self.engine.sent(self.link, [context for context in contexts if context is not None])
        self.turn()


def sealed(message: Message, key: str = PAIR.mac.hub_key) -> bytes:
    covered = CODEC.encode(message)
    return join_mac(covered, mac_of(key, covered))


def payment(trn: str = "TRN1", mti: str = "9200", **changes: str) -> bytes:
    fields: dict[str, Any] = {
        "processing_code": "100000", "amount": "00000000001000", "date_sent": "20261122",
        "submitting_member": "00000001", "creditor_account": "12345678", "debtor_agent": "040004", "debtor_account":
        "87654321", "currency": "826", "creditor_agent": "050005", "sender": "040004", "debtor_name": "A PAYER",
    }  # fmt: skip
    return sealed(PaymentRequest(mti=mti, trn=trn, **(fields | changes)))


def codes(link: FakeLink) -> list[str]:
    return [f"{m.mti}/{getattr(m, 'action_code', '') or getattr(m, 'function_code', '')}" for m in link.sent]


def submission(key: str = "key-1", trn: str = "OUT1", *, wait: bool = False, **changes: str) -> Submission:
    """A payment that the processor submits. `heard` on the result collects what it was told."""
    fields: dict[str, Any] = {
        "processing_code": "100000", "amount": "00000000002500", "date_sent": "20261122", "creditor_account":
        "12345678", "debtor_agent": "600002", "debtor_account": "87654321", "currency": "826", "creditor_agent":
        "400001", "sender": "600002", "debtor_name": "A PAYER", "submitting_member": "600002",
    }  # fmt: skip
    request = PaymentRequest(mti="9200", trn=trn, **(fields | changes))
    covered = CODEC.encode(request)
    content = hashlib.blake2b(covered, digest_size=8).digest()
    return Submission(key, request, covered, content, lambda _submission: None, wait=wait)


def response(sent: Message, code: str = "0000", **changes: str) -> bytes:
    """The hub's 9210 to a request that it got, authentic."""
    assert isinstance(sent, PaymentRequest)
    copied = {name: getattr(sent, name) for name in ("processing_code", "date_sent", "trn", "currency", "sender")}
    added: dict[str, Any] = {"settlement_date": "20261123", "settlement_cycle": "002"} | changes
    return sealed(PaymentResponse(mti="9210", action_code=code, **copied, **added))
