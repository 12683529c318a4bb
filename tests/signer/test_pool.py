"""The pool alone, on fake tokens and a mock clock: limits, sharing, judging, pauses."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import trio
import trio.testing

from gateway import config
from gateway.clock import system_clock
from gateway.payments.work import MacJob as Job
from gateway.signer import breaker, messages, pool, queues, tokens
from gateway.signer.pool import Signer
from tests.conftest import Reached
from tests.fakes.token import FakeTokens

KEYS = {"fps-hub": bytes(16), "fps-own": bytes(range(16))}


class Rig:
    """A signer on fake tokens, and its results."""

    def __init__(self, count: int = 3, remote: int = 0, batch_within_s: float = 1.0) -> None:
        """The last ones are remote."""
        self.names = [f"t{number}" for number in range(1, count + 1)]
        self.tokens = FakeTokens(self.names, KEYS)
        settings = tuple(
            config.Token(
                name=name,
                label=name,
                module="none",
                pin_file="none",
                local=number < count - remote,
                batch_within_s=batch_within_s,
            )
            for number, name in enumerate(self.names)
        )
        self.signer = Signer(
            settings, config.Mac(), system_clock, on_done=self._on_done, open_worker=self.tokens.open, luck=lambda: 1.0
        )
        self.done: list[Job] = []
        self.told: list[int] = []

    def _on_done(self, jobs: list[Job]) -> None:
        self.done += jobs
        self.told.append(len(jobs))

    def submit(self, count: int, within_s: float = 8.0, size: int = 10) -> list[Job]:
        """That many jobs, to make."""
        jobs = self.jobs(count, within_s, size)
        self.signer.submit(jobs)
        return jobs

    def verify(self, count: int) -> list[Job]:
        """That many jobs, to verify; each MAC is wrong."""
        jobs = self.jobs(count, mac=b"no right")
        self.signer.submit(jobs)
        return jobs

    @staticmethod
    def jobs(count: int, within_s: float = 8.0, size: int = 10, mac: bytes = b"") -> list[Job]:
        """That many, not submitted."""
        deadline_s = trio.current_time() + within_s
        return [Job("fps-own", b"%*d" % (size, number), deadline_s=deadline_s, mac=mac) for number in range(count)]

    def states(self) -> list[str]:
        """Of all tokens, in order."""
        return [health.state for health in self.signer.health().values()]


@pytest.fixture
async def rig(autojump_clock: trio.testing.MockClock, nursery: trio.Nursery) -> Callable[..., Any]:
    async def start(count: int = 3, *, remote: int = 0, running: bool = True, batch_within_s: float = 1.0) -> Rig:
        made = Rig(count, remote, batch_within_s)
        if running:
            await nursery.start(made.signer.run)
        return made

    return start


async def test_one_queue_has_a_limit_and_says_so(autojump_clock: Any, rig: Any, reached: Reached) -> None:
    """Jobs beyond the limit are unavailable at once; those within it wait."""
    made = await rig(running=False)
    jobs = made.submit(queues.WAITING_MAX + 7)
    assert [job.error for job in jobs[-8:]] == ["", *["unavailable"] * 7]
    assert made.done == jobs[-7:]
    assert made.signer.waiting == queues.WAITING_MAX
    assert reached("signer.WAITING_MAX") == ([queues.WAITING_MAX], 7)
    made.verify(3)
    assert reached("signer.WAITING_MAX") == ([queues.WAITING_MAX], 10), "one episode"
    assert reached("signer.VERIFICATIONS_MAX") == ([], 0)


async def test_requests_leave_room_for_replies(autojump_clock: Any, rig: Any, reached: Reached) -> None:
    """Verifications fill their part of the room only; a reply's MAC still waits for its turn, up to the whole room.
    Each limit says when it is reached, with its own figure.
    """
    made = await rig(running=False)
    requests = made.verify(queues.VERIFICATIONS_MAX + 7)
    assert made.done == requests[-7:]
    assert {job.error for job in made.done} == {"unavailable"}
    asked = ([queues.VERIFICATIONS_MAX], 7)
    assert (reached("signer.VERIFICATIONS_MAX"), reached("signer.WAITING_MAX")) == (asked, ([], 0))
    room = queues.WAITING_MAX - queues.VERIFICATIONS_MAX
    replies = made.submit(room + 7)
    assert made.done[7:] == replies[-7:]
    assert made.signer.waiting == queues.WAITING_MAX
    mixed = made.jobs(2) + made.jobs(2, mac=b"no right")
    made.signer.submit(mixed)
    assert made.done[14:] == mixed
    assert (reached("signer.VERIFICATIONS_MAX"), reached("signer.WAITING_MAX")) == (asked, ([queues.WAITING_MAX], 11))
    assert made.signer._waiting.verifications.reached, "replies alone end no episode of requests"


async def test_replies_leave_no_more_room_for_requests_than_there_is(autojump_clock: Any, rig: Any) -> None:
    """Of a list with both kinds the MACs to make are taken first, wherever in it they are."""
    made = await rig(running=False)
    made.submit(queues.WAITING_MAX - 3)
    requests, replies = made.jobs(4, mac=b"no right"), made.jobs(2)
    made.signer.submit([requests[0], replies[0], *requests[1:], replies[1]])
    assert made.done == requests[1:]
    assert made.signer.waiting == queues.WAITING_MAX


async def test_replies_go_ahead_of_requests_that_wait(autojump_clock: Any, rig: Any) -> None:
    """What came first stays first within its kind; a MAC to make waits for no verification but those under way."""
    made = await rig(1)
    made.tokens["t1"].batch_s = 0.1
    requests = made.verify(5 * pool.BATCH_JOBS_MAX)
    replies = made.submit(10)
    await trio.sleep(2)
    under_way = pool.BATCHES_MAX * pool.BATCH_JOBS_MAX
    assert made.done == requests[:under_way] + replies + requests[under_way:]
    assert all(job.ok for job in replies)
    assert {job.error for job in requests} == {"wrong-mac"}


async def test_what_a_lost_token_left_goes_to_the_head_of_its_kind(autojump_clock: Any, rig: Any) -> None:
    """In its order, and no verification of it gets ahead of a reply."""
    made = await rig(1)
    made.tokens["t1"].batch_s = 0.1
    requests = made.verify(3 * pool.BATCH_JOBS_MAX)
    replies = made.submit(10)
    made.tokens["t1"].crash()
    await trio.sleep(4)
    assert made.done == replies + requests
    assert [requests[0].attempts, requests[-1].attempts, replies[0].attempts] == [1, 0, 0]


async def test_jobs_past_their_deadline_are_given_up_in_both_queues(autojump_clock: Any, rig: Any) -> None:
    """Without any token, too; what has time left stays."""
    made = await rig(1)
    made.tokens["t1"].disappear()
    made.tokens["t1"].crash()
    await trio.sleep(1)
    late = made.jobs(3, within_s=1) + made.jobs(3, within_s=1, mac=b"no right")
    made.signer.submit(late)
    kept = made.submit(1) + made.verify(1)
    await trio.sleep(2)
    assert made.done == late
    assert made.signer.waiting == 2
    await trio.sleep(7)
    assert made.done == late + kept


async def test_jobs_that_waited_for_the_first_token_are_done(
    autojump_clock: Any, rig: Any, nursery: trio.Nursery
) -> None:
    """Jobs that were submitted before any token served are done when one does."""
    made = await rig(running=False)
    jobs = made.submit(1000)
    await nursery.start(made.signer.run)
    await trio.sleep(1)
    assert all(job.ok for job in jobs)


async def test_a_few_jobs_go_to_one_token_and_many_to_all(autojump_clock: Any, rig: Any) -> None:
    """A wake-up costs more than sharing a few jobs gains; many are shared evenly, and calls take turns."""
    made = await rig()
    made.submit(pool.SHARE_MIN)
    await trio.sleep(1)
    assert sorted(made.told) == [pool.SHARE_MIN]
    made.told.clear()
    made.submit(300)
    await trio.sleep(1)
    assert sorted(made.told) == [100, 100, 100]
    for token in made.tokens.tokens.values():
        token.batches.clear()
    for _ in range(6):
        made.submit(1)
        await trio.sleep(0.1)
    assert [token.batches for token in made.tokens.tokens.values()] == [[1, 1]] * 3


async def test_a_batch_is_limited_in_jobs_and_bytes(autojump_clock: Any, rig: Any) -> None:
    """So that its deadline means something, and two of them fit into a socket's buffer."""
    made = await rig(1)
    made.submit(1000)
    await trio.sleep(1)
    assert max(made.tokens["t1"].batches) == pool.BATCH_JOBS_MAX
    made.tokens["t1"].batches.clear()
    made.submit(100, size=4000)
    await trio.sleep(1)
    assert max(made.tokens["t1"].batches) == queues.BATCH_BYTES_MAX // 4000


