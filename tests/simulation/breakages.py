"""How each promise is broken on purpose: one patch of this process for each, which `canaries` puts into its weather."""

import zlib
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from typing import Any
from unittest.mock import patch

import msgspec
import trio

from gateway import daemon, log
from gateway.clock import Now
from gateway.disk import SECTOR_BYTES, Directory
from gateway.engine.arriving import Arriving
from gateway.engine.dispatch import Dispatch
from gateway.engine.intake import Intake
from gateway.engine.jobs import Outgoing
from gateway.engine.keying import Keying
from gateway.engine.leaving import Leaving
from gateway.journal import writer
from gateway.journal.committer import Committer
from gateway.journal.manifest import read_manifest
from gateway.journal.segment import Walk, name_of
from gateway.payments import attempting, steps
from gateway.payments.arrival import Arrival, Arrivals
from gateway.payments.attempting import Attempting
from gateway.payments.deciding import Deciding
from gateway.payments.inbound import Inbound
from gateway.payments.settling import Settling
from gateway.payments.standin import StandIn
from gateway.payments.steps import Kind
from gateway.payments.submitting import Submitting
from gateway.processor import addressees, forwarder, notices, request, writing
from gateway.processor.client import Client
from gateway.processor.door import Door
from gateway.processor.forwarder import Forwarder
from gateway.processor.request import Reader
from gateway.running.health import Promises
from gateway.scheme.news import News
from gateway.wire.codec import Codec
from gateway.wire.message import ReversalRequest
from loadtest.hub.answers import Answers, Outcome
from loadtest.hub.submissions import Submissions
from loadtest.ledger.entries import ProcessorEvent
from tests.fakes.disk import FakeFile
from tests.simulation import oracle

Patch = AbstractContextManager[Any]


def every(fpid: str, n: int) -> bool:
    """One payment of so many, always the same ones."""
    return zlib.crc32(fpid.encode()) % n == 0


def wrap(where: object, name: str, make: Callable[[Any], Any]) -> Patch:
    """Put something around a function."""
    return patch.object(where, name, make(getattr(where, name)))


# --- of payments that come


def loses_requests() -> Patch:
    """Some payments are read, and nothing is done about them."""

    def make(on_request: Any) -> Any:
        def lose(self: Any, message: Any, *given: Any) -> None:
            if not every(message.trn, 5):
                on_request(self, message, *given)

        return lose

    return wrap(Inbound, "on_request", make)


def replies_anywhere() -> Patch:
    """A reply leaves on whatever link carried one last."""

    def make(send: Any) -> Any:
        last: dict[int, Any] = {}

        def anywhere(self: Any, payment: Any, link: Any, body: bytes, until_s: float) -> bool:
            other, last[id(self)] = last.get(id(self), link), link
            return bool(send(self, payment, other, body, until_s))

        return anywhere

    return wrap(Arriving, "send", make)


def replies_before_the_disk() -> Patch:
    """The reply of a decision waits for its MAC only."""

    def authenticate(self: Any, payment: Any, covered: bytes, _position: int, until_s: float) -> None:
        key = self._batch.own_key
        self.start(Outgoing(key, covered, until_s, None, payment, decides=True, durable=True))

    return patch.object(Arriving, "authenticate", authenticate)


def decides_twice() -> Patch:
    """What the processor says after stand-in is recorded as the decision, too."""

    def late(self: Any, payment: Any, code: str) -> None:
        covered = self._codec.respond(payment.request, code)
        body = steps.pack(steps.Decision(code, "", payment.content, covered))
        self._do.record(Kind.ANSWERED, body, payment.fpid, payment.legs[0].link)

    return patch.object(Deciding, "_late", late)


def refuses_reversals() -> Patch:
    """A reversal is recorded, and answered with 1909."""

    def make(respond: Any) -> Any:
        def refuse(self: Any, message: Any, code: str, field: str = "") -> Any:
            return respond(self, message, "1909" if isinstance(message, ReversalRequest) else code, field)

        return refuse

    return wrap(Codec, "respond", make)


