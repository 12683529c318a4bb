"""Where acts are ordered: it asks who comes, records, has the act done, and records what came of it.

    asked ── another person approves ─→ begun ─→ done, failed, or unknown (it took too long)
      └───── time is over, a rejection, a restart ─→ lapsed

An act that only makes us do less takes effect first, and its record follows as soon as the journal has room: a full or
hanging disk does not keep anybody from it. Every other act waits until its record is durable; when that takes too
long, it lapses and is not done.
"""

from collections.abc import Awaitable, Callable, Mapping
from typing import Any, NamedTuple, NoReturn, Protocol

import msgspec
import trio
from msgspec import Struct
from msgspec.structs import replace

from gateway import config, log
from gateway.acts.actors import Caller
from gateway.acts.book import Book
from gateway.acts.table import KINDS, Number, read, words_of
from gateway.clock import Clock
from gateway.errors import Refusal, Unavailable
from gateway.http.visitor import Request
from gateway.payments import steps

RECORD_WITHIN_S = 5.0
"""How long the record of an act may take to be durable. Then the act lapses."""
DONE_WITHIN_S = 15.0
"""How long an act may take. Then nobody knows whether it is done."""
WAITING_MAX = 16
"""Acts that wait for a second person, at most."""
CATCH_UP_S = 1.0
"""How often it is looked whether there is room again."""
UNRECORDED_MAX = 64
"""Acts that took effect and wait for room for their record, at most: more than there are acts that change something.
Of what is done besides, the log alone has a line."""

Effect = Callable[[Any, str], Awaitable[dict[str, str]]]
"""Does an act: what it takes, and why. Returns what came of it. Raises `Refusal` (it cannot be done as
things are), `Unavailable` (now)."""
Response = tuple[int, dict[str, Any]]

_log = log.get("acts")


class Recorder(Protocol):
    """Where records of acts go."""

    def has_room_for_act(self) -> bool:
        """Whether one more can be recorded."""

    def record_act(self, act: steps.Act) -> tuple[int, trio.Event]:
        """Record it: its position, and an event for when that is durable."""


class _Waiting(NamedTuple):
    """An act that waits for a second person."""

    act: steps.Act
    takes: Struct
    until_s: float


class _Refused(Exception):
    """The answer to an order that is not followed."""

    def __init__(self, status: int, error: str) -> None:
        super().__init__(error)
        self.status = status


