"""The session of one link with the hub: sign-on, echo, sign-off. No I/O: events and `now` go in, actions come out.

It knows no payments, bytes, MACs or journal: it is handed verified management messages and hands out messages without a
MAC. `rules` says what it does and why, in words and as tables; here is only how.
"""

from gateway import config
from gateway.backoff import backoff_s
from gateway.clock import Now
from gateway.hub.echoes import Echoes
from gateway.hub.exchanges import Asking, Exchange, MessageIds, acknowledgement_of, response_to
from gateway.hub.rules import (
    DIRECTIONS,
    RESTING,
    SIGN_OFF,
    SIGN_ON,
    SIGN_ONS_MAX,
    SIGNING_ON,
    Action,
    Changed,
    Direction,
    EchoEvent,
    Finished,
    Lost,
    Report,
    ReportName,
    SignOnDo,
    SignOnEvent,
    SignOnState,
)
from gateway.wire.codes import ACCEPTED
from gateway.wire.message import Advice, Message, NetworkRequest, NetworkResponse, Usm, UsmAcknowledgement


class _Side:
    """One direction: its state and its exchange or pause."""

    __slots__ = ("attempts", "direction", "doubted", "exchange", "paused_until_s", "state", "unanswered", "wanted")

    def __init__(self, direction: Direction) -> None:
        self.direction = direction
        self.state = SignOnState.OFF
        self.wanted = False
        self.exchange: Exchange | None = None
        self.paused_until_s = 0.0
        self.attempts = 0
        """Pauses since the hub last accepted a request."""
        self.doubted = False
        """An exchange has gone unanswered since: the hub may have obeyed it, and a later refusal would not undo
        that."""
        self.unanswered = 0
        """Sign-ons in a row that had no response."""

    @property
    def as_wanted(self) -> bool:
        """Whether it is signed on or off, as we want it."""
        return self.state is (SignOnState.ON if self.wanted else SignOnState.OFF)