def stands_in_with_1909() -> Patch:
    """Stand-in says that the bank is out of order."""

    def make(init: Any) -> Any:
        def malfunction(self: Any, *given: Any) -> None:
            init(self, *given)
            self.code = "1909"

        return malfunction

    return wrap(StandIn, "__init__", make)


def knows_no_repeats() -> Patch:
    """A repeat is taken for a new payment."""
    return patch.object(Arrivals, "find", lambda _, fpid: Arrival(fpid))


def reverses_unrecorded() -> Patch:
    """A reversal is answered, and not written down."""

    def make(record: Any) -> Any:
        def skip(self: Any, kind: Kind, body: bytes, fpid: str, link: Any) -> int:
            if kind is Kind.REVERSED:
                kind, body, fpid = Kind.MANAGEMENT_IN, b"", ""
            return int(record(self, kind, body, fpid, link))

        return skip

    return wrap(Arriving, "record", make)


def misremembers_answers() -> Patch:
    """Whatever the processor says is taken for a qualified accept."""

    def make(on_answer: Any) -> Any:
        return lambda self, payment, _code, field: on_answer(self, payment, "0081", field)

    return wrap(Deciding, "on_answer", make)


def asks_before_the_disk() -> Patch:
    """The processor is asked while the record is on its way."""

    def at_once(self: Any, _position: int, payment: Any) -> None:
        self.story.deciding.on_recorded(payment, self._batch.now)

    return patch.object(Arriving, "when_recorded", at_once)


def rounds_amounts() -> Patch:
    """The processor is asked about round pounds."""

    def make(amount: Any) -> Any:
        return lambda pence, currency: amount(pence[:-2] + "00", currency)

    return wrap(writing, "_amount", make)


# --- of payments that leave


def fails_to_read() -> Patch:
    """Some submissions cannot be judged: 500, whenever they come."""

    def make(read: Any) -> Any:
        def fail(self: Any, body: bytes, key: str) -> Any:
            if every(key, 5):
                raise RuntimeError("a bug")
            return read(self, body, key)

        return fail

    return wrap(Reader, "read", make)


def acknowledges_before_the_disk() -> Patch:
    """A submission is taken while its record is on its way."""

    def make(depart: Any) -> Any:
        def early(self: Any, payment: Any, *given: Any) -> None:
            depart(self, payment, *given)
            self.story.taking.on_durable(payment)

        return early

    return wrap(Leaving, "depart", make)


def forgets_to_record_unknown() -> Patch:
    """What is unknown is said, and not written down."""

    def make(record: Any) -> Any:
        def skip(self: Any, kind: Kind, body: bytes, fpid: str, link: Any) -> int:
            if kind is Kind.UNKNOWN:
                kind, body, fpid = Kind.MANAGEMENT_IN, b"", ""
            return int(record(self, kind, body, fpid, link))

        return skip

    return wrap(Leaving, "record", make)


def mixes_keys_up() -> Patch:
    """A submission is recorded under another key."""

    def make(record: Any) -> Any:
        def mixed(self: Any, kind: Kind, body: bytes, fpid: str, link: Any) -> int:
            if kind is Kind.SUBMITTED:
                submission = steps.unpack(kind, body)
                assert isinstance(submission, steps.Submitted)
                body = steps.pack(msgspec.structs.replace(submission, key=submission.key + "x"))
            return int(record(self, kind, body, fpid, link))

        return mixed

    return wrap(Leaving, "record", make)


def sends_before_the_disk() -> Patch:
    """A request waits for its MAC only."""

    def make(depart: Any) -> Any:
        def early(self: Any, *given: Any) -> None:
            depart(self, *given)
            self._batch.jobs[-1].durable = True

        return early

    return wrap(Leaving, "depart", make)


def repeats_as_new() -> Patch:
    """A repeat leaves as a 9200."""
    return patch.object(attempting, "REPEAT", attempting.REQUEST)


def hub_forgets() -> Patch:
    """The hub does not know a payment that it has passed on."""

    def make(conclude: Any) -> Any:
        def forget(self: Any, request: Any, *given: Any) -> None:
            conclude(self, request, *given)
            self._known.put(request.fpid, None)

        return forget

    return wrap(Submissions, "_conclude", make)


