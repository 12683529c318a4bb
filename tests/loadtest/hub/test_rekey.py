"""Keys that change in band, as the hub does it: each exchange as a trace, over the hub without I/O."""

from typing import Any

import pytest
from cryptography.hazmat.primitives.keywrap import aes_key_unwrap

from gateway.wire.codec import join_mac
from gateway.wire.message import NetworkRequest
from hsm import reference
from loadtest.hub.keys import mac_of
from loadtest.hub.switch import SIGNED_BEFORE
from tests.loadtest.conftest import payment_request as request


def begin(bench: Any, link: Any, use: str, **more: Any) -> tuple[Any, bytes, str]:
    """Begin a change; the 811, the key in it, and its check value."""
    check = bench.scheme.rekey.begin(link.party, use, bench.now_s, **more)
    (change,) = bench.out(link)
    assert isinstance(change, NetworkRequest)
    assert (change.mti, change.function_code, change.fault) == ("9804", "811", 0)
    assert change.key_data[0] == {"hub": "1", "own": "2"}[use]
    assert (change.key_data[-6:] == check) is (more.get("spoilt") != "check")
    return change, bytes.fromhex(change.key_data[1:-6]), check


def unwrap(bench: Any, wrapped: bytes, check: str) -> bytes:
    key = aes_key_unwrap(bench.transport, wrapped)
    assert mac_of("aes-cmac", key)(bytes(16))[:6].decode() == check
    return key


def test_the_hubs_key_changes_when_it_is_verified(bench: Any) -> None:
    """811, 0000, 886, 0000: the response is the last that the old key signs."""
    link = bench.link()
    change, wrapped, check = begin(bench, link, "hub")
    key = unwrap(bench, wrapped, check)
    bench.confirm(link, change)
    assert bench.submit(link) == ["0000"]
    bench.manage(link, "886", f"1{check}")
    (response,) = bench.out(link)
    assert (response.mti, response.function_code, response.action_code) == ("9814", "886", "0000")
    bench.say(link, request(trn="A2"))
    (answer,) = bench.out(link, key=key)
    assert answer.action_code == "0000"
    assert bench.scheme.rekey.statistics()["alpha"]["checks"]["hub"] == check
    assert [(event.why, event.code) for event in bench.said("key")] == [
        ("alpha: hub announced", check), ("alpha: hub taken", check), ("alpha: hub in force", ""),
    ]  # fmt: skip
    assert not bench.scheme.faults


def test_the_participants_key_changes_and_the_old_one_is_accepted_for_an_overlap(make_bench: Any) -> None:
    """Both are right from its 0000 on; after the overlap only the new one, and what the old one signs is counted."""
    bench = make_bench(overlap_s=5.0)
    link = bench.link()
    old = bench.keys["alpha", "own"]
    change, wrapped, check = begin(bench, link, "own")
    new = unwrap(bench, wrapped, check)
    bench.confirm(link, change)
    bench.say(link, request(), key=new)
    bench.manage(link, "886", f"2{check}")
    assert [message.action_code for message in bench.out(link)] == ["0000", "0000"]
    for number, key in enumerate((old, new)):
        bench.say(link, request(trn=f"B{number}"), key=key)
    assert bench.codes(link) == ["0000", "0000"]
    bench.wait(5.2)
    bench.say(link, request(trn="C1"), key=new)
    assert bench.codes(link) == ["0000"]
    bench.say(link, request(trn="C2"), key=old)
    (advice,) = bench.out(link)
    assert (advice.mti, advice.function_code) == ("9624", "690")
    assert bench.scheme.counts["refused for a superseded key"] == 1
    assert list(bench.scheme.faults) == ["9200: signed with a superseded key"]


@pytest.mark.parametrize("spoilt", ["", "check"])
def test_a_key_is_no_key_before_the_participant_has_taken_it(bench: Any, spoilt: str) -> None:
    """Announced is not taken; spoilt is never taken. What it signs is refused, and said to be that."""
    link = bench.link()
    change, wrapped, _ = begin(bench, link, "own", spoilt=spoilt)
    new = aes_key_unwrap(bench.transport, wrapped)
    bench.say(link, request(), key=new)
    (advice,) = bench.out(link)
    assert (advice.mti, advice.function_code) == ("9624", "690")
    assert list(bench.scheme.faults) == ["9200: signed with a key that was announced, and not taken"]
    assert bench.scheme.counts["refused for a key not taken"] == 1
    bench.confirm(link, change, "1909" if spoilt else "0000")
    bench.say(link, request(), key=new)
    assert bench.codes(link) == ([] if spoilt else ["0000"])


