"""Every fate of a payment that leaves, as a playbook."""

from tests.fakes.engine import PAIR, sealed
from tests.fakes.news import usm
from tests.fates.playing import OTHER_AMOUNT, Fate, Play, fate

OUTBOUND: list[Fate] = []


@fate(OUTBOUND, "accepted", "The receiving bank accepts.",
      "payments/test_outbound.py::test_who_waits_hears_the_outcome_once_it_is_durable")  # fmt: skip
def _(on: Play) -> None:
    on.submits()
    on.hub_answers()


@fate(OUTBOUND, "accepted, credited later", "The receiving bank accepts, and credits the money later.",
      "payments/test_outbound.py::test_the_first_digit_says_who_speaks")  # fmt: skip
def _(on: Play) -> None:
    on.submits()
    on.hub_answers("0083")


@fate(OUTBOUND, "refused by the receiver", "The receiving bank refuses.",
      "payments/test_outbound.py::test_the_first_digit_says_who_speaks")  # fmt: skip
def _(on: Play) -> None:
    on.submits()
    on.hub_answers("1114")


@fate(OUTBOUND, "refused by the hub", "The hub refuses it on its own account.",
      "payments/test_outbound.py::test_the_first_digit_says_who_speaks")  # fmt: skip
def _(on: Play) -> None:
    on.submits()
    on.hub_answers("9911")


@fate(
    OUTBOUND,
    "repeated",
    "No answer comes in time. The gateway repeats it, and the repeat is answered.",
    "payments/test_outbound_repeats.py::test_a_repeat_is_the_same_payment_but_for_the_last_digit_of_its_mti",
)
def _(on: Play) -> None:
    on.submits()
    on.silence(PAIR.submit.answer_within_s)
    on.hub_answers()


@fate(
    OUTBOUND,
    "repeated on another link",
    "The link is lost before the answer. The gateway repeats it on another link.",
    "payments/test_outbound_repeats.py::test_a_lost_link_is_met_with_a_repeat_on_another_one",
)
def _(on: Play) -> None:
    on.submits()
    other = on.second_link()
    on.world.down(on.world.link)
    on.silence(PAIR.submit.pause_s)
    on.hub_answers(link=other)


@fate(
    OUTBOUND,
    "sent on another link",
    "The link is lost before the request was written. It leaves on another one, as a first request.",
    "payments/test_outbound_repeats.py::test_what_surely_did_not_leave_is_sent_anew",
)
def _(on: Play) -> None:
    on.submits_without_writing()
    other = on.second_link()
    on.world.down(on.world.link, surely=True)
    on.links.remove(on.world.link)
    on.silence(PAIR.submit.pause_s)
    on.hub_answers(link=other)


@fate(
    OUTBOUND,
    "an answer that settles nothing",
    "The hub answers that it does not know. The gateway repeats it, and it is accepted.",
    "payments/test_outbound_repeats.py::test_an_answer_that_settles_nothing_is_met_with_a_repeat",
)
def _(on: Play) -> None:
    on.submits()
    on.hub_answers("9909")
    on.silence(PAIR.submit.pause_s)
    on.hub_answers()


@fate(OUTBOUND, "unknown", "No attempt is answered. It may have been paid, so it is not called failed.",
      "payments/test_outbound_repeats.py::test_silence_is_met_with_repeats_and_ends_unknown")  # fmt: skip
def _(on: Play) -> None:
    on.submits()
    on.silence_to_the_end()


@fate(OUTBOUND, "unknown, then answered", "It was unknown, and then an answer comes after all.",
      "payments/test_outbound_repeats.py::test_an_answer_settles_what_was_unknown")  # fmt: skip
def _(on: Play) -> None:
    on.submits()
    on.silence_to_the_end()
    on.hub_answers()


@fate(
    OUTBOUND,
    "unknown for good",
    "It is unknown, and every connection that could bring an answer is gone.",
    "payments/test_outbound_repeats.py::test_no_connection_can_settle_what_is_unknown_once_they_are_gone",
)
def _(on: Play) -> None:
    on.submits()
    on.silence_to_the_end()
    on.world.down(on.world.link)
    on.silence_to_the_end()


@fate(
    OUTBOUND,
    "unknown, submitted again",
    "It is unknown. The processor submits it again, and the gateway repeats it again.",
    "payments/test_outbound_repeats.py::test_the_same_key_asks_for_another_round",
)
def _(on: Play) -> None:
    on.submits()
    on.silence_to_the_end()
    on.submits()
    on.hub_answers()


@fate(OUTBOUND, "unsent", "It was recorded, and no link could send it in time. It has certainly not been paid.",
      "payments/test_outbound_repeats.py::test_what_never_left_is_unsent_and_may_be_submitted_again")  # fmt: skip
