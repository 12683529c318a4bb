"""A session signs on in each direction, as playbooks: this goes in, this comes out.

`Player` in conftest says how to read a line.
"""

import pytest

from gateway.clock import Now
from gateway.hub.exchanges import MessageIds, transmission_time
from gateway.hub.rules import Direction
from gateway.wire.message import NetworkRequest
from tests.hub.conftest import Make


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
    """The time by which the pool judges a link that ended."""
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