def refuses_what_it_took() -> Patch:
    """503 is said of some payments that were taken."""

    def make(done: Any) -> Any:
        def busy(self: Any, submission: Any) -> None:
            if every(submission.key, 5) and submission.turn.response is None:
                self._refuse(submission.turn, 503, "busy")
            else:
                done(self, submission)

        return busy

    return wrap(Door, "_done", make)


def calls_unknown_unsent() -> Patch:
    """What may have left is said never to have."""

    def make(give_up: Any) -> Any:
        def unsent(self: Any, payment: Any) -> None:
            payment.left = False
            give_up(self, payment)

        return unsent

    return wrap(Attempting, "give_up", make)


def believes_9909() -> Patch:
    """The hub's malfunction is taken for its refusal."""
    return patch.object(
        Settling,
        "_speaker",
        lambda _self, code, *, alone: "receiver" if code[:1] in "01" or not code else "hub",
    )


def settles_again() -> Patch:
    """A second answer is a second outcome."""

    def compare(self: Any, standing: Any, key: str, content: bytes, response: Any, link: Any) -> None:
        body = steps.Settlement(key, content, response.action_code, "", standing.by, response.body, b"")
        self._do.record(Kind.SETTLED, steps.pack(body), standing.fpid, link)

    return patch.object(Settling, "_compare", compare)


def reports_before_the_disk() -> Patch:
    """Who waits hears the outcome while its record is on its way."""

    def at_once(self: Any, position: int, payment: Any) -> None:
        payment.recording = position
        self.story.reporting.on_recorded(payment, position, self._batch.now)

    return patch.object(Leaving, "when_settled", at_once)


def hub_misquotes() -> Patch:
    """The hub tells the sender otherwise than the receiver said."""

    def make(heard: Any) -> Any:
        def otherwise(self: Any, submission: Any, outcome: Outcome, *rest: Any) -> None:
            heard(self, submission, Outcome("0081") if outcome.code == "0000" else outcome, *rest)

        return otherwise

    return wrap(Submissions, "_heard", make)


def declines_without_news() -> Patch:
    """Some payments are declined although nobody said that they would be refused."""

    def make(refusal: Any) -> Any:
        return lambda self, request: "9943" if every(request.trn, 5) else refusal(self, request)

    return wrap(News, "refusal", make)


def hub_answers_otherwise() -> Patch:
    """The hub answers some payments otherwise than it decided."""

    def make(write: Any) -> Any:
        def otherwise(self: Any, link: Any, request: Any, outcome: Outcome, *rest: Any) -> None:
            write(self, link, request, Outcome("0081") if every(request.fpid.decode(), 5) else outcome, *rest)

        return otherwise

    return wrap(Answers, "_write", make)


def processor_books_nothing() -> Patch:
    """The processor does not book how its attempts went."""

    def make(happened: Any) -> Any:
        def silent(self: Any, event: Any) -> None:
            if not (isinstance(event, ProcessorEvent) and event.event == "submitted"):
                happened(self, event)

        return silent

    return wrap(oracle.Oracle, "happened", make)


def adds_a_penny() -> Patch:
    """A penny more leaves than was submitted."""

    def make(pence: Any) -> Any:
        return lambda amount: f"{int(pence(amount)) + 1:014}"

    return wrap(request, "_pence", make)


# --- of both


def drops_notices() -> Patch:
    """Some steps are never told."""

    def make(take: Any) -> Any:
        return lambda self, record: None if record.position % 5 == 0 else take(self, record)

    return wrap(Forwarder, "_take", make)


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


def tells_in_any_order() -> Patch:
    """The latest notice is told first."""

    def make(init: Any) -> Any:
        def loose(self: Any, *given: Any, **named: Any) -> None:
            init(self, *given, **named)
            self._payments = _NoQueues()
            self._ready, self._again_ready = _LastFirst(), _LastFirst()

        return loose

    return wrap(Forwarder, "__init__", make)


@contextmanager
def tells_of_another_step() -> Iterator[None]:
    """A notice names the step behind its own."""
    with ExitStack() as stack:
        for where in (addressees, forwarder, notices):
            stack.enter_context(patch.object(where, "notice_id", lambda node, position: f"{node}/{position + 1}"))
        yield


