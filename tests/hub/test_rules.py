"""Every pair of the tables, and random lives: whatever hub and operator do, a session keeps its promises."""

import itertools
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway import config
from gateway.clock import Now
from gateway.hub.exchanges import MessageIds
from gateway.hub.rules import (
    DIRECTIONS,
    ECHOES,
    EXCHANGING,
    RESTING,
    Action,
    Changed,
    Direction,
    EchoEvent,
    EchoState,
    Finished,
    Lost,
    Report,
    Send,
    SignOnEvent,
    SignOnState,
)
from gateway.hub.session import Session
from gateway.wire.message import NetworkRequest, NetworkResponse, Usm, UsmAcknowledgement
from tests.hub.conftest import Make

# +: signs on, -: signs off, z: pauses, .: says nothing; x: cannot happen
GRID = """
             WANT          UNWANT         ACCEPTED       REFUSED       UNCLEAR       PAUSED         SIGNED_OFF
OFF          SIGNING_ON+   x              x              x             x             x              OFF.
SIGNING_ON   x             REVOKED.       ON.            REFUSEDz      IN_DOUBTz     x              SIGNING_ON.
REVOKED      SIGNING_ON.   x              SIGNING_OFF-   OFF.          SIGNING_OFF-  x              REVOKED.
ON           x             SIGNING_OFF-   x              x             x             x              REFUSEDz
SIGNING_OFF  RESTORED.     x              OFF.           LINGERINGz    LINGERINGz    x              SIGNING_OFF.
RESTORED     x             SIGNING_OFF.   SIGNING_ON+    SIGNING_ON+   SIGNING_ON+   x              RESTORED.
REFUSED      x             OFF.           x              x             x             SIGNING_ON+    REFUSED.
IN_DOUBT     x             SIGNING_OFF-   x              x             x             SIGNING_ON+    REFUSED.
LINGERING    SIGNING_ON+   x              x              x             x             SIGNING_OFF-   OFF.
"""

# e: sends an echo, r: reports, R: reports and sends another, L: reports and gives up
ECHO_GRID = """
             SILENCE       FRAME          RESPONSE       OVERDUE       LAST_OVERDUE  DOUBT
LISTENING    ASKEDe        LISTENING.     x              x             x             ASKEDe
ASKED        x             HEARD.         LISTENING.     ASKEDR        LISTENINGL    ASKEDe
HEARD        x             HEARD.         LISTENING.     LISTENINGr    x             ASKEDe
"""


def cells(grid: str) -> list[tuple[str, str, str]]:
    """State, event and cell."""
    head, *rows = [line.split() for line in grid.strip().splitlines()]
    return [(row[0], event, cell) for row in rows for event, cell in zip(head, row[1:], strict=True)]


def marks(actions: list[Action]) -> str:
    """The actions of one transition in the letters of the grids."""
    reported = any(isinstance(action, Report) for action in actions)
    if any(isinstance(action, Lost) for action in actions):
        return "L"
    for action in actions:
        if isinstance(action, Send):
            assert isinstance(action.message, NetworkRequest)
            match action.message.function_code:
                case "831":
                    return "R" if reported else "e"
                case "881" | "891":
                    return "+"
                case _:
                    return "-"
    return "r" if reported else "."


def test_the_grids_are_complete() -> None:
    """Every state with every event, and the tables hold nothing else."""
    pairs = itertools.product(SignOnState, SignOnEvent)
    assert [cell[:2] for cell in cells(GRID)] == [(s.name, e.name) for s, e in pairs]
    assert {(s.name, e.name) for s, e in DIRECTIONS} == {cell[:2] for cell in cells(GRID) if cell[2] != "x"}
    assert {cell[:2] for cell in cells(ECHO_GRID)} == {
        (s.name, e.name) for s, e in itertools.product(EchoState, EchoEvent)
    }
    assert {(s.name, e.name) for s, e in ECHOES} == {cell[:2] for cell in cells(ECHO_GRID) if cell[2] != "x"}


