"""Playbooks: this goes in, this comes out. How to read a line: `Player` in conftest."""

from collections.abc import Callable
from typing import Any

import pytest

from gateway.clock import Now
from gateway.hub.exchanges import MessageIds, transmission_time
from gateway.hub.rules import REQUESTS, Direction, Report, Send, SignOnState
from gateway.wire.message import NetworkRequest, NetworkResponse, UsmAcknowledgement

Make = Callable[..., Any]


def sends(session: Any) -> list[Any]:
    """The messages that it sends now."""
    return [action for action in session.take() if isinstance(action, Send)]


SIGNED_ON = """
    0    start                    -> 9804 891 000001, 9804 881 000002
    0.1  < 9814 891 000001 0000   -> +receive
    0.1  < 9814 881 000002 0000   -> +submit
"""


def test_sign_on_is_two_exchanges(player: Make) -> None:
    """To receive and to submit are signed on apart: one may be on while the other is not."""
    session = player().play("""
        0    start                    -> 9804 891 000001, 9804 881 000002
        0.1  < 9814 881 000002 0000   -> +submit
    """)
    assert session.signed_on(Direction.SUBMIT)
    assert not session.signed_on(Direction.RECEIVE)


def test_only_the_wanted_directions_are_signed_on(player: Make) -> None:
    """Configuration decides which directions are signed on."""
    player(submit=False).play("0 start -> 9804 891 000001")
    player(receive=False).play("0 start -> 9804 881 000001")
    session = player(receive=False, submit=False).play("0 start")
    assert not session.receiving


def test_a_refused_sign_on_is_retried_with_doubling_pauses(player: Make) -> None:
    """The hub says no: it is asked again after 1, 2, 4 and then always 5 s."""
    player(submit=False, retry_max_s=5.0, echo_after_s=100.0).play("""
        0     start                    -> 9804 891 000001
        0     < 9814 891 000001 9912   -> (sign-on refused receive)
        0.5   early
        1     timer                    -> 9804 891 000002
        1     < 9814 891 000002 9912   -> (sign-on refused receive)
        3     timer                    -> 9804 891 000003
        3     < 9814 891 000003 9912   -> (sign-on refused receive)
        7     timer                    -> 9804 891 000004
        7     < 9814 891 000004 9912   -> (sign-on refused receive)
        12    timer                    -> 9804 891 000005
        12    < 9814 891 000005 0000   -> +receive
    """)


def test_a_refusal_in_one_direction_leaves_the_other_alone(player: Make) -> None:
    """We submit although the hub will not let us receive."""
    player().play("""
        0    start                    -> 9804 891 000001, 9804 881 000002
        0    < 9814 891 000001 9909   -> (sign-on refused receive)
        0    < 9814 881 000002 0000   -> +submit
        1    timer                    -> 9804 891 000003
    """)


def test_an_unanswered_sign_on_is_retried_and_doubted(player: Make) -> None:
    """After silence the sign-on is sent again with a new id, and an echo asks whether anyone is there."""
    player(submit=False).play("""
        0    start                    -> 9804 891 000001
        5    timer                    -> (sign-on unanswered receive), 9804 831 000002
        5.5  < 9814 831 000002 0000
        6    timer                    -> 9804 891 000003
        6.1  < 9814 891 000003 0000   -> +receive
    """)


def test_a_sign_on_unanswered_on_a_busy_link_asks_for_no_echo(player: Make) -> None:
    """Something came meanwhile: the link lives."""
    player(submit=False).play("""
        0    start                    -> 9804 891 000001
        1    bytes
        5    timer                    -> (sign-on unanswered receive)
    """)


def test_a_response_that_comes_too_late_changes_nothing(player: Make) -> None:
    """Once timed out, only the next exchange counts."""
    session = player(submit=False).play("""
        0    start                    -> 9804 891 000001
        1    bytes
        5    timer                    -> (sign-on unanswered receive)
        5.1  < 9814 891 000001 0000   -> (response unplaced)
        6    timer                    -> 9804 891 000002
        6.1  < 9814 891 000001 0000   -> (response unplaced)
    """)
    assert not session.signed_on(Direction.RECEIVE)