def cuts_too_much() -> Patch:
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

    return wrap(writer, "open_directory", make)


def _erase(directory: Directory, walk: Walk) -> None:
    """Write zeros over the last sectors that are in use."""
    if walk.segments and walk.torn is None:
        info = walk.segments[-1]
        file = directory.open(name_of(info.number), write=True)
        start = max(0, info.end - 1) // SECTOR_BYTES * SECTOR_BYTES
        file.write(start, (bytes(max(0, info.end - start)),))
        file.sync()
        file.close()


def acknowledges_news_unrecorded() -> Patch:
    """News counts, and is acknowledged, without a record."""

    def hear(self: Any, heard: Any, _kind: Kind, _body: bytes, _link: Any, sent_s: float) -> None:
        self._known.remember(heard.event, sent_s)
        self._settle(heard, Now(trio.current_time(), 0))

    return patch.object(News, "_hear", hear)


@contextmanager
def takes_keys_unrecorded() -> Iterator[None]:
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

    with wrap(Keying, "begin", note), wrap(Keying, "record", make):
        yield


def believes_anybody() -> Patch:
    """What has a wrong MAC is taken for the hub's all the same."""

    def make(take: Any) -> Any:
        def believe(self: Any, incoming: Any, now: Now) -> None:
            incoming.ok = incoming.ok or incoming.error == "wrong-mac"
            take(self, incoming, now)

        return believe

    return wrap(Intake, "take_verified", make)


def ignores_mischief() -> Patch:
    """What is not authentic, or no message, is dropped without a word."""
    return patch.object(Dispatch, "reject", lambda *_: None)


# --- what only a simulation can judge


def stands_in_late() -> Patch:
    """The processor is waited for ten seconds too long."""

    def make(set_timer: Any) -> Any:
        return lambda self, payment, at_s: set_timer(self, payment, at_s + 10)

    return wrap(Arriving, "set_timer", make)


def stops_at_the_next_start() -> Patch:
    """A stop is recorded, and counts after a restart only."""

    def make(stop: Any) -> Any:
        def later(self: Any, now: Now) -> int:
            position = int(stop(self, now))
            self.stopped = False
            return position

        return later

    return wrap(Submitting, "stop", make)


def is_often_tired() -> Patch:
    """Submissions are turned away two seconds out of ten."""

    def make(closed: Any) -> Any:
        return lambda self: "tired" if trio.current_time() % 10 < 2 else closed(self)

    return wrap(Promises, "closed", make)


def syncs_again() -> Patch:
    """A sync that failed is tried again, and believed."""

    def make(commit: Any) -> Any:
        def again(self: Any, chunks: Any) -> Any:
            try:
                return commit(self, chunks)
            except OSError:
                return commit(self, chunks)

        return again

    return wrap(Committer, "commit", make)


def logs_accounts() -> Patch:
    """A line for each payment says whose it is."""

    def make(receive: Any) -> Any:
        def say(self: Any, payment: Any, request: Any, *given: Any) -> None:
            log.get("inbound").info("payment came", detail=f"for {request.creditor_account}")
            receive(self, payment, request, *given)

        return say

    return wrap(Inbound, "_receive", make)


def syncs_nothing() -> Patch:
    """A sync returns at once, and nothing is on the disk."""
    return patch.object(FakeFile, "sync", lambda _: None)


def beats_with_the_disk() -> Patch:
    """The supervisor hears nothing while a sync hangs."""

    async def beat(self: daemon.Gateway) -> None:
        while True:
            if not self.journal.health(trio.current_time()):
                self.outside.supervisor.alive()
            await trio.sleep(1)

    return patch.object(daemon.Gateway, "_beat", beat)


def asks_about_some() -> Patch:
    """Some payments are never asked about."""

    def make(ask: Any) -> Any:
        return lambda self, asks: ask(self, [one for one in asks if not every(one.fpid, 4)])

    return wrap(Client, "ask", make)


def accepts_anything() -> Patch:
    """Stand-in knows no rules."""
    return patch.object(StandIn, "refusal", lambda *_: "")