async def test_slow_is_not_hung(autojump_clock: Any, rig: Any) -> None:
    """A batch's time counts from its turn: two slow ones in a row are within their limit, each."""
    made = await rig(1)
    made.tokens["t1"].batch_s = 0.9
    jobs = made.submit(4 * pool.BATCH_JOBS_MAX)
    await trio.sleep(4)
    assert all(job.ok for job in jobs)
    assert made.tokens["t1"].starts == 1


async def test_a_pause_of_our_own_makes_no_token_slow_or_hung(autojump_clock: Any, rig: Any) -> None:
    """A machine that stood still for longer than a batch may take: the answers lie unread, whichever task wakes
    first.
    """
    made = await rig(2)
    for token in made.tokens.tokens.values():
        token.batch_s = 0.02
    for _ in range(10):
        jobs = made.submit(2 * pool.SHARE_MIN)
        await trio.sleep(0.01)
        autojump_clock.jump(5)
        await trio.sleep(0.5)
        assert all(job.ok for job in jobs)
    assert [token.starts for token in made.tokens.tokens.values()] == [1, 1]
    assert all(health.answer_s <= pool.LATE_S for health in made.signer.health().values())


@pytest.mark.parametrize(("within_s", "before_s"), [(1.0, 0.95), (0.25, 0.01)])
async def test_a_pause_that_ends_past_all_limits_makes_none_hung(
    autojump_clock: Any, rig: Any, within_s: float, before_s: float
) -> None:
    """Also where what ran out was not the time after which a token is late but all of its time."""
    made = await rig(2, batch_within_s=within_s)
    for token in made.tokens.tokens.values():
        token.batch_s = before_s + 0.02
    for _ in range(10):
        jobs = made.submit(2 * pool.SHARE_MIN)
        await trio.sleep(before_s)
        autojump_clock.jump(5)
        await trio.sleep(0.5)
        assert all(job.ok for job in jobs)
    assert [token.starts for token in made.tokens.tokens.values()] == [1, 1]