def test_a_response_counts_once_and_only_for_its_function(player: Make) -> None:
    """A wrong DE11, a wrong DE24, or the same response again: ignored and reported."""
    player().play("""
        0    start                    -> 9804 891 000001, 9804 881 000002
        0.1  < 9814 891 000002 0000   -> (response unplaced)
        0.1  < 9814 881 000001 0000   -> (response unplaced)
        0.1  < 9814 891 999999 0000   -> (response unplaced)
        0.1  < 9814 891 000001 0000   -> +receive
        0.1  < 9814 891 000001 0000   -> (response unplaced)
        0.1  < 9834 971 000002 0000   -> (response unplaced)
    """)


@pytest.mark.parametrize("sent", ["1017120000", "1017115959", "1017120001", "1016120000", ""])
@pytest.mark.parametrize("message_id", ["000001", "000003", ""])
@pytest.mark.parametrize("function_code", ["891", "892", "831", ""])
def test_a_response_names_its_request_by_de7_de11_and_de24(
    player: Make, message: Make, moment: Make, sent: str, message_id: str, function_code: str
) -> None:
    """All three: ids begin anew with each process, so that an id alone may be the one of an earlier life's request."""
    session = player(submit=False).play("0 start -> 9804 891 000001")
    response = message("9814", function_code, message_id, "0000", sent=sent)
    right = (sent, message_id, function_code) == ("1017120000", "000001", "891")
    assert session.places(response) is right
    session.manage(response, moment(0.1))
    assert session.signed_on(Direction.RECEIVE) is right


@pytest.mark.parametrize("code", ["", "1909", "0083", "0001"])
def test_only_0000_accepts(player: Make, code: str) -> None:
    """Any other action code, or none, is a refusal."""
    player(submit=False).play(f"""
        0    start                     -> 9804 891 000001
        0    < 9814 891 000001 {code}  -> (sign-on refused receive)
    """)


# --- echo


def test_silence_is_broken_by_an_echo(player: Make) -> None:
    """After 30 s without a byte we ask, and are content with the answer for 30 s more."""
    player().play(f"""
        {SIGNED_ON}
        30.1  timer                    -> 9804 831 000003
        30.2  < 9814 831 000003 0000
        60.2  timer                    -> 9804 831 000004
    """)


def test_traffic_puts_the_echo_off(player: Make) -> None:
    """Whatever comes counts."""
    player().play(f"""
        {SIGNED_ON}
        29    bytes
        30.1  early
        59    timer                    -> 9804 831 000003
    """)


def test_two_unanswered_echoes_lose_the_link(player: Make) -> None:
    """`echo_misses_max` in a row."""
    session = player().play(f"""
        {SIGNED_ON}
        30.1  timer                    -> 9804 831 000003
        35.1  timer                    -> (echo unanswered), 9804 831 000004
        40.1  timer                    -> (echo unanswered), LOST, -receive, -submit
        99    early
        99    bytes
        99    < 9804 831 000009
        99    drain
        99    finish
    """)
    assert session.ended
    assert session.next_timer() is None


def test_a_silent_hub_is_lost_soon_after_connecting(player: Make) -> None:
    """A hub that says nothing at all is given up after the sign-on and two echoes, not after `echo_after_s`."""
    player(submit=False, retry_s=20.0).play("""
        0     start                    -> 9804 891 000001
        5     timer                    -> (sign-on unanswered receive), 9804 831 000002
        10    timer                    -> (echo unanswered), 9804 831 000003
        15    timer                    -> (echo unanswered), LOST
    """)


IGNORED = """
    0     start                    -> 9804 891 000001, 9804 881 000002
    1     bytes
    5     timer                    -> (sign-on unanswered receive), (sign-on unanswered submit)
    6     timer                    -> 9804 891 000003, 9804 881 000004
    7     < 9804 831 000009        -> 9814 831 000009 0000
    11    timer                    -> (sign-on unanswered receive), (sign-on unanswered submit)
    13    timer                    -> 9804 891 000005, 9804 881 000006
    17    bytes
"""


