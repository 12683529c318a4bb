"""Which payments stand-in may answer for: the rules, the mode, the daily total; and the story under them, as traces."""

from typing import Any, NamedTuple

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway import config
from gateway.errors import ConfigurationError
from gateway.payments import standin, steps
from gateway.payments.arrival import Arrival, Note
from gateway.payments.inbound import RESERVE_FACTOR, Inbound
from gateway.payments.inbound_law import State
from gateway.payments.outcomes import Outcomes, Replay
from gateway.payments.standin import DAYS_MAX, DailyTotal, StandIn
from gateway.payments.steps import Kind
from gateway.wire.message import PaymentRequest
from tests.fakes.stage import CODEC, STAND_IN_S, Stage, request, restarted, reversal, scheme_return

LAST_S = config.Deadlines().last_moment_s
DAY_NS = 86_400 * 10**9


# --- what stand-in may not accept


def ruled(payments_max: int = 10, **rules: Any) -> Stage:
    """A stage with rules for stand-in."""
    return Stage(payments_max, pair=config.Pair(group="sip", stand_in=config.StandIn(**rules)))


def begun(stage: Stage, came: PaymentRequest | None = None) -> Arrival:
    """A payment that is received, durable and asked about."""
    payment = stage.came(came or request())
    assert payment is not None
    stage.recorded()
    assert stage.heard() == ["record RECEIVED", "timer +5", f"ask +{LAST_S:g}"]
    return payment


def refused(stage: Stage) -> dict[str, int]:
    """What stand-in refused, by reason."""
    counts = stage.story.stand_in.statistics(stage.now.wall_ns)["refused"]
    assert isinstance(counts, dict)
    return {reason: count for reason, count in counts.items() if count}


def test_another_currency_is_not_accepted_where_amounts_are_limited() -> None:
    """A bank whose table lets others in than sterling: the limits are in sterling."""
    euros = msgspec.structs.replace(request(), currency="978")
    for rules, reason in ((config.StandIn(amount_max=5000), "currency"), (config.StandIn(), "")):
        assert StandIn(rules, DailyTotal(), lambda _request: True).refusal(euros, 0) == reason


def test_what_stand_in_may_not_accept_waits_for_the_processor_and_is_refused_in_the_end() -> None:
    """FORBIDDEN, EXTEND, TURNED_AWAY: 1909, told with the request, and repeats get it, too."""
    stage = ruled(mode="never")
    payment = begun(stage)
    assert stage.fires(payment, STAND_IN_S) == ["timer +8"]
    assert stage.fires(payment, LAST_S) == ["record DECLINED", "mac 9210/1909"]
    decision = steps.unpack(*stage.bodies[-1][::2])
    assert isinstance(decision, steps.Decision)
    assert (decision.request, decision.pence) == (request().body, 0)
    stage.ready()
    stage.story.replying.on_sent(payment, stage.link, stage.now)
    assert stage.heard() == ["send 9210/1909 on 1", "record REPLIED"]
    assert stage.told() == [Kind.DECLINED]
    stage.came(request("9201"))
    assert stage.heard() == ["record REPEATED", "leave 9210/1909 on 1 after REPEATED"]
    assert refused(stage) == {"mode": 1}
    assert restarted(stage).outcomes.get(payment.fpid) == stage.outcomes.get(payment.fpid)


@pytest.mark.parametrize("code", ["0000", "1114"])
def test_a_real_answer_that_comes_by_the_last_moment_wins(code: str) -> None:
    stage = ruled(mode="never")
    payment = begun(stage)
    stage.fires(payment, STAND_IN_S)
    stage.answers(payment, code)
    assert stage.heard() == ["record ANSWERED", f"mac 9210/{code}"]
    assert stage.fires(payment, LAST_S) == []
    assert not stage.told()


