"""The date of a payment that nobody here has heard of: refused, asked about with a mark, or ordinary; as traces."""

import pytest

from gateway import config
from gateway.payments.arrival import Note
from gateway.payments.inbound_law import State
from gateway.wire.codec import fpid_of
from tests.fakes.stage import STAND_IN_S, Stage, request, restarted, reversal, scheme_return

OLD, FUTURE = "20240102", "20991231"
LAST_S = config.Deadlines().last_moment_s


@pytest.mark.parametrize("day", [OLD, "20261119", "20261124", FUTURE])
def test_a_synchronous_payment_of_another_day_is_refused_and_stays_unknown(day: str) -> None:
    """1930 with DE44 012, as often as it comes: a frame that was captured once is no new payment."""
    stage = Stage()
    for mti in ("9200", "9201", "9200"):
        stage.came(request(mti, date_sent=day))
        assert stage.heard() == ["record REFUSED", "leave 9210/1930012 on 1 after REFUSED"]
    assert stage.notes == [Note.BAD_DATE] * 3
    assert stage.outcomes.get(fpid_of(request(date_sent=day))) is None


@pytest.mark.parametrize("kind", ["30", "40", "50", "20", "00", "77"])
@pytest.mark.parametrize("day", [OLD, FUTURE])
def test_another_payment_of_another_day_is_asked_about_with_a_mark_and_not_stood_in_for(kind: str, day: str) -> None:
    """The processor may accept it. When it is silent, stand-in's rules for what it may not accept hold."""
    changes = {"return_code": "00000001", "returned_fpid": "F" * 42} if kind == "20" else {}
    for answer in ("0000", ""):
        stage = Stage()
        payment = stage.came(request(processing_code=f"{kind}0000", date_sent=day, **changes))
        assert payment is not None
        assert payment.unusual_date
        stage.recorded()
        assert stage.heard() == ["record RECEIVED", "timer +5", f"ask +{LAST_S:g}"]
        if answer:
            stage.answers(payment, answer)
            assert stage.heard() == ["record ANSWERED", "mac 9210/0000"]
        else:
            assert stage.fires(payment, STAND_IN_S) == ["timer +8"]
            assert stage.fires(payment, LAST_S) == ["record DECLINED", "mac 9210/1909"]
            assert stage.story.stand_in.statistics(stage.now.wall_ns)["refused"]["date"] == 1  # type: ignore[index]
        assert Note.UNUSUAL_DATE in stage.notes


def test_a_scheme_return_of_another_day_is_neither_refused_nor_accepted_unseen() -> None:
    """It must not be refused, and may be a copy: it is left to the hub, which repeats it, and keeps its mark then."""
    stage = Stage()
    for _ in range(2):
        payment = stage.came(scheme_return(date_sent=OLD))
        assert payment is not None
        assert payment.unusual_date
        stage.recorded()
        stage.heard()
        stage.fires(payment, STAND_IN_S)
        assert stage.fires(payment, LAST_S) == ["record UNANSWERED"]
    assert stage.state_of(scheme_return(date_sent=OLD)) is State.ORPHANED


def test_where_stand_in_answers_at_once_a_payment_of_another_day_is_asked_about() -> None:
    stage = Stage(pair=config.Pair(group="sip", stand_in=config.StandIn(mode="always")))
    stage.came(request(processing_code="300000", date_sent=OLD))
    stage.recorded()
    assert stage.heard() == ["record RECEIVED", "timer +5", f"ask +{LAST_S:g}"]


def test_a_synchronous_payment_that_was_orphaned_is_not_refused_for_its_date() -> None:
    """Its FPID is known: it came in time, and the process that received it is gone."""
    before = Stage()
    before.came(request())
    stage = restarted(before)
    stage.heard()
    stage.days = 5
    payment = stage.came(request("9201"))
    assert payment is not None
    assert payment.unusual_date
    assert stage.heard() == ["record RECEIVED", "timer +5"]


