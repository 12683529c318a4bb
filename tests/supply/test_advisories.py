"""Locks against what is published: what fails, what is only said, and that time alone fails nothing."""

import datetime as dt

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace
from packaging.version import Version

from supply import advisories, locks
from supply.advisories import Acceptance, Advisory, Known, Package, Range, judge
from supply.locks import Locked

TODAY = dt.date(2026, 11, 30)
LOCKED = (Locked("trio", "1.5.0", ("0" * 64,)),)
ONE = Advisory(id="GHSA-1", aliases=("CVE-1",), affected=(Range("1.0", fixed="1.6"),))


def knowing(*found: Advisory, asked: dt.date | None = TODAY) -> Known:
    return {"trio": Package(asked, "osv.dev", found)}


def accepting(**changes: object) -> tuple[Acceptance, ...]:
    one = Acceptance(package="trio", advisory="CVE-1", reason="it is not called", until=TODAY)
    return (replace(one, **changes),)


# --- which versions


@pytest.mark.parametrize(
    ("ranges", "versions", "vulnerable", "safe"),
    [
        ((Range(),), (), ["0.1", "99"], []),
        ((Range(fixed="1.10"),), (), ["1.9", "1.10rc1", "1.9.post1"], ["1.10", "1.10.0", "1.10.post1"]),
        ((Range("1.2", fixed="1.10"),), (), ["1.2", "1.9"], ["1.1", "1.2rc1", "1.10"]),
        ((Range("1.2", last_affected="1.10"),), (), ["1.2", "1.10", "1.10.0"], ["1.1", "1.10.1", "2"]),
        ((Range("1", fixed="1.4"), Range("2", fixed="2.3")), (), ["1.3", "2.2"], ["1.4", "1.9", "2.3"]),
        ((), ("1.2", "1.3.0"), ["1.2", "1.2.0", "1.3"], ["1.2.1"]),
    ],
)
def test_a_version_is_vulnerable(
    ranges: tuple[Range, ...], versions: tuple[str, ...], vulnerable: list[str], safe: list[str]
) -> None:
    """As packages count, not as text: 1.10 comes after 1.9, and before it its candidate."""
    one = Advisory(id="x", affected=ranges, versions=versions)
    assert [each for each in vulnerable if not one.affects(each)] == []
    assert [each for each in safe if one.affects(each)] == []


numbers = st.lists(st.integers(0, 12), min_size=1, max_size=3).map(lambda parts: ".".join(map(str, parts)))


@given(numbers, numbers, numbers)
def test_a_fix_ends_what_a_beginning_began(introduced: str, fixed: str, version: str) -> None:
    inside = Version(introduced) <= Version(version) < Version(fixed)
    assert Advisory(id="x", affected=(Range(introduced, fixed=fixed),)).affects(version) is (
        inside if introduced != "0" else Version(version) < Version(fixed)
    )


# --- what fails


def test_a_vulnerable_package_fails() -> None:
    """With the package, its version, every name of the fault, and what mends it."""
    (said,) = judge(LOCKED, knowing(ONE), (), TODAY).failures
    assert said == "trio 1.5.0 has GHSA-1 (CVE-1), mended in 1.6"


def test_a_package_that_is_not_vulnerable_passes() -> None:
    assert judge((Locked("trio", "1.6"),), knowing(ONE), (), TODAY) == advisories.Judgement((), ())


def test_a_package_that_nobody_knows_fails() -> None:
    """Who adds one asks about it."""
    (said,) = judge((*LOCKED, Locked("new", "1")), knowing(), (), TODAY).failures
    assert said == "new: nobody has asked about it: make advisories"


@pytest.mark.parametrize("name", ["GHSA-1", "CVE-1"])
def test_what_is_accepted_passes_until_its_last_day(name: str) -> None:
    """By any of its names."""
    accepted = accepting(advisory=name)
    assert judge(LOCKED, knowing(ONE), accepted, TODAY).failures == ()
    (said,) = judge(LOCKED, knowing(ONE), accepted, TODAY + dt.timedelta(days=1)).failures
    assert said.endswith("; accepted until 2026-11-30, which is over")


@pytest.mark.parametrize("changes", [{"package": "other"}, {"advisory": "CVE-2"}])
def test_what_is_accepted_of_another_does_not_count(changes: dict[str, str]) -> None:
    """And is to be removed."""
    failures = judge(LOCKED, knowing(ONE), accepting(**changes), TODAY).failures
    assert failures[0].startswith("trio 1.5.0 has GHSA-1")
    assert failures[1].endswith("is accepted, and nothing locked has it: remove that")


def test_accepting_needs_a_reason() -> None:
    (said,) = judge(LOCKED, knowing(ONE), accepting(reason=" "), TODAY).failures
    assert said == "CVE-1 of trio is accepted without a reason"


# --- what is said


@pytest.mark.parametrize("days", [0, 1, advisories.OLD_AFTER_DAYS, advisories.OLD_AFTER_DAYS + 1, 3650])
def test_age_is_said_and_fails_nothing(days: int) -> None:
    found = judge(LOCKED, knowing(), (), TODAY + dt.timedelta(days=days))
    assert found.failures == ()
    assert bool(found.warnings) is (days > advisories.OLD_AFTER_DAYS)


def test_what_nobody_asked_about_is_counted() -> None:
    (said,) = judge(LOCKED, knowing(asked=None), (), TODAY).warnings
    assert said == "nobody has asked yet about 1 of 1 packages: make advisories"


# --- our files


def test_our_own_files_are_read_and_our_locks_pass() -> None:
    """On the day of the youngest look: with the day of this run this test would fail by itself some time."""
    known = advisories.known()
    looks = [each.asked for each in known.values() if each.asked is not None]
    assert looks
    assert judge(locks.read(locks.TOOLS), known, advisories.accepted(), max(looks)).failures == ()
    assert advisories.as_text(known) == advisories.KNOWN.read_text(encoding="utf-8"), "as `make advisories` writes it"


def test_a_lock_of_last_year_would_fail() -> None:
    """By what stands in the file: it is not there for nothing."""
    older = tuple(
        replace(each, version="0.4.0") if each.name == "httptools" else each for each in locks.read(locks.SHIPPED)
    )
    (said,) = judge(older, advisories.known(), (), TODAY).failures
    assert said.startswith("httptools 0.4.0 has CVE-2022-32213")


def test_what_is_shipped_is_locked_for_the_tools_too() -> None:
    """One lock is inside the other, so auditing that one is auditing both."""
    assert {(each.name, each.version) for each in locks.read(locks.SHIPPED)} <= {
        (each.name, each.version) for each in locks.read(locks.TOOLS)
    }


@pytest.mark.parametrize(
    ("text", "said"),
    [("", "no package in it"), ("trio==1.0\n    # via x\n", "no hash for trio"), ("-r other\n", "no p")],
)
def test_a_lock_without_hashes_is_none(text: str, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        locks.parsed(text)
