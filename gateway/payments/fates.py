"""Every fate of a payment: what can become of it, and who hears what. docs/fates.md says how to read it.

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
    when:                The processor says nothing until stand-in's time. Stand-in accepts in its stead.
    the hub hears:       9210 0080
    the processor hears: question, notice STOOD_IN
    last record:         REPLIED
    test: tests/payments/test_inbound.py::test_when_the_timer_fires_stand_in_answers

stood in for, accepted late
    when:                As above, and then the processor accepts.
    the hub hears:       9210 0080
    the processor hears: question, notice STOOD_IN
    last record:         LATE_ANSWER
    test: tests/payments/test_inbound.py::test_a_late_answer_changes_nothing_and_is_recorded

stood in for, refused late
    when:                As above, but the processor refuses: the bank must return the money.
    the hub hears:       9210 0080
    the processor hears: question, notice STOOD_IN, notice LATE_REFUSAL
    last record:         LATE_REFUSAL
    test: tests/payments/test_rare_inbound.py::test_a_refusal_after_stand_in_is_told_however_far_the_payment_is

stood in for at once
    when:                An operator has switched stand-in to `always`.
    the hub hears:       9210 0080
    the processor hears: notice STOOD_IN
    last record:         REPLIED
    test: tests/payments/test_standin.py::test_in_mode_always_the_processor_is_not_asked

answered in the extra time
    when:                Stand-in may not accept it, so the processor has until the last moment.
    the hub hears:       9210 0000
    the processor hears: question
    last record:         REPLIED
    test: tests/payments/test_standin.py::test_a_real_answer_that_comes_by_the_last_moment_wins

turned away
    when:                Stand-in may not accept it, and the processor says nothing until the last moment.
    the hub hears:       9210 1909
    the processor hears: question, notice DECLINED
    last record:         REPLIED
    test: tests/payments/test_standin.py::test_what_stand_in_may_not_accept_waits_for_the_processor_and_is_refused_in_the_end

turned away, accepted late
    when:                As above, and then the processor accepts: it must take that back.
    the hub hears:       9210 1909
    the processor hears: question, notice DECLINED
    last record:         LATE_ANSWER
    test: tests/payments/test_rare_inbound.py::test_an_acceptance_after_the_refusal_in_its_stead_is_an_alarm

left unanswered
    when:                As turned away, but the configuration says to answer nothing (`otherwise`).
    the hub hears:       nothing
    the processor hears: question, notice UNANSWERED
    last record:         UNANSWERED
    test: tests/payments/test_standin.py::test_where_the_rules_say_so_nothing_is_answered_and_a_repeat_is_decided_anew

left unanswered, repeated
    when:                As above. The hub repeats it, and the processor accepts this time.
    the hub hears:       9210 0000
    the processor hears: 2 × question, notice UNANSWERED
    last record:         REPLIED
    test: tests/payments/test_standin.py::test_where_the_rules_say_so_nothing_is_answered_and_a_repeat_is_decided_anew

overruled
    when:                A scheme return, which must be accepted. The processor refuses it.
    the hub hears:       9210 0000
    the processor hears: question, notice OVERRULED
    last record:         REPLIED
    test: tests/payments/test_rare_inbound.py::test_a_refusal_of_a_scheme_return_is_overruled_and_that_is_an_alarm

undelivered
    when:                It is decided, and the link that brought it is gone before the reply leaves.
    the hub hears:       nothing
    the processor hears: question, notice UNDELIVERED
    last record:         UNDELIVERED
    test: tests/payments/test_inbound.py::test_when_the_link_is_gone_the_reply_is_recorded_as_undelivered

undelivered, repeated
    when:                As above. The hub repeats it on another link.
    the hub hears:       9210 0000
    the processor hears: question, notice UNDELIVERED
    last record:         REPLIED
    test: tests/payments/test_inbound.py::test_an_undelivered_reply_leaves_with_the_repeat

repeated
    when:                It was replied to. The hub did not read the reply, and repeats it.
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
    when:                It was replied to. The hub did not read the reply in time, and takes it back.
    the hub hears:       9210 0000, 9430 0000
    the processor hears: question, notice REVERSED
    last record:         REVERSED
    test: tests/payments/test_rare_inbound.py::test_a_reversal_ends_a_payment_at_any_time

reversed undecided
    when:                The reversal comes first; what the processor answers then is only recorded.
    the hub hears:       9430 0000
    the processor hears: question, notice REVERSED
    last record:         LATE_ANSWER
    test: tests/payments/test_inbound.py::test_an_answer_after_the_reversal_is_recorded

reversed while the reply is made
    when:                Decided, but the reversal comes first: the reply is withheld.
    the hub hears:       9430 0000
    the processor hears: question, notice REVERSED
    last record:         REVERSED
    test: tests/payments/test_inbound.py::test_a_reply_that_becomes_ready_after_the_reversal_is_withheld

reversed twice
    when:                The hub did not read the answer to its reversal, and repeats that.
    the hub hears:       9210 0000, 2 × 9430 0000
    the processor hears: question, notice REVERSED
    last record:         REPEATED
    test: tests/payments/test_inbound.py::test_a_reversal_is_answered_positively_always

reversed unseen
    when:                The reversal of a payment that never came.
    the hub hears:       9430 0000
    the processor hears: notice REVERSED
    last record:         REVERSED
    test: tests/payments/test_inbound.py::test_a_reversal_is_answered_positively_always

reversed, then seen
    when:                As above, and then the payment comes.
    the hub hears:       9430 0000, 9210 1100
    the processor hears: notice REVERSED
    last record:         REFUSED
    test: tests/payments/test_rare_inbound.py::test_a_payment_that_was_reversed_before_is_refused_and_people_hear_of_it

orphaned
    when:                The gateway ends between the question and the decision, and starts again.
    the hub hears:       nothing
    the processor hears: question, notice ORPHANED
    last record:         ORPHANED
    test: tests/payments/test_inbound.py::test_a_restart_orphans_what_was_undecided_and_a_repeat_decides_it

orphaned, repeated
    when:                As above. The hub repeats it, and it is decided like a new one.
    the hub hears:       9210 0000
    the processor hears: 2 × question, notice ORPHANED
    last record:         REPLIED
    test: tests/payments/test_inbound.py::test_a_restart_orphans_what_was_undecided_and_a_repeat_decides_it

decided, then restarted
    when:                The gateway ends when it has decided. Perhaps the reply has left.
    the hub hears:       nothing
    the processor hears: question, notice UNDELIVERED
    last record:         UNDELIVERED
    test: tests/payments/test_inbound.py::test_a_restart_says_of_a_decision_without_reply_that_it_may_not_have_arrived

a used FPID
    when:                Another payment comes under the FPID of one that was replied to.
    the hub hears:       9210 0000, 9210 1181
    the processor hears: question
    last record:         REFUSED
    test: tests/payments/test_rare_inbound.py::test_other_content_under_a_used_fpid_is_refused_at_any_time

a bad field
    when:                A field is missing or holds what it may not.
    the hub hears:       9210 1930 (DE44 035)
    the processor hears: nothing
    last record:         REFUSED
    test: tests/payments/test_inbound.py::test_a_missing_field_is_refused_with_its_number

a bad date
    when:                Nobody knows it, and its date lies outside the window.
    the hub hears:       9210 1930 (DE44 012)
    the processor hears: nothing
    last record:         REFUSED
    test: tests/payments/test_inbound_dates.py::test_a_synchronous_payment_of_another_day_is_refused_and_stays_unknown

unreadable
    when:                The bytes are no message.
    the hub hears:       9624 650
    the processor hears: nothing
    last record:         REJECTED
    test: tests/payments/test_inbound.py::test_what_cannot_be_answered_with_a_response_is_advised

not authentic
    when:                Its MAC is wrong: the hub did not make it, or it was changed.
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
    when:                No answer comes in time. It is repeated, and the hub answers the repeat.
    the hub hears:       9200, 9201
    the processor hears: SETTLED 0000 by the receiver, notice SETTLED
    last record:         SETTLED
    test: tests/payments/test_outbound.py::test_a_repeat_is_the_same_payment_but_for_the_last_digit_of_its_mti

repeated on another link
    when:                The link is lost before the answer. It is repeated on another link.
    the hub hears:       9200, 9201
    the processor hears: SETTLED 0000 by the receiver, notice SETTLED
    last record:         SETTLED
    test: tests/payments/test_outbound.py::test_a_lost_link_is_met_with_a_repeat_on_another_one

sent anew
    when:                The link is lost before the request was written to it. It leaves by another one.
    the hub hears:       9200
    the processor hears: SETTLED 0000 by the receiver, notice SETTLED
    last record:         SETTLED
    test: tests/payments/test_outbound.py::test_what_surely_did_not_leave_is_sent_anew

an answer that settles nothing
    when:                The hub says that it does not know. It is repeated, and accepted.
    the hub hears:       9200, 9201
    the processor hears: SETTLED 0000 by the receiver, notice SETTLED
    last record:         SETTLED
    test: tests/payments/test_outbound.py::test_an_answer_that_settles_nothing_is_met_with_a_repeat

unknown
    when:                Nobody answers any attempt. It may have been paid: it is not called failed.
    the hub hears:       9200, 5 × 9201
    the processor hears: UNKNOWN, notice UNKNOWN
    last record:         UNKNOWN
    test: tests/payments/test_outbound.py::test_silence_is_met_with_repeats_and_ends_unknown

unknown, then answered
    when:                As above, and an answer comes after all.
    the hub hears:       9200, 5 × 9201
    the processor hears: UNKNOWN, notice UNKNOWN, notice SETTLED
    last record:         SETTLED
    test: tests/payments/test_outbound.py::test_an_answer_settles_what_was_unknown

unknown for good
    when:                As unknown, and every connection that could bring an answer is gone.
    the hub hears:       9200, 5 × 9201
    the processor hears: UNKNOWN, notice UNKNOWN
    last record:         UNKNOWN
    test: tests/payments/test_outbound.py::test_no_connection_can_settle_what_is_unknown_once_they_are_gone

unknown, submitted again
    when:                As unknown. The processor submits it again: another round of repeats.
    the hub hears:       9200, 6 × 9201
    the processor hears: UNKNOWN, SETTLED 0000 by the receiver, notice UNKNOWN, notice SETTLED
    last record:         SETTLED
    test: tests/payments/test_outbound.py::test_the_same_key_asks_for_another_round

unsent
    when:                It was recorded, and no link took it until its time was over. It has surely not been paid.
    the hub hears:       nothing
    the processor hears: UNSENT, notice UNSENT
    last record:         UNSENT
    test: tests/payments/test_outbound.py::test_what_never_left_is_unsent_and_may_be_submitted_again

unsent, submitted again
    when:                As above. The processor submits it again when there is a link.
    the hub hears:       9200
    the processor hears: UNSENT, SETTLED 0000 by the receiver, notice UNSENT, notice SETTLED
    last record:         SETTLED
    test: tests/payments/test_outbound.py::test_what_never_left_is_unsent_and_may_be_submitted_again

contradicted
    when:                The hub answers twice, and the second answer is another one. The first one counts.
    the hub hears:       9200
    the processor hears: SETTLED 0000 by the receiver, notice SETTLED, notice CONTRADICTED
    last record:         CONTRADICTED
    test: tests/payments/test_outbound.py::test_another_answer_changes_nothing_and_is_an_alarm_when_it_differs

submitted again
    when:                The processor submits it again when it is settled.
    the hub hears:       9200
    the processor hears: 2 × SETTLED 0000 by the receiver, notice SETTLED
    last record:         SETTLED
    test: tests/payments/test_outbound.py::test_the_same_key_again_is_the_same_payment

submitted twice at once
    when:                The processor submits it again while it waits for the outcome.
    the hub hears:       9200
    the processor hears: 2 × SETTLED 0000 by the receiver, notice SETTLED
    last record:         SETTLED
    test: tests/payments/test_rare_outbound.py::test_who_submits_it_again_while_it_is_under_way_waits_too

another payment with its key
    when:                The processor uses the key of one payment for another one.
    the hub hears:       9200
    the processor hears: SETTLED 0000 by the receiver, conflict, notice SETTLED
    last record:         SETTLED
    test: tests/payments/test_rare_outbound.py::test_another_payment_under_the_same_key_is_refused_at_any_time

not taken
    when:                No link is signed on to submit. The processor can use the other site.
    the hub hears:       nothing
    the processor hears: unavailable
    last record:         none
    test: tests/payments/test_outbound.py::test_without_a_link_nothing_is_recorded

not taken: the scheme would refuse
    when:                The hub has said that it refuses such payments now.
    the hub hears:       nothing
    the processor hears: unavailable 9943
    last record:         none
    test: tests/payments/test_outbound.py::test_what_the_scheme_would_refuse_is_not_taken_and_not_settled

restarted
    when:                The gateway ends while it waits for the answer, and starts again. It may have left.
    the hub hears:       9200, 9201
    the processor hears: notice SETTLED
    last record:         SETTLED
    test: tests/payments/test_outbound.py::test_a_restart_repeats_what_was_under_way
"""