class _Steady:
    """The longest time that both directions were as we want them, without a break."""

    def __init__(self) -> None:
        self._since_s: float | None = None
        self._longest_s = 0.0

    def longest_s(self, now: Now) -> float:
        """Up to now."""
        return max(self._longest_s, 0.0 if self._since_s is None else now.mono_s - self._since_s)

    def note(self, now: Now, *, steady: bool) -> None:
        """Both directions are as we want them from now on, or they are not."""
        if not steady:
            self._longest_s, self._since_s = self.longest_s(now), None
        elif self._since_s is None:
            self._since_s = now.mono_s


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
        self._held = held
        self._draining = draining
        self._finishing = False
        self._started = False
        self._ended = False
        self._sides = {direction: _Side(direction) for direction in Direction}
        self._actions: list[Action] = []
        self._asking = Asking(message_ids, settings.respond_within_s, self._actions)
        self._echoes = Echoes(settings, self._asking, self._actions)
        self.answered = False
        """Whether the hub has responded to a sign-on or sign-off of ours: then it is one."""
        self._frames = 0
        """Frames of the hub that were no management message: payments, as far as we know."""
        self._frames_before = 0
        """`_frames` at the last look whether the hub ignores us."""
        self._steady = _Steady()

    # --- its state

    def state(self, direction: Direction) -> SignOnState:
        """Where a direction stands, for people and tests."""
        return self._sides[direction].state

    def signed_on(self, direction: Direction) -> bool:
        """Whether the hub has confirmed the sign-on. Payments are submitted only when SUBMIT is signed on."""
        return self._sides[direction].state is SignOnState.ON

    @property
    def receiving(self) -> bool:
        """Whether the hub may still send new payments, as far as we know."""
        return not self._ended and self._sides[Direction.RECEIVE].state not in {SignOnState.OFF, SignOnState.REFUSED}

    @property
    def as_wanted(self) -> bool:
        """Whether every direction is signed on or off, as we want it."""
        return all(side.as_wanted for side in self._sides.values())

    @property
    def finished(self) -> bool:
        """Whether `finish` was called: its end is no loss."""
        return self._finishing

    @property
    def ended(self) -> bool:
        """Nothing happens any more."""
        return self._ended

    def settled_s(self, now: Now) -> float:
        """The longest time that both directions were as we want them, without a break: how well the link did."""
        return self._steady.longest_s(now)

    def places(self, message: Message) -> bool:
        """Whether `manage` has a use for this message: False for a response that matches nothing, and for a 9624."""
        if isinstance(message, NetworkResponse):
            return self._exchange_of(message) is not None
        return isinstance(message, NetworkRequest | Usm)

    def take(self) -> list[Action]:
        """The actions to do now, in this order. Each is handed out once."""
        actions = [*self._actions]
        self._actions.clear()
        return actions

    # --- our wishes

    def start(self, now: Now) -> None:
        """The connection stands: sign on."""
        assert not self._started
        self._started = True
        self._echoes.heard_s = now.mono_s
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
        """Sign off to receive for good. Payments that were received still get their replies; submitting goes on."""
        self._draining = True
        self._want(now)

    def finish(self, now: Now) -> None:
        """Sign off in both directions, then `Finished`: within two times `respond_within_s`, whatever the hub does."""
        self._finishing = True
        self._want(now)
        self._finish_if_done()

    def end(self, now: Now) -> None:
        """The connection is gone."""
        self._steady.note(now, steady=False)
        for side in self._sides.values():
            if side.state is SignOnState.ON:
                self._actions.append(Changed(side.direction, on=False))
            side.state, side.exchange = SignOnState.OFF, None
        self._echoes.end()
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
                self._step(side, SignOnEvent.WANT if side.wanted else SignOnEvent.UNWANT, now)
        self._resettle(now)

    # --- the hub's messages

    def heard(self, now: Now) -> None:
        """Bytes came, at this time at the earliest. Called for each chunk, before it is understood or verified."""
        if not self._ended:
            self._echoes.heard(now)

    def came(self, frames: int) -> None:
        """This many frames came. Those that `manage` gets are subtracted again."""
        self._frames += frames

    def doubt(self, now: Now) -> None:
        """This process stood still: the hub may have gone meanwhile. Send an echo; one silence is enough."""
        if not self._started or self._ended or self._finishing:
            return
        self._echoes.doubt(now)

    def manage(self, message: Message, now: Now) -> None:
        """Take a verified message that is no payment; a `Usm` only after it is durable."""
        if self._ended:
            return
        self._frames -= 1
        match message:
            case NetworkRequest():
                self._requested(message, now)
            case NetworkResponse():
                self._responded(message, now)
            case Usm():
                self._actions += acknowledgement_of(message)
            case Advice():
                self._actions.append(Report("advice", None, message.function_code, "", message.message_id))
            case UsmAcknowledgement():
                # we send none that asks for it
                self._actions.append(Report("response unplaced", None, message.function_code, "", message.message_id))
            case _:
                raise AssertionError(f"{message.mti} is none of the session's business")

    def _requested(self, message: NetworkRequest, now: Now) -> None:
        actions, signs_off = response_to(message)
        self._actions += actions
        if signs_off is not None:
            self._step(self._sides[signs_off], SignOnEvent.SIGNED_OFF, now)
            self._resettle(now)

    def _exchange_of(self, message: NetworkResponse) -> Exchange | None:
        for exchange in (self._echoes.exchange, *(side.exchange for side in self._sides.values())):
            if exchange is not None and exchange.is_answered_by(message):
                return exchange
        return None

    def _responded(self, message: NetworkResponse, now: Now) -> None:
        exchange = self._exchange_of(message)
        code = message.action_code
        if exchange is None:
            self._actions.append(Report("response unplaced", None, message.function_code, code, message.message_id))
            return
        if exchange is self._echoes.exchange:
            # whatever its code says: the hub is there
            self._echoes.step(EchoEvent.RESPONSE, now)
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
        refused = SignOnEvent.UNCLEAR if side.doubted and side.state in SIGNING_ON else SignOnEvent.REFUSED
        self._step(side, SignOnEvent.ACCEPTED if accepted else refused, now)
        self._resettle(now)
        self._finish_if_done()

    # --- time

    def next_timer(self) -> float | None:
        """When to call `handle_timer`, on the clock of `Now.mono_s`; None: not before something else happens."""
        if not self._started or self._ended:
            return None
        return min(self._echoes.due_s, *(self._due_s(side) for side in self._sides.values()))

    def _due_s(self, side: _Side) -> float:
        if side.exchange is not None:
            return side.exchange.due_s
        # while finishing nothing is tried again: each direction could keep the other one going
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
                self._step(side, SignOnEvent.PAUSED, now)
                continue
            name: ReportName = "sign-on unanswered" if side.state in SIGNING_ON else "sign-off unanswered"
            self._actions.append(Report(name, side.direction, exchange.function_code, "", exchange.message_id))
            side.doubted = True
            side.unanswered += side.state in SIGNING_ON
            self._step(side, SignOnEvent.UNCLEAR, now)
            ignored = ignored or side.unanswered >= SIGN_ONS_MAX
            if self._echoes.heard_s <= exchange.sent_s and not self._finishing:
                self._echoes.ask(now)
        self._resettle(now)
        if not self._echoes.handle_timer(now):
            self.end(now)
        if ignored:
            self._lose_if_of_no_use(now)
        self._finish_if_done()

    def _lose_if_of_no_use(self, now: Now) -> None:
        """A hub that answers no sign-on and sends no payment: another address may have a better one (`network`)."""
        sends, self._frames_before = self._frames > self._frames_before, self._frames
        wanted = [side for side in self._sides.values() if side.wanted]
        ignored = wanted and all(side.unanswered >= SIGN_ONS_MAX for side in wanted)
        if ignored and not sends and not self._ended:
            self._actions.append(Lost(f"{SIGN_ONS_MAX} sign-ons in a row unanswered"))
            self.end(now)

    # --- the machines

    def _step(self, side: _Side, event: SignOnEvent, now: Now) -> None:
        """Take one line of `DIRECTIONS`."""
        before = side.state
        assert (before, event) in DIRECTIONS, f"{event.name} cannot happen to {side.direction.name} in {before.name}"
        side.state, do = DIRECTIONS[before, event]
        if event in {SignOnEvent.ACCEPTED, SignOnEvent.REFUSED, SignOnEvent.UNCLEAR}:
            side.exchange = None
        if (before is SignOnState.ON) is not (side.state is SignOnState.ON):
            self._actions.append(Changed(side.direction, on=side.state is SignOnState.ON))
        match do:
            case SignOnDo.SIGN_ON:
                side.exchange = self._asking.ask(SIGN_ON[side.direction], now)
            case SignOnDo.SIGN_OFF:
                side.exchange = self._asking.ask(SIGN_OFF[side.direction], now)
            case SignOnDo.REST:
                pause_s = backoff_s(side.attempts, self._settings.retry_s, self._settings.retry_max_s)
                side.paused_until_s = now.mono_s + pause_s
                side.attempts += 1
            case SignOnDo.NOTHING:
                pass

    def _resettle(self, now: Now) -> None:
        self._steady.note(now, steady=self.as_wanted and not self._ended)

    def _finish_if_done(self) -> None:
        if self._finishing and not self._ended and not any(side.exchange for side in self._sides.values()):
            self._actions.append(Finished())
            self._ended = True
