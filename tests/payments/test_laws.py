"""Both laws are whole: every pair of state and event is a row or an impossibility with its reason, and never both."""

import itertools
from enum import IntEnum
from typing import Any

import pytest

from gateway.payments import inbound_law, outbound_law
from gateway.payments.law import Law
from gateway.payments.steps import Kind

AnyLaw = Law[Any, Any, Any]
INBOUND, OUTBOUND = inbound_law.LAW, outbound_law.LAW
LAWS = [pytest.param(INBOUND, id="inbound"), pytest.param(OUTBOUND, id="outbound")]


def members(of: type[IntEnum]) -> list[Any]:
    return list(of)


def pairs(law: AnyLaw) -> list[tuple[Any, Any]]:
    return list(itertools.product(members(law.states), members(law.events)))


PAIRS = [
    pytest.param(law, state, event, id=f"{state.name}-{event.name}")
    for law in (INBOUND, OUTBOUND)
    for state, event in pairs(law)
]


@pytest.mark.parametrize(("law", "state", "event"), PAIRS)
def test_every_pair_is_a_row_or_an_impossibility(law: AnyLaw, state: Any, event: Any) -> None:
    row, why = law.rows[state].get(event), law.impossible[state].get(event)
    assert (row is None) != (why is None)
    if row is not None:
        assert law.step(state, event) == row
    else:
        with pytest.raises(AssertionError, match="cannot be"):
            law.step(state, event)


@pytest.mark.parametrize("law", LAWS)
def test_every_state_is_reached_and_every_act_and_event_is_used(law: AnyLaw) -> None:
    rows = [row for rows in law.rows.values() for row in rows.values()]
    assert {row.to for row in rows} | {law.states(0)} == set(members(law.states))
    assert {row.act for row in rows} == set(members(type(rows[0].act)))
    assert {event for rows in law.rows.values() for event in rows} == set(members(law.events))


@pytest.mark.parametrize("law", LAWS)
def test_states_and_events_are_numbered_from_0(law: AnyLaw) -> None:
    """The table is looked up by their numbers."""
    for of in (law.states, law.events):
        assert members(of) == list(range(len(members(of))))


def test_the_states_of_the_two_directions_have_names_of_their_own() -> None:
    """A log line, a notice and a rare place say a state without its direction."""
    assert not {state.name for state in inbound_law.State} & {state.name for state in outbound_law.State}


# --- records and states at rest


def test_every_kind_of_record_that_ends_something_says_where_the_payment_rests() -> None:
    """Each kind of record is in one of the tables, or moves no payment to rest. A new kind has to be put somewhere."""
    rest = [*inbound_law.RESTS, *outbound_law.RESTS]
    go_on = {Kind.RECEIVED, *inbound_law.DECIDES, *outbound_law.UNDER_WAY}
    beside = {
        Kind.LATE_ANSWER, Kind.LATE_REFUSAL, Kind.REPEATED, Kind.TOLD, Kind.PARKED, Kind.REFUSED, Kind.REJECTED,
        Kind.UNPLACED, Kind.MANAGEMENT_IN, Kind.MANAGEMENT_OUT, Kind.STARTED, Kind.STOPPED, Kind.SEALED,
        Kind.OVERRULED, Kind.INCONCLUSIVE, Kind.CONTRADICTED, Kind.USM, Kind.PERMITS, Kind.KEYS, Kind.STAND_IN_MODE,
        Kind.LIFTED, Kind.MESSAGE_IDS, Kind.KEY_ALLOWED, Kind.SUBMIT_MODE, Kind.DROPPED,
        Kind.ACT, Kind.CONFIGURED,
    }  # fmt: skip
    assert sorted([*rest, *go_on, *beside]) == sorted(Kind)


@pytest.mark.parametrize(
    ("rests", "law"),
    [(inbound_law.RESTS, INBOUND), (outbound_law.RESTS, OUTBOUND)],
    ids=["inbound", "outbound"],
)
def test_a_payment_rests_where_no_timer_decides_it_and_no_record_is_waited_for(
    rests: dict[Kind, Any], law: AnyLaw
) -> None:
    """At rest nothing moves a payment but a message of the hub or the processor, and an operator who ends a stop."""
    moved = {event.name for state in rests.values() for event, row in law.rows[state].items() if row.to is not state}
    assert moved <= {"REQUEST", "MISDATED", "REVERSAL", "REPLY_SENT", "SUBMIT", "CONCLUSIVE", "STARTED"}


# --- a payment that arrives


