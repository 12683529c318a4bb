"""New keys in fake tokens and in SoftHSM: the same sentences for both. Keys are wrapped in software, as a hub does."""

import os
from math import inf
from typing import Any

import pytest
import trio
from trio.abc import Clock

from gateway import config
from gateway.clock import system_clock
from gateway.payments.work import Install
from gateway.payments.work import MacJob as Job
from gateway.signer import tokens
from gateway.signer.pool import Signer
from hsm.layout import KEY_BYTES
from loadtest.hub.keys import check_value, wrap
from tests.fakes.token import FakeTokens

TRANSPORT = "fps-transport"


class Keys:
    """Makes keys as the scheme sends them, and notes what the signer says of them."""

    def __init__(self, world: Any) -> None:
        self.world = world
        self.said: list[tuple[str, bool, str]] = []
        self.heard = trio.Event()

    def listen(self, signer: Signer) -> Signer:
        """Note what comes of installs."""
        signer.on_installed = self._on_installed
        return signer

    def _on_installed(self, label: str, ok: bool, why: str) -> None:  # noqa: FBT001 (as the signer calls it)
        self.said.append((label, ok, why))
        self.heard.set()

    def make(self, *, value: bytes = b"", wrong_check: bool = False, transport: bytes = b"") -> Install:
        """A new key of our own, for `fps-own`."""
        algorithm = self.world.mac.algorithm
        value = value or os.urandom(KEY_BYTES[algorithm])
        check = check_value(algorithm, value)
        if wrong_check:
            check = f"{int(check, 16) ^ 1:06X}"
        label = f"fps-own.{check.lower()}"
        self.world.keys[label] = value
        return Install(label, wrap(transport or self.world.keys[TRANSPORT], value), check)

    async def install(self, key: Install) -> tuple[bool, str]:
        """Install it, and return what came of it."""
        self.said.clear()
        self.heard = trio.Event()
        self.world.signer.install(key)
        if not self.said:
            with trio.fail_after(20):
                await self.heard.wait()
        ((label, ok, why),) = self.said
        assert label == key.label
        return ok, why

    async def signs(self, key: Install, count: int = 60) -> bool:
        """Every MAC under it is what software makes, and what one token makes all verify."""
        jobs = self.world.jobs(count, key=key.label)
        self.world.signer.submit(jobs)
        await self.world.all_done(jobs)
        deadline_s = trio.current_time() + 10
        checks = [Job(key.label, job.data, mac=job.made, deadline_s=deadline_s) for job in jobs if job.ok]
        self.world.signer.submit(checks)
        await self.world.all_done(checks)
        return all(self.world.right(job) for job in jobs) and all(job.ok for job in checks)


@pytest.fixture
def keys(world: Any) -> Keys:
    return Keys(world)


HMAC = config.Mac(algorithm="hmac-sha256")


@pytest.mark.parametrize("algorithm", [config.Mac(), HMAC], ids=["aes-cmac", "hmac-sha256"])
async def test_a_new_key_is_used_by_every_token(clock: Clock, world: Any, keys: Keys) -> None:
    """Unwrapped and proved in each, with the MACs that software makes of it; the keys before go on."""
    keys.listen(await world.start())
    key = keys.make()
    assert await keys.install(key) == (True, "")
    assert await keys.signs(key)
    assert [world.state(name) for name in world.names] == ["serving"] * 3
    old = world.jobs(50)
    world.signer.submit(old)
    await world.all_done(old)
    assert all(world.right(job) for job in old)
    assert world.signer.check_of(key.label).startswith(key.check)
    assert world.signer.check_of("fps-hub") == check_value(world.mac.algorithm, world.keys["fps-hub"], 16)
    assert world.signer.check_of("nobody") == ""


async def test_the_same_key_again_is_there(clock: Clock, world: Any, keys: Keys) -> None:
    """Nothing is done twice."""
    keys.listen(await world.start())
    key = keys.make()
    assert await keys.install(key) == (True, "")
    assert await keys.install(key) == (True, "")
    world.signer.hold([Install("fps-hub"), Install("fps-own")])
    assert await keys.install(key) == (True, "")
    assert await keys.signs(key)