def test_a_hub_that_answers_echoes_and_no_sign_on_is_lost(player: Make) -> None:
    """Such a link is of no use, and another address of the site may be. Three sign-ons in each direction are enough."""
    player().play(f"""
        {IGNORED}
        18    timer                    -> (sign-on unanswered receive), (sign-on unanswered submit), LOST
        99    early
    """)


def test_one_that_once_answered_is_lost_too(player: Make) -> None:
    """Signed off by the hub, and then ignored."""
    player(submit=False, retry_max_s=1.0).play("""
        0    start                    -> 9804 891 000001
        0.1  < 9814 891 000001 0000   -> +receive
        1    < 9804 892 000009        -> 9814 892 000009 0000, (signed off by hub receive), -receive
        2    timer                    -> 9804 891 000002
        3    bytes
        7    timer                    -> (sign-on unanswered receive)
        8    timer                    -> 9804 891 000003
        9    bytes
        13   timer                    -> (sign-on unanswered receive)
        14   timer                    -> 9804 891 000004
        15   bytes
        19   timer                    -> (sign-on unanswered receive), LOST
    """)


def test_a_link_that_is_of_some_use_is_kept(player: Make) -> None:
    """One direction is on, or payments come although no sign-on is answered: their replies leave by this link."""
    play = player()
    play.play("""
        0     start                    -> 9804 891 000001, 9804 881 000002
        0.1   < 9814 891 000001 0000   -> +receive
        5     timer                    -> (sign-on unanswered submit)
        6     timer                    -> 9804 881 000003
        7     bytes
        11    timer                    -> (sign-on unanswered submit)
        13    timer                    -> 9804 881 000004
        14    bytes
        18    timer                    -> (sign-on unanswered submit)
    """)
    assert not play.session.ended
    play = player()
    play.play(IGNORED)
    play.session.came(1)
    play.play("18 timer -> (sign-on unanswered receive), (sign-on unanswered submit)")
    play.play("22 timer -> 9804 891 000007, 9804 881 000008")
    play.play("23 bytes")
    play.play("27 timer -> (sign-on unanswered receive), (sign-on unanswered submit), LOST")


def test_an_unanswered_echo_on_a_link_that_lives_is_only_reported(player: Make) -> None:
    """The hub sends payments but no 9814: the link is not given up, and misses do not add up."""
    player().play(f"""
        {SIGNED_ON}
        30.1  timer                    -> 9804 831 000003
        31    bytes
        35.1  timer                    -> (echo unanswered)
        61    timer                    -> 9804 831 000004
        66    timer                    -> (echo unanswered), 9804 831 000005
        67    bytes
        71    timer                    -> (echo unanswered)
        97    timer                    -> 9804 831 000006
        102   timer                    -> (echo unanswered), 9804 831 000007
        107   timer                    -> (echo unanswered), LOST, -receive, -submit
    """)


def test_a_process_that_stood_still_asks_at_once_whether_the_hub_is_there(player: Make) -> None:
    """One silence is enough then."""
    player().play(f"""
        {SIGNED_ON}
        20    doubt                    -> 9804 831 000003
        25    timer                    -> (echo unanswered), LOST, -receive, -submit
        99    doubt
    """)


def test_a_hub_that_is_still_there_has_its_link_back(player: Make) -> None:
    """Also when an echo was outstanding, whose time is over; a later silence is judged as ever."""
    player().play(f"""
        {SIGNED_ON}
        30.1  timer                    -> 9804 831 000003
        3600  doubt                    -> 9804 831 000004
        3600.1 < 9814 831 000004 0000
        3630.1 timer                   -> 9804 831 000005
        3635.1 timer                   -> (echo unanswered), 9804 831 000006
        3640.1 timer                   -> (echo unanswered), LOST, -receive, -submit
    """)


def test_what_may_have_come_before_we_asked_does_not_show_that_the_hub_is_there(player: Make, moment: Make) -> None:
    """It lay in the socket while this process stood still."""
    play = player()
    play.play(f"""
        {SIGNED_ON}
        20    doubt                    -> 9804 831 000003
    """)
    play.session.heard(moment(10))
    play.play("""
        25    timer                    -> (echo unanswered), LOST, -receive, -submit
    """)