def test_a_reversal_is_final() -> None:
    """Nothing brings a reversed payment back."""
    reversed_ = inbound_law.State.REVERSED
    assert {row.to for row in INBOUND.rows[reversed_].values()} == {reversed_}


def test_a_decision_is_made_once() -> None:
    """Only from ASKED can a payment be decided, and no row leads back to where it was undecided once it was."""
    state, event, act = inbound_law.State, inbound_law.Event, inbound_law.Act
    decides = {act.TAKE_ANSWER, act.STAND_IN, act.TURN_AWAY}
    deciding = {pair for pair in pairs(INBOUND) if (row := INBOUND.rows[pair[0]].get(pair[1])) and row.act in decides}
    assert deciding == {
        (state.ASKED, event.ANSWER),
        (state.ASKED, event.ALLOWED),
        (state.ASKED, event.TURNED_AWAY),
    }
    decided = {state.DECIDING, state.REPLYING, state.REPLIED, state.UNDELIVERED, state.REVERSED}
    for one in decided:
        assert {row.to for row in INBOUND.rows[one].values()} <= decided


def test_a_payment_is_asked_about_and_judged_only_once_it_is_durable() -> None:
    """Every way to ASKED from elsewhere is the RECEIVED record."""
    state, event = inbound_law.State, inbound_law.Event
    ways = {
        (one, by) for one, by in pairs(INBOUND) if (row := INBOUND.rows[one].get(by)) and row.to is state.ASKED
    }  # fmt: skip
    assert {by for one, by in ways if one is not state.ASKED} == {event.RECORDED}


def test_a_settled_payment_takes_every_event_of_the_hub() -> None:
    """The hub may repeat, conflict and reverse at any time; no such event is ever a bug of ours."""
    event = inbound_law.Event
    for state, rows in INBOUND.rows.items():
        for by in (event.REQUEST, event.MISDATED, event.REVERSAL):
            assert rows.get(by)
        assert rows.get(event.CONFLICT) or state is inbound_law.State.NEW
    assert inbound_law.State.NEW not in inbound_law.FINAL


def test_a_date_is_judged_of_what_nobody_knows_alone() -> None:
    """A known FPID gets what it would get with any other date."""
    event, act = inbound_law.Event, inbound_law.Act
    for state, rows in INBOUND.rows.items():
        if state is inbound_law.State.NEW:
            assert rows[event.MISDATED] == (state, act.REFUSE_DATE)
        else:
            assert rows[event.MISDATED] == rows[event.REQUEST]


# --- a payment that leaves


def test_the_processor_may_submit_a_payment_again_at_any_time() -> None:
    """The same key again is never a bug of ours, and never makes a second payment of one that may have left."""
    state, act = outbound_law.State, outbound_law.Act
    for one, rows in OUTBOUND.rows.items():
        row = rows[outbound_law.Event.SUBMIT]
        assert (row.act is act.SUBMIT) == (one in {state.UNSUBMITTED, state.UNSENT})


def test_what_may_have_left_is_never_given_up_as_unsent() -> None:
    """UNSENT is reached only by the event that says that surely nothing left."""
    to, event = outbound_law.State.WITHDRAWING, outbound_law.Event
    ways = {(one, by) for one, by in pairs(OUTBOUND) if (row := OUTBOUND.rows[one].get(by)) and row.to is to}
    assert {by for one, by in ways if one is not to} == {event.NEVER_LEFT}


def test_how_it_stands_is_said_once_it_is_durable() -> None:
    """SETTLED, UNKNOWN and UNSENT are reached only by their durable record, and each is then reported."""
    state, act = outbound_law.State, outbound_law.Act
    reports = {
        state.SETTLED: act.REPORT, state.UNKNOWN: act.REPORT_UNKNOWN, state.UNSENT: act.REPORT_UNSENT,
    }  # fmt: skip
    assert set(reports) == outbound_law.RESTING
    for one, by in pairs(OUTBOUND):
        row = OUTBOUND.rows[one].get(by)
        if row is not None and row.to in outbound_law.RESTING and row.to is not one:
            assert (by, row.act) == (outbound_law.Event.RECORDED, reports[row.to])


def test_settled_is_for_good() -> None:
    """No event takes an outbound payment out of SETTLED, and every way to it goes over its durable record."""
    state = outbound_law.State
    assert {row.to for row in OUTBOUND.rows[state.SETTLED].values()} == {state.SETTLED}
    ways = {(one, by) for one, by in pairs(OUTBOUND) if (row := OUTBOUND.rows[one].get(by)) and row.to is state.SETTLED}
    assert {way for way in ways if way[0] is not state.SETTLED} == {(state.SETTLING, outbound_law.Event.RECORDED)}
