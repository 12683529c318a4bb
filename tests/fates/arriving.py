"""Every fate of a payment that arrives, as a playbook."""

from gateway import config
from tests.fakes.engine import PAIR, payment, sealed
from tests.fakes.stage import reversal, scheme_return
from tests.fates.playing import OTHER_AMOUNT, Fate, Play, fate

INBOUND: list[Fate] = []
FORBIDDEN = config.Pair(group="sip", stand_in=config.StandIn(mode="never"))
SILENT = config.Pair(group="sip", stand_in=config.StandIn(mode="never", otherwise="nothing"))
AT_ONCE = config.Pair(group="sip", stand_in=config.StandIn(mode="always"))
TOO_OLD = "20240102"


@fate(INBOUND, "accepted", "The processor accepts in time.",
      "payments/test_inbound.py::test_a_payment_is_received_asked_answered_and_replied_to")  # fmt: skip
def _(on: Play) -> None:
    on.arrives()
    on.answers()


@fate(
    INBOUND, "refused", "The processor refuses in time.", "payments/test_inbound.py::test_a_refusal_carries_its_field"
)
def _(on: Play) -> None:
    on.arrives()
    on.answers("1114")


@fate(INBOUND, "stood in for", "The processor does not answer in time. Stand-in accepts in its place.",
      "payments/test_inbound.py::test_when_the_timer_fires_stand_in_answers")  # fmt: skip
def _(on: Play) -> None:
    on.arrives()
    on.silence(PAIR.deadlines.stand_in_after_s)


@fate(INBOUND, "stood in for, accepted late", "Stand-in has accepted, and then the processor accepts, too.",
      "payments/test_inbound.py::test_a_late_answer_changes_nothing_and_is_recorded")  # fmt: skip
def _(on: Play) -> None:
    on.arrives()
    on.silence(PAIR.deadlines.stand_in_after_s)
    on.answers()


@fate(
    INBOUND,
    "stood in for, refused late",
    "Stand-in has accepted, and then the processor refuses: the bank must return the money.",
    "payments/test_rare_inbound.py::test_a_refusal_after_stand_in_is_told_however_far_the_payment_is",
)
def _(on: Play) -> None:
    on.arrives()
    on.silence(PAIR.deadlines.stand_in_after_s)
    on.answers("1114")


@fate(INBOUND, "stood in for at once", "An operator has switched stand-in to `always`: the processor is not asked.",
      "payments/test_standin.py::test_in_mode_always_the_processor_is_not_asked", AT_ONCE)  # fmt: skip
def _(on: Play) -> None:
    on.arrives()


@fate(
    INBOUND,
    "answered in the extra time",
    "Stand-in may not accept it. The gateway waits longer, and the processor accepts.",
    "payments/test_standin.py::test_a_real_answer_that_comes_by_the_last_moment_wins",
    FORBIDDEN,
)
def _(on: Play) -> None:
    on.arrives()
    on.silence(PAIR.deadlines.stand_in_after_s)
    on.answers()


@fate(INBOUND, "turned away", "Stand-in may not accept it, and the processor does not answer by the last moment.",
      "payments/test_standin.py::test_what_stand_in_may_not_accept_waits_for_the_processor_and_is_refused_in_the_end",
      FORBIDDEN)  # fmt: skip
def _(on: Play) -> None:
    on.arrives()
    on.silence_to_the_last_moment()


@fate(
    INBOUND,
    "turned away, accepted late",
    "The gateway has refused it, and then the processor accepts: it must undo that.",
    "payments/test_rare_inbound.py::test_an_acceptance_after_the_refusal_in_its_stead_is_an_alarm",
    FORBIDDEN,
)
def _(on: Play) -> None:
    on.arrives()
    on.silence_to_the_last_moment()
    on.answers()


@fate(INBOUND, "left unanswered", 'As turned away, but the bank has configured silence (`otherwise = "nothing"`).',
      "payments/test_standin.py::test_where_the_rules_say_so_nothing_is_answered_and_a_repeat_is_decided_anew",
      SILENT)  # fmt: skip
def _(on: Play) -> None:
    on.arrives()
    on.silence_to_the_last_moment()


@fate(
    INBOUND,
    "left unanswered, repeated",
    "It was left unanswered. The hub repeats it, and this time the processor accepts.",
    "payments/test_standin.py::test_where_the_rules_say_so_nothing_is_answered_and_a_repeat_is_decided_anew",
    SILENT,
)
def _(on: Play) -> None:
    on.arrives()
    on.silence_to_the_last_moment()
    on.arrives(payment(mti="9201"))
    on.world.answer(index=1)
    on.settle()


@fate(INBOUND, "overruled", "The processor refuses a scheme return. The scheme says that it must be accepted.",
      "payments/test_rare_inbound.py::test_a_refusal_of_a_scheme_return_is_overruled_and_that_is_an_alarm")  # fmt: skip
def _(on: Play) -> None:
    on.arrives(sealed(scheme_return()))
    on.answers("1114")


@fate(INBOUND, "undelivered", "The link that brought it is lost after the decision and before the reply leaves.",
      "payments/test_inbound.py::test_when_the_link_is_gone_the_reply_is_recorded_as_undelivered")  # fmt: skip
def _(on: Play) -> None:
    on.arrives()
    on.world.down(on.world.link)
    on.answers()


@fate(INBOUND, "undelivered, repeated", "Its reply was undelivered. The hub repeats it on another link.",
      "payments/test_inbound.py::test_an_undelivered_reply_leaves_with_the_repeat")  # fmt: skip
def _(on: Play) -> None:
    on.arrives()
    on.world.down(on.world.link)
    on.answers()
    on.comes_back()
    on.arrives(payment(mti="9201"))


