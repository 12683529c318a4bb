"""Our echoes on one link: whether the hub is still there. The machine of the table `rules.ECHOES`. Pure."""

from gateway import config
from gateway.clock import Now
from gateway.hub.exchanges import Asking, Exchange
from gateway.hub.rules import ECHO, ECHOES, Action, EchoDo, EchoEvent, EchoState, Lost, Report


class Echoes:
    """The last sign of the hub, and the outstanding echo."""

    def __init__(self, settings: config.Session, asking: Asking, actions: list[Action]) -> None:
        self._settings = settings
        self._asking = asking
        self._actions = actions
        self.state = EchoState.LISTENING
        self.exchange: Exchange | None = None
        self.heard_s = 0.0
        """When bytes came last, at the earliest."""
        self._misses = 0
        """Echoes in a row that met nothing but silence."""

    @property
    def due_s(self) -> float:
        """When the next echo, or the response to the outstanding one, is due."""
        return self.exchange.due_s if self.exchange is not None else self._silent_s

    @property
    def _silent_s(self) -> float:
        return self.heard_s + self._settings.echo_after_s

    def heard(self, now: Now) -> None:
        """Bytes came, at this time at the earliest."""
        self.heard_s = max(self.heard_s, now.mono_s)
        if self.exchange is not None and now.mono_s < self.exchange.sent_s:
            return  # it may have come before we asked
        self._misses = 0
        self.step(EchoEvent.FRAME, now)

    def doubt(self, now: Now) -> None:
        """This process stood still: the hub may have gone meanwhile. One silence is enough."""
        self._misses = self._settings.echo_misses_max - 1
        self.step(EchoEvent.DOUBT, now)

    def ask(self, now: Now) -> None:
        """Ask now, unless an echo is outstanding."""
        if self.exchange is None:
            self.step(EchoEvent.SILENCE, now)

    def handle_timer(self, now: Now) -> bool:
        """Do what is due. False: the hub is not there."""
        if self.exchange is not None and self.exchange.due_s <= now.mono_s:
            last = False
            if self.state is EchoState.ASKED:
                self._misses += 1
                last = self._misses >= self._settings.echo_misses_max
            self.step(EchoEvent.LAST_OVERDUE if last else EchoEvent.OVERDUE, now)
            if last:
                return False
        # not else: the bytes that came while the echo was out may themselves be long ago
        if self.exchange is None and self._silent_s <= now.mono_s:
            self.step(EchoEvent.SILENCE, now)
        return True

    def end(self) -> None:
        """The connection is gone."""
        self.state, self.exchange = EchoState.LISTENING, None

    def step(self, event: EchoEvent, now: Now) -> None:
        """Take one line of `ECHOES`."""
        before, exchange = self.state, self.exchange
        assert (before, event) in ECHOES, f"{event.name} cannot happen to echoes in {before.name}"
        self.state, do = ECHOES[before, event]
        if self.state is EchoState.LISTENING or do is EchoDo.REPEAT:
            self.exchange = None
        if do in {EchoDo.REPORT, EchoDo.REPEAT, EchoDo.LOSE}:
            assert exchange is not None
            self._actions.append(Report("echo unanswered", None, ECHO, "", exchange.message_id))
        if do in {EchoDo.ECHO, EchoDo.REPEAT}:
            self.exchange = self._asking.ask(ECHO, now)
        elif do is EchoDo.LOSE:
            self._actions.append(Lost(f"{self._misses} echoes in a row unanswered"))