async def test_what_begins_behind_a_pause_has_lost_nothing_by_it(
    autojump_clock: Any, rig: Any, nursery: trio.Nursery
) -> None:
    """In the very moment, before the timer has run: a token that hangs then is found out like any other."""
    for _ in range(20):
        made = await rig(2)
        made.tokens["t1"].batch_s = made.tokens["t2"].batch_s = 0.02
        made.submit(1)
        idle = next(member for member in made.signer._tokens.members if not member.under_way)

        async def hang(made: Rig, name: str) -> None:
            await trio.sleep(0.2)
            made.tokens[name].hang()
            made.submit(1)

        nursery.start_soon(hang, made, idle.token.name)
        await trio.sleep(0.01)
        autojump_clock.jump(5)
        await trio.sleep(0.001)
        if idle.under_way:
            assert idle.under_way[0].began_s <= trio.current_time()
            assert idle.under_way[0].due_s <= trio.current_time() + 1
        await trio.sleep(10)


async def test_a_token_that_hangs_is_found_out_after_a_pause_of_our_own_too(autojump_clock: Any, rig: Any) -> None:
    """It has its time once more, and no longer."""
    made = await rig(1)
    made.tokens["t1"].hang()
    made.submit(1)
    await trio.sleep(0.01)
    autojump_clock.jump(5)
    await trio.sleep(0.5)
    assert made.states() == ["serving"]
    await trio.sleep(0.6)
    assert made.states() == ["hung"]