PATHS = {
    "OFF": "0 start\n0 hold\n0 < 9814 891 000001 9909",
    "SIGNING_ON": "0 start",
    "REVOKED": "0 start\n0 hold",
    "ON": "0 start\n0 < 9814 891 000001 0000",
    "SIGNING_OFF": "0 start\n0 < 9814 891 000001 0000\n0 hold",
    "RESTORED": "0 start\n0 < 9814 891 000001 0000\n0 hold\n0 resume",
    "REFUSED": "0 start\n0 < 9814 891 000001 9909",
    "IN_DOUBT": "0 start\n5 timer",
    "LINGERING": "0 start\n0 < 9814 891 000001 0000\n0 hold\n0 < 9814 892 000002 9909",
}
"""How a session gets into each state."""


@pytest.mark.parametrize("direction", Direction)
@pytest.mark.parametrize(("state", "event", "cell"), cells(GRID))
def test_every_pair_of_a_direction(state: str, event: str, cell: str, direction: Direction, player: Make) -> None:
    """A session that got into each state by itself does as the grid says, whatever happens next."""
    path = PATHS[state]
    if direction is Direction.SUBMIT:
        # nothing but the end revokes submitting: look at a session that thinks of receiving, under the other name
        path = path.replace("89", "88")
    play = player(submit=direction is Direction.SUBMIT, receive=direction is Direction.RECEIVE)
    for line in path.splitlines():
        time_s, what = line.split(None, 1)
        if direction is Direction.SUBMIT and what in {"hold", "resume"}:
            side = play.session._sides[direction]
            play.session._step(side, SignOnEvent.UNWANT if what == "hold" else SignOnEvent.WANT, Now(0.0, 0))
        else:
            play.do(float(time_s), what)
    session, now = play.session, Now(50.0, 0)
    session.take()
    side = session._sides[direction]
    assert side.state.name == state
    assert (side.exchange is not None) is (side.state in EXCHANGING)
    if cell == "x":
        with pytest.raises(AssertionError, match=f"{event} cannot happen to {direction.name} in {state}"):
            session._step(side, SignOnEvent[event], now)
        return
    paused_until_s = side.paused_until_s
    session._step(side, SignOnEvent[event], now)
    said = marks(session.take())
    if side.paused_until_s != paused_until_s:
        assert said == "."
        said = "z"
    assert side.state.name + said == cell
    assert (side.exchange is not None) is (side.state in EXCHANGING)


@pytest.mark.parametrize(("state", "event", "cell"), cells(ECHO_GRID))
def test_every_pair_of_echoes(state: str, event: str, cell: str, player: Make) -> None:
    """The same for our own echoes."""
    play = player(receive=False, submit=False)
    path = {"LISTENING": "", "ASKED": "30 timer", "HEARD": "30 timer\n31 bytes"}[state]
    play.play("0 start\n" + path.replace("timer", "timer -> 9804 831 000001"))
    session, now = play.session, Now(50.0, 0)
    assert session._echoes.state.name == state
    if cell == "x":
        with pytest.raises(AssertionError, match=f"{event} cannot happen to echoes in {state}"):
            session._echoes.step(EchoEvent[event], now)
        return
    session._echoes.step(EchoEvent[event], now)
    assert session._echoes.state.name + marks(session.take()) == cell
    assert (session._echoes.exchange is None) is (session._echoes.state is EchoState.LISTENING)


# --- random lives


