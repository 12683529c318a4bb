"""What acts do: each asks the part that does it, and refuses in words."""

from collections.abc import Awaitable, Callable

import pytest
import trio

from gateway.acts import table
from gateway.config import StandInMode
from gateway.errors import JournalFault, Refusal, Unavailable
from gateway.ops import effects
from gateway.ops.desk import Effect
from gateway.ops.drain import Drain
from gateway.scheme.news import Lift, Taken
from gateway.scheme.ring import Allow, Use

NOTICE = table.Notice(17)


async def test_a_drain_is_begun_once_and_joined_by_the_next() -> None:
    asked = trio.Event()
    effect = effects.drain(Drain("sip-a", asked, lambda: 0, 30.0))
    assert await effect(table.Nothing(), "w") == {}
    assert asked.is_set()
    assert await effect(table.Nothing(), "w") == {"joined": "yes"}


async def test_stand_in_is_switched() -> None:
    modes: list[StandInMode] = []

    async def switch(mode: StandInMode) -> None:
        modes.append(mode)

    assert await effects.stand_in(switch)(table.Mode("never"), "w") == {"mode": "never"}
    assert modes == ["never"]


async def test_a_key_is_asked_for_or_not() -> None:
    asked: list[Use] = []

    def ask(use: Use) -> str:
        asked.append(use)
        return ""

    effect = effects.request_key(ask)
    assert await effect(table.Use("own"), "w") == {"use": "own"}
    assert asked == [Use.OWN]
    with pytest.raises(Refusal, match="no link stands"):
        await effects.request_key(lambda _use: "no link stands")(table.Use("own"), "w")


@pytest.mark.parametrize(
    ("make", "takes"), [(effects.allow_key, Allow("own", "abcdef")), (effects.lift, Lift("cap", "200000"))]
)
async def test_what_waits_for_the_disk_is_done_or_refused_in_words(
    make: Callable[[Callable[[object, str, Taken], None]], Effect], takes: object
) -> None:
    """The reason goes to the record."""
    heard: list[tuple[object, str]] = []

    def order(what: object, why: str, taken: Taken) -> None:
        heard.append((what, why))
        taken("")

    assert await make(order)(takes, "the hub says so")
    assert heard == [(takes, "the hub says so")]
    with pytest.raises(Refusal, match="nothing of this"):
        await make(lambda _what, _why, taken: taken("nothing of this is held"))(takes, "w")


async def test_a_stop_is_in_effect_although_memory_has_no_room_for_its_record() -> None:
    stopped: list[int] = []

    def stop() -> trio.Event:
        stopped.append(1)
        raise JournalFault("the journal is full")

    assert await effects.stop_submitting(stop)(table.Nothing(), "w") == {
        "lasting": "no, a restart would forget it: order it again (the journal is full)"
    }
    assert stopped == [1]
    assert await effects.stop_submitting(trio.Event)(table.Nothing(), "w") == {}


async def test_a_start_says_how_many_are_repeated() -> None:
    async def start() -> int:
        return 3

    assert await effects.start_submitting(start)(table.Nothing(), "w") == {"repeated": "3"}


def tell(error: Exception | None) -> Callable[[int], Awaitable[None]]:
    async def do(position: int) -> None:
        assert position == 17
        if error is not None:
            raise error

    return do


async def test_a_notice_is_told_again() -> None:
    """Only the receiver ends its being parked; a receiver that is none is said, with those that are."""
    assert await effects.tell_again({"processor": tell(None)})(NOTICE, "w") == {"told": "17"}
    for error in (Refusal("not parked"), Unavailable("nobody answers")):
        with pytest.raises(type(error)):
            await effects.tell_again({"processor": tell(error)})(NOTICE, "w")
    with pytest.raises(Refusal, match="no receiver of this name; there are peer-fdp, processor"):
        await effects.tell_again({"processor": tell(None), "peer-fdp": tell(None)})(table.Notice(17, "x"), "w")


async def test_a_notice_is_dropped_for_a_reason() -> None:
    dropped: list[tuple[int, str]] = []

    async def drop(position: int, reason: str) -> None:
        dropped.append((position, reason))

    assert await effects.drop_notice({"processor": drop})(NOTICE, "settled by hand") == {"dropped": "17"}
    assert dropped == [(17, "settled by hand")]


async def test_a_look_changes_nothing() -> None:
    assert await effects.reveal(table.Reveal("everything"), "w") == {}
