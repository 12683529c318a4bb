"""Tokens that are slow, or hang, beside one that is well: which gets work, and when. On fake tokens and a mock
clock.
"""

from collections.abc import Callable
from typing import Any

import pytest
import trio
import trio.testing
from msgspec.structs import replace

from gateway.payments.work import MacJob as Job
from gateway.signer import pool, tokens
from tests.signer.test_pool import Rig

STEADY_S = 0.1
"""Between two jobs of `steady`."""
QUICK_S = 0.05
"""What a job may take that nothing is wrong with."""


@pytest.fixture
async def rig(autojump_clock: trio.testing.MockClock, nursery: trio.Nursery) -> Callable[..., Any]:
    async def start(count: int = 4, remote: int = 0) -> Rig:
        made = Rig(count, remote)
        await nursery.start(made.signer.run)
        return made

    return start


async def steady(made: Rig, lasts_s: float) -> list[float]:
    """A job now and again, as a quiet day brings them; how long each took, in their order."""
    took: dict[Job, float] = {}
    jobs: list[Job] = []
    began = trio.current_time()
    before = made.signer.on_done

    def told(done: list[Job]) -> None:
        before(done)
        for job in done:
            assert job.ok, job.error
            took[job] = trio.current_time() - (job.deadline_s - 8.0)

    made.signer.on_done = told
    while trio.current_time() - began < lasts_s:
        jobs += made.submit(1)
        await trio.sleep(STEADY_S)
    await trio.sleep(2)
    made.signer.on_done = before
    return [took[job] for job in jobs]


async def test_a_slow_token_gets_nothing_while_a_quick_one_serves(autojump_clock: Any, rig: Any) -> None:
    """It gets one batch, which shows its pace; another token did those jobs, too."""
    made = await rig(2)
    made.tokens["t1"].batch_s = 0.9
    took = await steady(made, 60)
    assert len([each for each in took if each > QUICK_S]) <= pool.BATCHES_MAX
    assert max(took) <= pool.LATE_S + QUICK_S
    assert len(made.tokens["t1"].batches) <= pool.BATCHES_MAX
    assert made.states() == ["serving", "serving"], "slow is not hung"
    assert [health.used for health in made.signer.health().values()] == [False, True]


async def test_a_token_that_is_quick_again_gets_work_again(autojump_clock: Any, rig: Any) -> None:
    """Its probes show it: no payment had to try it."""
    made = await rig(2)
    made.tokens["t1"].batch_s = 0.9
    await steady(made, 30)
    made.tokens["t1"].batch_s = 0.0
    made.tokens["t1"].batches.clear()
    took = await steady(made, 8 * tokens.PROBE_EVERY_S)
    assert max(took) <= QUICK_S
    assert len(made.tokens["t1"].batches) > 10


async def test_three_of_four_that_hang_at_once_cost_a_payment_less_than_a_second(autojump_clock: Any, rig: Any) -> None:
    """Each may have the job in its turn; each is left as soon as it is late. The fourth makes all MACs from then on."""
    made = await rig(4, remote=2)
    for name in ("t1", "t2", "t4"):
        made.tokens[name].hang()
    took = await steady(made, 60)
    assert max(took) <= 3 * pool.LATE_S + QUICK_S
    assert max(took[10:]) <= QUICK_S
    assert [made.states()[at] for at in (0, 1, 3)] == ["hung"] * 3
    for name in ("t1", "t2", "t4"):
        made.tokens[name].go_on()
    took = await steady(made, 60)
    assert max(took) <= QUICK_S, "those that come back disturb nobody"
    assert made.states() == ["serving"] * 4
    assert [health.used for health in made.signer.health().values()] == [True, True, False, False]


async def test_tokens_that_hang_one_after_the_other_are_left_one_after_the_other(autojump_clock: Any, rig: Any) -> None:
    made = await rig(4)
    for name in ("t1", "t2", "t3"):
        made.tokens[name].hang()
        took = await steady(made, 5)
        assert max(took) <= pool.LATE_S + QUICK_S
    assert made.states() == ["hung", "hung", "hung", "serving"]


async def test_a_token_that_comes_back_and_hangs_again_gets_nothing_while_another_serves(
    autojump_clock: Any, rig: Any
) -> None:
    """What hung is not preferred because its new worker came up: it shows first that it answers."""
    made = await rig(2)
    sick = made.tokens["t1"]
    await steady(made, 1)
    sick.hang()
    await steady(made, 5)
    for _ in range(5):
        sick.go_on()
        while made.states() != ["serving", "serving"]:
            await made.signer.wait_changed()
        sick.hang()
        took = await steady(made, tokens.PROBE_EVERY_S + 2)
        assert max(took) <= QUICK_S
        assert made.states()[0] == "hung"