def test_where_the_rules_say_so_nothing_is_answered_and_a_repeat_is_decided_anew() -> None:
    """UNANSWERED is told, no reply leaves; after a restart it is known as before."""
    stage = ruled(mode="never", otherwise="nothing")
    payment = begun(stage)
    stage.fires(payment, STAND_IN_S)
    assert stage.fires(payment, LAST_S) == ["record UNANSWERED"]
    assert (stage.state(), stage.story.in_flight, stage.told()) == (State.ORPHANED, {}, [Kind.UNANSWERED])
    assert stage.unasked == [payment]
    after = restarted(stage)
    assert after.heard() == []
    assert after.outcomes.get(payment.fpid) == stage.outcomes.get(payment.fpid)
    again = stage.came(request("9201"))
    assert again is not None
    stage.recorded()
    stage.answers(again, "0000")
    assert stage.heard() == [
        "record RECEIVED", "timer +5", "ask +8", "record ANSWERED", "mac 9210/0000",
    ]  # fmt: skip


def test_what_was_left_unanswered_can_be_reversed_and_is_not_revived_by_other_content() -> None:
    stage = ruled(mode="never", otherwise="nothing")
    stage.fires(begun(stage), LAST_S)
    stage.came(request(amount="00000000009999"))
    assert stage.heard() == ["record REFUSED", "leave 9210/1181 on 1 after REFUSED"]
    stage.came(reversal())
    assert stage.heard() == ["record REVERSED", "leave 9430/0000 on 1 after REVERSED"]
    assert stage.state() is State.REVERSED


@pytest.mark.parametrize(
    ("reason", "rules", "changes"),
    [
        ("type", {"payment_types": ("30", "40")}, {}),
        ("sort-code", {"sort_codes": ("0499", "06")}, {}),
        ("amount", {"amount_max": 999}, {}),
        ("daily-total", {"daily_total_max": 999}, {}),
        ("news", {"withhold_while_suspended": True}, {}),
    ],
)
def test_each_rule_forbids(reason: str, rules: dict[str, Any], changes: dict[str, str]) -> None:
    """A payment outside of a rule is counted once, under the first reason; one within it is stood in for."""
    stage = ruled(**rules)
    stage.news = reason != "news"
    payment = begun(stage, request(**changes))
    assert stage.fires(payment, STAND_IN_S) == ["timer +8"]
    assert stage.fires(payment, LAST_S) == ["record DECLINED", "mac 9210/1909"]
    assert refused(stage) == {reason: 1}


def test_news_withholds_stand_in_only_where_a_bank_says_so() -> None:
    """What the hub sends it has admitted: suspended or not, a payment is stood in for."""
    stage = ruled()
    stage.news = False
    assert stage.fires(stage.received(), STAND_IN_S) == ["record STOOD_IN", "mac 9210/0080"]
    assert refused(stage) == {}


def test_within_every_rule_stand_in_answers() -> None:
    stage = ruled(
        payment_types=("10",), sort_codes=("06", "0500"), amount_max=1000, daily_total_max=1000, otherwise="nothing"
    )
    payment = stage.received()
    assert stage.fires(payment, STAND_IN_S) == ["record STOOD_IN", "mac 9210/0080"]
    assert refused(stage) == {}


def test_the_rules_are_asked_again_at_the_last_moment() -> None:
    """An operator who allows stand-in meanwhile saves the payments that wait."""
    stage = ruled(mode="never")
    payment = begun(stage)
    stage.fires(payment, STAND_IN_S)
    stage.mode.switch("timer", stage.now)
    assert stage.heard() == ["record STAND_IN_MODE"]
    assert stage.fires(payment, LAST_S) == ["record STOOD_IN", "mac 9210/0080"]


def test_what_was_asked_with_less_time_gets_more_when_stand_in_is_forbidden_meanwhile() -> None:
    """The question may still have to be sent, or sent again: it is of use until the last moment."""
    stage = ruled()
    payment = stage.received()
    assert payment.question is not None
    assert payment.question.deadline_s == payment.first_byte_s + STAND_IN_S
    stage.mode.switch("never", stage.now)
    stage.heard()
    assert stage.fires(payment, STAND_IN_S) == ["timer +8"]
    assert payment.question.deadline_s == payment.first_byte_s + LAST_S


def test_when_the_timer_is_later_than_the_last_moment_it_is_refused_at_once() -> None:
    """The event loop was held up: there is no time left to wait."""
    stage = ruled(mode="never")
    assert stage.fires(begun(stage), LAST_S + 0.5) == ["record DECLINED", "mac 9210/1909"]


