"""Every fate of a payment: what can happen to it, and who hears what. docs/fates.md says how to read it.

Made by `.venv/bin/python -m tests.fates` from playbooks. `pydoc gateway.payments.fates` shows it.

A payment that arrives
======================

accepted
    when:                The processor accepts in time.
    the hub hears:       9210 0000
    the processor hears: question
    last record:         REPLIED
    test: tests/payments/test_inbound.py::test_a_payment_is_received_asked_answered_and_replied_to

refused
    when:                The processor refuses in time.
    the hub hears:       9210 1114
    the processor hears: question
    last record:         REPLIED
    test: tests/payments/test_inbound.py::test_a_refusal_carries_its_field

stood in for
    when:                The processor does not answer in time. Stand-in accepts in its place.
    the hub hears:       9210 0080
    the processor hears: question, notice STOOD_IN
    last record:         REPLIED
    test: tests/payments/test_inbound.py::test_when_the_timer_fires_stand_in_answers

stood in for, accepted late
    when:                Stand-in has accepted, and then the processor accepts, too.
    the hub hears:       9210 0080
    the processor hears: question, notice STOOD_IN
    last record:         LATE_ANSWER
    test: tests/payments/test_inbound.py::test_a_late_answer_changes_nothing_and_is_recorded

stood in for, refused late
    when:                Stand-in has accepted, and then the processor refuses: the bank must return the money.
    the hub hears:       9210 0080
    the processor hears: question, notice STOOD_IN, notice LATE_REFUSAL
    last record:         LATE_REFUSAL
    test: tests/payments/test_rare_inbound.py::test_a_refusal_after_stand_in_is_told_however_far_the_payment_is

stood in for at once
    when:                An operator has switched stand-in to `always`: the processor is not asked.
    the hub hears:       9210 0080
    the processor hears: notice STOOD_IN
    last record:         REPLIED
    test: tests/payments/test_standin.py::test_in_mode_always_the_processor_is_not_asked

answered in the extra time
    when:                Stand-in may not accept it. The gateway waits longer, and the processor accepts.
    the hub hears:       9210 0000
    the processor hears: question
    last record:         REPLIED
    test: tests/payments/test_standin.py::test_a_real_answer_that_comes_by_the_last_moment_wins

turned away
    when:                Stand-in may not accept it, and the processor does not answer by the last moment.
    the hub hears:       9210 1909
    the processor hears: question, notice DECLINED
    last record:         REPLIED
    test: tests/payments/test_standin.py::test_what_stand_in_may_not_accept_waits_for_the_processor_and_is_refused_in_the_end

turned away, accepted late
    when:                The gateway has refused it, and then the processor accepts: it must undo that.
    the hub hears:       9210 1909
    the processor hears: question, notice DECLINED
    last record:         LATE_ANSWER
    test: tests/payments/test_rare_inbound.py::test_an_acceptance_after_the_refusal_in_its_stead_is_an_alarm

left unanswered
    when:                As turned away, but the bank has configured silence (`otherwise = "nothing"`).
    the hub hears:       nothing
    the processor hears: question, notice UNANSWERED
    last record:         UNANSWERED
    test: tests/payments/test_standin.py::test_where_the_rules_say_so_nothing_is_answered_and_a_repeat_is_decided_anew

left unanswered, repeated
    when:                It was left unanswered. The hub repeats it, and this time the processor accepts.
    the hub hears:       9210 0000
    the processor hears: 2 × question, notice UNANSWERED
    last record:         REPLIED
    test: tests/payments/test_standin.py::test_where_the_rules_say_so_nothing_is_answered_and_a_repeat_is_decided_anew

overruled
    when:                The processor refuses a scheme return. The scheme says that it must be accepted.
    the hub hears:       9210 0000
    the processor hears: question, notice OVERRULED
    last record:         REPLIED
    test: tests/payments/test_rare_inbound.py::test_a_refusal_of_a_scheme_return_is_overruled_and_that_is_an_alarm

undelivered
    when:                The link that brought it is lost after the decision and before the reply leaves.
    the hub hears:       nothing
    the processor hears: question, notice UNDELIVERED
    last record:         UNDELIVERED
    test: tests/payments/test_inbound.py::test_when_the_link_is_gone_the_reply_is_recorded_as_undelivered

undelivered, repeated
    when:                Its reply was undelivered. The hub repeats it on another link.
    the hub hears:       9210 0000
    the processor hears: question, notice UNDELIVERED
    last record:         REPLIED
    test: tests/payments/test_inbound.py::test_an_undelivered_reply_leaves_with_the_repeat

repeated
    when:                The hub did not get the reply, and repeats the request.
    the hub hears:       2 × 9210 0000
    the processor hears: question
    last record:         REPEATED
    test: tests/payments/test_rare_inbound.py::test_a_repeat_gets_what_the_payment_has_come_to_at_any_time

repeated undecided
    when:                The hub repeats it on another link while the processor decides.
    the hub hears:       2 × 9210 0000
    the processor hears: question
    last record:         REPLIED
    test: tests/payments/test_inbound.py::test_a_repeat_during_the_decision_waits_for_it

reversed
    when:                The hub did not get the reply in time, and takes the payment back.
    the hub hears:       9210 0000, 9430 0000
    the processor hears: question, notice REVERSED
    last record:         REVERSED
    test: tests/payments/test_rare_inbound.py::test_a_reversal_ends_a_payment_at_any_time

reversed undecided
    when:                The hub takes it back before the processor answers. The answer is only recorded.
    the hub hears:       9430 0000
    the processor hears: question, notice REVERSED
    last record:         LATE_ANSWER
    test: tests/payments/test_inbound.py::test_an_answer_after_the_reversal_is_recorded

reversed while the reply is made
    when:                The hub takes it back before the reply is ready. The reply is withheld.
    the hub hears:       9430 0000
    the processor hears: question, notice REVERSED
    last record:         REVERSED
    test: tests/payments/test_inbound.py::test_a_reply_that_becomes_ready_after_the_reversal_is_withheld

reversed twice
    when:                The hub did not get the answer to its reversal, and repeats the reversal.
    the hub hears:       9210 0000, 2 × 9430 0000
    the processor hears: question, notice REVERSED
    last record:         REPEATED
    test: tests/payments/test_inbound.py::test_a_reversal_is_answered_positively_always

reversed unseen
    when:                The hub takes back a payment that never came.
    the hub hears:       9430 0000
    the processor hears: notice REVERSED
    last record:         REVERSED
    test: tests/payments/test_inbound.py::test_a_reversal_is_answered_positively_always

reversed, then seen
    when:                The hub took it back before it came, and then it comes. 1100 refuses it for business reasons.
    the hub hears:       9430 0000, 9210 1100
    the processor hears: notice REVERSED
    last record:         REFUSED
    test: tests/payments/test_rare_inbound.py::test_a_payment_that_was_reversed_before_is_refused_and_people_hear_of_it

orphaned
    when:                The gateway restarts between the question and the decision.
    the hub hears:       nothing
    the processor hears: question, notice ORPHANED
    last record:         ORPHANED
    test: tests/payments/test_inbound.py::test_a_restart_orphans_what_was_undecided_and_a_repeat_decides_it

orphaned, repeated
    when:                It was orphaned. The hub repeats it, and it is decided like a new one.
    the hub hears:       9210 0000
    the processor hears: 2 × question, notice ORPHANED
    last record:         REPLIED
    test: tests/payments/test_inbound.py::test_a_restart_orphans_what_was_undecided_and_a_repeat_decides_it

decided, then restarted
    when:                The gateway restarts after the decision. The reply may have left.
    the hub hears:       nothing
    the processor hears: question, notice UNDELIVERED
    last record:         UNDELIVERED
    test: tests/payments/test_inbound.py::test_a_restart_says_of_a_decision_without_reply_that_it_may_not_have_arrived

a used FPID
    when:                Another payment comes with the identifier (FPID) of one that was replied to. 1181 says:
                         duplicate FPID.
    the hub hears:       9210 0000, 9210 1181
    the processor hears: question
    last record:         REFUSED
    test: tests/payments/test_rare_inbound.py::test_other_content_under_a_used_fpid_is_refused_at_any_time

a bad field
    when:                A field is missing, or its value is not allowed. 1930 says: syntax error. DE44 is the number
                         of the field.
    the hub hears:       9210 1930 (DE44 035)
    the processor hears: nothing
    last record:         REFUSED
    test: tests/payments/test_inbound.py::test_a_missing_field_is_refused_with_its_number

a bad date
    when:                It is new, and its date is too far back or ahead. 1930 says: syntax error. DE44 012 is the
                         date.
    the hub hears:       9210 1930 (DE44 012)
    the processor hears: nothing
    last record:         REFUSED
    test: tests/payments/test_inbound_dates.py::test_a_synchronous_payment_of_another_day_is_refused_and_stays_unknown

unreadable
    when:                The bytes are not a message.
    the hub hears:       9624 650
    the processor hears: nothing
    last record:         REJECTED
    test: tests/payments/test_inbound.py::test_what_cannot_be_answered_with_a_response_is_advised

not authentic
    when:                Its MAC is wrong: the hub did not send it, or it was changed on the way.
    the hub hears:       9624 690
    the processor hears: nothing
    last record:         REJECTED
    test: tests/engine/test_engine.py::test_a_wrong_mac_is_advised_and_nothing_else_happens

A payment that leaves
=====================

accepted
    when:                The receiving bank accepts.
    the hub hears:       9200
    the processor hears: SETTLED 0000 by the receiver, notice SETTLED
    last record:         SETTLED
    test: tests/payments/test_outbound.py::test_who_waits_hears_the_outcome_once_it_is_durable

accepted, credited later
    when:                The receiving bank accepts, and credits the money later.
    the hub hears:       9200
    the processor hears: SETTLED 0083 by the receiver, notice SETTLED
    last record:         SETTLED
    test: tests/payments/test_outbound.py::test_the_first_digit_says_who_speaks

refused by the receiver
    when:                The receiving bank refuses.
    the hub hears:       9200
    the processor hears: SETTLED 1114 by the receiver, notice SETTLED
    last record:         SETTLED
    test: tests/payments/test_outbound.py::test_the_first_digit_says_who_speaks

refused by the hub
    when:                The hub refuses it on its own account.
    the hub hears:       9200
    the processor hears: SETTLED 9911 by the hub, notice SETTLED
    last record:         SETTLED
    test: tests/payments/test_outbound.py::test_the_first_digit_says_who_speaks

repeated
    when:                No answer comes in time. The gateway repeats it, and the repeat is answered.
    the hub hears:       9200, 9201
    the processor hears: SETTLED 0000 by the receiver, notice SETTLED
    last record:         SETTLED
    test: tests/payments/test_outbound_repeats.py::test_a_repeat_is_the_same_payment_but_for_the_last_digit_of_its_mti

repeated on another link
    when:                The link is lost before the answer. The gateway repeats it on another link.
    the hub hears:       9200, 9201
    the processor hears: SETTLED 0000 by the receiver, notice SETTLED
    last record:         SETTLED
    test: tests/payments/test_outbound_repeats.py::test_a_lost_link_is_met_with_a_repeat_on_another_one

sent on another link
    when:                The link is lost before the request was written. It leaves on another one, as a first
                         request.
    the hub hears:       9200
    the processor hears: SETTLED 0000 by the receiver, notice SETTLED
    last record:         SETTLED
    test: tests/payments/test_outbound_repeats.py::test_what_surely_did_not_leave_is_sent_anew

an answer that settles nothing
    when:                The hub answers that it does not know. The gateway repeats it, and it is accepted.
    the hub hears:       9200, 9201
    the processor hears: SETTLED 0000 by the receiver, notice SETTLED
    last record:         SETTLED
    test: tests/payments/test_outbound_repeats.py::test_an_answer_that_settles_nothing_is_met_with_a_repeat

unknown
    when:                No attempt is answered. It may have been paid, so it is not called failed.
    the hub hears:       9200, 5 × 9201
    the processor hears: UNKNOWN, notice UNKNOWN
    last record:         UNKNOWN
    test: tests/payments/test_outbound_repeats.py::test_silence_is_met_with_repeats_and_ends_unknown

unknown, then answered
    when:                It was unknown, and then an answer comes after all.
    the hub hears:       9200, 5 × 9201
    the processor hears: UNKNOWN, notice UNKNOWN, notice SETTLED
    last record:         SETTLED
    test: tests/payments/test_outbound_repeats.py::test_an_answer_settles_what_was_unknown

unknown for good
    when:                It is unknown, and every connection that could bring an answer is gone.
    the hub hears:       9200, 5 × 9201
    the processor hears: UNKNOWN, notice UNKNOWN
    last record:         UNKNOWN
    test: tests/payments/test_outbound_repeats.py::test_no_connection_can_settle_what_is_unknown_once_they_are_gone

unknown, submitted again
    when:                It is unknown. The processor submits it again, and the gateway repeats it again.
    the hub hears:       9200, 6 × 9201
    the processor hears: UNKNOWN, SETTLED 0000 by the receiver, notice UNKNOWN, notice SETTLED
    last record:         SETTLED
    test: tests/payments/test_outbound_repeats.py::test_the_same_key_asks_for_another_round

unsent
    when:                It was recorded, and no link could send it in time. It has certainly not been paid.
    the hub hears:       nothing
    the processor hears: UNSENT, notice UNSENT
    last record:         UNSENT
    test: tests/payments/test_outbound_repeats.py::test_what_never_left_is_unsent_and_may_be_submitted_again

unsent, submitted again
    when:                It was unsent. The processor submits it again when there is a link.
    the hub hears:       9200
    the processor hears: UNSENT, SETTLED 0000 by the receiver, notice UNSENT, notice SETTLED
    last record:         SETTLED
    test: tests/payments/test_outbound_repeats.py::test_what_never_left_is_unsent_and_may_be_submitted_again

contradicted
    when:                The hub answers twice, and the answers differ. The first one counts.
    the hub hears:       9200
    the processor hears: SETTLED 0000 by the receiver, notice SETTLED, notice CONTRADICTED
    last record:         CONTRADICTED
    test: tests/payments/test_outbound_repeats.py::test_another_answer_changes_nothing_and_is_an_alarm_when_it_differs

submitted again
    when:                The processor submits it again after it is settled, and gets the same outcome.
    the hub hears:       9200
    the processor hears: 2 × SETTLED 0000 by the receiver, notice SETTLED
    last record:         SETTLED
    test: tests/payments/test_outbound.py::test_the_same_key_again_is_the_same_payment

submitted twice at once
    when:                The processor submits it again before the outcome. Both get the same one.
    the hub hears:       9200
    the processor hears: 2 × SETTLED 0000 by the receiver, notice SETTLED
    last record:         SETTLED
    test: tests/payments/test_rare_outbound.py::test_who_submits_it_again_while_it_is_under_way_waits_too

another payment with its key
    when:                The processor submits a different payment with a key that it has used.
    the hub hears:       9200
    the processor hears: SETTLED 0000 by the receiver, conflict, notice SETTLED
    last record:         SETTLED
    test: tests/payments/test_rare_outbound.py::test_another_payment_under_the_same_key_is_refused_at_any_time

not taken
    when:                No link can send it now. Nothing is recorded; the processor can use the other site.
    the hub hears:       nothing
    the processor hears: unavailable
    last record:         none
    test: tests/payments/test_outbound.py::test_without_a_link_nothing_is_recorded

not taken: the scheme would refuse
    when:                The hub has announced that it refuses such payments now (9943).
    the hub hears:       nothing
    the processor hears: unavailable 9943
    last record:         none
    test: tests/payments/test_outbound.py::test_what_the_scheme_would_refuse_is_not_taken_and_not_settled

not taken: stopped
    when:                An operator has stopped submitting. Nothing is recorded.
    the hub hears:       nothing
    the processor hears: unavailable
    last record:         none
    test: tests/payments/test_stop.py::test_who_submits_meanwhile_hears_why_not_and_what_is_known_keeps_its_standing

stopped before it left
    when:                An operator stops submitting while it is on its way. It never leaves.
    the hub hears:       nothing
    the processor hears: UNSENT, notice UNSENT
    last record:         UNSENT
    test: tests/payments/test_stop.py::test_what_has_not_left_never_does_however_far_it_is

stopped after it left
    when:                An operator stops submitting, and no answer comes. It is not repeated.
    the hub hears:       9200
    the processor hears: UNKNOWN, notice UNKNOWN
    last record:         UNKNOWN
    test: tests/payments/test_stop.py::test_what_may_have_left_waits_for_its_answer_and_is_not_repeated

stopped after it left, answered
    when:                An operator stops submitting, and its answer comes all the same.
    the hub hears:       9200
    the processor hears: SETTLED 0000 by the receiver, notice SETTLED
    last record:         SETTLED
    test: tests/payments/test_stop.py::test_an_answer_that_comes_meanwhile_settles_it

stopped, and started again
    when:                It was unknown because of a stop. The operator starts submitting again, and the gateway
                         repeats it.
    the hub hears:       9200, 9201
    the processor hears: UNKNOWN, notice UNKNOWN, notice SETTLED
    last record:         SETTLED
    test: tests/payments/test_stop.py::test_nothing_leaves_before_the_start_is_durable

restarted
    when:                The gateway restarts while it waits for the answer. The payment may have left, so it is
                         repeated.
    the hub hears:       9200, 9201
    the processor hears: notice SETTLED
    last record:         SETTLED
    test: tests/payments/test_outbound_restart.py::test_a_restart_repeats_what_was_under_way
"""
