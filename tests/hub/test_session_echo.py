"""A hub that says nothing is asked by an echo, and a link whose echoes stay unanswered is lost."""

from gateway.hub.rules import Send
from gateway.wire.message import NetworkResponse
from tests.hub.conftest import Make
from tests.hub.session_lines import SIGNED_ON

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
