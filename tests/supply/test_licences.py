"""Each package's licence is known in SPDX's words, and taken."""

from email.message import Message
from importlib.metadata import version

import pytest

from supply import licences, locks
from supply.locks import Locked

RULES = licences.Rules(frozenset({"MIT", "Apache-2.0"}), {"MIT License": "MIT"}, {"read": "Apache-2.0"})


def metadata(*headers: tuple[str, str]) -> Message:
    made = Message()
    for name, value in headers:
        made[name] = value
    return made


@pytest.mark.parametrize(
    ("headers", "licence"),
    [
        ([("License-Expression", "MIT OR Apache-2.0")], "MIT OR Apache-2.0"),
        ([("License", "MIT"), ("Classifier", "License :: OSI Approved :: BSD License")], "MIT"),
        ([("License", "mit")], "MIT"),
        ([("License", "The MIT License"), ("Classifier", "License :: OSI Approved :: MIT License")], "MIT"),
        ([("Classifier", "Typing :: Typed"), ("Classifier", "License :: OSI Approved :: MIT License")], "MIT"),
    ],
)
def test_metadata_say_a_licence(headers: list[tuple[str, str]], licence: str) -> None:
    assert licences.licence_of("it", metadata(*headers), RULES) == licence


@pytest.mark.parametrize(
    "headers",
    [
        [],
        [("License", "BSD")],
        [("License", "free for all")],
        [("Classifier", "License :: OSI Approved :: BSD License")],
        [
            ("Classifier", f"License :: OSI Approved :: {each}")
            for each in ("MIT License", "GNU General Public License")
        ],
    ],
)
def test_what_may_mean_several_must_be_read(headers: list[tuple[str, str]]) -> None:
    """By a person, who writes down what it is."""
    with pytest.raises(licences.Unknown, match=r"it: .* read it, and add it to licences\.toml"):
        licences.licence_of("it", metadata(*headers), RULES)
    assert licences.licence_of("read", metadata(*headers), RULES) == "Apache-2.0"


@pytest.mark.parametrize(
    ("expression", "taken"),
    [
        ("MIT", True),
        ("GPL-3.0-only", False),
        ("MIT OR GPL-3.0-only", True),
        ("MIT AND GPL-3.0-only", False),
        ("(MIT OR GPL-3.0-only) AND Apache-2.0", True),
        ("Apache-2.0 WITH LLVM-exception", False),
    ],
)
def test_a_licence_is_taken(expression: str, *, taken: bool) -> None:
    assert licences.refused(expression, RULES.allowed) is not taken


def test_every_locked_package_has_a_licence_that_we_take() -> None:
    """With the versions that are installed here; what is not for this machine is left out."""
    rows, failures = licences.all_of(locks.read(locks.TOOLS), licences.rules())
    assert failures == []
    shipped = {each.name for each in locks.read(locks.SHIPPED)}
    assert shipped <= {row.package.name for row in rows}


def test_what_somebody_read_is_of_packages_that_are_locked() -> None:
    assert set(licences.rules().read) - {each.name for each in locks.read(locks.TOOLS)} == set()


def test_another_version_than_the_locked_one_is_no_proof() -> None:
    _, failures = licences.all_of((Locked("trio", "0.0.1"),), licences.rules())
    assert failures == [f"trio is installed as {version('trio')}, and locked as 0.0.1: make setup"]


def test_a_licence_that_is_not_allowed_fails() -> None:
    _, failures = licences.all_of(
        tuple(each for each in locks.read(locks.SHIPPED) if each.name == "trio"), licences.Rules(frozenset(), {}, {})
    )
    assert [failure.split(" is under ")[1] for failure in failures] == [
        "MIT OR Apache-2.0, which licences.toml does not allow"
    ]
