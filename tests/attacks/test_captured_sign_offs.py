"""Attacker: on the path to the hub. It records a sign-off of the hub (882, 892), and sends it again and again.

Gain: none that a cut cable would not bring. Each costs the pause until we sign on again; when the attacker ends, the
link is as before. A sign-on that is sent back to us is no request that a hub may make.
"""

import pytest

from gateway import config
from gateway.clock import Now
from gateway.hub.exchanges import MessageIds
from gateway.hub.rules import Direction, Lost, Send
from gateway.hub.session import Session
from gateway.wire.message import Message, NetworkRequest, NetworkResponse

SETTINGS = config.Session()


class Link:
    """A session with a hub that says yes to everything."""

    def __init__(self) -> None:
        self.now_s = 0.0
        self.session = Session(SETTINGS, MessageIds())
        self.codes: list[str] = []
        """What we responded to the attacker."""
        self.session.start(self.now)
        self.act()

    @property
    def now(self) -> Now:
        return Now(self.now_s, 1_800_000_000 * 10**9 + int(self.now_s * 1e9))

    def act(self) -> None:
        for action in self.session.take():
            assert not isinstance(action, Lost)
            if isinstance(action, Send) and isinstance(action.message, NetworkRequest):
                self.hear(accepted(action.message))
            elif isinstance(action, Send) and isinstance(action.message, NetworkResponse):
                self.codes.append(action.message.action_code)

    def hear(self, message: Message) -> None:
        self.session.heard(self.now)
        self.session.manage(message, self.now)
        self.act()

    def later(self, seconds: float) -> None:
        """Let time pass, doing what is due."""
        end_s = self.now_s + seconds
        while (due_s := self.session.next_timer()) is not None and due_s <= end_s:
            self.now_s = max(self.now_s, due_s)
            self.session.handle_timer(self.now)
            self.act()
        self.now_s = end_s

    def on(self) -> bool:
        return all(self.session.signed_on(each) for each in Direction)


def accepted(request: NetworkRequest) -> NetworkResponse:
    return NetworkResponse(
        mti="9814", transmission_time=request.transmission_time, message_id=request.message_id,
        function_code=request.function_code, action_code="0000",
    )  # fmt: skip


def captured(function_code: str) -> NetworkRequest:
    return NetworkRequest(mti="9804", transmission_time="1122120000", message_id="000001", function_code=function_code)


@pytest.mark.parametrize("function_code", ["882", "892"])
@pytest.mark.parametrize("every_s", [0.0, 0.5, 20.0])
def test_a_sign_off_that_is_sent_again_and_again_is_over_when_it_ends(function_code: str, every_s: float) -> None:
    """Within the first pause, however often it came: the other direction does not feel it, and no link is lost."""
    link = Link()
    assert link.on()
    other = Direction.RECEIVE if function_code == "882" else Direction.SUBMIT
    for _ in range(50):
        link.hear(captured(function_code))
        assert link.session.signed_on(other)
        link.later(every_s)
    link.later(2 * SETTINGS.retry_s)
    assert link.on()


@pytest.mark.parametrize("function_code", ["881", "891"])
def test_a_sign_on_is_not_the_hubs_to_ask_for(function_code: str) -> None:
    """1909, and nothing changes."""
    link = Link()
    link.hear(captured(function_code))
    assert link.codes == ["1909"]
    assert link.on()
