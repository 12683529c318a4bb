"""A session is held, resumed, drained and finished, and each sign-on and sign-off counts once."""

from gateway.clock import Now
from gateway.hub.rules import Direction, SignOnState
from gateway.wire.message import NetworkResponse
from tests.hub.conftest import Make
from tests.hub.session_lines import SIGNED_ON, sends

# --- hold and resume


def test_hold_signs_off_to_receive_and_resume_on_again(player: Make) -> None:
    """Submitting goes on meanwhile."""
    session = player().play(f"""
        {SIGNED_ON}
        1    hold                     -> -receive, 9804 892 000003
        1    hold
        1.1  < 9814 892 000003 0000
        2    hold
    """)
    assert session.signed_on(Direction.SUBMIT)
    assert not session.receiving
    assert session.state(Direction.RECEIVE) is SignOnState.OFF
    # the same session goes on
    session.resume(Now(3.0, 0))
    assert [a.message.function_code for a in sends(session)] == ["891"]


def test_hold_and_resume_while_the_hub_has_yet_to_respond(player: Make) -> None:
    """At most one exchange at a time; the last word counts."""
    player(submit=False).play("""
        0    start                    -> 9804 891 000001
        0.1  hold
        0.2  resume
        0.3  hold
        0.4  < 9814 891 000001 0000   -> 9804 892 000002
        0.5  resume
        0.6  hold
        0.7  resume
        0.8  < 9814 892 000002 0000   -> 9804 891 000003
        0.9  < 9814 891 000003 0000   -> +receive
    """)


def test_a_held_link_starts_signed_off_to_receive(player: Make) -> None:
    """A connection made while the gateway is not ready signs on to receive only with `resume`."""
    player(held=True).play("""
        0    start                    -> 9804 881 000001
        1    resume                   -> 9804 891 000002
        2    resume
    """)


def test_hold_before_start(player: Make) -> None:
    """Wishes before the start count at the start."""
    player().play("""
        0    hold
        0    start                    -> 9804 881 000001
        1    resume                   -> 9804 891 000002
    """)


def test_an_unanswered_sign_off_is_repeated(player: Make) -> None:
    """The hub may not have heard it and go on sending: it is told again until it responds."""
    session = player(submit=False).play("""
        0    start                    -> 9804 891 000001
        0    < 9814 891 000001 0000   -> +receive
        1    hold                     -> -receive, 9804 892 000002
        2    bytes
        6    timer                    -> (sign-off unanswered receive)
        7    timer                    -> 9804 892 000003
        7.1  < 9814 892 000003 9909   -> (sign-off refused receive)
        9.1  timer                    -> 9804 892 000004
        9.2  < 9814 892 000004 0000
    """)
    assert session.state(Direction.RECEIVE) is SignOnState.OFF


def test_resume_while_a_sign_off_is_unanswered(player: Make) -> None:
    """A sign-on settles it, at once."""
    player(submit=False).play("""
        0    start                    -> 9804 891 000001
        0    < 9814 891 000001 0000   -> +receive
        1    hold                     -> -receive, 9804 892 000002
        2    bytes
        6    timer                    -> (sign-off unanswered receive)
        6.5  resume                   -> 9804 891 000003
        6.6  < 9814 891 000003 0000   -> +receive
    """)


def test_hold_after_an_unanswered_sign_on_signs_off(player: Make) -> None:
    """The hub may have taken the sign-on that it did not answer."""
    player(submit=False).play("""
        0    start                    -> 9804 891 000001
        1    bytes
        5    timer                    -> (sign-on unanswered receive)
        5.5  hold                     -> 9804 892 000002
    """)


def test_a_refusal_after_silence_may_mean_that_we_are_signed_on_already(player: Make) -> None:
    """The first sign-on was obeyed, its response lost, the second refused: when no longer wanted, it is signed off."""
    player(submit=False).play("""
        0    start                    -> 9804 891 000001
        1    bytes
        5    timer                    -> (sign-on unanswered receive)
        6    timer                    -> 9804 891 000002
        6    < 9814 891 000002 9909   -> (sign-on refused receive)
        7    hold                     -> 9804 892 000003
        7    < 9814 892 000003 0000
        8    resume                   -> 9804 891 000004
        8    < 9814 891 000004 9909   -> (sign-on refused receive)
        8.5  hold
    """)


