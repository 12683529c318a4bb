"""Gateways that break a promise on purpose, one switch for each: the test of the test.

Each canary patches the gateway in this process, or, where a promise judges hub, processor or books, these, so that just
this promise is broken, in a way in which it could be. A `Scenario` is the weather in which that must show. An oracle
that lets one of them pass proves nothing.
"""

import zlib
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager
from functools import partial
from types import MappingProxyType
from typing import Any, NamedTuple
from unittest.mock import patch

import msgspec
import trio

from gateway import daemon, log
from gateway.clock import Now
from gateway.disk import SECTOR_BYTES, Directory
from gateway.engine.arriving import Arriving
from gateway.engine.dispatch import Dispatch
from gateway.engine.jobs import Outgoing
from gateway.engine.keying import Keying
from gateway.engine.leaving import Leaving
from gateway.journal import writer
from gateway.journal.committer import Committer
from gateway.journal.manifest import read_manifest
from gateway.journal.segment import Walk, name_of
from gateway.payments import outbound, steps
from gateway.payments.inbound import Arrival, Inbound
from gateway.payments.outbound import Outbound
from gateway.payments.standin import StandIn
from gateway.payments.steps import Kind
from gateway.processor import forwarder, notices, request, writing
from gateway.processor.client import Client
from gateway.processor.door import Door
from gateway.processor.forwarder import Forwarder
from gateway.processor.request import Reader
from gateway.running.health import Promises
from gateway.scheme.news import News
from gateway.wire.codec import Codec
from gateway.wire.message import ReversalRequest
from loadtest.hub.answers import Answers, Outcome
from loadtest.hub.injections import Injection
from loadtest.hub.submissions import Submissions
from loadtest.ledger.entries import ProcessorEvent
from loadtest.processor.server import MockProcessor
from loadtest.processor.submitter import SubmissionOrder
from tests.fakes.disk import FakeFile
from tests.simulation import oracle, world
from tests.simulation.settings import Settings

Patch = AbstractContextManager[Any]


PAIR: Mapping[str, Any] = {
    "deadlines": {"stand_in_after_s": 2.0, "reply_within_s": 9.0, "hub_patience_s": 10.0},
    "submit": {"answer_within_s": 4.0, "repeat_for_s": 20.0},
}


class Scenario(NamedTuple):
    """The weather in which a canary must show."""

    mean_s: dict[str, float]
    """How often what goes wrong, as in `settings`."""
    changed: Mapping[str, Any] = MappingProxyType({})
    """Of the settings."""
    world: Callable[[], Patch] | None = None
    """What else is so, with the canary and without."""


def settings(scenario: Scenario, seed: int) -> Settings:
    """A small simulation: what takes long is not needed to see one broken promise."""
    calm = Settings(
        seed=seed, lasts_s=30.0, rate=2.0, outbound=2.0, mean_s=scenario.mean_s, pair=dict(PAIR), segment_bytes=65536,
        synchronous=True, asynchronous_answer="after", payment_type="10", processor_seed=seed, away_s=10.0, wait_s=0.0,
    )  # fmt: skip
    return msgspec.structs.replace(calm, **scenario.changed)


def _every(fpid: str, n: int) -> bool:
    """One payment of so many, always the same ones."""
    return zlib.crc32(fpid.encode()) % n == 0


def _wrap(where: object, name: str, make: Callable[[Any], Any]) -> Patch:
    """Put something around a function."""
    return patch.object(where, name, make(getattr(where, name)))


# --- the weather

CALM = Scenario({})
SLOW_DISK = Scenario({"slow-sync": 3.0})
SLOW_DISK_WAITED_FOR = Scenario({"slow-sync": 3.0}, {"wait_s": 5.0})
LINES = Scenario({"cut": 4.0})
ASYNCHRONOUS = Scenario({}, {"synchronous": False, "payment_type": "30"})
PROCESSOR = Scenario({"processor": 4.0})
BAD_NOTICES = Scenario({"processor": 2.0, "cut": 2.0}, {"rate": 6.0})
LIMITED = Scenario(
    {"processor": 2.0}, {"pair": {**PAIR, "stand_in": {"amount_max": 50_000, "daily_total_max": 200_000}}, "rate": 6.0}
)
DEATHS = Scenario({"kill": 8.0})
NEWS = Scenario({"news": 6.0})
KEYS = Scenario({"key": 6.0})
MISCHIEF = Scenario({"mischief": 2.0})
HUNG_DISK = Scenario({"hung-sync": 3.0}, {"lasts_s": 80.0})
BAD_DISK = Scenario({"failed-sync": 4.0}, {"lasts_s": 80.0})