async def test_remote_tokens_are_used_while_local_ones_are_too_slow(autojump_clock: Any, rig: Any, logged: Any) -> None:
    """Said once when it begins, and once when it is over."""
    made = await rig(4, remote=2)
    await steady(made, 5)
    assert not made.tokens["t3"].batches
    for name in ("t1", "t2"):
        made.tokens[name].batch_s = 0.9
    took = await steady(made, 60)
    assert max(took[10:]) <= QUICK_S
    assert made.signer.trouble() == "only remote tokens are used: t1 takes 0.9 s, t2 takes 0.9 s"
    (line,) = logged("only remote tokens are used")
    assert line["level"] == "warning"
    assert line["reason"].startswith("t1 takes ")
    for name in ("t1", "t2"):
        made.tokens[name].batch_s = 0.0
    took = await steady(made, 30)
    assert max(took) <= QUICK_S
    assert [health.used for health in made.signer.health().values()] == [True, True, False, False]
    assert made.signer.trouble() == ""
    assert len(logged("only remote tokens are used")) == len(logged("local tokens are used again")) == 1


async def test_remote_tokens_that_are_used_from_the_start_are_said_to_be(
    autojump_clock: Any, nursery: trio.Nursery, logged: Any
) -> None:
    """A gateway that never saw a local token serve is in the same trouble as one that lost them."""
    made = Rig(3, remote=1)
    for name in ("t1", "t2"):
        made.tokens[name].disappear()
    await nursery.start(made.signer.run)
    (line,) = logged("only remote tokens are used")
    assert line["reason"] == "t1 no-token, t2 no-token"


async def test_a_remote_token_that_is_configured_first_does_not_serve_first(
    autojump_clock: Any, nursery: trio.Nursery, logged: Any
) -> None:
    """All are judged at once, and no job is seen to go to a remote one in between."""
    made = Rig(2)
    first = made.signer._tokens.members[0]
    first.token = replace(first.token, local=False)
    jobs = made.submit(1)
    await nursery.start(made.signer.run)
    await trio.sleep(1)
    assert jobs[0].ok
    assert not made.tokens["t1"].batches
    assert not logged("only remote tokens are used")


async def test_what_waits_behind_tokens_that_hang_goes_elsewhere_without_being_asked(
    autojump_clock: Any, rig: Any
) -> None:
    """No further job wakes the pool: its timer does, long before it takes them for hung."""
    made = await rig(2, remote=1)
    made.tokens["t1"].hang()
    jobs = made.submit(4 * pool.BATCH_JOBS_MAX)
    await trio.sleep(pool.LATE_S + QUICK_S)
    assert all(job.ok for job in jobs)
    assert made.states() == ["serving", "serving"]
    assert len(made.done) == len(jobs)


async def test_when_all_are_slow_nothing_is_done_twice(autojump_clock: Any, rig: Any) -> None:
    """A job given to a second slow token would take time from others."""
    made = await rig(4)
    for name in made.names:
        made.tokens[name].batch_s = 0.9
    jobs = made.submit(20 * pool.BATCH_JOBS_MAX, within_s=60)
    await trio.sleep(40)
    assert all(job.ok for job in jobs)
    first_ones = len(made.names) * pool.BATCHES_MAX * pool.BATCH_JOBS_MAX
    assert sum(sum(token.batches) for token in made.tokens.tokens.values()) <= len(jobs) + first_ones


@pytest.mark.parametrize("how", ["answers", "fails", "crashes", "hangs"])
async def test_a_job_that_two_tokens_have_is_told_once(autojump_clock: Any, rig: Any, how: str) -> None:
    """The first answer counts, and whatever becomes of the other one changes nothing."""
    made = await rig(2)
    made.tokens["t1"].hang()
    made.tokens["t2"].batch_s = 0.05
    jobs = [job for _ in range(4) for job in made.submit(pool.SHARE_MIN)]
    await trio.sleep(pool.LATE_S + 0.1)
    assert made.states() == ["serving", "serving"]
    if how == "fails":
        made.tokens["t1"].fail("failing", "the token says DEVICE_ERROR")
    if how == "crashes":
        made.tokens["t1"].crash()
    elif how != "hangs":
        made.tokens["t1"].go_on()
    await trio.sleep(10)
    assert all(job.ok for job in jobs)
    assert sorted(map(id, made.done)) == sorted(map(id, jobs))
    assert max(job.attempts for job in jobs) == 1


async def test_a_job_that_is_done_meanwhile_is_not_done_again(autojump_clock: Any, rig: Any) -> None:
    """It still waits for a place in the quicker token when the slow one has made it."""
    made = await rig(2)
    slow, quick = made.tokens["t1"], made.tokens["t2"]
    slow.batch_s, quick.batch_s = pool.LATE_S + 0.01, 0.07
    jobs = made.submit(12 * pool.BATCH_JOBS_MAX)
    await trio.sleep(pool.LATE_S + 0.005)
    slow.batch_s = 0.0
    await trio.sleep(5)
    assert all(job.ok for job in jobs)
    assert max(job.attempts for job in jobs) == 1
    assert sum(slow.batches) + sum(quick.batches) == len(made.done) == len(jobs)


