"""What the pool makes of tokens that fail: the same sentences for fake tokens and for SoftHSM."""

from typing import Any

import pytest
import trio

from gateway.payments.work import MacJob as Job
from tests.fakes.token import TRANSPORT


async def test_makes_macs_and_verifies_them(clock: Any, world: Any) -> None:
    """What one key makes it verifies, a changed bit is wrong, and the reference makes the same."""
    signer = await world.start()
    made = world.jobs(300)
    signer.submit(made)
    await world.all_done(made)
    assert all(world.right(job) for job in made)
    deadline_s = trio.current_time() + 5
    checks = [Job(job.key, job.data, mac=job.made, deadline_s=deadline_s, context=True) for job in made]
    wrong = bytes([made[0].made[0] ^ 1]) + made[0].made[1:]
    checks.append(Job(made[0].key, made[0].data, mac=wrong, deadline_s=deadline_s, context=False))
    checks.append(Job(world.mac.hub_key, made[0].data, mac=made[0].made, deadline_s=deadline_s, context=False))
    signer.submit(checks)
    await world.all_done(checks)
    assert [job.ok for job in checks] == [job.context for job in checks]
    assert [job.error for job in checks] == ["" if job.context else "wrong-mac" for job in checks]


async def test_a_hung_token_costs_no_job(clock: Any, world: Any, logged: Any) -> None:
    """What a hung token has is done by the others within its deadline; its worker is replaced and serves again."""
    signer = await world.start()
    world.hang("fps-2")
    jobs = world.jobs(200)
    for job in jobs:
        signer.submit([job])
    await world.until_state("fps-2", "hung")
    assert world.why("fps-2") == "hung: no answer within 0.5 s"
    world.go_on("fps-2")
    await world.all_done(jobs)
    assert all(world.right(job) for job in jobs)
    await world.until_state("fps-2", "serving")
    (line,) = logged("token lost")
    assert (line["token"], line["state"], line["level"]) == ("fps-2", "hung", "error")


async def test_an_idle_hung_token_is_found(clock: Any, world: Any) -> None:
    """A token without jobs is probed: it is out before a payment needs it."""
    await world.start()
    world.hang("fps-1")
    await world.until_state("fps-1", "hung")
    world.go_on("fps-1")
    await world.until_state("fps-1", "serving")


async def test_a_crashed_worker_costs_no_job(clock: Any, world: Any) -> None:
    """What a crashed worker had is done by the others, and it is replaced."""
    signer = await world.start()
    jobs = world.jobs(2000)
    signer.submit(jobs)
    world.crash("fps-1")
    await world.until_state("fps-1", "crashed")
    await world.all_done(jobs)
    assert all(world.right(job) for job in jobs)
    await world.until_state("fps-1", "serving")


async def test_the_last_token_crashes_and_comes_back(clock: Any, world: Any) -> None:
    """With a single token, jobs wait for its new worker."""
    world.names = ("fps-1",)
    signer = await world.start()
    world.crash("fps-1")
    jobs = world.jobs(10)
    signer.submit(jobs)
    await world.all_done(jobs)
    assert all(world.right(job) for job in jobs)


async def test_a_token_that_disappears_is_taken_back_when_it_returns(clock: Any, world: Any) -> None:
    """A token that goes away under way is missing, in words, and serves again when it is there again."""
    signer = await world.start()
    world.take_away("fps-3")
    jobs = world.jobs(100)
    for job in jobs:
        signer.submit([job])
    await world.all_done(jobs)
    assert all(world.right(job) for job in jobs)
    await world.until_state("fps-3", "no-token")
    assert "no such token" in world.why("fps-3")
    world.bring_back("fps-3")
    await world.until_state("fps-3", "serving")


async def test_a_missing_key_is_named(clock: Any, world: Any) -> None:
    """A token without one of the keys does not serve, and health says which key."""
    world.lose_key("fps-1", "fps-hub")
    signer = await world.start()
    assert world.state("fps-1") == "no-key"
    assert world.why("fps-1") == 'no secret key labelled "fps-hub"'
    assert signer.serving == 2


async def test_a_key_destroyed_in_the_token_is_used_no_longer(clock: Any, world: Any) -> None:
    """A key that its custodians destroy stops being used at the next probe."""
    await world.start()
    world.lose_key("fps-1", "fps-own")
    await world.until_state("fps-1", "no-key")


async def test_a_missing_module_is_named(clock: Any, world: Any) -> None:
    """Health says which library is not there."""
    world.lose_module("fps-2")
    await world.start()
    assert world.state("fps-2") == "no-module"
    assert world.why("fps-2").startswith("module not found: ")


