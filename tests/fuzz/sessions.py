"""A session with a hub that says anything at any time, while we want anything."""

import math

from msgspec import structs

from gateway import config
from gateway.clock import Now
from gateway.hub.exchanges import MessageIds
from gateway.hub.rules import Direction, Finished, Lost, Report, Send
from gateway.hub.session import Session
from gateway.wire.message import Message, NetworkRequest
from tests.fuzz import good
from tests.fuzz.target import Dice, Target

NOON_NS = 1_792_238_400_000_000_000
KINDS = ("9804", "9814", "9824", "9834", "9624")
CODES = ("801", "802", "803", "804", "811", "812", "813", "814", "831", "883", "885", "886", "971", "", "8", "abc")
ACTIONS = ("0000", "9999", "9912", "", "1")
STEPS_S = (0.0, 0.001, 0.5, 1.0, 4.999, 5.0, 30.0, 31.0, 86400.0)
ACTIONS_MAX = 12
"""A call leads to some actions and not to a flood of them."""
CALLS_MAX = 400


class Play:
    """One session, and what it asked for."""

    def __init__(self, dice: Dice) -> None:
        self.dice = dice
        self.now_s = 0.0
        settings = config.Session(receive=not dice.odds(5), submit=not dice.odds(5), echo_misses_max=1 + dice.upto(2))
        self.session = Session(settings, MessageIds(999_990), held=dice.odds(4), draining=dice.odds(9))
        self.asked: list[NetworkRequest] = []
        self.over = False

    @property
    def now(self) -> Now:
        """Both clocks."""
        return Now(self.now_s, NOON_NS + int(self.now_s * 1e9))

    def message(self) -> Message:
        """Something that the hub says: mostly a response to what was asked last."""
        dice = self.dice
        if self.asked and not dice.odds(3):
            asked = self.asked[-1 - dice.upto(255) % len(self.asked)]
            return structs.replace(
                good.message("9814", full=True),
                transmission_time=asked.transmission_time,
                message_id=asked.message_id,
                function_code=asked.function_code,
                action_code=dice.pick(ACTIONS),
            )
        values = {"function_code": dice.pick(CODES), "message_id": dice.pick(("000001", "999999", "", "x" * 6))}
        if dice.odds(3):
            values["transmission_time"] = dice.take(10).decode("latin-1")
        return structs.replace(good.message(dice.pick(KINDS), full=True), fault=dice.upto(255) // 250, **values)

    def step(self) -> None:
        """One thing happens."""
        session, now, what = self.session, self.now, self.dice.upto(255) % 16
        if what < 5:
            message = self.message()
            session.places(message)
            session.heard(now)
            session.manage(message, now)
        elif what < 9:
            due_s = session.next_timer()
            if due_s is not None and due_s < math.inf:
                self.now_s = max(self.now_s, due_s)
            session.handle_timer(self.now)
        elif what < 12:
            self.now_s += self.dice.pick(STEPS_S)
            session.handle_timer(self.now)
        else:
            (
                session.hold,
                session.resume,
                session.heard,
                (session.drain, session.finish, session.end)[self.dice.upto(2)],
            )[what - 12](now)

    def look(self) -> None:
        """After each call."""
        session, actions = self.session, self.session.take()
        assert len(actions) <= ACTIONS_MAX
        assert not (self.over and actions), "nothing happens after the end"
        for action in actions:
            if isinstance(action, Send):
                good.CODEC.encode(action.message)
                if isinstance(action.message, NetworkRequest):
                    self.asked = [*self.asked[-9:], action.message]
            elif isinstance(action, Report):
                assert len(action.name) < 40
            self.over = self.over or isinstance(action, Lost | Finished)
        self.over = self.over or session.ended
        due_s = session.next_timer()
        assert (due_s is None) >= session.ended
        assert due_s is None or not math.isnan(due_s)
        assert session.settled_s(self.now) >= 0
        assert not (session.ended and (session.receiving or any(map(session.signed_on, Direction)))) or session.finished


def run(data: bytes) -> None:
    """No exception, no flood, nothing after the end; what is due is done when its timer is handled."""
    play = Play(Dice(data))
    play.session.start(play.now)
    play.look()
    calls = 0
    while play.dice and calls < CALLS_MAX:
        calls += 1
        play.step()
        play.look()
    for _ in range(20):
        due_s = play.session.next_timer()
        if due_s is None:
            break
        play.now_s = max(play.now_s, due_s)
        play.session.handle_timer(play.now)
        play.look()
        later_s = play.session.next_timer()
        assert later_s is None or later_s > play.now_s, "a timer that is due again at once"


def samples() -> list[bytes]:
    """Signing on, echoes, signing off."""
    return [
        bytes([0, 0, 0, 0, 0] + [0, 0, 0, 0] * 4 + [5] * 10),
        bytes([0, 0, 0, 0, 0] + [0, 0, 0, 0] * 2 + [12, 0, 0, 0, 13, 15, 1, 0, 0, 0]),
        bytes([2, 2, 1, 2, 2] + [0, 1, 0, 1, 0, 0, 0] * 3 + [9, 6, 5, 14, 15, 0]),
        bytes([0, 0, 1, 0, 0] + [5] * 40),
    ]


TARGET = Target(run, samples)