@pytest.mark.parametrize(
    ("label", "use"), [("fps-hub", "what the hub signs with"), (TRANSPORT, "which unwraps new keys")]
)
async def test_a_new_key_that_has_another_use_already_changes_nothing(
    clock: Clock, world: Any, keys: Keys, label: str, use: str
) -> None:
    """Its check value is right, and every token refuses it: the reason names both uses, and no value."""
    keys.listen(await world.start())
    key = keys.make(value=world.keys[label])
    ok, why = await keys.install(key)
    assert not ok
    other = f'"{key.label}"' if label == TRANSPORT else f'"{key.label}" (what we sign with)'
    first, second = (f'"{label}" ({use})', other) if label == TRANSPORT else (other, f'"{label}" ({use})')
    assert why == f"3 of 3 tokens: fps-1: {first} and {second} are the same key"
    assert key.label not in world.signer._tokens.wanted.needed
    assert [world.state(name) for name in world.names] == ["serving"] * 3


async def test_a_wrong_check_value_changes_nothing(clock: Clock, world: Any, keys: Keys) -> None:
    """Every token says so, none has the key, and all go on serving."""
    keys.listen(await world.start())
    key = keys.make(wrong_check=True)
    ok, why = await keys.install(key)
    assert not ok
    right = check_value("aes-cmac", world.keys[key.label])
    assert why == f'3 of 3 tokens: fps-1: wrong check value: "{key.label}" unwraps to a key of {right}'
    assert key.label not in world.signer._tokens.wanted.needed
    jobs = world.jobs(90)
    world.signer.submit(jobs)
    await world.all_done(jobs)
    assert all(world.right(job) for job in jobs)
    assert [world.state(name) for name in world.names] == ["serving"] * 3


async def test_what_does_not_unwrap_changes_nothing(clock: Clock, world: Any, keys: Keys) -> None:
    """Wrapped under another transport key."""
    keys.listen(await world.start())
    key = keys.make(transport=bytes(32))
    assert await keys.install(key) == (
        False, f'3 of 3 tokens: fps-1: "{key.label}" cannot be unwrapped: GeneralError',
    )  # fmt: skip
    assert [world.state(name) for name in world.names] == ["serving"] * 3


async def test_a_token_that_cannot_take_what_most_take_does_not_serve(clock: Clock, world: Any, keys: Keys) -> None:
    """Its health says why; it serves again when it can."""
    world.lose_key("fps-2", TRANSPORT)
    keys.listen(await world.start())
    key = keys.make()
    assert await keys.install(key) == (True, "")
    await world.until_state("fps-2", "no-key")
    assert world.why("fps-2") == f'no transport key labelled "{TRANSPORT}"'
    assert await keys.signs(key)
    world.give_key("fps-2", TRANSPORT)
    await world.until_state("fps-2", "serving")
    assert await keys.signs(key)


async def test_a_tie_changes_nothing(clock: Clock, world: Any, keys: Keys) -> None:
    """One of two tokens cannot: it is unknown which is right, and both go on."""
    world.names = ("fps-1", "fps-2")
    world.lose_key("fps-2", TRANSPORT)
    keys.listen(await world.start())
    assert await keys.install(keys.make()) == (
        False, f'1 of 2 tokens: fps-2: no transport key labelled "{TRANSPORT}"',
    )  # fmt: skip
    assert [world.state(name) for name in world.names] == ["serving"] * 2


async def test_without_a_token_that_serves_a_key_is_refused_at_once(clock: Clock, world: Any, keys: Keys) -> None:
    """The hub hears so in time."""
    for name in world.names:
        world.lose_module(name)
    keys.listen(await world.start())
    assert await keys.install(keys.make()) == (False, "no token serves")


async def test_a_token_that_was_away_gets_the_key_before_it_serves(clock: Clock, world: Any, keys: Keys) -> None:
    """With its start."""
    keys.listen(await world.start())
    world.take_away("fps-3")
    await world.until_state("fps-3", "no-token")
    key = keys.make()
    assert await keys.install(key) == (True, "")
    world.bring_back("fps-3")
    await world.until_state("fps-3", "serving")
    world.take_away("fps-1")
    world.take_away("fps-2")
    await world.until(lambda: world.signer.serving == 1)
    assert await keys.signs(key)


