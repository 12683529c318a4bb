"""News on demand: that it is acknowledged, and what it does to payments from then on."""

from typing import Any

import pytest

from gateway.wire.message import Usm


def announce(bench: Any, function: str, fields: dict[int, str], *names: str) -> None:
    parties = [bench.scheme.parties[name] for name in names or ("alpha",)]
    bench.scheme.bulletins.announce(parties, function, fields, bench.now_s)


def test_news_goes_to_everyone_and_is_acknowledged(bench: Any) -> None:
    """9824 with its fields; 9834 with 0000 ends it; the book has both."""
    links = [bench.link("alpha"), bench.link("beta")]
    announce(bench, "979", {91: "001", 124: "later today"}, "alpha", "beta")
    for link in links:
        (news,) = bench.out(link)
        assert isinstance(news, Usm)
        assert (news.fault, news.function_code, news.settlement_process) == (0, "979", "001")
        assert bench.scheme.bulletins.outstanding == 2 - links.index(link)
        bench.confirm(link, news)
    assert bench.scheme.bulletins.outstanding == 0
    assert [(event.event, event.code) for event in bench.events] == [("usm", "979")] * 2 + [
        ("usm-acknowledged", "979")
    ] * 2
    assert [event.why for event in bench.said("usm")] == [event.why for event in bench.said("usm-acknowledged")]
    assert len({event.why for event in bench.events}) == 2, "to each its own"
    assert not bench.scheme.faults


def test_news_without_an_acknowledgement_is_a_fault(bench: Any) -> None:
    """After the time for it, once, also when it comes late; so is one of nothing, and one that says no."""
    link = bench.link()
    announce(bench, "981", {45: "00002000"})
    (news,) = bench.out(link)
    bench.wait(5.2)
    bench.confirm(link, news)
    assert list(bench.scheme.faults) == ["9824/981 without a 9834"]
    bench.confirm(link, news)
    announce(bench, "981", {45: "00002000"})
    bench.confirm(link, bench.out(link)[0], "1909")
    assert list(bench.scheme.faults) == [
        "9824/981 without a 9834", "9834 that acknowledges nothing", "9834/981 says 1909",
    ]  # fmt: skip


def test_news_goes_over_its_own_group_where_there_is_one(make_bench: Any) -> None:
    """Otherwise over any."""
    bench = make_bench(groups=("sip", "usm"))
    sip = bench.link("alpha", group="sip")
    announce(bench, "971", {40: "00"})
    assert len(bench.out(sip)) == 1
    usm = bench.link("alpha", group="usm")
    announce(bench, "971", {40: "00"})
    assert (len(bench.out(sip)), len(bench.out(usm))) == (0, 1)


def test_news_may_go_over_every_link(bench: Any) -> None:
    """For a participant of several processes; each acknowledges its own."""
    links = [bench.link(), bench.link()]
    assert bench.scheme.bulletins.announce([bench.scheme.first], "971", {40: "00"}, bench.now_s, everywhere=True) == 2
    for link in links:
        bench.confirm(link, bench.out(link)[0])
    assert bench.scheme.bulletins.outstanding == 0


def test_news_whose_connection_is_lost_goes_over_another(bench: Any) -> None:
    """Or waits for the next sign-on."""
    one = bench.link()
    announce(bench, "971", {40: "00"})
    (news,) = bench.out(one)
    bench.lose(one)
    assert bench.scheme.bulletins.outstanding == 1
    two = bench.link(on=False)
    bench.manage(two, "891")
    (again,) = [message for message in bench.out(two) if isinstance(message, Usm)]
    assert again.service_status == news.service_status
    bench.confirm(two, again)
    assert bench.scheme.bulletins.outstanding == 0
    assert not bench.scheme.faults


ENFORCED: dict[str, tuple[str, dict[int, str], str, dict[int, str]]] = {
    "service": ("971", {40: "01"}, "9943", {40: "00"}),
    "sender": ("972", {67: "01", 100: "600002"}, "9944", {67: "00", 100: "600002"}),
    "receiver": ("972", {67: "01", 100: "400001"}, "9945", {67: "00", 100: "400001"}),
    "group": ("972", {69: "02", 100: "400001"}, "9912", {69: "00", 100: "400001"}),
    "sitl": ("975", {85: "00", 86: "0000000000012344"}, "9940", {85: "01", 86: "0000000000000000"}),
    "stl": ("976", {88: "0000000000012344"}, "9941", {88: "0000000000012345"}),
    "cap": ("974", {107: "01"}, "9942", {107: "00"}),
}


@pytest.mark.parametrize("what", ENFORCED)
def test_what_is_announced_is_enforced_until_it_is_taken_back(bench: Any, what: str) -> None:
    """Each suspension and limit with its code, from the moment that it is sent."""
    function, fields, code, back = ENFORCED[what]
    link = bench.link()
    assert bench.submit(link, trn="A1") == ["0000"]
    announce(bench, function, fields)
    bench.out(link)
    assert bench.submit(link, trn="A2") == [code]
    assert bench.submit(link, trn="A1", mti="9201") == ["0000"]
    announce(bench, function, back)
    bench.out(link)
    assert bench.submit(link, trn="A3") == ["0000"]
    assert bench.submit(link, trn="A2", mti="9201") == [code]
    assert not bench.scheme.faults


def test_a_cap_counts_what_was_sent_and_received(bench: Any) -> None:
    """978: up to so many pence more out than in, from now on."""
    link, beta = bench.link(), bench.link("beta")
    announce(bench, "978", {105: "0000000000020000"})
    bench.out(link)
    assert bench.submit(link, trn="A1") == ["0000"]
    assert bench.submit(link, trn="A2") == ["9942"]
    assert bench.submit(
        beta, sender="700003", debtor_agent="700003", creditor_agent="600002", trn="B1", amount="00000000010000"
    ) == []  # fmt: skip
    bench.respond(link, bench.out(link)[0], "0000")
    assert bench.submit(link, trn="A3") == ["0000"]


def test_what_comes_back_does_not_count_towards_the_cap(make_bench: Any) -> None:
    """A scheme return moves the money back."""
    bench = make_bench(asynchronous_answer="at-once")
    link, beta = bench.link(), bench.link("beta")
    announce(bench, "978", {105: "0000000000020000"})
    bench.out(link)
    order = {"creditor_agent": "700003", "processing_code": "300000"}
    assert bench.submit(link, **order, trn="A1") == ["0000"]
    assert bench.submit(link, **order, trn="A2") == ["9942"]
    bench.respond(beta, bench.out(beta)[0], "1114")
    assert bench.submit(link, **order, trn="A3") == ["0000"]
    assert bench.submit(link, **order, trn="A4") == ["9942"]


@pytest.mark.parametrize(
    ("function", "fields"), [("970", {}), ("971", {11: "000001"}), ("971", {40: "0X"}), ("971", {2: "1"})]
)
def test_news_that_makes_no_sense_is_refused(bench: Any, function: str, fields: dict[int, str]) -> None:
    """To whoever steers; nothing is sent or enforced."""
    link = bench.link()
    with pytest.raises(ValueError, match=r"function|fields"):
        announce(bench, function, fields)
    assert not bench.out(link)
    assert bench.scheme.standing.quiet