class Life:
    """One session against a hub that does as it is told by chance, and the promises that are watched on the way.

    The hub keeps its own truth of what we are signed on for. Requests reach it in order; it may obey or refuse, and its
    response may come at once, later, or never.
    """

    def __init__(self, settings: config.Session) -> None:
        self.settings = settings
        self.session = Session(settings, MessageIds())
        self.now_s = 0.0
        self.truth = {"89": False, "88": False}
        self.unread: list[NetworkRequest] = []
        self.responses: list[NetworkResponse] = []
        self.outstanding: dict[str, float] = {}
        """By the first two digits of DE24: until when an exchange of ours is open."""
        self.open_ids: dict[str, str] = {}
        self.ids: set[str] = set()
        self.on = {Direction.RECEIVE: False, Direction.SUBMIT: False}
        self.over = False
        self.act(self.session.start)

    @property
    def now(self) -> Now:
        """The moment."""
        return Now(self.now_s, int(self.now_s * 1e9))

    def act(self, call: Callable[[Now], None]) -> list[Action]:
        """Let something happen, and judge what comes of it."""
        call(self.now)
        actions = self.session.take()
        assert not (self.over and actions), "something was done after the end"
        for action in actions:
            match action:
                case Send(message):
                    assert not self.over, "something was sent after the end"
                    if isinstance(message, NetworkRequest):
                        self._asked(message)
                case Changed(direction, on):
                    assert self.on[direction] is not on
                    self.on[direction] = on
                case Lost() | Finished():
                    self.over = True
        assert self.session.ended is self.over
        for direction, on in self.on.items():
            assert self.session.signed_on(direction) is on
        timer = self.session.next_timer()
        assert (timer is None) is self.over
        return actions

    def _asked(self, message: NetworkRequest) -> None:
        assert message.message_id not in self.ids, "DE11 was used before"
        self.ids.add(message.message_id)
        kind = message.function_code[:2]
        assert self.outstanding.get(kind, -1.0) <= self.now_s, "two exchanges at once"
        self.outstanding[kind] = self.now_s + self.settings.respond_within_s
        self.open_ids[kind] = message.message_id
        self.unread.append(message)

    # --- what the hub does

    def obey(self, how: str) -> None:
        """The hub reads our oldest request: "yes", "no", and then "silent" or not."""
        if not self.unread:
            return
        request = self.unread.pop(0)
        accepts = not how.startswith("no")
        kind = request.function_code[:2]
        if accepts and kind in self.truth:
            self.truth[kind] = request.function_code in {"881", "891"}
        if "silent" not in how:
            self.responses.append(
                NetworkResponse(
                    mti="9814",
                    transmission_time=request.transmission_time,
                    message_id=request.message_id,
                    function_code=request.function_code,
                    action_code="0000" if accepts else "9909",
                )
            )

    def deliver(self) -> None:
        """The oldest response arrives, in time or late."""
        if self.responses:
            response = self.responses.pop(0)
            kind = response.function_code[:2]
            if self.open_ids.get(kind) == response.message_id:
                self.outstanding[kind] = -1.0
            self.act(self.session.heard)
            self.act(lambda now: self.session.manage(response, now))

    def ask(self, function_code: str) -> None:
        """The hub asks; whatever it is, a living session responds at once, and to this."""
        request = NetworkRequest(
            mti="9804", transmission_time="0101000000", message_id="500001", function_code=function_code
        )
        self.act(self.session.heard)
        # the hub sends in order: what it said before is here before
        if function_code in {"882", "892"}:
            while self.responses:
                self.deliver()
            self.truth[function_code[:2]] = False
            # of what we sent long ago it has read what it ever will
            self.unread = [r for r in self.unread if self.outstanding[r.function_code[:2]] > self.now_s]
        was_over = self.over
        actions = self.act(lambda now: self.session.manage(request, now))
        sent = [a.message for a in actions if isinstance(a, Send) and isinstance(a.message, NetworkResponse)]
        if was_over:
            assert not sent
        else:
            assert [(r.message_id, r.function_code, r.transmission_time) for r in sent] == [
                ("500001", function_code, "0101000000")
            ]
            assert (sent[0].action_code == "0000") is (function_code in {"831", "882", "892"})

    def notify(self) -> None:
        """A USM; acknowledged at once."""
        was_over = self.over
        usm = Usm(mti="9824", transmission_time="0101000000", message_id="500002", function_code="971")
        actions = self.act(lambda now: self.session.manage(usm, now))
        sent = [a for a in actions if isinstance(a, Send) and isinstance(a.message, UsmAcknowledgement)]
        assert len(sent) == (not was_over)

    # --- time

    def wait(self, seconds: float) -> None:
        """Let time pass, with every timer on its time, and never twice for nothing."""
        end_s = self.now_s + seconds
        while (timer := self.session.next_timer()) is not None and timer <= end_s:
            assert timer >= self.now_s
            self.now_s = timer
            self.act(self.session.handle_timer)
            after = self.session.next_timer()
            assert after is None or after > self.now_s, "a timer that does not move on"
        self.now_s = end_s

    def be_good(self, seconds: float) -> bool:
        """From now on the hub obeys and responds at once. Whether the link lived through it."""
        end_s = self.now_s + seconds
        while self.now_s < end_s and not self.over:
            while self.unread or self.responses:
                self.obey("yes")
                self.deliver()
            self.wait(0.5)
        return not self.over


