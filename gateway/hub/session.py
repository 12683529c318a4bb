"""The session of one link with the hub: sign-on, echo, sign-off. No I/O: what happened and `now` go in, actions come
out.

Payments are none of its business, nor are bytes, MACs and the journal: it is handed verified management messages and
hands out messages without a MAC. What it does and why is in `rules`, in words and as tables; here is only how.
"""

from datetime import UTC, datetime
from typing import NamedTuple

from gateway import config
from gateway.backoff import backoff_s
from gateway.clock import Now
from gateway.hub.rules import (
    DIRECTIONS,
    ECHO,
    ECHOES,
    REQUESTS,
    RESTING,
    SIGN_OFF,
    SIGN_ON,
    SIGN_ONS_MAX,
    SIGNING_ON,
    UNKNOWN,
    Action,
    Changed,
    Direction,
    Do,
    EchoDo,
    EchoEvent,
    EchoState,
    Event,
    Finished,
    Lost,
    Report,
    ReportName,
    Send,
    State,
)
from gateway.wire.codes import ACCEPTED
from gateway.wire.message import Advice, Message, NetworkRequest, NetworkResponse, Usm, UsmAcknowledgement

# --- ids and dates


class MessageIds:
    """DE11 of our management messages: 000001 to 999999 and round again. One for all links, and for the engine's
    9624.
    """

    def __init__(self, last: int = 0) -> None:
        self._last = last

    def take(self) -> str:
        """The next one."""
        self._last = self._last % 999_999 + 1
        return f"{self._last:06d}"