def test_the_overlap_of_a_key_ends_though_another_is_on_its_way(make_bench: Any) -> None:
    """And what is only announced does not come in its place."""
    bench = make_bench(overlap_s=2.0)
    link = bench.link()
    change, _, check = begin(bench, link, "own")
    bench.confirm(link, change)
    bench.manage(link, "886", f"2{check}")
    bench.out(link)
    bench.wait(1)
    _, wrapped, _ = begin(bench, link, "own")
    bench.wait(1.2)
    bench.say(link, request(), key=aes_key_unwrap(bench.transport, wrapped))
    bench.say(link, request())
    assert list(bench.scheme.faults) == [
        "9200: signed with a key that was announced, and not taken", "9200: signed with a superseded key",
    ]  # fmt: skip


def test_what_the_key_before_signs_is_counted_when_the_new_one_should(bench: Any) -> None:
    """A few seconds after it is in force: right still, and a figure."""
    link = bench.link()
    change, wrapped, check = begin(bench, link, "own")
    new = unwrap(bench, wrapped, check)
    bench.confirm(link, change)
    bench.wait(5)
    bench.say(link, request(trn="A0"))
    bench.manage(link, "886", f"2{check}")
    for number, (wait_s, key) in enumerate(((0.0, None), (1.5, None), (0.6, new), (0.0, None), (0.0, None)), 1):
        bench.wait(wait_s)
        bench.say(link, request(trn=f"A{number}"), key=key)
    bench.manage(link, "831")
    assert bench.codes(link) == ["0000"] * 6
    assert bench.scheme.counts[SIGNED_BEFORE] == 3
    assert not bench.scheme.faults


@pytest.mark.parametrize("spoilt", ["check", "wrapping"])
def test_a_spoilt_key_must_be_refused_and_changes_nothing(bench: Any, spoilt: str) -> None:
    """1909 is right; 0000 is a fault. Either way the key before stays."""
    link = bench.link()
    for code, faults in (("1909", 0), ("0000", 1)):
        bench.scheme.rekey.begin(link.party, "own", bench.now_s, spoilt=spoilt)
        bench.confirm(link, bench.out(link)[0], code)
        assert len(bench.scheme.faults) == faults
        assert bench.scheme.rekey.statistics()["alpha"]["under_way"] == {}
    assert bench.submit(link) == ["0000"]


def test_a_good_key_that_is_refused_is_a_fault(bench: Any) -> None:
    """And the change is over."""
    link = bench.link()
    change, _, check = begin(bench, link, "hub")
    bench.confirm(link, change, "1909")
    assert list(bench.scheme.faults) == ["keys: said 1909 to a key that was right"]
    bench.manage(link, "886", f"1{check}")
    assert bench.out(link)[0].action_code == "1909"


def test_a_wrong_check_value_is_1909_and_a_fault(bench: Any) -> None:
    """The participant may try again."""
    link = bench.link()
    change, _, check = begin(bench, link, "hub")
    bench.confirm(link, change)
    bench.manage(link, "886", "1000000")
    assert bench.out(link)[0].action_code == "1909"
    bench.manage(link, "886", f"1{check}")
    assert bench.out(link)[0].action_code == "0000"
    assert list(bench.scheme.faults) == ["keys: 9804/886 with a check value that is not that of the hub key"]


def test_the_check_value_of_the_key_in_use_is_always_right(bench: Any) -> None:
    """A participant that did not hear the answer, or makes sure."""
    link = bench.link()
    checks = bench.scheme.rekey.statistics()["alpha"]["checks"]
    bench.manage(link, "886", f"2{checks['own']}")
    assert bench.out(link)[0].action_code == "0000"
    assert not bench.scheme.faults


def test_a_participant_asks_for_a_key_and_gets_it(bench: Any) -> None:
    """885: 0000, then an 811; once more while that is under way: 1909."""
    link = bench.link()
    bench.manage(link, "885", "2")
    response, change = bench.out(link)
    assert (response.action_code, change.function_code, change.key_data[0]) == ("0000", "811", "2")
    bench.manage(link, "885", "2")
    assert [message.action_code for message in bench.out(link)] == ["1909"]
    bench.manage(link, "885", "7")
    assert [message.action_code for message in bench.out(link)] == ["1909"]


