"""What others rely on is as the committed lists say: `kept.py` says how a list may change."""

import json
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest

from tests.frozen import kept, names, sources

TOP = Path(__file__).parents[2]
HOW = (
    "the code and tests/frozen/{name}.txt differ. An addition: `make frozen` writes it. A removal or another name "
    "breaks whoever relies on it: if it is meant, say so in CHANGELOG.md first (tests/frozen/kept.py)"
)


@pytest.fixture(scope="module")
def now() -> dict[str, list[str]]:
    """What the code says, read in a process that has done nothing else."""
    command = [sys.executable, "-m", "tests.frozen"]
    done = subprocess.run(command, cwd=TOP, capture_output=True, text=True, timeout=120, check=True)
    said: dict[str, list[str]] = json.loads(done.stdout)
    return said


def test_every_list_is_kept(now: dict[str, list[str]]) -> None:
    """And each says something."""
    assert set(kept.kept()) == set(now)
    assert all(now.values())


@pytest.mark.parametrize("name", ["alerts", "commands", "configuration", "disk", "http", "metrics", "operations"])
def test_names_and_numbers_are_those_that_others_rely_on(now: dict[str, list[str]], name: str) -> None:
    before = kept.kept()[name]
    assert (sorted(set(before) - set(now[name])), sorted(set(now[name]) - set(before))) == ([], []), HOW.format(
        name=name
    )
    assert now[name] == before, "`make frozen` sorts it"


CHANGED = """
# Changelog

## [Unreleased]

### Added

- `new.name`

### {heading}

- `old.name` is `new.name`.

## [0.0.1]

### Removed

- `older.name`
"""
BEFORE = {"configuration": ["old.name: int = 1", "older.name", "stays"]}
NOW = {"configuration": ["new.name: int = 1", "older.name", "stays"]}


def test_what_goes_is_found_and_what_is_added_is_not() -> None:
    """Another default, type or limit is another line: what was promised is gone."""
    assert kept.gone(BEFORE, NOW) == ["configuration: old.name: int = 1"]
    assert kept.gone(NOW, {"configuration": [*NOW["configuration"], "more"]}) == []
    assert kept.gone(BEFORE, {}) == [f"configuration: {line}" for line in BEFORE["configuration"]]


@pytest.mark.parametrize(("heading", "explained"), [("Removed", True), ("Changed", True), ("Fixed", False)])
def test_what_goes_stands_in_the_changelog(heading: str, *, explained: bool) -> None:
    """Under the right heading of what is unreleased: an older release's entry explains nothing."""
    changelog = CHANGED.format(heading=heading)
    assert (kept.unexplained(["configuration: old.name: int = 1"], changelog) == []) == explained
    assert kept.unexplained(["configuration: older.name"], changelog) == ["configuration: older.name"]


def test_a_list_is_not_written_over_what_nobody_explained(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kept, "HERE", tmp_path)
    monkeypatch.setattr(kept, "CHANGELOG", tmp_path / "CHANGELOG.md")
    (tmp_path / "CHANGELOG.md").write_text(CHANGED.format(heading="Fixed"), encoding="utf-8")
    kept.write(BEFORE)
    with pytest.raises(SystemExit, match=r"old\.name"):
        kept.write(NOW)
    assert kept.kept() == BEFORE
    (tmp_path / "CHANGELOG.md").write_text(CHANGED.format(heading="Changed"), encoding="utf-8")
    kept.write(NOW)
    assert kept.kept() == NOW


class _Inner(msgspec.Struct, array_like=True):
    first: int
    second: str = "x"


class _Outer(msgspec.Struct, rename={"renamed": "other"}):
    renamed: tuple[_Inner, ...]
    left_out: int | None = None


def test_a_struct_is_told_by_what_is_written_of_it() -> None:
    """Order where it is an array, the encoded name where it is not; its own and its class's names say nothing."""
    assert list(names._members(_Outer, "x")) == [
        "x.other: [table], required",
        "x.other.[0] first: int, required",
        "x.other.[1] second: str = 'x'",
        "x.left_out: int | none = None",
    ]


def test_a_command_line_is_told_with_its_defaults() -> None:
    """Each option under its command, however deep."""
    told = set(names._commands(sources.command_line(), "p"))
    assert (
        "p journal tail -n/--limit: default 20, takes Number(least=0, most=1000000000000, whole=True, above=False)"
        in told
    )
    assert "p run --config: required True" in told
