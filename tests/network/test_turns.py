"""Which address has its turn, and when a name is looked up: every pair of the table, and any history."""

import itertools
from math import inf

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.network.turns import (
    ADDRESSES_MAX,
    AGAIN_S,
    LAW,
    OLD_S,
    PATIENCE_S,
    Lookups,
    Proof,
    Standing,
    Turns,
)

BEHAVIOURS = {
    "good": Proof.PROVED,
    "refuses": Proof.NOTHING,
    "accepts and is silent": Proof.NOTHING,
    "hangs up": Proof.NOTHING,
    "says 503": Proof.MISSED,
}
"""What a host does, and what a connection to it proves."""
INTO = {
    Standing.NEW: (),
    Standing.GOOD: (Proof.PROVED,),
    Standing.DOUBTED: (Proof.PROVED, Proof.MISSED),
    Standing.BAD: (Proof.NOTHING,),
}
"""How an address gets there."""


def known(standing: Standing, *others: str) -> Turns:
    """Turns in which address `x` stands so."""
    turns = Turns(("x", *others))
    for proof in INTO[standing]:
        turns.heard("x", proof)
    assert turns.standing("x") is standing
    return turns


@pytest.mark.parametrize(("before", "proof"), list(itertools.product(Standing, Proof)))
def test_each_pair_of_the_table(before: Standing, proof: Proof) -> None:
    """Every standing and every proof have a row. A proof makes any address good, and a good one may miss once."""
    turns = known(before)
    turns.heard("x", proof)
    assert turns.standing("x") is LAW[before, proof]
    expected = {
        Proof.PROVED: Standing.GOOD,
        Proof.MISSED: Standing.DOUBTED if before is Standing.GOOD else Standing.BAD,
        Proof.NOTHING: Standing.BAD,
    }
    assert turns.standing("x") is expected[proof]


@given(st.lists(st.sampled_from(sorted(BEHAVIOURS)), min_size=1, max_size=8))
def test_one_good_address_among_any_others_is_found_and_kept_to(hosts: list[str]) -> None:
    """Whatever the others do: the good one has its turn before any has a second one, and from then on no other is
    dialled.
    """
    turns = Turns(str(number) for number in range(len(hosts)))
    dialled = []
    for _ in range(3 * len(hosts)):
        address = turns.order()[0]
        dialled.append(hosts[int(address)])
        turns.heard(address, BEHAVIOURS[dialled[-1]])
    if "good" in hosts:
        first = dialled.index("good")
        assert first < len(hosts)
        assert set(dialled[first:]) == {"good"}
    else:
        assert {str(n) for n in range(len(hosts))} == set(turns.order()), "each has its turn"
        assert dialled[: len(hosts)] == hosts


@given(st.lists(st.sampled_from(sorted(BEHAVIOURS)), min_size=2, max_size=6), st.data())
def test_a_good_address_that_stops_being_good_gives_way(hosts: list[str], data: st.DataObject) -> None:
    """The one that was kept to turns bad: within two dials more than there are addresses another good one is found."""
    good, other = data.draw(st.permutations(range(len(hosts))))[:2]
    hosts[good] = hosts[other] = "good"
    turns = Turns(str(number) for number in range(len(hosts)))
    turns.heard(str(good), Proof.PROVED)
    hosts[good] = data.draw(st.sampled_from(sorted(set(BEHAVIOURS) - {"good"})))
    dialled = []
    for _ in range(len(hosts) + 2):
        address = turns.order()[0]
        dialled.append(hosts[int(address)])
        turns.heard(address, BEHAVIOURS[dialled[-1]])
    assert "good" in dialled
    assert dialled[-1] == "good"


def test_the_one_that_has_not_been_tried_for_longest_is_next_when_all_are_bad() -> None:
    """They are tried round and round."""
    turns = Turns("abc")
    seen = []
    for _ in range(7):
        seen.append(turns.order()[0])
        turns.heard(seen[-1], Proof.NOTHING)
    assert "".join(seen) == "abcabca"