async def test_a_restart_finds_or_makes_the_keys_that_it_holds(clock: Clock, world: Any, keys: Keys) -> None:
    """Another process with the recorded key: tokens that have it show it, the one that lacks it unwraps it."""
    world.names = ("fps-1", "fps-2")
    async with trio.open_nursery() as first:
        world.nursery = first
        keys.listen(await world.start())
        key = keys.make()
        assert await keys.install(key) == (True, "")
        first.cancel_scope.cancel()
    world.names = ("fps-1", "fps-2", "fps-3")
    async with trio.open_nursery() as second:
        world.nursery = second
        world.first_hold = [Install("fps-hub"), key]
        await world.start()
        assert tuple(world.signer._tokens.wanted.needed) == ("fps-hub", key.label)
        assert [world.state(name) for name in world.names] == ["serving"] * 3
        assert await keys.signs(key)
        second.cancel_scope.cancel()


async def test_a_held_key_that_cannot_be_had_keeps_the_token_out(clock: Clock, world: Any, keys: Keys) -> None:
    """With its reason."""
    world.first_hold = [Install("fps-hub"), keys.make(wrong_check=True)]
    await world.start()
    assert world.signer.serving == 0
    assert {world.state(name) for name in world.names} == {"no-key"}
    assert world.why("fps-1").startswith("wrong check value: ")


async def test_a_worker_killed_while_it_installs(clock: Clock, world: Any, keys: Keys) -> None:
    """The others have the key, and so has its next worker."""
    keys.listen(await world.start())
    key = keys.make()
    world.signer.install(key)
    world.crash("fps-2")
    with trio.fail_after(20):
        await keys.heard.wait()
    assert keys.said == [(key.label, True, "")]
    await world.until(lambda: world.signer.serving == 3)
    assert await keys.signs(key)


async def test_a_token_that_hangs_while_it_installs(clock: Clock, world: Any, keys: Keys) -> None:
    """Is hung when `install_within_s` is over, and the key is taken by the others."""
    keys.listen(await world.start())
    world.hang("fps-2")
    key = keys.make()
    assert await keys.install(key) == (True, "")
    # where time is real it may have got well again before the others had the key
    assert world.states["fps-2"][:2] == ["serving", "hung"]
    world.go_on("fps-2")
    await world.until_state("fps-2", "serving")
    assert await keys.signs(key)


@pytest.mark.parametrize("kind", ["fake"])
async def test_when_the_one_that_tries_a_key_crashes_the_next_one_does(clock: Clock, world: Any, keys: Keys) -> None:
    """At once."""
    keys.listen(await world.start())
    world.hang("fps-1")
    key = keys.make()
    world.signer.install(key)
    world.crash("fps-1")
    with trio.fail_after(tokens.PROBE_EVERY_S / 2):
        await keys.heard.wait()
    assert keys.said == [(key.label, True, "")]


async def test_the_same_key_under_another_transport_key(clock: Clock, world: Any, keys: Keys) -> None:
    """Every token proves it, and the newer value is held; MACs go on, and so does the key."""
    keys.listen(await world.start())
    key = keys.make()
    assert await keys.install(key) == (True, "")
    transport = os.urandom(32)
    again = Install(key.label, wrap(transport, world.keys[key.label]), key.check)
    assert await keys.install(again) == (
        False, f'3 of 3 tokens: fps-1: "{key.label}" cannot be unwrapped: GeneralError',
    )  # fmt: skip
    assert await keys.signs(key)
    world.keys[TRANSPORT] = transport
    for name in world.names:
        world.lose_key(name, TRANSPORT)
        world.give_key(name, TRANSPORT)
    assert await keys.install(again) == (True, "")
    assert [world.state(name) for name in world.names] == ["serving"] * 3
    assert await keys.signs(again)
    world.lose_key("fps-2", key.label)
    await world.until_state("fps-2", "no-key")
    await world.until_state("fps-2", "serving")
    assert await keys.signs(again)