def test_in_mode_always_the_processor_is_not_asked() -> None:
    stage = ruled(mode="always")
    payment = stage.came(request())
    assert payment is not None
    assert stage.heard() == ["record RECEIVED", "timer +5"]
    stage.recorded()
    assert stage.heard() == ["record STOOD_IN", "mac 9210/0080"], "at once, and only when it is durable"
    assert stage.fires(payment, STAND_IN_S) == []


def test_in_mode_always_the_processor_is_asked_about_what_stand_in_may_not_accept() -> None:
    stage = ruled(mode="always", amount_max=999)
    payment = begun(stage)
    stage.answers(payment, "0000")
    assert stage.heard() == ["record ANSWERED", "mac 9210/0000"]
    assert refused(stage) == {}, "it was not needed"


@pytest.mark.parametrize(
    ("otherwise", "said"), [("1909", ["record DECLINED", "mac 9210/1909"]), ("nothing", ["record UNANSWERED"])]
)
def test_beyond_the_limit_what_stand_in_may_not_accept_does_not_wait(otherwise: str, said: list[str]) -> None:
    """What is under way stays bounded: it is not asked about, and ends as soon as it is durable."""
    stage = ruled(payments_max=1, mode="never", otherwise=otherwise)
    for number in range(RESERVE_FACTOR):
        begun(stage, request(trn=f"TRN1{number}"))
    stage.came(request(trn="TRN2"))
    assert stage.heard() == ["record RECEIVED"]
    stage.recorded()
    assert stage.heard() == said


def test_there_is_a_reserve_for_what_stand_in_may_not_accept() -> None:
    """Beyond the limit others are stood in for at once; what would be refused then is asked about like any other."""
    stage = ruled(payments_max=1, amount_max=1000)
    begun_any(stage, "TRN1", 500)
    stage.came(request(trn="TRN2", amount=f"{2000:014}"))
    assert stage.heard() == ["record RECEIVED", "timer +5"]
    stage.came(request(trn="TRN3", amount=f"{500:014}"))
    assert stage.heard() == ["record RECEIVED"]


@pytest.mark.parametrize(
    ("after_s", "otherwise", "said"),
    [
        (6.0, "1909", ["ask +8", "timer +8"]),
        (6.0, "nothing", ["ask +8", "timer +8"]),
        (8.5, "1909", ["record DECLINED", "mac 9210/1909"]),
        (8.5, "nothing", ["record UNANSWERED"]),
    ],
)
def test_when_the_disk_is_slower_than_the_timer_what_is_forbidden_gets_the_time_that_is_left(
    after_s: float, otherwise: str, said: list[str]
) -> None:
    """Nothing is said before it is durable; then it is asked about, or, after the last moment, ends."""
    stage = ruled(mode="never", otherwise=otherwise)
    payment = stage.came(request())
    assert payment is not None
    stage.heard()
    assert stage.fires(payment, STAND_IN_S) == []
    stage.now_s = payment.first_byte_s + after_s
    stage.recorded()
    assert stage.heard() == said
    if "ask +8" in said:
        assert stage.fires(payment, LAST_S) == (["record DECLINED", "mac 9210/1909"] if otherwise == "1909" else
                                                ["record UNANSWERED"])  # fmt: skip


def test_a_reversal_ends_the_waiting() -> None:
    stage = ruled(mode="never")
    payment = begun(stage)
    stage.fires(payment, STAND_IN_S)
    stage.came(reversal())
    assert stage.heard() == ["record REVERSED", "leave 9430/0000 on 1 after REVERSED"]
    assert stage.fires(payment, LAST_S) == []


@pytest.mark.parametrize(("code", "note"), [("0000", Note.LATE_ACCEPT), ("1114", Note.LATE_ANSWER)])
def test_an_answer_after_the_refusal_in_its_stead_changes_nothing(code: str, note: Note) -> None:
    """An acceptance is an error line: the processor must take it back, and DECLINED tells it so."""
    stage = ruled(mode="never")
    payment = begun(stage)
    stage.fires(payment, LAST_S)
    stage.answers(payment, code)
    assert stage.heard() == ["record LATE_ANSWER"]
    assert stage.notes[-1] is note
    assert stage.told() == [Kind.DECLINED]
    assert payment.code == "1909"


