"""What `fps-gateway hsm check` sees: the same sentences for fake tokens and for SoftHSM, and for fakes alone."""

from typing import Any

import pytest
import trio

from gateway import config
from gateway.payments.work import Install
from gateway.signer import messages
from gateway.signer.messages import Shown
from gateway.signer.survey import TRIES_MAX, Report, Seen, judge, survey
from gateway.signer.wanted import Wanted
from hsm import reference
from tests.fakes.token import TRANSPORT

LABELS = ("fps-hub", "fps-own", "fps-seal")


def states(report: Report) -> list[str]:
    return [outage.state for outage in report.states.values()]


async def test_tokens_that_agree_are_well_and_show_the_check_values_of_their_keys(clock: Any, world: Any) -> None:
    """Those that the reference computes from the same values: MACs of zeros, and zeros under the transport key."""
    world.remote = True
    report = await world.survey()
    assert states(report) == ["serving"] * 3
    assert report.well
    assert report.labels == LABELS
    assert report.groups == [["fps-1", "fps-2", "fps-3"]]
    assert report.used == ["fps-1", "fps-2"], "the third is remote"
    for seen in report.seen:
        checks = {label: check[:6] for label, check in seen.shown.checks.items()}
        macs = {label: reference.mac(world.mac.algorithm, world.keys[label], bytes(16)) for label in LABELS}
        assert checks == {
            **{label: mac[:3].hex().upper() for label, mac in macs.items()},
            TRANSPORT: reference.enciphered_zeros(world.keys[TRANSPORT])[:3].hex().upper(),
        }
        assert seen.mac_s is not None


async def test_a_token_with_another_key_is_named_and_so_is_the_key(clock: Any, world: Any) -> None:
    world.other_key("fps-1", "fps-own")
    report = await world.survey()
    assert states(report) == ["different-keys", "serving", "serving"]
    assert report.states["fps-1"].why == 'keys differ: "fps-own" is not the same as in fps-2, fps-3'
    assert report.groups == [["fps-2", "fps-3"], ["fps-1"]]
    assert not report.well
    checks = [seen.shown.checks["fps-own"] for seen in report.seen]
    assert checks[0] != checks[1] == checks[2]


async def test_a_missing_key_is_named_and_all_others_are_shown(clock: Any, world: Any) -> None:
    """One look reports everything: no fault hides behind another."""
    world.lose_key("fps-1", "fps-hub")
    world.lose_key("fps-1", "fps-seal")
    world.lose_key("fps-2", TRANSPORT)
    report = await world.survey("fps-own.ABCDEF")
    assert states(report) == ["no-key"] * 3
    missing = [sorted(seen.shown.failures) for seen in report.seen]
    assert missing == [["fps-hub", "fps-own.ABCDEF", "fps-seal"], ["fps-own.ABCDEF", TRANSPORT], ["fps-own.ABCDEF"]]
    assert report.seen[0].shown.failures["fps-hub"] == 'no secret key labelled "fps-hub"'
    assert report.seen[1].shown.failures[TRANSPORT] == f'no transport key labelled "{TRANSPORT}"'
    assert "fps-own" in report.seen[0].shown.checks


async def test_a_token_without_a_transport_key_serves_and_is_not_well(clock: Any, world: Any) -> None:
    world.lose_key("fps-2", TRANSPORT)
    report = await world.survey()
    assert states(report) == ["serving"] * 3
    assert not report.well


async def test_what_keeps_a_token_out_is_said_of_each(clock: Any, world: Any) -> None:
    """A wrong PIN is tried once: the token would be locked after a few."""
    world.wrong_pin("fps-1")
    world.lose_module("fps-2")
    world.take_away("fps-3")
    report = await world.survey()
    assert states(report) == ["wrong-pin", "no-module", "no-token"]
    assert [seen.tries for seen in report.seen] == [1, 1, 1]
    assert (report.serving, report.groups, report.used, report.well) == ([], [], [], False)


@pytest.mark.parametrize("kind", ["fake"])
async def test_a_token_that_hangs_holds_up_no_other_one_and_leaves_no_process(clock: Any, world: Any) -> None:
    """At its start, or in the middle; each has its deadline."""
    world.tokens["fps-1"].hang()
    world.tokens["fps-2"].batch_s = 1.0
    report = await world.survey()
    assert states(report) == ["hung", "hung", "serving"]
    assert report.states["fps-1"].why == "hung: not up within 10 s"
    assert report.states["fps-2"].why == "hung: no answer within 0.5 s"
    assert report.serving == ["fps-3"]
    assert not any(token.workers for token in world.tokens.tokens.values())