async def test_a_job_that_kills_workers_is_given_up(autojump_clock: Any, rig: Any) -> None:
    """It is handed on a few times only: it must not take down every token for ever."""
    made = await rig(1)
    made.tokens["t1"].batch_s = 0.5
    jobs = made.submit(1, within_s=1000)
    for attempt in range(pool.ATTEMPTS_MAX):
        assert [(job.done, job.attempts) for job in jobs] == [(False, attempt)]
        # the new worker comes up, gets the job, and crashes
        while not made.signer.serving:
            await made.signer.wait_changed()
        await trio.sleep(0.1)
        made.tokens["t1"].crash()
        await made.signer.wait_changed()
    assert [job.error for job in jobs] == ["unavailable"]


async def test_a_token_that_answers_one_batch_and_hangs_in_the_next_is_found_out(autojump_clock: Any, rig: Any) -> None:
    """The time of a batch begins when its turn comes, and its end is looked after from then on."""
    made = await rig(1)
    made.tokens["t1"].batch_s = 0.5
    first, second = made.submit(1), made.submit(1)
    await trio.sleep(0.7)
    assert [job.ok for job in (*first, *second)] == [True, False]
    made.tokens["t1"].hang()
    await trio.sleep(0.7)
    assert made.states() == ["serving"], "the second has had 0.9 s of its second"
    await trio.sleep(0.2)
    assert made.states() == ["hung"]


async def test_each_job_is_told_once_also_when_its_answer_comes_late(autojump_clock: Any, rig: Any) -> None:
    """An answer after the deadline changes nothing any more."""
    made = await rig(1)
    made.tokens["t1"].batch_s = 0.9
    jobs = made.submit(3, within_s=0.5)
    await trio.sleep(0.6)
    assert [job.error for job in jobs] == ["unavailable"] * 3
    await trio.sleep(5)
    assert made.done == jobs
    assert [job.ok for job in jobs] == [False] * 3


async def test_the_majority_may_change_sides(autojump_clock: Any, rig: Any) -> None:
    """A token that served alone with the wrong keys is out as soon as two others agree against it."""
    made = await rig(3, running=False)
    made.tokens["t1"].keys["fps-own"] = bytes([9] * 16)
    for name in ("t2", "t3"):
        made.tokens[name].disappear()
    async with trio.open_nursery() as nursery:
        await nursery.start(made.signer.run)
        assert made.states() == ["serving", "no-token", "no-token"]
        for name in ("t2", "t3"):
            made.tokens[name].come_back()
        await trio.sleep(tokens.SETTLE_S)
        assert made.states() == ["different-keys", "serving", "serving"]
        made.tokens["t1"].keys["fps-own"] = KEYS["fps-own"]
        await trio.sleep(breaker.PAUSE_MAX_S)
        assert made.states() == ["serving"] * 3
        nursery.cancel_scope.cancel()