async def test_a_wrong_pin_is_not_tried_twice(clock: Any, world: Any, logged: Any) -> None:
    """Each wrong PIN brings a token nearer to being locked: it is tried again only when the PIN file has changed."""
    world.wrong_pin("fps-1")
    signer = await world.start()
    assert (world.state("fps-1"), world.why("fps-1")) == ("wrong-pin", "wrong PIN")
    assert signer.serving == 2
    (line,) = [line for line in logged() if line.get("token") == "fps-1"]
    assert (line["event"], line["level"], line["reason"]) == ("token does not serve", "error", "wrong PIN")
    world.right_pin("fps-1")
    await world.until_state("fps-1", "serving")


async def test_a_token_with_other_keys_is_kept_out(clock: Any, world: Any, logged: Any) -> None:
    """Most tokens agree, so the odd one is kept out, with an error line that names it and the key."""
    world.other_key("fps-1", "fps-own")
    signer = await world.start()
    assert [world.state(name) for name in world.names] == ["different-keys", "serving", "serving"]
    assert world.why("fps-1") == 'keys differ: "fps-own" is not the same as in fps-2, fps-3'
    jobs = world.jobs(50)
    signer.submit(jobs)
    await world.all_done(jobs)
    assert all(world.right(job) for job in jobs)
    await world.until(lambda: bool(logged("token does not serve")))
    assert [line["level"] for line in logged("token does not serve")] == ["error"]


@pytest.mark.parametrize(
    ("label", "other", "said"),
    [
        ("fps-own", "fps-hub", '"fps-hub" (what the hub signs with) and "fps-own" (what we sign with)'),
        ("fps-hub", "fps-own", '"fps-hub" (what the hub signs with) and "fps-own" (what we sign with)'),
        ("fps-own", TRANSPORT, '"fps-transport" (which unwraps new keys) and "fps-own"'),
        ("fps-hub", TRANSPORT, '"fps-transport" (which unwraps new keys) and "fps-hub"'),
    ],
)
async def test_a_token_in_which_keys_are_one_that_must_differ_is_kept_out(
    clock: Any, world: Any, logged: Any, label: str, other: str, said: str
) -> None:
    """Were the hub's key ours, all that we send would be the hub's word. The line says which two, and no value."""
    for name in world.names:
        world.same_key(name, label, other)
    signer = await world.start()
    await world.until(lambda: all(world.state(name) == "same-keys" for name in world.names))
    assert {world.why(name) for name in world.names} == {f"{said} are the same key"}
    assert not signer.serving
    await world.until(lambda: bool(logged("token does not serve")))
    assert world.keys["fps-own"].hex() not in str(logged())
    assert {each.why for each in (await world.survey()).states.values()} == {f"{said} are the same key"}


async def test_with_no_majority_the_first_token_is_right(clock: Any, world: Any) -> None:
    """Two tokens that differ cannot both be right: the one configured first serves."""
    world.names = ("fps-1", "fps-2")
    world.other_key("fps-2", "fps-hub")
    await world.start()
    assert (world.state("fps-1"), world.state("fps-2")) == ("serving", "different-keys")


async def test_remote_tokens_serve_only_when_no_local_one_does(clock: Any, world: Any) -> None:
    """A remote token is used when the local ones are gone, and left alone when one is back."""
    world.remote = True
    signer = await world.start()
    assert [member.token.name for member in signer._tokens.preference.used] == ["fps-1", "fps-2"]
    world.take_away("fps-1")
    world.take_away("fps-2")
    await world.until(lambda: [member.token.name for member in signer._tokens.preference.used] == ["fps-3"])
    jobs = world.jobs(20)
    signer.submit(jobs)
    await world.all_done(jobs)
    assert all(world.right(job) for job in jobs)
    world.bring_back("fps-2")
    await world.until(lambda: [member.token.name for member in signer._tokens.preference.used] == ["fps-2"])


async def test_without_any_token_a_job_is_unavailable_at_its_deadline(clock: Any, world: Any) -> None:
    """Jobs wait for a token until their deadline, and are then said to be unavailable."""
    for name in world.names:
        world.lose_module(name)
    signer = await world.start()
    assert signer.serving == 0
    began_s = trio.current_time()
    jobs = world.jobs(5, within_s=0.7)
    signer.submit(jobs)
    await world.all_done(jobs)
    assert [job.error for job in jobs] == ["unavailable"] * 5
    assert trio.current_time() - began_s >= 0.7


@pytest.mark.parametrize("count", [1, 3000])
async def test_a_job_under_way_in_a_hung_token_is_unavailable_at_its_deadline(
    clock: Any, world: Any, count: int
) -> None:
    """The deadline of a job holds also while a token has it."""
    signer = await world.start()
    for name in world.names:
        world.hang(name)
    jobs = world.jobs(count, within_s=0.2)
    signer.submit(jobs)
    await world.all_done(jobs)
    assert {job.error for job in jobs} == {"unavailable"}
    assert {world.state(name) for name in world.names} == {"serving"}