def _(on: Play) -> None:
    on.submits_without_writing()
    on.world.down(on.world.link, surely=True)
    on.links.remove(on.world.link)
    on.silence_to_the_end()


@fate(OUTBOUND, "unsent, submitted again", "It was unsent. The processor submits it again when there is a link.",
      "payments/test_outbound_repeats.py::test_what_never_left_is_unsent_and_may_be_submitted_again")  # fmt: skip
def _(on: Play) -> None:
    on.submits_without_writing()
    on.world.down(on.world.link, surely=True)
    on.links.remove(on.world.link)
    on.silence_to_the_end()
    on.comes_back()
    on.submits()
    on.hub_answers()


@fate(
    OUTBOUND,
    "contradicted",
    "The hub answers twice, and the answers differ. The first one counts.",
    "payments/test_outbound_repeats.py::test_another_answer_changes_nothing_and_is_an_alarm_when_it_differs",
)
def _(on: Play) -> None:
    on.submits()
    on.hub_answers()
    on.hub_answers("1114")


@fate(OUTBOUND, "submitted again", "The processor submits it again after it is settled, and gets the same outcome.",
      "payments/test_outbound.py::test_the_same_key_again_is_the_same_payment")  # fmt: skip
def _(on: Play) -> None:
    on.submits()
    on.hub_answers()
    on.submits()


@fate(OUTBOUND, "submitted twice at once", "The processor submits it again before the outcome. Both get the same one.",
      "payments/test_rare_outbound.py::test_who_submits_it_again_while_it_is_under_way_waits_too")  # fmt: skip
def _(on: Play) -> None:
    on.submits()
    on.submits()
    on.hub_answers()


@fate(
    OUTBOUND,
    "another payment with its key",
    "The processor submits a different payment with a key that it has used.",
    "payments/test_rare_outbound.py::test_another_payment_under_the_same_key_is_refused_at_any_time",
)
def _(on: Play) -> None:
    on.submits()
    on.hub_answers()
    on.submits(amount=OTHER_AMOUNT)


@fate(OUTBOUND, "not taken", "No link can send it now. Nothing is recorded; the processor can use the other site.",
      "payments/test_outbound.py::test_without_a_link_nothing_is_recorded")  # fmt: skip
def _(on: Play) -> None:
    on.world.down(on.world.link)
    on.submits()


@fate(OUTBOUND, "not taken: the scheme would refuse", "The hub has announced that it refuses such payments now (9943).",
      "payments/test_outbound.py::test_what_the_scheme_would_refuse_is_not_taken_and_not_settled")  # fmt: skip
def _(on: Play) -> None:
    on.arrives(sealed(usm("971", service_status="01")))
    on.submits()


@fate(
    OUTBOUND,
    "not taken: stopped",
    "An operator has stopped submitting. Nothing is recorded.",
    "payments/test_stop.py::test_who_submits_meanwhile_hears_why_not_and_what_is_known_keeps_its_standing",
)
def _(on: Play) -> None:
    on.operator_stops()
    on.submits()


@fate(OUTBOUND, "stopped before it left", "An operator stops submitting while it is on its way. It never leaves.",
      "payments/test_stop.py::test_what_has_not_left_never_does_however_far_it_is")  # fmt: skip
def _(on: Play) -> None:
    on.submits_without_writing()
    on.operator_stops()


@fate(OUTBOUND, "stopped after it left", "An operator stops submitting, and no answer comes. It is not repeated.",
      "payments/test_stop.py::test_what_may_have_left_waits_for_its_answer_and_is_not_repeated")  # fmt: skip
def _(on: Play) -> None:
    on.submits()
    on.operator_stops()
    on.silence_to_the_end()


@fate(OUTBOUND, "stopped after it left, answered", "An operator stops submitting, and its answer comes all the same.",
      "payments/test_stop.py::test_an_answer_that_comes_meanwhile_settles_it")  # fmt: skip
def _(on: Play) -> None:
    on.submits()
    on.operator_stops()
    on.hub_answers()


@fate(
    OUTBOUND,
    "stopped, and started again",
    "It was unknown because of a stop. The operator starts submitting again, and the gateway repeats it.",
    "payments/test_stop.py::test_nothing_leaves_before_the_start_is_durable",
)
def _(on: Play) -> None:
    on.submits()
    on.operator_stops()
    on.silence_to_the_end()
    on.operator_starts()
    on.silence(0)
    on.hub_answers()


@fate(
    OUTBOUND,
    "restarted",
    "The gateway restarts while it waits for the answer. The payment may have left, so it is repeated.",
    "payments/test_outbound_restart.py::test_a_restart_repeats_what_was_under_way",
)
def _(on: Play) -> None:
    on.submits()
    on.restart()
    on.silence(PAIR.submit.pause_s)
    on.hub_answers()