async def test_a_token_that_does_not_come_up_delays_the_start_by_a_bounded_time(autojump_clock: Any, rig: Any) -> None:
    """The others serve after the settling time; the hung one is called hung when its own limit is over."""
    made = await rig(running=False)
    made.tokens["t2"].hang()
    async with trio.open_nursery() as nursery:
        began_s = trio.current_time()
        await nursery.start(made.signer.run)
        assert trio.current_time() - began_s == pytest.approx(tokens.SETTLE_S)
        assert made.states() == ["serving", "starting", "serving"]
        await trio.sleep(9)
        assert made.states() == ["serving", "hung", "serving"]
        assert made.signer.health()["t2"].why == "hung: not up within 10 s"
        nursery.cancel_scope.cancel()


async def test_a_token_that_stays_away_is_tried_ever_more_rarely(autojump_clock: Any, rig: Any, logged: Any) -> None:
    """Growing pauses up to a limit, and one line in the log, however long it takes."""
    made = await rig(2)
    made.tokens["t1"].disappear()
    starts = []
    for _ in range(3):
        before = made.tokens["t1"].starts
        await trio.sleep(300)
        starts.append(made.tokens["t1"].starts - before)
    assert starts[0] > starts[1] == starts[2] == 300 / breaker.PAUSE_MAX_S
    assert len([line for line in logged("token does not serve") if line["level"] == "error"]) <= 1
    assert len([line for line in logged("token lost") if line["level"] == "error"]) == 1


@pytest.mark.parametrize("how", ["crash", "fail", "hang"])
async def test_when_the_last_token_goes_the_pauses_of_the_others_are_cut_short(
    autojump_clock: Any, rig: Any, how: str
) -> None:
    """They are well again, and would have found that out half a minute later; what waits is made at once."""
    made = await rig(4)
    last, others = made.tokens["t1"], [made.tokens[name] for name in made.names[1:]]
    for token in others:
        token.crash()
        token.disappear()
    await trio.sleep(10 * breaker.PAUSE_MAX_S)
    for token in others:
        token.come_back()
    if how == "hang":
        last.hang()
    else:
        last.fail("failing", "the token says DEVICE_ERROR")
    if how == "crash":
        last.crash()
    jobs = made.submit(1)
    assert made.states()[1:] == ["no-token"] * 3
    await trio.sleep(1.0 + 0.001)  # what a batch may take, where it hangs
    assert made.states() == ["hung" if how == "hang" else "failing", *["serving"] * 3]
    assert jobs[0].ok


async def test_while_no_token_serves_each_is_tried_every_second(autojump_clock: Any, rig: Any) -> None:
    """However long that lasts; and no more often, and rarely again as soon as one of them serves."""
    made = await rig(3)
    for token in made.tokens.tokens.values():
        token.crash()
        token.disappear()
    await trio.sleep(60)
    before = [token.starts for token in made.tokens.tokens.values()]
    lasts_s = 300
    await trio.sleep(lasts_s)
    starts = [token.starts - then for token, then in zip(made.tokens.tokens.values(), before, strict=True)]
    assert starts == pytest.approx([lasts_s / breaker.PAUSE_ALONE_MAX_S] * 3, rel=0.02)
    made.tokens["t1"].come_back()
    await trio.sleep(breaker.PAUSE_ALONE_MAX_S)
    assert made.states() == ["serving", "no-token", "no-token"]
    starts = [made.tokens["t2"].starts]
    await trio.sleep(lasts_s)
    assert made.tokens["t2"].starts - starts[0] <= lasts_s / breaker.PAUSE_MAX_S + 1


async def test_a_refused_pin_is_not_tried_again_though_no_token_serves(autojump_clock: Any, rig: Any) -> None:
    """Its tries are few, and a token that is locked stays so: better no payments than no token."""
    made = await rig(2)
    made.tokens["t1"].fail("wrong-pin", "wrong PIN")
    made.tokens["t1"].crash()
    await trio.sleep(60)
    starts = made.tokens["t1"].starts
    made.tokens["t2"].crash()
    made.tokens["t2"].disappear()
    await trio.sleep(600)
    assert made.states() == ["wrong-pin", "no-token"]
    assert made.tokens["t1"].starts == starts