@fate(INBOUND, "repeated", "The hub did not get the reply, and repeats the request.",
      "payments/test_rare_inbound.py::test_a_repeat_gets_what_the_payment_has_come_to_at_any_time")  # fmt: skip
def _(on: Play) -> None:
    on.arrives()
    on.answers()
    on.arrives(payment(mti="9201"))


@fate(INBOUND, "repeated undecided", "The hub repeats it on another link while the processor decides.",
      "payments/test_inbound.py::test_a_repeat_during_the_decision_waits_for_it")  # fmt: skip
def _(on: Play) -> None:
    on.arrives()
    first = on.world.link
    on.comes_back()
    on.arrives(payment(mti="9201"))
    on.answers()
    on.world.engine.sent(first, first.contexts)
    on.settle()


@fate(INBOUND, "reversed", "The hub did not get the reply in time, and takes the payment back.",
      "payments/test_rare_inbound.py::test_a_reversal_ends_a_payment_at_any_time")  # fmt: skip
def _(on: Play) -> None:
    on.arrives()
    on.answers()
    on.arrives(sealed(reversal()))


@fate(INBOUND, "reversed undecided", "The hub takes it back before the processor answers. The answer is only recorded.",
      "payments/test_inbound.py::test_an_answer_after_the_reversal_is_recorded")  # fmt: skip
def _(on: Play) -> None:
    on.arrives()
    on.arrives(sealed(reversal()))
    on.answers()


@fate(
    INBOUND,
    "reversed while the reply is made",
    "The hub takes it back before the reply is ready. The reply is withheld.",
    "payments/test_inbound.py::test_a_reply_that_becomes_ready_after_the_reversal_is_withheld",
)
def _(on: Play) -> None:
    on.arrives()
    on.world.answer()
    on.arrives(sealed(reversal()))


@fate(INBOUND, "reversed twice", "The hub did not get the answer to its reversal, and repeats the reversal.",
      "payments/test_inbound.py::test_a_reversal_is_answered_positively_always")  # fmt: skip
def _(on: Play) -> None:
    on.arrives()
    on.answers()
    on.arrives(sealed(reversal()))
    on.arrives(sealed(reversal("9421")))


@fate(INBOUND, "reversed unseen", "The hub takes back a payment that never came.",
      "payments/test_inbound.py::test_a_reversal_is_answered_positively_always")  # fmt: skip
def _(on: Play) -> None:
    on.arrives(sealed(reversal()))


@fate(
    INBOUND,
    "reversed, then seen",
    "The hub took it back before it came, and then it comes. 1100 refuses it for business reasons.",
    "payments/test_rare_inbound.py::test_a_payment_that_was_reversed_before_is_refused_and_people_hear_of_it",
)
def _(on: Play) -> None:
    on.arrives(sealed(reversal()))
    on.arrives()


@fate(INBOUND, "orphaned", "The gateway restarts between the question and the decision.",
      "payments/test_inbound.py::test_a_restart_orphans_what_was_undecided_and_a_repeat_decides_it")  # fmt: skip
def _(on: Play) -> None:
    on.arrives()
    on.restart()


@fate(INBOUND, "orphaned, repeated", "It was orphaned. The hub repeats it, and it is decided like a new one.",
      "payments/test_inbound.py::test_a_restart_orphans_what_was_undecided_and_a_repeat_decides_it")  # fmt: skip
def _(on: Play) -> None:
    on.arrives()
    on.restart()
    on.arrives(payment(mti="9201"))
    on.answers()


@fate(
    INBOUND,
    "decided, then restarted",
    "The gateway restarts after the decision. The reply may have left.",
    "payments/test_inbound.py::test_a_restart_says_of_a_decision_without_reply_that_it_may_not_have_arrived",
)
def _(on: Play) -> None:
    on.arrives()
    on.world.answer()
    on.world.sync()
    on.restart()


@fate(
    INBOUND,
    "a used FPID",
    "Another payment comes with the identifier (FPID) of one that was replied to. 1181 says: duplicate FPID.",
    "payments/test_rare_inbound.py::test_other_content_under_a_used_fpid_is_refused_at_any_time",
)
def _(on: Play) -> None:
    on.arrives()
    on.answers()
    on.arrives(payment(amount=OTHER_AMOUNT))


@fate(
    INBOUND,
    "a bad field",
    "A field is missing, or its value is not allowed. 1930 says: syntax error. DE44 is the number of the field.",
    "payments/test_inbound.py::test_a_missing_field_is_refused_with_its_number",
)
def _(on: Play) -> None:
    on.arrives(payment(creditor_account=""))


@fate(
    INBOUND,
    "a bad date",
    "It is new, and its date is too far back or ahead. 1930 says: syntax error. DE44 012 is the date.",
    "payments/test_inbound_dates.py::test_a_synchronous_payment_of_another_day_is_refused_and_stays_unknown",
)
def _(on: Play) -> None:
    on.arrives(payment(date_sent=TOO_OLD))


@fate(INBOUND, "unreadable", "The bytes are not a message.",
      "payments/test_inbound.py::test_what_cannot_be_answered_with_a_response_is_advised")  # fmt: skip
def _(on: Play) -> None:
    on.arrives(b"9200 and then nothing that belongs there")


@fate(INBOUND, "not authentic", "Its MAC is wrong: the hub did not send it, or it was changed on the way.",
      "engine/test_engine.py::test_a_wrong_mac_is_advised_and_nothing_else_happens")  # fmt: skip
def _(on: Play) -> None:
    on.arrives(payment()[:-16] + b"0" * 16)
