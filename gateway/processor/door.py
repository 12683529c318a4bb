"""Where the bank's payment processor submits payments: an HTTP/1.1 server, for the processor and nobody else.

    POST /payments          submit one (`messages.Submitted`); the Idempotency-Key header names it
    GET  /payments/{key}    where does it stand?
    GET  /ready             may payments come here? A part of what the ops port says

Over TLS, every client with a certificate of our authority may look whether we are ready (a load balancer, the gateway
at the other site). Only a client with the processor's name may use /payments.

The document (`openapi`) says what each status means to the processor. The engine gets submissions in batches: those of
one chunk of bytes go to it together, without a task between. There is no task and no timer per request: the engine
calls back, and one sweeper watches all deadlines.

A client that asks to wait for the outcome (`Prefer: wait`) is answered when there is one. If its time is over first, it
hears that the payment is durable.

A submission that lay here while this machine slept may be as old as the sleep. Its client has given up by then, and may
have told a customer so: a payment that is new here is not taken (503); one that is known gets its standing.
"""

import re
from collections.abc import Callable
from math import inf
from typing import Any, NoReturn, Protocol
from urllib.parse import unquote_to_bytes

import trio
from msgspec import Struct

from gateway import config, log, metrics
from gateway.errors import Unavailable
from gateway.http.entrance import Entrance
from gateway.http.pipe import Pipe, StreamPipe, TlsPipe, socket_pipe
from gateway.http.visitor import REASONS, Over, Request, Turn, Unreadable, Visitor
from gateway.log.limit import Limit
from gateway.machine.descriptors import is_kept
from gateway.network.listening import Listen, listen_tcp
from gateway.network.papers import Papers
from gateway.network.strangers import WITHIN_S
from gateway.payments.outbound_law import RESTING
from gateway.payments.work import Standing, Submission
from gateway.processor.messages import Fault, Problem, Readiness, encode
from gateway.processor.request import KEY_MAX, UNKNOWN_MEMBER, Invalid, Malformed, Reader
from gateway.processor.writing import progress_of
from gateway.wire.codec import Codec

SWEEP_S = 0.1
"""How often deadlines are checked: being late is a matter of seconds."""
RETRY_AFTER_S = 1
"""Retry-After of a 503: by then the other site may have been tried, or a link be back."""
SAY_EVERY_S = 1.0
"""The least time between log lines about clients that were not let in; all are counted."""
ONLOOKERS_MAX = 8
"""Connections of clients that may only look, at most: the other site's gateway, a load balancer or two."""
GOLDEN = 0.618034
"""Its multiples lie far from each other, without their whole parts, however many there are."""
BACKLOG = 128
"""Connections that the kernel holds before we accept them, at most."""

STALE = "it lay here while this machine stood still, for longer than anybody waits"

_log = log.get("door")
_JSON = b"application/json"
_PROBLEM = b"application/problem+json"
_RETRY_AFTER = b"Retry-After: %d\r\n" % RETRY_AFTER_S
_CROWDING = encode(Problem("Service Unavailable", 503, "too many connections"))
_CROWDED = (
    b"HTTP/1.1 503 Service Unavailable\r\nContent-Type: %b\r\nContent-Length: %d\r\n%bConnection: close\r\n\r\n%b"
    % (_PROBLEM, len(_CROWDING), _RETRY_AFTER, _CROWDING)
)
"""A problem like any other: it shows that a gateway answered, and took nothing."""
_KEY = re.compile(rb"[!-~]{1,%d}" % KEY_MAX)
_WAIT = re.compile(rb"(?:\A|[,;])\s*wait\s*=\s*\"?([0-9]{1,9})\"?\s*(?=[,;]|\Z)", re.IGNORECASE)
_JSON_TYPE = re.compile(rb"application/json\s*(?:;\s*charset\s*=\s*\"?utf-8\"?\s*)?", re.IGNORECASE)
_COUNTED = {status: metrics.SUBMISSIONS_BY_STATUS.labels(str(status)) for status in REASONS}


class Engine(Protocol):
    """The engine as the door needs it."""

    def submit(self, submissions: list[Submission]) -> None:
        """Take these. Never waits; calls `done` of each as `Submission` says, in the trio thread, then or later."""

    def look(self, key: str) -> Standing | None:
        """The standing of the payment with this key; None: unknown here."""


