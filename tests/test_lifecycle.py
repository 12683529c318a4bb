"""The law is whole: every pair of state and event is a row or a documented impossibility, never both, never neither."""

import itertools

import pytest

from gateway.lifecycle import FINAL, IMPOSSIBLE, LAW, OUTBOUND, RESTING, Act, Event, State, step

PAIRS = list(itertools.product(State, Event))


@pytest.mark.parametrize(("state", "event"), PAIRS, ids=lambda value: value.name)
def test_every_pair_is_a_row_or_an_impossibility(state: State, event: Event) -> None:
    row, why = LAW[state].get(event), IMPOSSIBLE[state].get(event)
    assert (row is None) != (why is None)
    if row is not None:
        assert step(state, event) == row
    else:
        with pytest.raises(AssertionError, match="cannot be"):
            step(state, event)


def test_a_reversal_is_final() -> None:
    """Nothing brings a reversed payment back."""
    assert {row.to for row in LAW[State.REVERSED].values()} == {State.REVERSED}


def test_a_decision_is_made_once() -> None:
    """Only from ASKED or OVERDUE can a payment be decided, and no row leads back to either of them once it was."""
    deciding = {(state, event) for state, event in PAIRS if (row := LAW[state].get(event)) and row.act in _DECIDES}
    assert deciding == {
        (State.ASKED, Event.ANSWER),
        (State.ASKED, Event.DEADLINE),
        (State.ASKED, Event.TURNED_AWAY),
        (State.OVERDUE, Event.RECORDED),
        (State.OVERDUE, Event.TURNED_AWAY),
    }
    decided = {State.DECIDING, State.REPLYING, State.REPLIED, State.UNDELIVERED, State.REVERSED}
    for state in decided:
        assert {row.to for row in LAW[state].values()} <= decided


_DECIDES = {Act.ANSWER, Act.STAND_IN, Act.TURN_AWAY}


def test_every_state_is_reached_and_every_act_is_used() -> None:
    rows = [row for rows in LAW.values() for row in rows.values()]
    assert {row.to for row in rows} | {State.NEW, State.UNSUBMITTED} == set(State)
    assert {row.act for row in rows} == set(Act)


def test_a_settled_payment_takes_every_event_of_the_hub() -> None:
    """The hub may repeat, conflict and reverse at any time; no such event is ever a bug of ours."""
    for state in set(State) - OUTBOUND:
        for event in (Event.REQUEST, Event.REVERSAL):
            assert LAW[state].get(event)
        assert LAW[state].get(Event.CONFLICT) or state is State.NEW
    assert State.NEW not in FINAL


def test_the_processor_may_submit_a_payment_again_at_any_time() -> None:
    """The same key again is never a bug of ours, and never makes a second payment of one that may have left."""
    for state in OUTBOUND:
        row = LAW[state][Event.SUBMIT]
        assert (row.act is Act.SUBMIT) == (state in {State.UNSUBMITTED, State.UNSENT})


def test_what_may_have_left_is_never_given_up_as_unsent() -> None:
    """UNSENT is reached only by the event that says that surely nothing left."""
    ways = {(state, event) for state, event in PAIRS if (row := LAW[state].get(event)) and row.to is State.WITHDRAWING}
    assert {event for state, event in ways if state is not State.WITHDRAWING} == {Event.NEVER_LEFT}


def test_how_it_stands_is_said_once_it_is_durable() -> None:
    """SETTLED, UNKNOWN and UNSENT are reached only by their durable record."""
    for state, event in PAIRS:
        row = LAW[state].get(event)
        if row is not None and row.to in RESTING and row.to is not state:
            assert (event, row.act) == (Event.RECORDED, Act.REPORT)


def test_settled_is_for_good() -> None:
    """No event takes an outbound payment out of SETTLED, and every way to it goes over its durable record."""
    assert {row.to for row in LAW[State.SETTLED].values()} == {State.SETTLED}
    ways = {(state, event) for state, event in PAIRS if (row := LAW[state].get(event)) and row.to is State.SETTLED}
    assert {way for way in ways if way[0] is not State.SETTLED} == {(State.SETTLING, Event.RECORDED)}


def test_the_two_directions_never_meet() -> None:
    """No row leads from a payment that arrives to one that leaves, or back."""
    for state in State:
        assert all((row.to in OUTBOUND) == (state in OUTBOUND) for row in LAW[state].values())
