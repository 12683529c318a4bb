"""Requests and responses of a session: how ours are made and known again, and how the hub's are answered. Pure."""

from datetime import UTC, datetime
from typing import NamedTuple

from gateway.clock import Now
from gateway.hub.rules import REQUESTS, UNKNOWN, Action, Direction, Report, Send
from gateway.wire.codes import ACCEPTED
from gateway.wire.message import NetworkRequest, NetworkResponse, Usm, UsmAcknowledgement


class MessageIds:
    """DE11 of our management messages: 000001 to 999999 and round again. One for all links, and for the engine's
    9624.

    They do not begin anew with a process: `engine.reserving` writes ahead how many are spoken for, and the next process
    begins behind that. So a response to a process before this one answers nothing that this one asks, whatever a clock
    says. Ids that are spoken for and not used are skipped.
    """

    def __init__(self, taken: int = 0) -> None:
        """`taken`: how many are spoken for by the processes before this one, all rounds counted."""
        self.taken = taken

    def take(self) -> str:
        """The next one."""
        self.taken += 1
        return f"{(self.taken - 1) % 999_999 + 1:06d}"


def transmission_time(now: Now) -> str:
    """DE7, MMDDhhmmss in UTC."""
    return datetime.fromtimestamp(now.wall_ns // 1_000_000_000, UTC).strftime("%m%d%H%M%S")


class Exchange(NamedTuple):
    """A request of ours that the hub has yet to respond to."""

    message_id: str
    function_code: str
    transmission_time: str
    sent_s: float
    due_s: float

    def is_answered_by(self, message: NetworkResponse) -> bool:
        """By DE7, DE11 and DE24: ids come round again."""
        return (
            self.message_id == message.message_id
            and self.function_code == message.function_code
            and self.transmission_time == message.transmission_time
        )


class Asking:
    """Makes the requests of one session. They are sent by way of `actions`."""

    def __init__(self, message_ids: MessageIds, respond_within_s: float, actions: list[Action]) -> None:
        self._ids = message_ids
        self._respond_within_s = respond_within_s
        self._actions = actions

    def ask(self, function_code: str, now: Now) -> Exchange:
        """Send a 9804."""
        due_s = now.mono_s + self._respond_within_s
        exchange = Exchange(self._ids.take(), function_code, transmission_time(now), now.mono_s, due_s)
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


def response_to(message: NetworkRequest) -> tuple[list[Action], Direction | None]:
    """How the hub's request is answered, and the direction that it signs off, if it does."""
    if not _can_copy(message):
        return [Report("request malformed")], None
    response = UNKNOWN if message.fault else REQUESTS.get(message.function_code, UNKNOWN)
    actions: list[Action] = [
        Send(
            NetworkResponse(
                mti="9814",
                transmission_time=message.transmission_time,
                message_id=message.message_id,
                function_code=message.function_code,
                action_code=response.code,
            )
        )
    ]
    if response.report is not None:
        actions.append(
            Report(response.report, response.signs_off, message.function_code, response.code, message.message_id)
        )
    return actions, response.signs_off


def acknowledgement_of(message: Usm) -> list[Action]:
    """How the hub's news is acknowledged."""
    report = Report("usm", None, message.function_code, "", message.message_id)
    if not _can_copy(message):
        return [report, Report("request malformed")]
    return [
        report,
        Send(
            UsmAcknowledgement(
                mti="9834",
                transmission_time=message.transmission_time,
                message_id=message.message_id,
                function_code=message.function_code,
                action_code=ACCEPTED,
            )
        ),
    ]


def _can_copy(message: NetworkRequest | Usm) -> bool:
    """Whether DE7, DE11 and DE24 are there and digits, so that a response can copy them."""
    return (
        _digits(message.transmission_time, 10) and _digits(message.message_id, 6) and _digits(message.function_code, 3)
    )


def _digits(value: str, width: int) -> bool:
    return len(value) == width and value.isascii() and value.isdigit()