class _Visit(Submission):
    """A submission and the response that waits for it."""

    __slots__ = ("turn",)
    turn: Turn


class _Owed(Struct):
    """The submission that a response waits for."""

    visit: _Visit
    started_s: float
    wait_s: float
    """How long the client wants to wait for the outcome; 0: not at all."""
    durable: Standing | None = None
    """Its standing, once it is durable."""


class Door:
    """The server. `serve` listens; `attend` serves one connection of any kind."""

    def __init__(
        self,
        settings: config.Submissions,
        engine: Engine,
        codec: Codec,
        group: config.Group,
        ready: Callable[[], Readiness],
        *,
        came_s: Callable[[float], float],
        listen: Listen = listen_tcp,
        kept: int = 0,
    ) -> None:
        """`came_s`: the earliest time at which bytes read at a given time may have come (`gateway.machine.standstill`).
        `kept`: how many of the highest descriptors no client gets (`gateway.machine.descriptors`).

        Raises `ConfigurationError` when the TLS files are of no use.
        """
        self._kept = kept
        self._ready = ready
        self._came_s = came_s
        self._listen = listen
        self._settings = settings
        self._engine = engine
        self._reader = Reader(codec, group)
        self._codes = codec.action_codes
        self._entrance = None
        if settings.tls is not None:
            papers = Papers(settings.tls, "node.submissions.tls")
            self._entrance = Entrance(papers, "submissions", min(settings.request_within_s, WITHIN_S))
        self._client_name = settings.tls.client_name if settings.tls is not None else ""
        self._visitors: dict[Visitor, Pipe] = {}
        self._attended = 0
        """Connections that were attended, since the start."""
        self._somebody = trio.Event()
        self._said_s: dict[str, float] = {}
        self._counts = dict.fromkeys(REASONS, 0)
        self._places = Limit("node.submissions.connections_max", settings.connections_max)
        self._turned_away = {"crowded": 0, "short": 0}

    # --- connections

    async def serve(self, *, task_status: trio.TaskStatus[int] = trio.TASK_STATUS_IGNORED) -> None:
        """Serve until cancelled; starts with the port. Cancelled, it drops every connection and leaves nothing behind.

        Raises `Unavailable` when the address cannot be listened on.
        """
        host, port = self._settings.host, self._settings.port
        try:
            listeners, port = await self._listen(host, port, BACKLOG)
        except OSError as error:
            raise Unavailable(f"submissions: {host}:{port}: {log.describe(error)}") from error
        _log.info("submissions are taken", host=host, port=port)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self.sweep)
            task_status.started(port)
            await trio.serve_listeners(self._accept, listeners, handler_nursery=nursery)

    async def _accept(self, stream: trio.abc.Stream) -> None:
        short = isinstance(stream, trio.SocketStream) and is_kept(stream.socket.fileno(), self._kept)
        if short:
            self._is_short()
        if self._entrance is None:
            pipe = _plain(stream)
            if pipe is not None:
                await self._receive(pipe, short=short)
        elif not short:  # a handshake would keep it
            assert isinstance(stream, trio.SocketStream), "TLS is spoken over sockets only"
            guest = await self._entrance.let_in(stream)
            if guest is not None:
                with self._entrance.serving(guest):
                    await self._receive(guest.pipe)

    async def _receive(self, pipe: Pipe, *, short: bool = False) -> None:
        """Serve a client, if there is a place for one more. `short`: there is no descriptor for it."""
        named = self._is_named(pipe)
        if not short and self._has_place(named=named):
            await self.attend(pipe, named=named)
            return
        pipe.write(_CROWDED)
        pipe.finish()
        await pipe.aclose()

    def _is_short(self) -> None:
        self._turned_away["short"] += 1
        metrics.SHORTAGES["door"].inc()
        if self._may_say("short"):
            _log.warning("clients are turned away: no descriptor is left for them", count=self._turned_away["short"])

    def _may_say(self, what: str) -> bool:
        now_s = trio.current_time()
        if now_s - self._said_s.get(what, -inf) < SAY_EVERY_S:
            return False
        self._said_s[what] = now_s
        return True

    def _is_named(self, pipe: Pipe) -> bool:
        """Whether the client may submit, and not only look whether we are ready."""
        return self._entrance is None or (isinstance(pipe, TlsPipe) and self._client_name in pipe.names)

    def on_client_name(self, client_name: str) -> None:
        """From now on the processor has this name. A client that may submit no more is cut off at once."""
        if client_name == self._client_name:
            return
        self._client_name = client_name
        for visitor, pipe in self._visitors.items():
            named = self._is_named(pipe)
            if visitor.named and not named:
                _log.warning("a client may submit no more: its connection is closed", reason="client_name was changed")
                visitor.scope.cancel()
            visitor.named = named

    def _has_place(self, *, named: bool) -> bool:
        """Make place for one more connection: the one that has been idle for longest goes. Clients that may only look
        have a few places, and a client that may submit takes those first, whatever they are doing.
        """
        staying = [visitor for visitor in self._visitors if not visitor.scope.cancel_called]
        onlookers = [visitor for visitor in staying if not visitor.named]
        if len(self._visitors) < self._settings.connections_max and (named or len(onlookers) < ONLOOKERS_MAX):
            self._places.eased()
            return True
        leaving = onlookers if named else []
        leaving = leaving or [visitor for visitor in (staying if named else onlookers) if visitor.idle]
        if not leaving:
            self._turned_away["crowded"] += 1
            if named:
                self._places.hit(trio.current_time(), "connections that would submit are turned away", 1)
            return False
        min(leaving, key=lambda visitor: visitor.rested_s).scope.cancel()
        return True

    async def attend(self, pipe: Pipe, *, named: bool = True) -> None:
        """Serve one connection until it is over, and close it. `named`: it may submit."""
        visitor = Visitor(pipe, self._take, self._settings.body_bytes_max, named=named)
        self._attended += 1
        visitor.until_s = trio.current_time() + self._settings.connection_age_max_s * _share(self._attended)
        self._visitors[visitor] = pipe
        metrics.SUBMISSION_CONNECTIONS.set(len(self._visitors))
        self._somebody.set()
        try:
            await visitor.run(self._gone)
        except* Exception as error:  # noqa: BLE001 - the boundary: one connection fails, payments that arrive go on
            _log.error("a connection failed", error=log.describe(error))
        finally:
            del self._visitors[visitor]
            metrics.SUBMISSION_CONNECTIONS.set(len(self._visitors))
            for turn in visitor.turns:
                _forget(turn)

    def _gone(self, visitor: Visitor) -> None:
        """The client sends no more: it no longer waits for an outcome, at most for a response."""
        for turn in list(visitor.turns):
            owed: _Owed | None = turn.context
            if owed is not None and owed.durable is not None:
                self._say(turn, owed.durable)
            elif owed is not None:
                owed.wait_s = 0.0

    # --- time

    async def sweep(self) -> NoReturn:
        """Watch the time of every connection and response."""
        while True:
            if not self._visitors:
                self._somebody = trio.Event()
                await self._somebody.wait()
            now_s = trio.current_time()
            # after a standstill read the sockets first: a client that has written meanwhile was not idle
            if self._entrance is not None:
                self._entrance.look()
            if self._came_s(now_s) >= now_s:
                for visitor in list(self._visitors):
                    self._look_after(visitor, now_s)
            await trio.sleep(SWEEP_S)

    def _look_after(self, visitor: Visitor, now_s: float) -> None:
        within_s = self._settings.request_within_s
        over = visitor.look(now_s, within_s, self._settings.idle_s)
        if over is Over.LATE and not visitor.turns:
            self._take(visitor, [], visitor.give_up(408, f"a request may take {within_s:g} s to come in"))
        elif over not in {Over.NO, Over.LATE}:
            visitor.scope.cancel()
        for turn in list(visitor.turns):
            if turn.due_s <= now_s and turn.response is None:
                self._due(turn)

    def _due(self, turn: Turn) -> None:
        owed: _Owed = turn.context
        if owed.durable is not None:
            self._say(turn, owed.durable)
            return
        within_s = self._settings.answer_within_s
        detail = f"not durable within {within_s:g} s, and it may be yet: look, or submit it again under the same key"
        self._refuse(turn, 504, detail)

    # --- requests

    def _take(self, visitor: Visitor, requests: list[Request], fault: Unreadable | None) -> None:
        """All requests of a chunk."""
        visits: list[Submission] = []
        if requests and requests[-1].keep and trio.current_time() >= visitor.until_s:
            requests[-1].keep = False
            visitor.retire()
        # owe all before giving any: a client with nothing left to wait for is hung up on
        owed = [visitor.owe(keep=request.keep, bare=request.method == b"HEAD") for request in requests]
        # behind a last request nothing is said
        last = visitor.owe(keep=False) if fault is not None and (not requests or requests[-1].keep) else None
        for turn, request in zip(owed, requests, strict=True):
            self._route(turn, request, visits)
        if fault is not None and last is not None:
            self._refuse(last, fault.status, fault.detail)
        if visits:
            self._engine.submit(visits)

    def _route(self, turn: Turn, request: Request, visits: list[Submission]) -> None:
        path = _path_of(request.target)
        if path.startswith(b"/payments") and not turn.visitor.named:
            if self._may_say("may not submit"):
                _log.warning("a client may not submit", reason="its certificate holds another name")
            self._refuse(turn, 403, "payments are taken from the processor alone: your certificate holds another name")
        elif path == b"/payments":
            if request.method != b"POST":
                self._refuse(turn, 405, "POST, to submit", more=b"Allow: POST\r\n")
            elif (visit := self._read(turn, request)) is not None:
                visits.append(visit)
        elif path.startswith(b"/payments/"):
            if request.method not in {b"GET", b"HEAD"}:
                self._refuse(turn, 405, "GET, to look", more=b"Allow: GET, HEAD\r\n")
            else:
                self._look(turn, path[len(b"/payments/") :])
        elif path == b"/ready":
            if request.method not in {b"GET", b"HEAD"}:
                self._refuse(turn, 405, "GET, to look", more=b"Allow: GET, HEAD\r\n")
            else:
                readiness = self._ready()
                self._respond(turn, 200 if readiness.ready else 503, _JSON, encode(readiness))
        else:
            self._refuse(turn, 404, "there are /payments, /payments/{key} and /ready")

    def _look(self, turn: Turn, name: bytes) -> None:
        key = unquote_to_bytes(name)
        standing = self._engine.look(key.decode("ascii")) if b"/" not in name and _KEY.fullmatch(key) else None
        if standing is None:
            self._refuse(turn, 404, "no payment was submitted here under this key")
        else:
            self._respond(turn, 200, _JSON, self._progress(standing))

    def _read(self, turn: Turn, request: Request) -> _Visit | None:
        """A submission, unless it is refused at once."""
        keys = request.keys
        if len(keys) != 1 or not _KEY.fullmatch(keys[0]):
            what = f"one Idempotency-Key of 1 to {KEY_MAX} visible ASCII characters"
            self._refuse(turn, 400, what if keys else f"{what} is missing")
            return None
        if not _JSON_TYPE.fullmatch(request.media_type):
            self._refuse(turn, 415, "Content-Type: it must be application/json, in UTF-8")
            return None
        if request.encoding.lower() not in {b"", b"identity"}:
            detail = "Content-Encoding: the body must not be compressed, or encoded in any other way"
            self._refuse(turn, 415, detail, more=b"Accept-Encoding: identity\r\n")
            return None
        key = keys[0].decode("ascii")
        try:
            payment, covered, content = self._reader.read(request.body, key)
        except Malformed as malformed:
            self._reject(turn, 400, str(malformed), malformed.faults)
        except Invalid as invalid:
            self._reject(turn, 422, str(invalid), invalid.faults)
        except Exception as error:  # noqa: BLE001 - the boundary: what a client wrote must not end the process
            _log.error("a submission could not be judged", error=log.describe(error))
            self._refuse(turn, 500, "we failed; the log says how")
        else:
            now_s = trio.current_time()
            came_s, within_s = self._came_s(now_s), self._settings.answer_within_s
            wait = _WAIT.search(request.prefer) if request.prefer else None
            wait_s = min(float(wait[1]), self._settings.wait_max_s) if wait is not None else 0.0
            visit = _Visit(key, payment, covered, content, self._done, wait=wait_s > 0)
            visit.turn = turn
            turn.context = _Owed(visit, came_s, wait_s)
            turn.due_s = came_s + within_s
            if turn.due_s <= now_s:
                visit.stale = STALE
                turn.due_s = now_s + within_s
            return visit
        return None

    # --- what came of it

    def _done(self, submission: Submission) -> None:
        assert isinstance(submission, _Visit)
        turn = submission.turn
        if submission.void or turn.response is not None:
            return
        owed: _Owed = turn.context
        if owed.durable is None:
            metrics.SUBMISSION_DURABLE_S.observe(trio.current_time() - owed.started_s)
        standing = submission.standing
        if standing is None:
            if submission.refused == "conflict":
                self._refuse(turn, 409, submission.why)
            else:
                self._refuse(turn, 503, submission.why, code=submission.code, more=_RETRY_AFTER)
        elif owed.wait_s and standing.state not in RESTING:
            owed.durable = standing
            turn.due_s = owed.started_s + owed.wait_s
        else:
            owed.durable = standing
            self._answer(turn, standing)

    def _say(self, turn: Turn, durable: Standing) -> None:
        """Say where it stands now: the client's wait is over."""
        owed: _Owed = turn.context
        owed.visit.void = True
        self._answer(turn, self._engine.look(owed.visit.key) or durable)

    def _progress(self, standing: Standing) -> bytes:
        return encode(progress_of(standing, self._codes))

    def _answer(self, turn: Turn, standing: Standing) -> None:
        self._respond(turn, 200 if standing.state in RESTING else 202, _JSON, self._progress(standing))

    def _reject(self, turn: Turn, status: int, detail: str, faults: tuple[Fault, ...]) -> None:
        # the name of an unknown member is the client's text
        where = next((fault.pointer for fault in faults if fault.detail != UNKNOWN_MEMBER), "")
        _log.info("submission refused", status=status, where=where)
        self._refuse(turn, status, detail, faults)

    def _refuse(
        self,
        turn: Turn,
        status: int,
        detail: str,
        faults: tuple[Fault, ...] = (),
        *,
        code: str = "",
        more: bytes = b"",
    ) -> None:
        _forget(turn)
        problem = Problem(REASONS[status].decode("ascii"), status, detail, faults, code)
        self._respond(turn, status, _PROBLEM, encode(problem), more)

    def _respond(self, turn: Turn, status: int, media_type: bytes, body: bytes, more: bytes = b"") -> None:
        if turn.response is not None:
            return
        self._counts[status] += 1
        _COUNTED[status].inc()
        _forget(turn)
        turn.context = None  # it points back here: it must not have to wait for the garbage collector
        turn.visitor.respond(turn, status, media_type, body, more)

    # --- what people look at

    def statistics(self) -> dict[str, Any]:
        """Connections now, and counts since the start."""
        return {
            "connections": len(self._visitors),
            "owed": sum(len(visitor.turns) for visitor in self._visitors),
            "responses": {str(status): count for status, count in self._counts.items() if count},
            "turned_away": {
                "crowded": self._turned_away["crowded"] + (self._entrance.turned_away if self._entrance else 0),
                "tls": self._entrance.refused if self._entrance else 0,
                "short": self._turned_away["short"],
            },
        }


def _plain(stream: trio.abc.Stream) -> Pipe | None:
    """A pipe to a client without TLS; None: it is gone already."""
    if not isinstance(stream, trio.SocketStream):
        return StreamPipe(stream)
    try:
        return socket_pipe(stream)
    except OSError:
        return None


def _share(number: int) -> float:
    """The part of its greatest age that a connection gets: those that came together do not get old together."""
    return 1.0 - number * GOLDEN % 1.0 / 4


def _forget(turn: Turn) -> None:
    """Tell the engine that no client waits for it any more."""
    owed: _Owed | None = turn.context
    if owed is not None:
        owed.visit.void = True


def _path_of(target: bytes) -> bytes:
    """The path of a target, without the query. Proxies send a whole URL."""
    if not target.startswith(b"/"):
        target = b"/" + target.partition(b"://")[2].partition(b"/")[2]
    return target.partition(b"?")[0]