class Desk:
    """Takes orders."""

    def __init__(
        self, settings: config.Acts, recorder: Recorder, book: Book, effects: Mapping[str, Effect], clock: Clock
    ) -> None:
        """`effects`: by name of the act, for those that this process has."""
        self._settings = settings
        self._recorder = recorder
        self.book = book
        self._effects = {**effects, "approve": self._approve, "reject": self._reject}
        self._clock = clock
        self._waiting: dict[int, _Waiting] = {}
        self._unrecorded: list[steps.Act] = []
        self._late = trio.Event()
        """Set while one waits for room."""
        self._caught_up = trio.Event()
        """Set while none does."""
        self._caught_up.set()
        self._last = trio.Event()
        """Set when the last record of an act is durable."""
        self._last.set()

    @property
    def names(self) -> list[str]:
        """The acts that can be ordered here."""
        return list(self._effects)

    async def see(self, _request: Request) -> Response:
        """The latest acts, for people."""
        self._lapse()
        return 200, {"acts": [msgspec.to_builtins(entry) for entry in self.book], "unrecorded": len(self._unrecorded)}

    # --- orders

    async def order(self, caller: Caller, name: str, body: bytes) -> Response:
        """One order. 200: done. 202: it waits for a second person. 400: no order. 403: not this caller's to give. 404:
        no such act here. 409: it cannot be done as things are. 503: not done. 504: not known whether it is done.
        """
        try:
            return await self._order(caller, name, body)
        except _Refused as refused:
            return refused.status, {"error": str(refused)}

    async def _order(self, caller: Caller, name: str, body: bytes) -> Response:
        kind, effect = KINDS.get(name), self._effects.get(name)
        if kind is None or effect is None:
            raise _Refused(404, f"there is no such act here; there are {', '.join(sorted(self._effects))}")
        if not caller.name or not caller.may(kind.role):
            _log.warning("an act was refused: not this caller's", act=name, who=caller.name, origin=caller.origin)
            raise _Refused(403, f"{caller.name or 'nobody by name'} ({caller.origin}) has not the role {kind.role}")
        try:
            why, takes = read(kind, body)
        except ValueError as error:
            raise _Refused(400, str(error)) from error
        self._lapse()
        act = steps.Act(name, "begun", caller.name, caller.origin, why, words_of(takes))
        if kind.less:
            return await self._at_once(act, takes, effect)
        if not self._recorder.has_room_for_act():
            raise _Refused(503, "not done: the journal has no room for its record")
        if isinstance(takes, Number):
            return await self._second(act, takes.number)
        if name in self._settings.second_person:
            return await self._ask(act, takes)
        number = await self._durable(act)
        return await self._do(number, act, takes, effect)

    async def _at_once(self, act: steps.Act, takes: Struct, effect: Effect) -> Response:
        """It makes us do less: the effect comes first."""
        try:
            result = await effect(takes, act.why)
        except Refusal as error:
            raise _Refused(409, str(error)) from error
        number = self._record_soon(replace(act, phase="done", what={**act.what, **result}))
        return 200, {"act": number or None, "state": "done", "result": result}

    async def _do(self, number: int, act: steps.Act, takes: Struct, effect: Effect) -> Response:
        """Its record is durable: do it, and record what came of it."""
        phase, status = "unknown", 504
        result = {"error": f"not done within {DONE_WITHIN_S:g} s; whether it will be is not known"}
        try:
            with trio.move_on_after(DONE_WITHIN_S):
                result = await effect(takes, act.why)
                phase, status = "done", 200
        except Refusal as error:
            phase, status, result = "failed", 409, {"error": str(error)}
        except Unavailable as error:
            phase, status, result = "failed", 503, {"error": str(error)}
        finally:
            self._record_soon(replace(act, phase=phase, number=number, why="", what=result))
        return status, {"act": number, "state": phase} | (result if status >= 400 else {"result": result})

    # --- a second person

    async def _ask(self, act: steps.Act, takes: Struct) -> Response:
        if len(self._waiting) >= WAITING_MAX:
            raise _Refused(503, f"not done: {WAITING_MAX} acts wait for a second person already")
        number = await self._durable(replace(act, phase="asked"))
        within_s = self._settings.approve_within_s
        self._waiting[number] = _Waiting(act, takes, trio.current_time() + within_s)
        return 202, {"act": number, "state": "asked", "within_s": within_s}

    async def _second(self, approval: steps.Act, number: int) -> Response:
        """Another person approves: now it is done."""
        waiting = self._waiting.get(number)
        if waiting is None:
            raise _Refused(409, "no act of this number waits")
        if waiting.act.who == approval.who:
            raise _Refused(403, f"{approval.who} ordered it: another person must approve")
        del self._waiting[number]  # before anything is waited for: it is done once
        name = waiting.act.act
        await self._durable(replace(approval, act=name, what={}, number=number))
        return await self._do(number, waiting.act, waiting.takes, self._effects[name])

    async def _approve(self, _takes: Number, _why: str) -> dict[str, str]:
        raise AssertionError("`_second` does it")

    async def _reject(self, takes: Number, _why: str) -> dict[str, str]:
        if self._waiting.pop(takes.number, None) is None:
            raise Refusal("no act of this number waits")
        self._end(takes.number, "lapsed", {"reason": "rejected"})
        return {}

    def _lapse(self) -> None:
        """Those that nobody approved in time are over."""
        now_s = trio.current_time()
        for number in [number for number, waiting in self._waiting.items() if waiting.until_s <= now_s]:
            del self._waiting[number]
            self._end(number, "lapsed", {"reason": "nobody approved it in time"})

    def _end(self, number: int, phase: str, what: dict[str, str]) -> None:
        entry = self.book.get(number)
        self._record_soon(steps.Act(entry.act if entry else "", phase, "", "", "", what, number))

    # --- records

    def signalled(self, name: str, act: str) -> None:
        """A signal had this process do something: nobody's name is known."""
        self._record_soon(steps.Act(act, "done", "", f"signal {name}", "", {}))

    def changed(self, act: steps.Act) -> None:
        """Something that nobody ordered here is to be known as an act: another configuration, a look while stopped."""
        self._record_soon(act)

    async def _durable(self, act: steps.Act) -> int:
        """Record it and wait for the disk. Returns the act's number. Too slow a disk ends it here."""
        position, durable = self._append(act)
        number = act.number or position
        with trio.move_on_after(RECORD_WITHIN_S):
            await durable.wait()
            return number
        self._end(number, "lapsed", {"reason": "its record took too long"})
        raise _Refused(503, f"not done: its record was not on disk within {RECORD_WITHIN_S:g} s")

    def _append(self, act: steps.Act) -> tuple[int, trio.Event]:
        position, durable = self._recorder.record_act(act)
        self._last = durable
        self.book.take(position, self._clock().wall_ns, act)
        say = _log.warning if act.phase in {"failed", "unknown"} else _log.info
        say("act", act=act.act, state=act.phase, who=act.who, origin=act.origin, position=act.number or position)
        return position, durable

    def _record_soon(self, act: steps.Act) -> int:
        """Record it now, or when there is room. Returns its position; 0: not yet."""
        act = act if act.time_ns else replace(act, time_ns=self._clock().wall_ns)
        if len(self._unrecorded) == UNRECORDED_MAX:  # the first ones stay: nobody gets rid of what he did by doing more
            _log.error("an act has no record: too many wait for room", act=act.act, who=act.who, origin=act.origin)
            return 0
        self._unrecorded.append(act)
        position = self.catch_up()
        if self._unrecorded:
            _log.warning("an act waits for room for its record", act=act.act, who=act.who, origin=act.origin)
        return position

    async def run(self) -> NoReturn:
        """Record what could not be recorded at once, as soon as there is room."""
        while True:
            await self._late.wait()
            await trio.sleep(CATCH_UP_S)
            self.catch_up()

    async def recorded(self) -> None:
        """Wait until all that was done so far is durable."""
        await self._caught_up.wait()
        await self._last.wait()

    def catch_up(self) -> int:
        """Record what waits for room. Returns the position of the last one; 0 while one waits."""
        position = 0
        while self._unrecorded:
            if not self._recorder.has_room_for_act():
                if self._caught_up.is_set():
                    self._caught_up = trio.Event()
                self._late.set()
                return 0
            position, _ = self._append(self._unrecorded.pop(0))
        self._caught_up.set()
        if self._late.is_set():
            self._late = trio.Event()
        return position
