"""What each act does to this process: from what the act takes to the part that does it."""

from collections.abc import Awaitable, Callable, Mapping
from typing import TypeVar

import trio

from gateway.acts import table
from gateway.config import StandInMode
from gateway.errors import JournalFault, Refusal
from gateway.ops.desk import Effect
from gateway.ops.drain import Drain
from gateway.ops.news import until_taken
from gateway.scheme.news import Lift, Taken
from gateway.scheme.ring import Allow, Use

Switch = Callable[[StandInMode], Awaitable[None]]
AskForKey = Callable[[Use], str]
OrderAllow = Callable[[Allow, str, Taken], None]
OrderLift = Callable[[Lift, str, Taken], None]
TellAgain = Callable[[int], Awaitable[None]]
"""`Forwarder.tell_again`."""
Drop = Callable[[int, str], Awaitable[None]]
"""`Forwarder.drop`."""
T = TypeVar("T")


def drain(part: Drain) -> Effect:
    """Begin the drain, or join it."""

    async def do(_takes: table.Nothing, _why: str) -> dict[str, str]:
        return {"joined": "yes"} if part.begin() else {}

    return do


def stand_in(switch: Switch) -> Effect:
    """Switch stand-in; done when the mode is on disk."""

    async def do(takes: table.Mode, _why: str) -> dict[str, str]:
        await switch(takes.mode)
        return {"mode": takes.mode}

    return do


def request_key(ask: AskForKey) -> Effect:
    """Ask the hub for a key."""

    async def do(takes: table.Use, _why: str) -> dict[str, str]:
        _unless(ask(Use(takes.use)))
        return {"use": takes.use}

    return do


def allow_key(order: OrderAllow) -> Effect:
    """Let a superseded key come back, once; done when that is on disk."""

    async def do(takes: Allow, why: str) -> dict[str, str]:
        _unless(await until_taken(lambda taken: order(takes, why, taken)))
        return {"use": takes.use, "check": takes.check.upper()}

    return do


def lift(order: OrderLift) -> Effect:
    """Lift what news holds."""

    async def do(takes: Lift, why: str) -> dict[str, str]:
        _unless(await until_taken(lambda taken: order(takes, why, taken)))
        return table.words_of(takes)

    return do


def stop_submitting(stop: Callable[[], trio.Event]) -> Effect:
    """Let no payment of ours leave: in effect when this returns, also on a full disk. Where memory has no room for the
    record that makes it last, the operator hears so, and must order it again.
    """

    async def do(_takes: table.Nothing, _why: str) -> dict[str, str]:
        try:
            stop()
        except JournalFault as error:
            return {"lasting": f"no, a restart would forget it: order it again ({error})"}
        return {}

    return do


def start_submitting(start: Callable[[], Awaitable[int]]) -> Effect:
    """Let payments leave again; done when that is on disk."""

    async def do(_takes: table.Nothing, _why: str) -> dict[str, str]:
        return {"repeated": str(await start())}

    return do


def drop_notice(droppers: Mapping[str, Drop]) -> Effect:
    """Drop a parked notice; done when that is on disk."""

    async def do(takes: table.Notice, why: str) -> dict[str, str]:
        await _of(droppers, takes.to)(takes.position, why)
        return {"dropped": str(takes.position)}

    return do


def tell_again(tellers: Mapping[str, TellAgain]) -> Effect:
    """Tell a parked notice once more. Only the receiver's 2xx ends its being parked."""

    async def do(takes: table.Notice, _why: str) -> dict[str, str]:
        await _of(tellers, takes.to)(takes.position)
        return {"told": str(takes.position)}

    return do


async def reveal(_takes: table.Reveal, _why: str) -> dict[str, str]:
    """The command shows it: what is to be known is that it did."""
    return {}


def _unless(refused: str) -> None:
    if refused:
        raise Refusal(refused)


def _of(receivers: Mapping[str, T], to: str) -> T:
    if (found := receivers.get(to)) is None:
        raise Refusal(f"no receiver of this name; there are {', '.join(sorted(receivers))}")
    return found
