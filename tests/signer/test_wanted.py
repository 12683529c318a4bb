"""What makes a new key one that is needed."""

from typing import Any

import pytest

from gateway.signer import wanted as wanted_module
from gateway.signer.messages import Shown
from gateway.signer.wanted import Wanted
from gateway.work import Install

A, B = Install("own.a", b"wrapped", "AA"), Install("own.b", b"other", "BB")


def make() -> Wanted:
    return Wanted(["seal"], [Install("hub"), Install("own")])


def say(wanted: Wanted, name: str, key: Install, why: str = "") -> list[Any]:
    """A token says what it makes of a key."""
    wanted.heard(name, wanted.order, Shown({}, {key.label: why}) if why else Shown({key.label: "00"}, {}))
    return wanted.verdicts()


def test_a_key_is_taken_when_every_token_has_spoken() -> None:
    """And is needed from then on; until then a token may be without it."""
    wanted = make()
    wanted.attempt(A, ["1", "2"])
    assert [held.needed for held in wanted.to_have()] == [True, True, True, False]
    assert say(wanted, "1", A) == []
    assert say(wanted, "1", A) == []
    assert say(wanted, "2", A) == [(A, True, "")]
    assert [held.key.label for held in wanted.to_have() if held.needed] == ["hub", "own", "seal", "own.a"]
    assert wanted.verdicts() == []


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
    before = wanted.order
    wanted.attempt(A, ["1"])
    wanted.heard("1", before, Shown({}, {}))
    assert wanted.verdicts() == []
    wanted.heard("2", wanted.order, Shown({}, {"own.a": "a token that came later has no say"}))
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
    assert wanted.refusal(Install("own.a", b"another", "AA")) == "another key has its label"
    monkeypatch.setattr(wanted_module, "KEYS_MAX", 4)
    assert wanted.refusal(B) == "too many keys"