def test_the_hub_asks_for_a_check_value(bench: Any) -> None:
    """886 about the key in use; anything but 0000 is a fault."""
    link = bench.link()
    for code, faults in (("0000", 0), ("1909", 1)):
        bench.scheme.rekey.verify(link.party, "own", bench.now_s)
        (asked,) = bench.out(link)
        assert (asked.function_code, asked.key_data[0]) == ("886", "2")
        bench.confirm(link, asked, code)
        assert len(bench.scheme.faults) == faults


def test_without_an_answer_in_time_the_change_is_given_up(bench: Any) -> None:
    """No 9814 to the 811, or no 886 after it: a fault each."""
    link = bench.link()
    begin(bench, link, "hub")
    bench.wait(5.2)
    change, _, _ = begin(bench, link, "hub")
    bench.confirm(link, change)
    bench.wait(25)
    bench.manage(link, "831")
    bench.out(link)
    bench.wait(25)
    bench.manage(link, "831")
    bench.wait(12)
    assert list(bench.scheme.faults) == ["alpha: no 9814/811 in time", "alpha: no 9804/886 in time"]


def test_a_lost_connection_brings_the_same_key_again_on_another(bench: Any) -> None:
    """Or, when there is none, with the next sign-on."""
    one, two = bench.link(), bench.link(on=False)
    change, _, check = begin(bench, one, "own")
    bench.lose(one)
    assert bench.out(two) == []
    bench.manage(two, "881")
    response, again = bench.out(two)
    assert response.mti == "9814"
    assert again.key_data == change.key_data
    bench.confirm(two, again)
    bench.manage(two, "886", f"2{check}")
    assert bench.out(two)[0].action_code == "0000"


def test_a_participant_of_several_processes_hears_of_a_key_on_every_link(bench: Any) -> None:
    """It is in force when all have taken it and one has proved it; until then the old one signs."""
    links = [bench.link(), bench.link()]
    check = bench.scheme.rekey.begin(bench.scheme.first, "hub", bench.now_s, everywhere=True)
    changes = [bench.out(link)[0] for link in links]
    assert changes[0].key_data == changes[1].key_data
    bench.confirm(links[0], changes[0])
    bench.manage(links[1], "886", f"1{check}")
    assert bench.out(links[1])[0].action_code == "1909"
    bench.manage(links[0], "886", f"1{check}")
    assert bench.out(links[0])[0].action_code == "0000"
    assert bench.scheme.rekey.statistics()["alpha"]["changed"] == 0
    bench.confirm(links[1], changes[1])
    assert bench.scheme.rekey.statistics()["alpha"]["changed"] == 1
    bench.manage(links[1], "886", f"1{check}")
    key = bytes([0xA1]) * 16
    assert bench.out(links[1], key=key)[0].action_code == "0000"


def test_a_link_that_goes_does_not_hold_up_what_the_others_have_taken(bench: Any) -> None:
    """Whoever dialled it hears of the key when it asks, or never did."""
    links = [bench.link(), bench.link()]
    check = bench.scheme.rekey.begin(bench.scheme.first, "own", bench.now_s, everywhere=True)
    bench.confirm(links[0], bench.out(links[0])[0])
    bench.manage(links[0], "886", f"2{check}")
    bench.lose(links[1])
    assert bench.scheme.rekey.statistics()["alpha"]["changed"] == 1


def test_two_changes_of_one_key_at_once_are_refused_to_whoever_steers(bench: Any) -> None:
    """And so is a participant that cannot change keys."""
    link = bench.link()
    begin(bench, link, "hub")
    begin(bench, link, "own")
    for party, use in (("alpha", "hub"), ("bank", "hub"), ("alpha", "theirs")):
        with pytest.raises(ValueError, match=r"under way|no transport key|hub or own"):
            bench.scheme.rekey.begin(bench.scheme.parties[party], use, bench.now_s)


def test_a_key_that_nobody_gave_is_no_key(bench: Any) -> None:
    """Neither right nor superseded."""
    link = bench.link()
    covered = bench.codec.encode(
        NetworkRequest(mti="9804", transmission_time="0301120000", message_id="000009", function_code="831")
    )
    bench.scheme.received(link, join_mac(covered, reference.mac("aes-cmac", bytes(16), covered)), bench.now_s)
    assert bench.scheme.counts["refused for its MAC"] == 1