def transmission_time(now: Now) -> str:
    """DE7, MMDDhhmmss in UTC."""
    return datetime.fromtimestamp(now.wall_ns // 1_000_000_000, UTC).strftime("%m%d%H%M%S")


# --- the session


class _Exchange(NamedTuple):
    """A request of ours that the hub has yet to respond to."""

    message_id: str
    function_code: str
    transmission_time: str
    sent_s: float
    due_s: float


class _Side:
    """One direction: its state and its exchange or pause."""

    __slots__ = ("attempts", "direction", "doubted", "exchange", "paused_until_s", "state", "unanswered", "wanted")

    def __init__(self, direction: Direction) -> None:
        self.direction = direction
        self.state = State.OFF
        self.wanted = False
        self.exchange: _Exchange | None = None
        self.paused_until_s = 0.0
        self.attempts = 0
        """Pauses since the hub last did as we asked."""
        self.doubted = False
        """An exchange went unanswered since: the hub may have obeyed it, and a refusal leaves what it did as it is."""
        self.unanswered = 0
        """Sign-ons in a row that had no response."""


class Session:
    """The session of one connection; a new connection gets a new one.

    Times of `Now.mono_s` decide, `Now.wall_ns` only dates messages. Every method may append actions: `take` them after
    each call, and call `handle_timer` when `next_timer` says. After `Lost`, `Finished` or `end` nothing happens any
    more.
    """

    def __init__(
        self, settings: config.Session, message_ids: MessageIds, *, held: bool = False, draining: bool = False
    ) -> None:
        self._settings = settings
        self._ids = message_ids
        self._held = held
        self._draining = draining
        self._finishing = False
        self._started = False
        self._ended = False
        self._sides = {direction: _Side(direction) for direction in Direction}
        self._echo_state = EchoState.LISTENING
        self._echo: _Exchange | None = None
        self._misses = 0
        self._heard_s = 0.0
        self.answered = False
        """Whether the hub has responded to a sign-on or sign-off of ours: then it is one."""
        self._frames = 0
        """Of the hub that were no message for us: payments, as far as we know."""
        self._frames_before = 0
        """When it was last looked whether the hub ignores us."""
        self._settled_s: float | None = None
        self._settled_longest_s = 0.0
        self._actions: list[Action] = []

    # --- what others ask

    def state(self, direction: Direction) -> State:
        """Where a direction stands, for people and tests."""
        return self._sides[direction].state

    def signed_on(self, direction: Direction) -> bool:
        """Whether the hub has confirmed it. Payments are submitted only when it says so for SUBMIT."""
        return self._sides[direction].state is State.ON

    @property
    def receiving(self) -> bool:
        """Whether the hub may still send new payments, as far as it let us know."""
        return not self._ended and self._sides[Direction.RECEIVE].state not in {State.OFF, State.REFUSED}

    @property
    def finished(self) -> bool:
        """Whether it was asked to finish: its end is no loss."""
        return self._finishing

    @property
    def ended(self) -> bool:
        """Nothing happens any more."""
        return self._ended

    def settled_s(self, now: Now) -> float:
        """The longest time that both directions were as we want them, without a break. A link that did well."""
        running = 0.0 if self._settled_s is None else now.mono_s - self._settled_s
        return max(self._settled_longest_s, running)

    def places(self, message: Message) -> bool:
        """Whether `manage` would find a use for this message: False for a response that matches nothing, and a 9624."""
        if isinstance(message, NetworkResponse):
            return self._exchange_of(message) is not None
        return isinstance(message, NetworkRequest | Usm)

    def take(self) -> list[Action]:
        """What is to be done now, in this order. Each action is handed out once."""
        actions, self._actions = self._actions, []
        return actions

    # --- what we want

    def start(self, now: Now) -> None:
        """The connection stands: sign on."""
        assert not self._started
        self._started = True
        self._heard_s = now.mono_s
        self._want(now)

    def hold(self, now: Now) -> None:
        """Not ready for payments: sign off to receive until `resume`, so that the hub uses another connection."""
        self._held = True
        self._want(now)

    def resume(self, now: Now) -> None:
        """Ready again. Does nothing while draining."""
        self._held = False
        self._want(now)

    def drain(self, now: Now) -> None:
        """Sign off to receive for good. What was received goes on being replied to; submitting goes on."""
        self._draining = True
        self._want(now)

    def finish(self, now: Now) -> None:
        """Sign off in both directions, then `Finished`: within two times `respond_within_s`, whatever the hub does."""
        self._finishing = True
        self._want(now)
        self._finish_if_done()

    def end(self, now: Now) -> None:
        """The connection is gone."""
        self._settle(now, settled=False)
        for side in self._sides.values():
            if side.state is State.ON:
                self._actions.append(Changed(side.direction, on=False))
            side.state, side.exchange = State.OFF, None
        self._echo_state, self._echo = EchoState.LISTENING, None
        self._ended = True

    def _want(self, now: Now) -> None:
        if not self._started or self._ended:
            return
        wanted = {
            Direction.RECEIVE: self._settings.receive and not (self._held or self._draining or self._finishing),
            Direction.SUBMIT: self._settings.submit and not self._finishing,
        }
        for side in self._sides.values():
            if side.wanted is not wanted[side.direction]:
                side.wanted = wanted[side.direction]
                side.attempts = 0
                self._step(side, Event.WANT if side.wanted else Event.UNWANT, now)
        self._resettle(now)

    # --- what the hub says

    def heard(self, now: Now) -> None:
        """Bytes came, at this time at the earliest. Called for each chunk, before anything in it is understood or
        verified.
        """
        if self._ended:
            return
        self._heard_s = max(self._heard_s, now.mono_s)
        if self._echo is not None and now.mono_s < self._echo.sent_s:
            return  # it may have come before we asked
        self._misses = 0
        self._step_echo(EchoEvent.FRAME, now)

    def came(self, frames: int) -> None:
        """So many frames came. What `manage` is handed of them comes off again."""
        self._frames += frames

    def doubt(self, now: Now) -> None:
        """This process stood still: the hub may have gone meanwhile. Ask, and take one silence for its answer."""
        if not self._started or self._ended or self._finishing:
            return
        self._misses = self._settings.echo_misses_max - 1
        self._step_echo(EchoEvent.DOUBT, now)

    def manage(self, message: Message, now: Now) -> None:
        """A verified message that is no payment. A `Usm` only after it is durable."""
        if self._ended:
            return
        self._frames -= 1
        match message:
            case NetworkRequest():
                self._requested(message, now)
            case NetworkResponse():
                self._responded(message, now)
            case Usm():
                self._notified(message)
            case Advice():
                self._actions.append(Report("advice", None, message.function_code, "", message.message_id))
            case UsmAcknowledgement():
                # we send none that asks for it
                self._actions.append(Report("response unplaced", None, message.function_code, "", message.message_id))
            case _:
                raise AssertionError(f"{message.mti} is none of the session's business")

    def _requested(self, message: NetworkRequest, now: Now) -> None:
        if not _can_copy(message):
            self._actions.append(Report("request malformed", None, "", "", ""))
            return
        response = UNKNOWN if message.fault else REQUESTS.get(message.function_code, UNKNOWN)
        self._actions.append(
            Send(
                NetworkResponse(
                    mti="9814",
                    transmission_time=message.transmission_time,
                    message_id=message.message_id,
                    function_code=message.function_code,
                    action_code=response.code,
                )
            )
        )
        if response.report is not None:
            self._actions.append(
                Report(response.report, response.signs_off, message.function_code, response.code, message.message_id)
            )
        if response.signs_off is not None:
            self._step(self._sides[response.signs_off], Event.SIGNED_OFF, now)
            self._resettle(now)

    def _notified(self, message: Usm) -> None:
        self._actions.append(Report("usm", None, message.function_code, "", message.message_id))
        if not _can_copy(message):
            self._actions.append(Report("request malformed", None, "", "", ""))
            return
        self._actions.append(
            Send(
                UsmAcknowledgement(
                    mti="9834",
                    transmission_time=message.transmission_time,
                    message_id=message.message_id,
                    function_code=message.function_code,
                    action_code=ACCEPTED,
                )
            )
        )

    def _exchange_of(self, message: NetworkResponse) -> _Exchange | None:
        """By DE7, DE11 and DE24: our ids begin anew with each process, so that an id alone may be an earlier life's."""
        for exchange in (self._echo, *(side.exchange for side in self._sides.values())):
            if (
                exchange is not None
                and exchange.message_id == message.message_id
                and exchange.function_code == message.function_code
                and exchange.transmission_time == message.transmission_time
            ):
                return exchange
        return None

    def _responded(self, message: NetworkResponse, now: Now) -> None:
        exchange = self._exchange_of(message)
        code = message.action_code
        if exchange is None:
            self._actions.append(Report("response unplaced", None, message.function_code, code, message.message_id))
            return
        if exchange is self._echo:
            # whatever its code says: the hub is there
            self._step_echo(EchoEvent.RESPONSE, now)
            return
        self.answered = True
        side = next(side for side in self._sides.values() if side.exchange is exchange)
        side.unanswered = 0
        accepted = code == ACCEPTED
        if not accepted:
            name: ReportName = "sign-on refused" if side.state in SIGNING_ON else "sign-off refused"
            self._actions.append(Report(name, side.direction, exchange.function_code, code, exchange.message_id))
        if accepted:
            side.attempts, side.doubted = 0, False
        unclear = side.doubted and side.state in SIGNING_ON
        self._step(side, Event.ACCEPTED if accepted else Event.UNCLEAR if unclear else Event.REFUSED, now)
        self._resettle(now)
        self._finish_if_done()

    # --- time

    def next_timer(self) -> float | None:
        """When to call `handle_timer`, on the clock of `Now.mono_s`; None: not before something else happens."""
        if not self._started or self._ended:
            return None
        echo = self._echo.due_s if self._echo is not None else self._heard_s + self._settings.echo_after_s
        return min(echo, *(self._due_s(side) for side in self._sides.values()))

    def _due_s(self, side: _Side) -> float:
        if side.exchange is not None:
            return side.exchange.due_s
        # while finishing nothing is tried again: two directions could go on doing so for each other's sake
        return side.paused_until_s if side.state in RESTING and not self._finishing else float("inf")

    def handle_timer(self, now: Now) -> None:
        """Do what is due. Early or repeated calls do nothing."""
        if not self._started or self._ended:
            return
        ignored = False
        for side in self._sides.values():
            if self._due_s(side) > now.mono_s:
                continue
            exchange = side.exchange
            if exchange is None:
                self._step(side, Event.PAUSED, now)
                continue
            name: ReportName = "sign-on unanswered" if side.state in SIGNING_ON else "sign-off unanswered"
            self._actions.append(Report(name, side.direction, exchange.function_code, "", exchange.message_id))
            side.doubted = True
            side.unanswered += side.state in SIGNING_ON
            self._step(side, Event.UNCLEAR, now)
            ignored = ignored or side.unanswered >= SIGN_ONS_MAX
            if self._heard_s <= exchange.sent_s and self._echo is None and not self._finishing:
                self._step_echo(EchoEvent.SILENCE, now)
        self._resettle(now)
        self._handle_echo_timer(now)
        if ignored:
            self._lose_if_of_no_use(now)
        self._finish_if_done()

    def _lose_if_of_no_use(self, now: Now) -> None:
        """Whoever is there answers no sign-on, and sends no payment: it may be another one's turn (`network`)."""
        sends, self._frames_before = self._frames > self._frames_before, self._frames
        wanted = [side for side in self._sides.values() if side.wanted]
        ignored = wanted and all(side.unanswered >= SIGN_ONS_MAX for side in wanted)
        if ignored and not sends and not self._ended:
            self._actions.append(Lost(f"{SIGN_ONS_MAX} sign-ons in a row unanswered"))
            self.end(now)

    def _handle_echo_timer(self, now: Now) -> None:
        if self._echo is not None and self._echo.due_s <= now.mono_s:
            last = False
            if self._echo_state is EchoState.ASKED:
                self._misses += 1
                last = self._misses >= self._settings.echo_misses_max
            self._step_echo(EchoEvent.LAST_OVERDUE if last else EchoEvent.OVERDUE, now)
        # not else: what came while the echo was out may itself be long ago
        if self._echo is None and not self._ended and self._heard_s + self._settings.echo_after_s <= now.mono_s:
            self._step_echo(EchoEvent.SILENCE, now)

    # --- the machines

    def _step(self, side: _Side, event: Event, now: Now) -> None:
        """Take one line of `DIRECTIONS`."""
        before = side.state
        assert (before, event) in DIRECTIONS, f"{event.name} cannot happen to {side.direction.name} in {before.name}"
        side.state, do = DIRECTIONS[before, event]
        if event in {Event.ACCEPTED, Event.REFUSED, Event.UNCLEAR}:
            side.exchange = None
        if (before is State.ON) is not (side.state is State.ON):
            self._actions.append(Changed(side.direction, on=side.state is State.ON))
        match do:
            case Do.SIGN_ON:
                side.exchange = self._ask(SIGN_ON[side.direction], now)
            case Do.SIGN_OFF:
                side.exchange = self._ask(SIGN_OFF[side.direction], now)
            case Do.REST:
                pause_s = backoff_s(side.attempts, self._settings.retry_s, self._settings.retry_max_s)
                side.paused_until_s = now.mono_s + pause_s
                side.attempts += 1
            case Do.NOTHING:
                pass

    def _step_echo(self, event: EchoEvent, now: Now) -> None:
        """Take one line of `ECHOES`."""
        before, echo = self._echo_state, self._echo
        assert (before, event) in ECHOES, f"{event.name} cannot happen to echoes in {before.name}"
        self._echo_state, do = ECHOES[before, event]
        if self._echo_state is EchoState.LISTENING or do is EchoDo.REPEAT:
            self._echo = None
        if do in {EchoDo.REPORT, EchoDo.REPEAT, EchoDo.LOSE}:
            assert echo is not None
            self._actions.append(Report("echo unanswered", None, ECHO, "", echo.message_id))
        if do in {EchoDo.ECHO, EchoDo.REPEAT}:
            self._echo = self._ask(ECHO, now)
        elif do is EchoDo.LOSE:
            self._actions.append(Lost(f"{self._misses} echoes in a row unanswered"))
            self.end(now)

    def _ask(self, function_code: str, now: Now) -> _Exchange:
        due_s = now.mono_s + self._settings.respond_within_s
        exchange = _Exchange(self._ids.take(), function_code, transmission_time(now), now.mono_s, due_s)
        self._actions.append(
            Send(
                NetworkRequest(
                    mti="9804",
                    transmission_time=exchange.transmission_time,
                    message_id=exchange.message_id,
                    function_code=function_code,
                )
            )
        )
        return exchange

    def _resettle(self, now: Now) -> None:
        settled = all(side.state is (State.ON if side.wanted else State.OFF) for side in self._sides.values())
        self._settle(now, settled=settled and not self._ended)

    def _settle(self, now: Now, *, settled: bool) -> None:
        if not settled:
            self._settled_longest_s, self._settled_s = self.settled_s(now), None
        elif self._settled_s is None:
            self._settled_s = now.mono_s

    def _finish_if_done(self) -> None:
        if self._finishing and not self._ended and not any(side.exchange for side in self._sides.values()):
            self._actions.append(Finished())
            self._ended = True


def _can_copy(message: NetworkRequest | Usm) -> bool:
    """Whether DE7, DE11 and DE24 are there and digits, so that a response can copy them."""
    return (
        _digits(message.transmission_time, 10) and _digits(message.message_id, 6) and _digits(message.function_code, 3)
    )


def _digits(value: str, width: int) -> bool:
    return len(value) == width and value.isascii() and value.isdigit()
