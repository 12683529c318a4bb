"""Every request of the hub besides payments gets its response, and none gets two."""

import pytest

from gateway.hub.rules import REQUESTS, Direction, Report, Send
from gateway.wire.message import UsmAcknowledgement
from tests.hub.conftest import Make
from tests.hub.session_lines import SIGNED_ON, sends

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