def test_an_answer_after_nothing_was_answered_is_recorded() -> None:
    stage = ruled(mode="never", otherwise="nothing")
    payment = begun(stage)
    stage.fires(payment, LAST_S)
    stage.answers(payment, "0000")
    assert stage.heard() == ["record LATE_ANSWER"]
    assert stage.state() is State.ORPHANED


# --- the daily total


def test_the_daily_total_is_kept_over_a_restart_and_is_a_days() -> None:
    """What would exceed it waits, what fits is accepted still; a new process knows, the next day begins anew."""
    stage = ruled(daily_total_max=2500)
    stage.fires(stage.received(), STAND_IN_S)
    assert stage.fires(begun_any(stage, "TRN2", 1600), LAST_S)[0] == "record DECLINED"
    assert stage.fires(begun_any(stage, "TRN3", 1500), STAND_IN_S)[0] == "record STOOD_IN"
    assert stage.story.stand_in.statistics(stage.now.wall_ns)["daily_total_percent"] == 100
    after = restarted(stage)
    after.story = Inbound(stage.pair, 10, after.outcomes, CODEC, after)
    assert after.story.stand_in.statistics(after.now.wall_ns)["daily_total_percent"] == 100
    assert after.fires(begun_any(after, "TRN4", 1), LAST_S)[0] == "record DECLINED"
    after.days = 1
    assert after.story.stand_in.statistics(after.now.wall_ns)["daily_total_percent"] == 0
    assert after.fires(begun_any(after, "TRN5", 2500), STAND_IN_S)[0] == "record STOOD_IN"
    after.days = 0
    assert after.story.stand_in.statistics(after.now.wall_ns)["daily_total_percent"] == 100, (
        "the clock stepped, and back"
    )


def begun_any(stage: Stage, trn: str, pence: int) -> Arrival:
    payment = stage.came(request(trn=trn, amount=f"{pence:014}"))
    assert payment is not None
    stage.recorded()
    stage.heard()
    return payment


def test_the_statistics_hold_no_amount() -> None:
    stage = ruled(daily_total_max=777_777, amount_max=555_555, sort_codes=("0500",), payment_types=("10",))
    stage.fires(stage.received(), STAND_IN_S)
    statistics = stage.story.stand_in.statistics(stage.now.wall_ns)
    assert statistics["daily_total_percent"] == 0
    assert not [text for text in ("777777", "555555", "1000", "0500") if text in str(statistics)]


# --- the mode, over restarts


def mode_after(stage: Stage, configured: config.StandInMode) -> object:
    """The mode in which a new process with this configuration goes on."""
    replay = Replay(Outcomes(7))
    for kind, fpid, body in stage.bodies:
        replay.record(kind, stage.now.wall_ns, fpid, body)
    after = ruled(mode=configured)
    after.mode.take_up(replay.stand_in_mode, after.now)
    assert after.heard() == ["record STAND_IN_MODE"], "written anew at every start"
    stage.bodies += after.bodies
    return after.story.stand_in.statistics(after.now.wall_ns)["mode"]


def test_a_journal_without_an_order_leaves_it_to_the_configuration() -> None:
    assert mode_after(Stage(), "always") == "always"


def test_the_latest_order_counts() -> None:
    """A switch holds over restarts, until somebody changes the configuration: that is the newer order."""
    stage = ruled(mode="timer")
    stage.mode.take_up(None, stage.now)
    stage.mode.switch("never", stage.now)
    assert mode_after(stage, "timer") == "never"
    assert mode_after(stage, "timer") == "never", "the second restart has only what the first one wrote"
    assert mode_after(stage, "always") == "always"
    assert mode_after(stage, "always") == "always"
    assert mode_after(stage, "timer") == "timer"


# --- what must be accepted


@pytest.mark.parametrize("otherwise", ["1909", "nothing"])
def test_a_scheme_return_is_accepted_in_the_end_whatever_the_rules_say(otherwise: str) -> None:
    """The rules give the processor more time; then stand-in accepts what may not be refused, and it counts."""
    stage = ruled(mode="never", otherwise=otherwise, daily_total_max=1000)
    payment = begun(stage, scheme_return())
    assert stage.fires(payment, STAND_IN_S) == ["timer +8"]
    assert stage.fires(payment, LAST_S) == ["record STOOD_IN", "mac 9210/0080"]
    assert Note.MUST_ACCEPT in stage.notes
    assert stage.story.stand_in.statistics(stage.now.wall_ns)["daily_total_percent"] == 100