def test_a_known_fpid_gets_its_outcome_whatever_the_day() -> None:
    """The window is for unknown FPIDs alone: repeats, other content, and what was reversed."""
    stage = Stage()
    payment = stage.received()
    stage.answers(payment, "1114")
    stage.ready()
    stage.story.replying.on_sent(payment, stage.link, stage.now)
    stage.heard()
    stage.days = 6
    stage.came(request("9201"))
    assert stage.heard() == ["record REPEATED", "leave 9210/1114 on 1 after REPEATED"]
    stage.came(request(amount="00000000000001"))
    assert stage.heard() == ["record REFUSED", "leave 9210/1181 on 1 after REFUSED"]


@pytest.mark.parametrize("day", [OLD, FUTURE, "20270229"])
def test_a_reversal_is_answered_positively_whatever_the_day(day: str) -> None:
    """Also of a payment that is refused for its date, before it or after."""
    stage = Stage()
    stage.came(reversal(date_sent=day))
    assert stage.heard() == ["record REVERSED", "leave 9430/0000 on 1 after REVERSED"]


def test_while_it_is_not_sure_which_day_it_is_nothing_is_refused_for_its_date() -> None:
    """Asked about with the mark; when it is sure again, refused."""
    stage = Stage(in_doubt=True)
    payment = stage.came(request(date_sent=OLD))
    assert payment is not None
    assert payment.unusual_date
    stage.recorded()
    assert stage.heard() == ["record RECEIVED", "timer +5", f"ask +{LAST_S:g}"]
    stage.in_doubt = False
    stage.came(request(date_sent=OLD, trn="TRN2"))
    assert stage.heard() == ["record REFUSED", "leave 9210/1930012 on 1 after REFUSED"]


def test_a_field_is_judged_before_the_duplicate_and_the_duplicate_before_the_date() -> None:
    """Frame, parse, MAC, fields, duplicate, date window: one payment that is wrong in each way."""
    stage = Stage()
    stage.came(request(date_sent=OLD, creditor_account=""))
    assert stage.heard() == ["record REFUSED", "leave 9210/1930035 on 1 after REFUSED"]
    stage.came(reversal(date_sent=OLD))
    stage.heard()
    stage.came(request(date_sent=OLD))
    assert stage.heard() == ["record REFUSED", "leave 9210/1100 on 1 after REFUSED"]


OURS = config.Pair(group="sip", own_senders=("600002", "600003"))


@pytest.mark.parametrize("kind", ["10", "30", "00", "77"])
def test_a_payment_that_says_that_we_sent_it_is_refused_and_stays_unknown(kind: str) -> None:
    """1930 with DE44 098, as often as it comes. Whoever else sends is judged as ever."""
    stage = Stage(pair=OURS)
    own = {"processing_code": f"{kind}0000", "sender": "600003"}
    for mti in ("9200", "9201"):
        stage.came(request(mti, **own))
        assert stage.heard() == ["record REFUSED", "leave 9210/1930098 on 1 after REFUSED"]
    assert stage.notes == [Note.OWN_SENDER] * 2
    assert stage.outcomes.get(fpid_of(request(**own))) is None
    stage.came(request())
    assert stage.heard()[0] == "record RECEIVED"


@pytest.mark.parametrize("kind", ["20", "25"])
def test_a_return_may_name_us_as_its_sender(kind: str) -> None:
    """What it returns, we sent."""
    stage = Stage(pair=OURS)
    stage.came(request(processing_code=f"{kind}0000", sender="600002", return_code="00000001", returned_fpid="F" * 42))
    assert stage.heard()[0] == "record RECEIVED"


def test_where_no_sender_is_ours_none_is_refused_and_a_known_payment_keeps_its_outcome() -> None:
    """Payments to ourselves may go through the hub. A setting that comes later changes no answer that was given."""
    stage = Stage()
    payment = stage.came(request(sender="600002"))
    assert payment is not None
    stage.recorded()
    stage.answers(payment, "0000")
    later = Stage(pair=OURS, outcomes=stage.outcomes)
    later.story._arrivals.in_flight.update(stage.story._arrivals.in_flight)
    later.came(request("9201", sender="600002"))
    assert Note.OWN_SENDER not in later.notes