STEPS = st.one_of(
    st.sampled_from(["hold", "resume", "hold", "resume", "drain", "deliver", "deliver", "usm", "heard"]),
    st.sampled_from(["yes", "yes", "no", "yes silent", "no silent"]),
    st.sampled_from(["831", "882", "892", "811", "885", "886", "891", "999"]),
    st.floats(0.01, 12.0),
)


def live(life: Life, steps: list[str | float]) -> None:
    """Play random steps."""
    for step in steps:
        if isinstance(step, float):
            life.wait(step)
        elif step in {"hold", "resume", "drain", "heard"}:
            life.act(getattr(life.session, step))
        elif step == "deliver":
            life.deliver()
        elif step == "usm":
            life.notify()
        elif step.isdigit():
            life.ask(step)
        else:
            life.obey(step)


SETTINGS = st.builds(
    config.Session,
    receive=st.booleans(),
    submit=st.booleans(),
    echo_after_s=st.sampled_from([3.0, 30.0]),
    respond_within_s=st.sampled_from([0.5, 5.0]),
    echo_misses_max=st.integers(1, 3),
    retry_s=st.sampled_from([0.1, 1.0, 7.0]),
    retry_max_s=st.just(8.0),
)


@given(SETTINGS, st.lists(STEPS, max_size=60))
def test_no_life_breaks_a_promise(how: config.Session, steps: list[str | float]) -> None:
    """Never two exchanges of a kind at once, never a request of the hub unanswered, never an id twice, no timer that
    stands still, no change said that is none: `Life` watches. And when the hub comes to its senses, both sides end up
    agreeing on what we want.
    """
    life = Life(how)
    live(life, steps)
    if life.over:
        return
    # late responses of before are still on their way: they must not confuse what follows
    if not life.be_good(100.0):
        return
    held = [step for step in steps if step in {"hold", "resume"}][-1:] == ["hold"] or "drain" in steps
    assert life.truth == {"89": how.receive and not held, "88": how.submit}
    assert life.session.signed_on(Direction.RECEIVE) is life.truth["89"]
    assert life.session.signed_on(Direction.SUBMIT) is life.truth["88"]


@given(
    SETTINGS, st.lists(STEPS, max_size=40), st.lists(STEPS.filter(lambda step: not isinstance(step, float)), max_size=9)
)
def test_every_life_can_be_finished_in_time(how: config.Session, before: list[str | float], after: list[str]) -> None:
    """`finish` ends in `Finished` (or the hub is lost) within two times `respond_within_s`, whatever happens
    meanwhile.
    """
    life = Life(how)
    live(life, before)
    life.act(life.session.finish)
    for step in after:
        live(life, [step])
        life.wait(2 * how.respond_within_s / 10)
    life.wait(2 * how.respond_within_s)
    assert life.over


def test_states_that_wait_wait_for_something() -> None:
    """A state has an exchange, a pause, or is at rest: nothing can be stuck."""
    at_rest = {SignOnState.ON, SignOnState.OFF}
    assert EXCHANGING | RESTING | at_rest == set(SignOnState)
    assert not EXCHANGING & RESTING
    for state in EXCHANGING:
        responses = {SignOnEvent.ACCEPTED, SignOnEvent.REFUSED, SignOnEvent.UNCLEAR}
        assert {event for s, event in DIRECTIONS if s is state} >= responses
    for state in RESTING:
        assert (state, SignOnEvent.PAUSED) in DIRECTIONS


@settings(max_examples=20)
@given(st.integers(0, 999_998))
def test_ids_are_six_digits_from_anywhere(last: int) -> None:
    """And differ from the one before."""
    ids = MessageIds(last)
    one, two = ids.take(), ids.take()
    assert one != two
    assert len(one) == len(two) == 6