def test_a_doubt_changes_nothing_before_the_start_and_at_the_end(player: Make) -> None:
    play = player(submit=False)
    play.play("""
        0     doubt
        0     start                    -> 9804 891 000001
        0.1   < 9814 891 000001 0000   -> +receive
        1     finish                   -> -receive, 9804 892 000002
        2     doubt
    """)


def test_a_refused_echo_is_an_answer(player: Make) -> None:
    """Whatever its code: the hub is there."""
    player().play(f"""
        {SIGNED_ON}
        30.1  timer                    -> 9804 831 000003
        30.2  < 9814 831 000003 1909
        60.2  timer                    -> 9804 831 000004
    """)


def test_the_hubs_echo_is_responded_to_at_any_time(player: Make) -> None:
    """Before we are signed on, while on, on hold, draining and finishing."""
    player().play("""
        0    start                    -> 9804 891 000001, 9804 881 000002
        0    < 9804 831 500001        -> 9814 831 500001 0000
        0.1  < 9814 891 000001 0000   -> +receive
        0.1  < 9814 881 000002 0000   -> +submit
        0.1  < 9804 831 500002        -> 9814 831 500002 0000
        0.2  hold                     -> -receive, 9804 892 000003
        0.2  < 9804 831 500003        -> 9814 831 500003 0000
        0.3  drain
        0.3  < 9804 831 500003        -> 9814 831 500003 0000
        0.4  finish                   -> -submit, 9804 882 000004
        0.4  < 9804 831 500004        -> 9814 831 500004 0000
    """)


def test_a_response_copies_what_identifies_the_request(player: Make, message: Make, moment: Make) -> None:
    """DE7, DE11 and DE24 of the request, whatever our own clock says."""
    session = player().play(SIGNED_ON)
    session.manage(message("9804", "831", "500001"), moment(7))
    assert [action.message for action in session.take() if isinstance(action, Send)] == [
        NetworkResponse(
            mti="9814",
            transmission_time="1017115959",
            message_id="500001",
            function_code="831",
            action_code="0000",
        )
    ]


# --- what else the hub may ask


@pytest.mark.parametrize("function_code", ["881", "891", "999", "000", "811", "885", "886"])
def test_unknown_functions_are_answered_cannot(player: Make, function_code: str) -> None:
    """A sign-on is ours to ask for; functions outside the table are refused. Keys are the keyring's."""
    player().play(f"""
        {SIGNED_ON}
        1    < 9804 {function_code} 500001  -> 9814 {function_code} 500001 1909, (function unsupported)
    """)


def test_every_request_has_its_line() -> None:
    """The function codes of 9804 in the protocol note, but for sign-on and keys."""
    assert set(REQUESTS) == {"831", "882", "892"}


def test_a_sign_off_by_the_hub_is_accepted_and_signed_on_again(player: Make) -> None:
    """It is off at once; after a pause we ask to be on again."""
    player().play(f"""
        {SIGNED_ON}
        5    < 9804 892 500001        -> 9814 892 500001 0000, (signed off by hub receive), -receive
        5.1  < 9804 892 500002        -> 9814 892 500002 0000, (signed off by hub receive)
        6    timer                    -> 9804 891 000003
        6    < 9804 892 500003        -> 9814 892 500003 0000, (signed off by hub receive)
        6.1  < 9814 891 000003 0000   -> +receive
        7    < 9804 882 500004        -> 9814 882 500004 0000, (signed off by hub submit), -submit
        8    timer                    -> 9804 881 000004
    """)


def test_a_usm_is_acknowledged(player: Make) -> None:
    """A 9824 gets its 9834, on any link, signed on or not, and is reported."""
    player(receive=False, submit=False).play("""
        0    start
        1    < 9824 971 500001        -> (usm), 9834 971 500001 0000
    """)


def test_a_usm_acknowledgement_copies_what_identifies_the_message(player: Make, message: Make, moment: Make) -> None:
    """DE7, DE11 and DE24; also when one of its other fields is bad: it was taken."""
    session = player().play(SIGNED_ON)
    session.manage(message("9824", "975", "500001", fault=87), moment(7))
    assert session.take()[1] == Send(
        UsmAcknowledgement(
            mti="9834",
            transmission_time="1017115959",
            message_id="500001",
            function_code="975",
            action_code="0000",
        )
    )


