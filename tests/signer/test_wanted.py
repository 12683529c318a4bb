"""What makes a new key one that is needed."""

from typing import Any

import pytest

from gateway.payments.work import Install
from gateway.signer import wanted as wanted_module
from gateway.signer.messages import Held, Shown
from gateway.signer.wanted import Wanted

A, B = Install("own.a", b"wrapped", "AA"), Install("own.b", b"other", "BB")


def make() -> Wanted:
    return Wanted(["seal"], [Install("hub"), Install("own")])


def say(wanted: Wanted, name: str, key: Install, why: str = "") -> list[Any]:
    """A token answers for a key."""
    wanted.heard(name, wanted.to_have(name), Shown({}, {key.label: why}) if why else Shown({key.label: "00"}, {}))
    return wanted.verdicts()


def test_a_key_is_taken_when_every_token_has_spoken() -> None:
    """And is needed from then on; until then a token may be without it."""
    wanted = make()
    wanted.attempt(A, ["1", "2"])
    assert [held.needed for held in wanted.to_have("1")] == [True, True, True, False]
    assert say(wanted, "1", A) == []
    assert say(wanted, "1", A) == []
    assert say(wanted, "2", A) == [(A, True, "")]
    assert [held.key.label for held in wanted.to_have("3") if held.needed] == ["hub", "own", "seal", "own.a"]
    assert wanted.verdicts() == []


def test_one_token_tries_one_key_at_a_time() -> None:
    """The others are not told of it before; those that have it keep it until the verdict, unless they were away."""
    wanted = make()
    wanted.attempt(A, ["1", "2", "3"])
    wanted.attempt(B, ["1", "2", "3"])
    for name in "123":
        before = wanted.to_have(name)
        assert wanted.learner == name
        assert [each.key for each in before[3:]] == [A]
        assert all(len(wanted.to_have(other)) == 3 for other in "123" if other > name)
        if name == "2":
            wanted.lost("1")
            assert len(wanted.to_have("1")) == 3
        if name < "3":
            assert say(wanted, name, A) == []
    assert wanted.learner == "3"
    assert say(wanted, "3", A) == [(A, True, "")]
    assert wanted.learner == "2"
    assert [each.key.label for each in wanted.to_have("2")] == ["hub", "own", "seal", "own.a", "own.b"]
    assert [each.key.label for each in wanted.to_have("3")] == ["hub", "own", "seal", "own.a"]


def test_what_waits_for_a_token_that_is_lost_goes_on_with_the_next() -> None:
    """In its turn, and before."""
    wanted = make()
    wanted.attempt(A, ["1", "2", "3"])
    wanted.lost("2")
    wanted.lost("1")
    assert wanted.learner == "3"
    wanted.lost("3")
    assert wanted.learner == ""
    assert [taken for _, taken, _ in wanted.verdicts()] == [False]


def test_a_key_that_is_needed_may_come_with_another_value() -> None:
    """Tried in its place; a token that cannot take the new value has the key all the same."""
    wanted = make()
    wanted.hold([Install("hub"), A, B])
    again = Install(A.label, b"rewrapped", A.check)
    place = wanted.index[A.label]
    assert wanted.refusal(again) == ""
    wanted.attempt(again, ["1", "2"])
    assert wanted.to_have("1")[place] == Held(again, needed=False)
    assert wanted.to_have("2")[place] == Held(A)
    shown = Shown({"hub": "0", A.label: "1", B.label: "2", "seal": "3"}, {A.label: "bad"})
    assert wanted.failure_of(shown) == ""
    assert wanted.values_of(shown) is not None
    wanted.heard("1", wanted.to_have("1"), shown)
    assert say(wanted, "2", again) == [(again, False, "1 of 2 tokens: 1: bad")]
    assert wanted.to_have("1")[place] == Held(A)
    wanted.attempt(again, ["1"])
    index = wanted.index
    assert say(wanted, "1", again) == [(again, True, "")]
    assert wanted.to_have("2")[place] == Held(again)
    assert wanted.index == index


@pytest.mark.parametrize(
    ("said", "verdict"),
    [
        ("ok ok no", (True, "")),
        ("ok no no", (False, "2 of 3 tokens: 2: bad")),
        ("ok no lost", (False, "1 of 2 tokens: 2: bad")),
        ("ok lost lost", (True, "")),
        ("no lost lost", (False, "1 of 1 tokens: 1: bad")),
        ("lost lost lost", (False, "no token lived to say whether it has the key")),
    ],
)
def test_most_tokens_decide(said: str, verdict: tuple[bool, str]) -> None:
    """A tie changes nothing; a token that was lost does not count."""
    wanted = make()
    before = wanted.order
    wanted.attempt(A, ["1", "2", "3"])
    found = []
    for number, word in enumerate(said.split(), 1):
        if word == "lost":
            wanted.lost(str(number))
            found = wanted.verdicts()
        else:
            found = say(wanted, str(number), A, "bad" if word == "no" else "")
    assert found == [(A, *verdict)]
    assert (wanted.order == before) is not verdict[0]


def test_what_is_said_of_an_older_list_says_nothing() -> None:
    """An answer to a question before the key came."""
    wanted = make()
    before = wanted.to_have("1")
    wanted.attempt(A, ["1"])
    wanted.heard("1", before, Shown({}, {}))
    assert wanted.verdicts() == []
    wanted.heard("2", wanted.to_have("1"), Shown({}, {"own.a": "a token that came later has no say"}))
    assert wanted.verdicts() == []


def test_a_key_keeps_its_place_while_it_is_held() -> None:
    """Places shift when one goes; the order is another object then, and only then."""
    wanted = make()
    order = wanted.order
    wanted.hold([Install("hub"), Install("own")])
    assert wanted.order is order
    wanted.attempt(A, ["1"])
    say(wanted, "1", A)
    wanted.hold([Install("hub"), A])
    assert wanted.index == {"hub": 0, "seal": 1, "own.a": 2}
    assert wanted.needed.keys() == {"hub", "own.a", "seal"}


def test_what_cannot_be_tried(monkeypatch: pytest.MonkeyPatch) -> None:
    """Another value under a label that is there; and no more keys than a batch can name."""
    wanted = make()
    wanted.attempt(A, ["1"])
    assert wanted.refusal(A) == ""
    assert wanted.refusal(Install("own.a", b"another", "AA")) == "another key on trial has its label"
    say(wanted, "1", A)
    assert wanted.refusal(A) == ""
    assert wanted.refusal(Install("own.a", b"another", "AB")) == "another key has its label"
    monkeypatch.setattr(wanted_module, "KEYS_MAX", 4)
    assert wanted.refusal(B) == "too many keys"