@pytest.mark.parametrize(
    ("standing", "others", "listed", "keeps"),
    [
        (Standing.NEW, "y", True, True),
        (Standing.GOOD, "y", True, True),
        (Standing.DOUBTED, "y", True, True),
        (Standing.BAD, "y", True, False),
        (Standing.BAD, "", True, True),
        (Standing.GOOD, "y", False, True),
        (Standing.DOUBTED, "y", False, False),
        (Standing.BAD, "y", False, False),
        (Standing.NEW, "y", False, False),
    ],
)  # fmt: skip
def test_which_connections_are_kept(standing: Standing, others: str, *, listed: bool, keeps: bool) -> None:
    """Not to an address that gave its turn away, unless all are bad; where the name does not lead any more, only while
    nothing goes wrong.
    """
    turns = known(standing, *others)
    turns.renew(("x", *others) if listed else others)
    assert turns.keeps("x") is keeps
    assert not turns.keeps("never heard of")


def test_what_an_address_proved_outlives_a_lookup() -> None:
    """An answer that says the same changes nothing; new addresses come after the good one."""
    turns = known(Standing.GOOD, "y")
    turns.heard("y", Proof.NOTHING)
    turns.renew(("z", "y", "x", "z"))
    assert turns.order() == ["x", "z", "y"]


def test_of_a_name_with_very_many_addresses_some_are_remembered() -> None:
    """As many as are listed at the most, and as many that were."""
    turns = Turns()
    for start in range(0, 10 * ADDRESSES_MAX, 40):
        turns.renew(str(number) for number in range(start, start + 40))
        assert len(turns.order()) == ADDRESSES_MAX
        assert len(turns._standing) <= 2 * ADDRESSES_MAX


# --- lookups


def test_when_a_name_is_looked_up() -> None:
    """At first, when the answer is old, and sooner after a failure; never two at once."""
    lookups = Lookups()
    assert lookups.due(0.0)
    lookups.began(0.0)
    assert not lookups.due(inf)
    assert not lookups.answered(1.0, found=True)
    assert not lookups.due(1.0 + OLD_S - 0.001)
    assert lookups.due(1.0 + OLD_S)
    lookups.doubt()
    assert not lookups.due(1.0 + AGAIN_S - 0.001)
    assert lookups.due(1.0 + AGAIN_S)
    lookups.began(5.0)
    lookups.answered(5.0, found=True)
    assert not lookups.due(5.0 + AGAIN_S), "the doubt was answered"


def test_what_fails_while_the_answer_is_on_its_way_counts() -> None:
    """It may be an answer from before the failure."""
    lookups = Lookups()
    lookups.began(0.0)
    lookups.doubt()
    lookups.answered(1.0, found=True)
    assert lookups.due(1.0 + AGAIN_S)


def test_a_lookup_that_fails_is_tried_again() -> None:
    """As after any failure, and it is news once."""
    lookups = Lookups()
    lookups.began(0.0)
    assert lookups.answered(0.0, found=False)
    assert lookups.trouble
    assert not lookups.due(AGAIN_S - 0.001)
    assert lookups.due(AGAIN_S)
    lookups.began(AGAIN_S)
    assert lookups.wait_s(AGAIN_S) == 0.0, "nobody waits who knows an address"
    assert not lookups.answered(AGAIN_S, found=False)
    lookups.began(3.0)
    assert lookups.answered(3.0, found=True)
    assert not lookups.trouble


def test_a_lookup_that_hangs_is_waited_for_once() -> None:
    """For `PATIENCE_S`, by the first dial; it is news once, and so is its end."""
    lookups = Lookups()
    assert lookups.wait_s(0.0) == 0.0
    lookups.began(0.0)
    assert lookups.wait_s(0.2) == pytest.approx(PATIENCE_S - 0.2)
    assert not lookups.overdue(0.2)
    assert lookups.overdue(PATIENCE_S)
    assert not lookups.overdue(PATIENCE_S)
    assert lookups.wait_s(PATIENCE_S + 1) == 0.0
    assert not lookups.answered(60.0, found=False), "it was said that something is wrong"
    lookups.began(70.0)
    assert lookups.answered(71.0, found=True)