def test_an_advice_is_reported_and_never_responded_to(player: Make) -> None:
    """9624 has no response."""
    player().play(f"""
        {SIGNED_ON}
        1    < 9624 690 500001        -> (advice)
    """)


def test_a_request_with_a_bad_field_is_answered_cannot(player: Make, message: Make, moment: Make) -> None:
    """A sign-off whose other fields are bad is not obeyed, and the hub is told."""
    session = player().play(SIGNED_ON)
    session.manage(message("9804", "892", "500001", fault=98), moment(1))
    assert [a.message.action_code for a in sends(session)] == ["1909"]
    assert session.signed_on(Direction.RECEIVE)


@pytest.mark.parametrize("mti", ["9804", "9824"])
@pytest.mark.parametrize(
    "ids", [("", "831"), ("5", "831"), ("50000a", "831"), ("500001", ""), ("500001", "8x1"), ("٥٠٠٠٠١", "831")]
)
def test_what_cannot_be_copied_cannot_be_responded_to(
    player: Make, message: Make, moment: Make, mti: str, ids: tuple[str, str]
) -> None:
    """Without DE7, DE11 and DE24 there is nothing that the hub could match: it is reported."""
    session = player().play(SIGNED_ON)
    session.manage(message(mti, ids[1], ids[0], fault=11), moment(1))
    actions = session.take()
    assert not any(isinstance(action, Send) for action in actions)
    assert Report("request malformed") in actions


def test_payments_are_none_of_its_business(player: Make, moment: Make) -> None:
    """Handing it one is a bug."""
    from gateway.wire.message import PaymentResponse

    session = player().play(SIGNED_ON)
    with pytest.raises(AssertionError, match="9210"):
        session.manage(PaymentResponse(mti="9210"), moment(1))


def test_the_engine_can_ask_what_is_unplaced(player: Make, message: Make) -> None:
    """So that a response to nothing, or an advice, is recorded as such."""
    session = player().play("0 start -> 9804 891 000001, 9804 881 000002")
    assert session.places(message("9814", "891", "000001", "0000", sent="1017120000"))
    assert not session.places(message("9814", "891", "000002", "0000", sent="1017120000"))
    assert session.places(message("9804", "831", "500001"))
    assert session.places(message("9824", "971", "500001"))
    assert not session.places(message("9624", "650", "500001"))
    assert not session.places(message("9834", "971", "500001"))


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


# --- ids, dates, judgement


def test_message_ids_wrap() -> None:
    """Six digits, never 000000."""
    ids = MessageIds(999_997)
    assert [ids.take() for _ in range(4)] == ["999998", "999999", "000001", "000002"]


def test_transmission_time_is_utc() -> None:
    """MMDDhhmmss of the wall clock, whatever the machine's time zone; a leap day is a day."""
    assert transmission_time(Now(0.0, 1_709_251_199_999_999_999)) == "0229235959"
    assert transmission_time(Now(0.0, 0)) == "0101000000"


def test_our_requests_carry_what_management_messages_carry(player: Make) -> None:
    """DE7 from the wall clock, DE11, DE24, and no body."""
    actions = player(submit=False).do(5, "start")
    assert [action.message for action in actions] == [
        NetworkRequest(mti="9804", transmission_time="1017120005", message_id="000001", function_code="891")
    ]


def test_settled_is_the_longest_time_that_all_was_as_wanted(player: Make, message: Make, moment: Make) -> None:
    """What the pool goes by when it judges a link that ended."""
    session = player().play("""
        0    start                    -> 9804 891 000001, 9804 881 000002
        1    < 9814 891 000001 0000   -> +receive
    """)
    assert session.settled_s(moment(9)) == 0
    session.manage(message("9814", "881", "000002", "0000", sent="1017120000"), moment(10))
    assert session.settled_s(moment(22)) == 12
    session.hold(moment(25))
    assert session.settled_s(moment(26)) == 15
    session.end(moment(27))
    assert session.settled_s(moment(99)) == 15