async def test_a_refused_pin_is_never_tried_again_while_its_file_is_the_same(autojump_clock: Any, rig: Any) -> None:
    """Not after an hour either."""
    made = await rig(2)
    made.tokens["t1"].fail("wrong-pin", "wrong PIN")
    await trio.sleep(60)
    starts = made.tokens["t1"].starts
    await trio.sleep(3600)
    assert made.tokens["t1"].starts == starts
    assert made.states() == ["wrong-pin", "serving"]


async def test_cancelled_it_ends_every_worker(autojump_clock: Any, rig: Any) -> None:
    """No worker is left behind."""
    made = await rig(running=False)
    async with trio.open_nursery() as nursery:
        await nursery.start(made.signer.run)
        assert all(token.workers for token in made.tokens.tokens.values())
        nursery.cancel_scope.cancel()
    assert not any(token.workers for token in made.tokens.tokens.values())


@pytest.mark.parametrize(
    "said",
    [
        messages.result_frame(99, []),
        messages.frame(messages.RESULT, b"123"),
        messages.frame(messages.FAULT, b"{}"),
        messages.frame(messages.HELLO, b"not JSON"),
        messages.json_frame(messages.HELLO, {"fps-own": "00"}),
        messages.frame(messages.PROBE),
    ],
)
async def test_a_worker_that_makes_no_sense_is_replaced(autojump_clock: Any, rig: Any, said: bytes) -> None:
    """Whatever a broken worker says, the pool takes it for crashed and starts another."""
    made = await rig(2)
    (worker,) = made.tokens["t1"].workers
    worker._say(said)
    worker._said_something.set()
    await trio.testing.wait_all_tasks_blocked()
    assert made.tokens["t1"].workers != [worker]
    jobs = made.submit(100)
    await trio.sleep(1)
    assert all(job.ok for job in jobs)
    assert made.states() == ["serving", "serving"]


def test_pauses_double_up_to_a_limit_and_are_spread() -> None:
    """With luck 1 a pause is whole, with luck 0 half of it."""
    sick = breaker.Breaker()
    pauses = [sick.failed(None, 1.0) for _ in range(12)]
    assert pauses[:4] == [0.2, 0.4, 0.8, 1.6]
    assert pauses[-1] == breaker.PAUSE_MAX_S
    assert sick.failed(None, 0.0) == breaker.PAUSE_MAX_S / 2


def test_what_is_left_of_a_pause_while_no_token_serves_is_short_and_spread() -> None:
    """The first ones are shorter than that."""
    sick = breaker.Breaker()
    alone = []
    for _ in range(5):
        sick.failed(None, 1.0)
        alone.append(sick.alone_s)
    assert alone == [0.2, 0.4, 0.8, breaker.PAUSE_ALONE_MAX_S, breaker.PAUSE_ALONE_MAX_S]
    sick.failed(None, 0.0)
    assert sick.alone_s == breaker.PAUSE_ALONE_MAX_S / 2


def test_a_well_token_is_started_again_at_once_and_a_flapping_one_is_not() -> None:
    """Steady service wipes the slate; coming up and failing again does not."""
    sick = breaker.Breaker()
    assert sick.failed(1.0, 1.0) == 0.0
    assert sick.failed(1.0, 1.0) == 0.4
    assert sick.failed(1.0, 1.0) == 0.8
    assert sick.failed(breaker.STEADY_S, 1.0) == 0.0


def test_a_pin_file_that_is_written_anew_is_seen(tmp_path: Path) -> None:
    """Also when it is as long as before; a file that is not there is something to see, too."""
    path = tmp_path / "pin"
    assert tokens._seen(str(path)) is None
    path.write_text("1234")
    first = tokens._seen(str(path))
    other = tmp_path / "new"
    other.write_text("4321")
    other.replace(path)
    assert tokens._seen(str(path)) not in {first, None}