def test_hold_after_a_refused_sign_on_says_nothing(player: Make) -> None:
    """The hub knows."""
    player(submit=False, echo_after_s=100.0).play("""
        0    start                    -> 9804 891 000001
        0    < 9814 891 000001 9909   -> (sign-on refused receive)
        0.5  hold
        1    early
        2    resume                   -> 9804 891 000002
    """)


# --- drain and finish


def test_drain_then_finish(player: Make) -> None:
    """First off to receive, with replies and submitting going on; then off to submit; then the connection may be
    closed.
    """
    player().play(f"""
        {SIGNED_ON}
        1    drain                    -> -receive, 9804 892 000003
        1    drain
        1.1  < 9814 892 000003 0000
        1.2  < 9804 831 500001        -> 9814 831 500001 0000
        2    finish                   -> -submit, 9804 882 000004
        2    finish
        2.1  < 9814 882 000004 0000   -> FINISHED
        2.2  finish
        2.2  < 9804 831 500001
        2.2  early
    """)


def test_resume_does_not_undo_a_drain(player: Make) -> None:
    """In any order of hold, resume and drain."""
    for trace in ("drain hold resume resume", "hold drain resume", "hold resume drain", "drain resume hold resume"):
        session = player(submit=False).play("0 start -> 9804 891 000001\n0 < 9814 891 000001 0000 -> +receive")
        for name in trace.split():
            getattr(session, name)(Now(1.0, 0))
        session.take()
        sign_off = session._sides[Direction.RECEIVE].exchange
        assert sign_off is not None
        # `hold resume drain` left a sign-off outstanding and off wanted
        response = NetworkResponse(
            mti="9814",
            transmission_time=sign_off.transmission_time,
            message_id=sign_off.message_id,
            function_code=sign_off.function_code,
            action_code="0000",
        )
        session.manage(response, Now(2.0, 0))
        assert session.take() == []
        assert session.state(Direction.RECEIVE) is SignOnState.OFF


def test_finish_alone_signs_off_both(player: Make) -> None:
    """Without a drain before it."""
    player().play(f"""
        {SIGNED_ON}
        1    finish                   -> -receive, 9804 892 000003, -submit, 9804 882 000004
        1.1  < 9814 882 000004 0000
        1.2  < 9814 892 000003 0000   -> FINISHED
    """)


def test_finish_does_not_wait_for_a_silent_hub(player: Make) -> None:
    """It ends after `respond_within_s`, responses or not."""
    player().play(f"""
        {SIGNED_ON}
        1    finish                   -> -receive, 9804 892 000003, -submit, 9804 882 000004
        2    bytes
        6    timer                    -> (sign-off unanswered receive), (sign-off unanswered submit), FINISHED
    """)


def test_finish_during_the_sign_on(player: Make) -> None:
    """An outstanding request is waited for and undone: at most two times `respond_within_s`."""
    player().play("""
        0    start                    -> 9804 891 000001, 9804 881 000002
        1    finish
        2    < 9814 891 000001 9909   -> (sign-on refused receive)
        5    timer                    -> (sign-on unanswered submit), 9804 882 000003
        10   timer                    -> (sign-off unanswered submit), FINISHED
    """)


def test_finish_before_start_and_without_sign_on(player: Make) -> None:
    """Nothing to sign off: finished at once."""
    player().play("0 finish -> FINISHED\n1 start")
    player(receive=False, submit=False).play("0 start\n1 finish -> FINISHED")


def test_a_refused_sign_on_is_not_retried_while_finishing(player: Make) -> None:
    """One direction pausing while the other signs off: no new exchange."""
    player().play(f"""
        {SIGNED_ON}
        1    hold                     -> -receive, 9804 892 000003
        1.5  < 9814 892 000003 9909   -> (sign-off refused receive)
        2    finish                   -> -submit, 9804 882 000004
        3    early
        4    < 9814 882 000004 0000   -> FINISHED
    """)


def test_the_end_of_the_connection_ends_everything(player: Make) -> None:
    """Signed off by the facts; nothing is sent any more."""
    session = player().play(f"""
        {SIGNED_ON}
        1    end                      -> -receive, -submit
        1    end
        2    < 9804 831 500001
        2    hold
        2    resume
        9    early
    """)
    assert not session.receiving