def _deaf() -> Patch:
    """The hub never answers some payments, however often they come."""

    def make(answer: Any) -> Any:
        def never(self: Any, link: Any, request: Any, *rest: Any) -> None:
            if not _every(request.fpid.decode(), 4):
                answer(self, link, request, *rest)

        return never

    return _wrap(Answers, "give", make)


def _spoilt(what: Any, every: int) -> Callable[[], Patch]:
    """The hub spoils an answer now and then."""

    def make(init: Any) -> Any:
        def spoil(self: Any, *given: Any) -> None:
            init(self, *given)
            self.injections.add(Injection(what, 1000, every=every))

        return spoil

    return partial(_wrap, Submissions, "__init__", make)


def _always(mode: str) -> Callable[[], Patch]:
    """The processor is like this."""
    return lambda: patch.object(world, "MockProcessor", lambda _, **given: MockProcessor(mode, **given))


SLOW_PROCESSOR = Scenario({}, {}, _always("slow:4"))
REPEATS = Scenario({"cut": 3.0}, {"synchronous": False, "payment_type": "30", "rate": 8.0}, _always("slow:1"))
DEAF = Scenario({}, {}, _deaf)
SWALLOWED = Scenario({}, {}, _spoilt("swallow", 3))
TWICE = Scenario({}, {}, _spoilt("twice", 3))
INCONCLUSIVE = Scenario({}, {}, _spoilt("9909", 3))
HOME = Scenario({}, {}, lambda: patch.object(world, "SubmissionOrder", partial(SubmissionOrder, receivers=("600002",))))
"""The bank pays its own customers, by way of the hub: both ends of a payment are seen."""


# --- of payments that come


def _loses_requests() -> Patch:
    """Some payments are read, and nothing is done about them."""

    def make(on_request: Any) -> Any:
        def lose(self: Any, message: Any, *given: Any) -> None:
            if not _every(message.trn, 5):
                on_request(self, message, *given)

        return lose

    return _wrap(Inbound, "on_request", make)


def _replies_anywhere() -> Patch:
    """A reply leaves on whatever link carried one last."""

    def make(send: Any) -> Any:
        last: dict[int, Any] = {}

        def anywhere(self: Any, payment: Any, link: Any, body: bytes, until_s: float) -> bool:
            other, last[id(self)] = last.get(id(self), link), link
            return bool(send(self, payment, other, body, until_s))

        return anywhere

    return _wrap(Arriving, "send", make)


def _replies_before_the_disk() -> Patch:
    """The reply of a decision waits for its MAC only."""

    def authenticate(self: Any, payment: Any, covered: bytes, _position: int, until_s: float) -> None:
        key = self._batch.own_key
        self.start(Outgoing(key, covered, until_s, None, payment, decides=True, durable=True))

    return patch.object(Arriving, "authenticate", authenticate)


def _decides_twice() -> Patch:
    """What the processor says after stand-in is recorded as the decision, too."""

    def late(self: Any, payment: Any, code: str) -> None:
        covered = self._codec.respond(payment.request, code)
        body = steps.pack(steps.Decision(code, "", payment.content, covered))
        self._do.record(Kind.ANSWERED, body, payment.fpid, payment.legs[0].link)

    return patch.object(Inbound, "_late", late)


def _refuses_reversals() -> Patch:
    """A reversal is recorded, and answered with 1909."""

    def make(respond: Any) -> Any:
        def refuse(self: Any, message: Any, code: str, field: str = "") -> Any:
            return respond(self, message, "1909" if isinstance(message, ReversalRequest) else code, field)

        return refuse

    return _wrap(Codec, "respond", make)


def _stands_in_with_1909() -> Patch:
    """Stand-in says that the bank is out of order."""

    def make(init: Any) -> Any:
        def malfunction(self: Any, *given: Any) -> None:
            init(self, *given)
            self.code = "1909"

        return malfunction

    return _wrap(StandIn, "__init__", make)