# --- the parts alone


class Attempt(NamedTuple):
    """Stand-in is asked about a payment, in this process or, after a kill, in the next."""

    pence: int
    wall_ns: int
    killed: bool
    lost: bool
    """With the kill the last record is lost: it was not durable yet, and not replied to."""


ATTEMPTS = st.lists(
    st.builds(Attempt, st.integers(0, 5000), st.integers(0, 4 * DAY_NS), st.booleans(), st.booleans()),
    max_size=DAYS_MAX,
)


@given(ATTEMPTS, st.integers(1, 10_000))
def test_no_day_has_more_than_the_limit_whatever_the_clock_and_restarts_do(attempts: list[Attempt], limit: int) -> None:
    """The clock steps to any date at any payment, the process is killed before any: what the journal has, counts."""
    rules = config.StandIn(daily_total_max=limit)
    records: list[tuple[int, bytes, int]] = []
    story = StandIn(rules, DailyTotal(), lambda _request: True)
    for pence, wall_ns, killed, lost in attempts:
        if killed:
            del records[len(records) - lost :]
            replay = Replay(Outcomes(7))
            for time_ns, body, _ in records:
                replay.record(Kind.STOOD_IN, time_ns, "fpid", body)
            story = StandIn(rules, replay.outcomes.stood_in, lambda _request: True)
        before = sum(amount for time_ns, _, amount in records if time_ns // DAY_NS == wall_ns // DAY_NS)
        asked = PaymentRequest(mti="9200", amount=f"{pence:014}", currency="826", processing_code="100000")
        refusal = story.refusal(asked, wall_ns)
        assert refusal == ("daily-total" if before + pence > limit else "")
        assert story.statistics(wall_ns)["daily_total_percent"] == 100 * before // limit
        if not refusal:
            body = steps.pack(steps.Decision("0083", "", bytes(8), b"", b"", story.accept(asked, wall_ns)))
            records.append((wall_ns, body, pence))


def test_days_that_were_not_counted_on_for_long_are_forgotten() -> None:
    """Memory is bounded; a day that goes on being counted stays, wherever the clock was meanwhile."""
    total = DailyTotal()
    for day in range(10 * DAYS_MAX):
        total.add(1, day * DAY_NS)
        total.add(1, 0)
    assert total.on(0) > 10 * DAYS_MAX
    assert total.on(DAY_NS) == 0
    assert total.on((10 * DAYS_MAX - 1) * DAY_NS) == 1


def test_a_day_is_a_date_in_utc() -> None:
    total = DailyTotal()
    total.add(5, DAY_NS - 1)
    total.add(7, DAY_NS)
    assert [total.on(ns) for ns in (0, DAY_NS - 1, DAY_NS, 2 * DAY_NS - 1, 2 * DAY_NS)] == [5, 5, 7, 7, 0]


@pytest.mark.parametrize("amount", ["", "12A", "²", "٣"])
def test_what_is_no_amount_counts_nothing(amount: str) -> None:
    """A bank's own field table may say other things of DE6."""
    assert standin.pence_of(PaymentRequest(mti="9200", amount=amount)) == 0


def test_a_mode_that_nobody_knows_any_more_is_not_taken_up() -> None:
    """The journal is older than this program, or newer."""
    story = StandIn(config.StandIn(), DailyTotal(), lambda _request: True)
    story.take_up(steps.StandInMode("sometimes", "timer"))
    assert story.mode == "timer"


def test_types_in_the_rules_are_types_that_come_here() -> None:
    """Every mistake at once; another group's type, or nobody's, would be a rule that never applies."""
    pair = config.Pair(group="sip", stand_in=config.StandIn(payment_types=("10", "30", "77")))
    with pytest.raises(ConfigurationError) as raised:
        standin.check(pair, CODEC)
    assert raised.value.mistakes == [
        "pair.stand_in.payment_types[1]: 30 is of group sop, and pair.group is sip",
        "pair.stand_in.payment_types[2]: 77 is no payment type of the field table",
    ]
    standin.check(config.Pair(group="sip", stand_in=config.StandIn(payment_types=("10",))), CODEC)