async def test_a_job_that_two_tokens_have_is_given_up_once(autojump_clock: Any, rig: Any) -> None:
    """At its deadline, wherever it is; one that is done waits for no deadline."""
    made = await rig(2)
    made.signer._turn = -1
    slow, other = made.tokens["t1"], made.tokens["t2"]
    slow.batch_s = pool.LATE_S + 0.05
    jobs = [job for _ in range(4) for job in made.submit(pool.SHARE_MIN, within_s=0.5)]
    await trio.sleep(0.01)
    other.hang()
    await trio.sleep(3)
    assert sorted(map(id, made.done)) == sorted(map(id, jobs))
    assert {job.error for job in jobs} == {"", "unavailable"}


async def test_no_job_is_given_up_for_being_late(autojump_clock: Any, rig: Any) -> None:
    """Of six tokens four hang or are slow: the job goes to three more, and waits there."""
    made = await rig(6)
    made.signer._turn = -1  # the first token is asked first
    for name in made.names[:3]:
        made.tokens[name].hang()
    for name in made.names[3:5]:
        made.tokens[name].batch_s = 0.95
    jobs = made.submit(1)
    await trio.sleep(8)
    assert jobs[0].ok
    assert sum(len(token.batches) for token in made.tokens.tokens.values()) == 1
    assert not made.tokens["t6"].batches, "it would have been the fifth"
    assert jobs[0].attempts == pool.ATTEMPTS_MAX - 1


@pytest.mark.parametrize("remembered_s", [0.06, 0.3, 1.0, 5.0])
@pytest.mark.parametrize("remote", [0, 1, 3])
async def test_what_is_remembered_of_tokens_that_idle_keeps_no_job_with_one_that_hangs(
    autojump_clock: Any, rig: Any, remembered_s: float, remote: int
) -> None:
    """They were slow once, and are well. A job goes to one of them as soon as it is late, also to a remote one."""
    made = await rig(4, remote=remote)
    for member in made.signer._tokens.members[1:]:
        member.pace.took(remembered_s)
    made.tokens["t1"].hang()
    took = await steady(made, 0.1)
    assert pool.LATE_S <= max(took) <= pool.LATE_S + QUICK_S


@pytest.mark.parametrize("remembered_s", [0.06, 0.3, 1.0, 5.0])
async def test_what_comes_while_the_chosen_token_is_late_goes_to_those_that_idle(
    autojump_clock: Any, rig: Any, remembered_s: float
) -> None:
    """Also jobs for which it has no room."""
    made = await rig(4, remote=3)
    for member in made.signer._tokens.members[1:]:
        member.pace.took(remembered_s)
    made.tokens["t1"].hang()
    took = await steady(made, 2)
    assert len(took) > pool.BATCHES_MAX + pool.LATE_S / STEADY_S
    assert max(took) <= pool.LATE_S + QUICK_S
    assert max(took[5:]) <= QUICK_S


async def test_three_that_hang_cost_less_than_a_second_whatever_is_remembered(autojump_clock: Any, rig: Any) -> None:
    """The one that is well was the worst of all when it last answered, so it is asked last."""
    made = await rig(4)
    for member, remembered_s in zip(made.signer._tokens.members, (0.0, 0.5, 0.6, 0.9), strict=True):
        member.pace.took(remembered_s)
    for name in made.names[:3]:
        made.tokens[name].hang()
    took = await steady(made, 10)
    assert max(took) <= 3 * pool.LATE_S + QUICK_S


async def test_a_late_batch_is_given_on_though_a_job_in_it_has_no_try_left(autojump_clock: Any, rig: Any) -> None:
    """That one waits where it is, and goes on when the token is lost; the others do not wait with it."""
    made = await rig(2)
    made.signer._turn = -1
    made.tokens["t1"].hang()
    jobs = made.jobs(4)
    jobs[1].attempts = pool.ATTEMPTS_MAX - 1
    made.signer.submit(jobs)
    await trio.sleep(pool.LATE_S + QUICK_S)
    assert [job.ok for job in jobs] == [True, False, True, True]
    await trio.sleep(1)
    assert jobs[1].error == "unavailable", "four tokens were lost by it"
    assert len(made.done) == len(jobs)


async def test_a_token_that_fails_at_a_batch_leaves_only_what_no_other_one_has(autojump_clock: Any, rig: Any) -> None:
    """A doubled job is not handed on once more."""
    made = await rig(2)
    made.signer._turn = -1
    slow = made.tokens["t1"]
    slow.batch_s = pool.LATE_S + 0.1
    made.tokens["t2"].batch_s = 0.2
    jobs = made.jobs(3)
    jobs[0].attempts = pool.ATTEMPTS_MAX - 2
    jobs[1].attempts = pool.ATTEMPTS_MAX - 1
    made.signer.submit(jobs)
    await trio.sleep(pool.LATE_S + 0.05)
    slow.fail("failing", "the token says DEVICE_ERROR")
    await trio.sleep(2)
    assert [job.error for job in jobs] == ["", "unavailable", ""]
    assert [job.attempts for job in jobs] == [pool.ATTEMPTS_MAX - 1, pool.ATTEMPTS_MAX, 1]