def _knows_no_repeats() -> Patch:
    """A repeat is taken for a new payment."""
    return patch.object(Inbound, "_find", lambda _, fpid: Arrival(fpid))


def _reverses_unrecorded() -> Patch:
    """A reversal is answered, and not written down."""

    def make(record: Any) -> Any:
        def skip(self: Any, kind: Kind, body: bytes, fpid: str, link: Any) -> int:
            if kind is Kind.REVERSED:
                kind, body, fpid = Kind.MANAGEMENT_IN, b"", ""
            return int(record(self, kind, body, fpid, link))

        return skip

    return _wrap(Arriving, "record", make)


def _misremembers_answers() -> Patch:
    """Whatever the processor says is taken for a qualified accept."""

    def make(on_answer: Any) -> Any:
        return lambda self, payment, _code, field: on_answer(self, payment, "0081", field)

    return _wrap(Inbound, "on_answer", make)


def _asks_before_the_disk() -> Patch:
    """The processor is asked while the record is on its way."""
    return patch.object(
        Arriving, "when_recorded", lambda self, _position, payment: self.story.on_recorded(payment, self._batch.now)
    )


def _rounds_amounts() -> Patch:
    """The processor is asked about round pounds."""

    def make(amount: Any) -> Any:
        return lambda pence, currency: amount(pence[:-2] + "00", currency)

    return _wrap(writing, "_amount", make)


# --- of payments that leave


def _fails_to_read() -> Patch:
    """Some submissions cannot be judged: 500, whenever they come."""

    def make(read: Any) -> Any:
        def fail(self: Any, body: bytes, key: str) -> Any:
            if _every(key, 5):
                raise RuntimeError("a bug")
            return read(self, body, key)

        return fail

    return _wrap(Reader, "read", make)


def _acknowledges_before_the_disk() -> Patch:
    """A submission is taken while its record is on its way."""

    def make(depart: Any) -> Any:
        def early(self: Any, payment: Any, *given: Any) -> None:
            depart(self, payment, *given)
            self.story.on_durable(payment)

        return early

    return _wrap(Leaving, "depart", make)


def _forgets_to_record_unknown() -> Patch:
    """What is unknown is said, and not written down."""

    def make(record: Any) -> Any:
        def skip(self: Any, kind: Kind, body: bytes, fpid: str, link: Any) -> int:
            if kind is Kind.UNKNOWN:
                kind, body, fpid = Kind.MANAGEMENT_IN, b"", ""
            return int(record(self, kind, body, fpid, link))

        return skip

    return _wrap(Leaving, "record", make)


def _mixes_keys_up() -> Patch:
    """A submission is recorded under another key."""

    def make(record: Any) -> Any:
        def mixed(self: Any, kind: Kind, body: bytes, fpid: str, link: Any) -> int:
            if kind is Kind.SUBMITTED:
                submission = steps.unpack(kind, body)
                assert isinstance(submission, steps.Submitted)
                body = steps.pack(msgspec.structs.replace(submission, key=submission.key + "x"))
            return int(record(self, kind, body, fpid, link))

        return mixed

    return _wrap(Leaving, "record", make)


def _sends_before_the_disk() -> Patch:
    """A request waits for its MAC only."""

    def make(depart: Any) -> Any:
        def early(self: Any, *given: Any) -> None:
            depart(self, *given)
            self._batch.jobs[-1].durable = True

        return early

    return _wrap(Leaving, "depart", make)


def _repeats_as_new() -> Patch:
    """A repeat leaves as a 9200."""
    return patch.object(outbound, "REPEAT", outbound.REQUEST)


def _hub_forgets() -> Patch:
    """The hub does not know a payment that it has passed on."""

    def make(conclude: Any) -> Any:
        def forget(self: Any, request: Any, *given: Any) -> None:
            conclude(self, request, *given)
            self._known.put(request.fpid, None)

        return forget

    return _wrap(Submissions, "_conclude", make)


def _refuses_what_it_took() -> Patch:
    """503 is said of some payments that were taken."""

    def make(done: Any) -> Any:
        def busy(self: Any, submission: Any) -> None:
            if _every(submission.key, 5) and submission.turn.response is None:
                self._refuse(submission.turn, 503, "busy")
            else:
                done(self, submission)

        return busy

    return _wrap(Door, "_done", make)