@pytest.mark.parametrize("kind", ["fake"])
async def test_how_long_a_mac_takes_is_measured_and_a_slow_token_would_not_be_used(clock: Any, world: Any) -> None:
    world.tokens["fps-1"].batch_s = 0.4
    report = await world.survey()
    assert report.seen[0].mac_s == pytest.approx(0.4)
    assert report.well, "slow is no fault"
    assert report.used == ["fps-2", "fps-3"]


@pytest.mark.parametrize("kind", ["fake"])
async def test_a_token_that_fails_to_open_is_tried_again_and_no_other_one_is(
    clock: Any, world: Any, nursery: trio.Nursery
) -> None:
    """A login that fails for no fault of the PIN's, as the gateway tries it again."""
    world.tokens["fps-1"].fail("failing", "the token cannot be opened: FunctionFailed")
    world.tokens["fps-2"].fail("failing", "the token cannot be opened: FunctionFailed")
    world.wrong_pin("fps-3")

    async def come_back() -> None:
        await trio.sleep(0.1)
        world.tokens["fps-2"].come_back()

    nursery.start_soon(come_back)
    report = await world.survey()
    assert states(report) == ["failing", "serving", "wrong-pin"]
    assert [seen.tries for seen in report.seen] == [TRIES_MAX, 2, 1]
    assert [world.tokens[name].starts for name in world.names] == [TRIES_MAX, 2, 1]


@pytest.mark.parametrize("kind", ["fake"])
async def test_a_worker_that_is_lost_is_said_to_be(clock: Any, world: Any, nursery: trio.Nursery) -> None:
    """One that crashes, one that fails in service, and one that cannot be started."""
    for name in ("fps-1", "fps-2"):
        world.tokens[name].batch_s = 0.01

    async def trouble() -> None:
        await trio.sleep(0.05)
        world.tokens["fps-1"].crash()
        world.tokens["fps-2"].fail("failing", "the token failed in service: DeviceError")

    async def open_worker(token: config.Token) -> Any:
        if token.name == "fps-3":
            raise OSError(12, "Cannot allocate memory")
        return await world.tokens.open(token)

    nursery.start_soon(trouble)
    tokens = [world.settings(name) for name in world.names]
    report = await survey(tokens, config.Pair(group="sip", mac=world.mac), open_worker=open_worker)
    assert states(report) == ["crashed", "failing", "crashed"]
    assert report.states["fps-1"].why == "crashed: the worker ended by nobody (a fake)"
    assert report.states["fps-3"].why.startswith("no worker could be started: ")


def seen_of(*keys: str) -> list[Seen]:
    """Tokens t1, t2, … of which each has a key of this value."""
    return [
        Seen(
            config.Token(name=f"t{at}", label="none", module="none", pin_file="none"),
            None,
            Shown({"fps-own": value}, {}, {TRANSPORT: value.upper()}),
        )
        for at, value in enumerate(keys, 1)
    ]


def test_in_a_tie_the_first_token_is_right() -> None:
    """As in the pool, whose very judgement it is."""
    report = judge(seen_of("bb", "aa", "aa", "bb"), Wanted((), [Install("fps-own")]), TRANSPORT)
    assert states(report) == ["serving", "different-keys", "different-keys", "serving"]


def test_transport_keys_that_differ_are_not_well() -> None:
    """Only their check values can be compared: they make no MACs."""
    seen = seen_of("aa", "aa")
    seen[1] = seen[1]._replace(shown=Shown({"fps-own": "aa"}, {}, {TRANSPORT: "BB"}))
    report = judge(seen, Wanted((), [Install("fps-own")]), TRANSPORT)
    assert states(report) == ["serving", "serving"]
    assert not report.well
    assert report.transport_keys == [["t1"], ["t2"]]


def test_nobody_but_who_asks_hears_of_the_transport_key() -> None:
    """A gateway's tokens are not asked: it is no reason not to serve."""
    assert not messages.Start("m", "l", "p", "aes-cmac", 0, (), 1.0, 1.0).transport_shown