async def test_under_load_no_mac_is_lost_or_wrong(clock: Clock, world: Any, keys: Keys) -> None:
    """Keys come and go while batches are under way: each job is done by the key that it names."""
    keys.listen(await world.start())
    labels = ["fps-own"]
    jobs = []
    previous = Install("fps-own")
    for _ in range(4):
        for label in labels:
            more = world.jobs(400, key=label)
            jobs += more
            world.signer.submit(more)
        key = keys.make()
        assert await keys.install(key) == (True, "")
        await world.all_done(jobs)
        world.signer.hold([Install("fps-hub"), previous, key])
        labels = [previous.label, key.label]
        previous = key
    assert all(world.right(job) for job in jobs)


async def test_a_job_whose_key_is_no_longer_held_is_unavailable(clock: Clock, world: Any, keys: Keys) -> None:
    """What waits names it; nothing else is hurt."""
    world.names = ("fps-1",)
    keys.listen(await world.start())
    key = keys.make()
    assert await keys.install(key) == (True, "")
    world.crash("fps-1")
    await world.until_state("fps-1", "crashed")
    late, good = world.jobs(3, key=key.label), world.jobs(3)
    world.signer.submit([*late, *good])
    world.signer.hold([Install("fps-hub"), Install("fps-own")])
    await world.all_done([*late, *good])
    assert [job.error for job in late] == ["unavailable"] * 3
    assert all(world.right(job) for job in good)


@pytest.mark.parametrize("unwrap_s", [1.5, inf])
async def test_an_unwrapping_that_takes_long_holds_up_no_mac(
    autojump_clock: Clock, nursery: trio.Nursery, unwrap_s: float
) -> None:
    """Tokens try a new key one by one, and the one that does gets no jobs; one that hangs is judged alone."""
    values = {label: os.urandom(16) for label in ("fps-hub", "fps-own")} | {TRANSPORT: os.urandom(16)}
    fakes = FakeTokens(["fps-1", "fps-2", "fps-3"], values)
    settings = tuple(config.Token(name=name, label=name, module="none", pin_file="none") for name in fakes.tokens)
    said: list[tuple[str, bool, str]] = []
    made: list[tuple[Job, float]] = []
    signer = Signer(
        settings,
        config.Mac(),
        system_clock,
        on_done=lambda jobs: made.extend((job, trio.current_time()) for job in jobs),
        on_installed=lambda label, ok, why: said.append((label, ok, why)),
        open_worker=fakes.open,
        luck=lambda: 0.5,
    )
    await nursery.start(signer.run)
    for name in fakes.tokens if unwrap_s < inf else ["fps-1"]:
        fakes[name].unwrap_s = unwrap_s
    value = os.urandom(16)
    check = check_value("aes-cmac", value)
    key = Install(f"fps-own.{check.lower()}", wrap(values[TRANSPORT], value), check)
    signer.install(key)
    for _ in range(100):
        signer.submit([Job("fps-own", b"%d" % index, deadline_s=trio.current_time() + 1) for index in range(40)])
        await trio.sleep(0.1)
    assert len(made) == 4000
    assert all(job.ok and told_s - (job.deadline_s - 1) < 0.1 for job, told_s in made)
    assert said == [(key.label, True, "")]
    assert fakes["fps-2"].starts == fakes["fps-3"].starts == 1
    assert fakes["fps-1"].starts == 1 if unwrap_s < inf else fakes["fps-1"].starts > 1


@pytest.mark.parametrize("kind", ["fake"])
async def test_without_a_local_token_that_is_free_remote_ones_make_macs(clock: Clock, world: Any, keys: Keys) -> None:
    """While the only local one tries a key."""
    world.names = ("fps-2", "fps-3")
    world.remote = True
    keys.listen(await world.start())
    used = world.signer._tokens.preference
    assert [member.token.name for member in used.used] == ["fps-2"]
    world.tokens["fps-2"].unwrap_s = 1.0
    world.signer.install(keys.make())
    assert [member.token.name for member in used.used] == ["fps-3"]
    with trio.fail_after(2):
        await keys.heard.wait()
    assert [member.token.name for member in used.used] == ["fps-2"]