def _calls_unknown_unsent() -> Patch:
    """What may have left is said never to have."""

    def make(give_up: Any) -> Any:
        def unsent(self: Any, payment: Any) -> None:
            payment.left = False
            give_up(self, payment)

        return unsent

    return _wrap(Outbound, "_give_up", make)


def _believes_9909() -> Patch:
    """The hub's malfunction is taken for its refusal."""
    return patch.object(
        Outbound,
        "_speaker",
        lambda _self, code, *, alone: "receiver" if code[:1] in "01" or not code else "hub",
    )


def _settles_again() -> Patch:
    """A second answer is a second outcome."""

    def compare(self: Any, standing: Any, key: str, content: bytes, response: Any, link: Any, _state: Any) -> None:
        body = steps.Settlement(key, content, response.action_code, "", standing.by, response.body, b"")
        self._do.record(Kind.SETTLED, steps.pack(body), standing.fpid, link)

    return patch.object(Outbound, "_compare", compare)


def _reports_before_the_disk() -> Patch:
    """Who waits hears the outcome while its record is on its way."""

    def at_once(self: Any, position: int, payment: Any) -> None:
        payment.recording = position
        self.story.on_recorded(payment, position, self._batch.now)

    return patch.object(Leaving, "when_settled", at_once)


def _hub_misquotes() -> Patch:
    """The hub tells the sender otherwise than the receiver said."""

    def make(heard: Any) -> Any:
        def otherwise(self: Any, submission: Any, outcome: Outcome, *rest: Any) -> None:
            heard(self, submission, Outcome("0081") if outcome.code == "0000" else outcome, *rest)

        return otherwise

    return _wrap(Submissions, "_heard", make)


def _declines_without_news() -> Patch:
    """Some payments are declined although nobody said that they would be refused."""

    def make(refusal: Any) -> Any:
        return lambda self, request: "9943" if _every(request.trn, 5) else refusal(self, request)

    return _wrap(News, "refusal", make)


def _hub_answers_otherwise() -> Patch:
    """The hub answers some payments otherwise than it decided."""

    def make(write: Any) -> Any:
        def otherwise(self: Any, link: Any, request: Any, outcome: Outcome, *rest: Any) -> None:
            write(self, link, request, Outcome("0081") if _every(request.fpid.decode(), 5) else outcome, *rest)

        return otherwise

    return _wrap(Answers, "_write", make)


def _processor_books_nothing() -> Patch:
    """The processor does not book how its attempts went."""

    def make(happened: Any) -> Any:
        def silent(self: Any, event: Any) -> None:
            if not (isinstance(event, ProcessorEvent) and event.event == "submitted"):
                happened(self, event)

        return silent

    return _wrap(oracle.Oracle, "happened", make)


def _adds_a_penny() -> Patch:
    """A penny more leaves than was submitted."""

    def make(pence: Any) -> Any:
        return lambda amount: f"{int(pence(amount)) + 1:014}"

    return _wrap(request, "_pence", make)


# --- of both


def _drops_notices() -> Patch:
    """Some steps are never told."""

    def make(take: Any) -> Any:
        return lambda self, record: None if record.position % 5 == 0 else take(self, record)

    return _wrap(Forwarder, "_take", make)


class _NoQueues(dict[str, list[Any]]):
    """Nothing waits behind anything."""

    def get(self, _key: str, _default: Any = None) -> Any:
        return None

    def __getitem__(self, _key: str) -> list[Any]:
        return []

    def __setitem__(self, _key: str, _value: Any) -> None:
        pass

    def __delitem__(self, _key: str) -> None:
        pass


class _LastFirst(deque[Any]):
    def popleft(self) -> Any:
        return self.pop()


def _tells_in_any_order() -> Patch:
    """The latest notice is told first."""

    def make(init: Any) -> Any:
        def loose(self: Any, *given: Any, **named: Any) -> None:
            init(self, *given, **named)
            self._payments = _NoQueues()
            self._ready, self._again_ready = _LastFirst(), _LastFirst()

        return loose

    return _wrap(Forwarder, "__init__", make)


@contextmanager
def _tells_of_another_step() -> Iterator[None]:
    """A notice names the step behind its own."""
    with ExitStack() as stack:
        for where in (forwarder, notices):
            stack.enter_context(patch.object(where, "notice_id", lambda node, position: f"{node}/{position + 1}"))
        yield


def _cuts_too_much() -> Patch:
    """A start takes the last batch for torn, whatever it looks like."""

    def make(open_directory: Any) -> Any:
        def cut(directory: Directory, *given: Any) -> Any:
            manifest = read_manifest(directory)
            if manifest is not None:
                walk = Walk(directory, manifest)
                for _ in walk:
                    pass
                _erase(directory, walk)
            return open_directory(directory, *given)

        return cut

    return _wrap(writer, "open_directory", make)


def _erase(directory: Directory, walk: Walk) -> None:
    """Write zeros over the last sectors that are in use."""
    if walk.segments and walk.torn is None:
        info = walk.segments[-1]
        file = directory.open(name_of(info.number), write=True)
        start = max(0, info.end - 1) // SECTOR_BYTES * SECTOR_BYTES
        file.write(start, (bytes(max(0, info.end - start)),))
        file.sync()
        file.close()


def _acknowledges_news_unrecorded() -> Patch:
    """News counts, and is acknowledged, without a record."""

    def hear(self: Any, heard: Any, _kind: Kind, _body: bytes, _link: Any, sent_s: float) -> None:
        self._known.remember(heard.event, sent_s)
        self._settle(heard, Now(trio.current_time(), 0))

    return patch.object(News, "_hear", hear)


@contextmanager
def _takes_keys_unrecorded() -> Iterator[None]:
    """A key is taken, and what is recorded is something else; but for the keys that every start records."""
    begun: list[Keying] = []

    def note(begin: Any) -> Any:
        def beginning(self: Keying, now: Now) -> None:
            begin(self, now)
            begun.append(self)

        return beginning

    def make(record: Any) -> Any:
        def skip(self: Keying, kind: Kind, body: bytes, fpid: str, link: Any) -> int:
            if kind is Kind.KEYS and self in begun:
                kind, body = Kind.MANAGEMENT_IN, b""
            return int(record(self, kind, body, fpid, link))

        return skip

    with _wrap(Keying, "begin", note), _wrap(Keying, "record", make):
        yield


def _ignores_mischief() -> Patch:
    """What is not authentic, or no message, is dropped without a word."""
    return patch.object(Dispatch, "reject", lambda *_: None)


# --- what only a simulation can judge


def _stands_in_late() -> Patch:
    """The processor is waited for ten seconds too long."""

    def make(set_timer: Any) -> Any:
        return lambda self, payment, at_s: set_timer(self, payment, at_s + 10)

    return _wrap(Arriving, "set_timer", make)


def _is_often_tired() -> Patch:
    """Submissions are turned away two seconds out of ten."""

    def make(closed: Any) -> Any:
        return lambda self: "tired" if trio.current_time() % 10 < 2 else closed(self)

    return _wrap(Promises, "closed", make)


def _syncs_again() -> Patch:
    """A sync that failed is tried again, and believed."""

    def make(commit: Any) -> Any:
        def again(self: Any, chunks: Any) -> Any:
            try:
                return commit(self, chunks)
            except OSError:
                return commit(self, chunks)

        return again

    return _wrap(Committer, "commit", make)


def _logs_accounts() -> Patch:
    """A line for each payment says whose it is."""

    def make(receive: Any) -> Any:
        def say(self: Any, payment: Any, request: Any, *given: Any) -> None:
            log.get("inbound").info("payment came", detail=f"for {request.creditor_account}")
            receive(self, payment, request, *given)

        return say

    return _wrap(Inbound, "_receive", make)


def _syncs_nothing() -> Patch:
    """A sync returns at once, and nothing is on the disk."""
    return patch.object(FakeFile, "sync", lambda _: None)


def _beats_with_the_disk() -> Patch:
    """The supervisor hears nothing while a sync hangs."""

    async def beat(self: daemon.Gateway) -> None:
        while True:
            if not self.journal.health(trio.current_time()):
                self.outside.supervisor.alive()
            await trio.sleep(1)

    return patch.object(daemon.Gateway, "_beat", beat)


def _asks_about_some() -> Patch:
    """Some payments are never asked about."""

    def make(ask: Any) -> Any:
        return lambda self, asks: ask(self, [one for one in asks if not _every(one.fpid, 4)])

    return _wrap(Client, "ask", make)


def _accepts_anything() -> Patch:
    """Stand-in knows no rules."""
    return patch.object(StandIn, "refusal", lambda *_: "")


class Canary(NamedTuple):
    """How a promise is broken, and where that must show."""

    broken: Callable[[], Patch]
    scenario: Scenario


CANARIES: dict[str, Canary] = {
    "accounted": Canary(_loses_requests, ASYNCHRONOUS),
    "hub-satisfied": Canary(_replies_anywhere, CALM),
    "durable-before-reply": Canary(_replies_before_the_disk, SLOW_DISK),
    "one-outcome": Canary(_decides_twice, SLOW_PROCESSOR),
    "in-time": Canary(_refuses_reversals, LINES),
    "nobody-turned-away": Canary(_stands_in_with_1909, SLOW_PROCESSOR),
    "received-once": Canary(_knows_no_repeats, REPEATS),
    "reversals-recorded": Canary(_reverses_unrecorded, LINES),
    "answers-kept": Canary(_misremembers_answers, CALM),
    "asked-after-durable": Canary(_asks_before_the_disk, SLOW_DISK),
    "content-kept": Canary(_rounds_amounts, CALM),
    "submissions-accounted": Canary(_fails_to_read, CALM),
    "taken-after-durable": Canary(_acknowledges_before_the_disk, SLOW_DISK),
    "submissions-end": Canary(_forgets_to_record_unknown, DEAF),
    "only-submitted": Canary(_mixes_keys_up, CALM),
    "sent-after-durable": Canary(_sends_before_the_disk, SLOW_DISK),
    "sent-once": Canary(_repeats_as_new, SWALLOWED),
    "executed-once": Canary(_hub_forgets, SWALLOWED),
    "refused-means-nothing": Canary(_refuses_what_it_took, CALM),
    "never-failed": Canary(_calls_unknown_unsent, DEAF),
    "settled-as-answered": Canary(_believes_9909, INCONCLUSIVE),
    "settled-once": Canary(_settles_again, TWICE),
    "outcome-as-recorded": Canary(_reports_before_the_disk, SLOW_DISK_WAITED_FOR),
    "both-ends-agree": Canary(_hub_misquotes, HOME),
    "declined-by-news": Canary(_declines_without_news, CALM),
    "hub-honest": Canary(_hub_answers_otherwise, CALM),
    "processor-honest": Canary(_processor_books_nothing, CALM),
    "content-sent": Canary(_adds_a_penny, CALM),
    "told": Canary(_drops_notices, CALM),
    "told-in-order": Canary(_tells_in_any_order, BAD_NOTICES),
    "told-what-happened": Canary(_tells_of_another_step, CALM),
    "journal-whole": Canary(_cuts_too_much, DEATHS),
    "news-kept": Canary(_acknowledges_news_unrecorded, NEWS),
    "keys-kept": Canary(_takes_keys_unrecorded, KEYS),
    "mischief-answered": Canary(_ignores_mischief, MISCHIEF),
    "always-answered": Canary(_stands_in_late, PROCESSOR),
    "asked-first": Canary(_asks_about_some, CALM),
    "within-rules": Canary(_accepts_anything, LIMITED),
    "always-taken": Canary(_is_often_tired, CALM),
    "stops-rather-than-lies": Canary(_syncs_again, BAD_DISK),
    "nothing-leaks": Canary(_logs_accounts, CALM),
}
"""By the invariant that each breaks."""


LYING_DISK = Canary(_syncs_nothing, CALM)
"""What the first of the nine promises is about, all of it at once."""
WAITING_HEART = Canary(_beats_with_the_disk, HUNG_DISK)
"""What would have a supervisor restart what restarting does not help."""


@contextmanager
def canary(name: str) -> Iterator[None]:
    """Break this promise, in this process, meanwhile; empty: none."""
    if not name:
        yield
        return
    with CANARIES[name].broken():
        yield


@contextmanager
def weather(scenario: Scenario) -> Iterator[None]:
    """What else is so in this scenario, meanwhile."""
    if scenario.world is None:
        yield
        return
    with scenario.world():
        yield
