"""OSV's answers, in the form that it documents, become what we keep. Nothing here is sent."""

import datetime as dt
from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from supply import osv
from supply.advisories import Advisory, Package, Range

TODAY = dt.date(2026, 11, 30)


def entry(*events: dict[str, str], name: str = "h2", ecosystem: str = "PyPI", **more: Any) -> dict[str, Any]:
    ranges = [
        {"type": "GIT", "repo": "https://example.invalid", "events": [{"introduced": "0"}, {"fixed": "abc"}]},
        {"type": "ECOSYSTEM", "events": list(events)},
    ]
    package = {"ecosystem": ecosystem, "name": name}
    return {"id": "PYSEC-1", "affected": [{"package": package, "ranges": ranges if events else [], **more}]}


@pytest.mark.parametrize(
    ("events", "ranges"),
    [
        ([{"introduced": "0"}], [Range()]),
        ([{"introduced": "3.1"}, {"fixed": "41.0.6"}], [Range("3.1", fixed="41.0.6")]),
        ([{"introduced": "0"}, {"last_affected": "2"}], [Range(last_affected="2")]),
        (
            [{"introduced": "1"}, {"fixed": "2"}, {"introduced": "3"}, {"fixed": "4"}],
            [Range("1", fixed="2"), Range("3", fixed="4")],
        ),
        ([{"introduced": "1"}, {"introduced": "3"}, {"fixed": "4"}], [Range("1"), Range("3", fixed="4")]),
        ([{"introduced": "0"}, {"limit": "5"}], [Range()]),
    ],
)
def test_events_become_ranges(events: list[dict[str, str]], ranges: list[Range]) -> None:
    found = osv.advisory_of(entry(*events), "h2")
    assert found is not None
    assert list(found.affected) == ranges


def test_versions_count_where_no_range_of_the_packages_own_does() -> None:
    found = osv.advisory_of(entry(versions=["1", "2"]), "h2")
    assert found == Advisory(id="PYSEC-1", versions=("1", "2"), source="https://osv.dev/vulnerability/PYSEC-1")


@pytest.mark.parametrize("changes", [{"name": "h3"}, {"ecosystem": "npm"}])
def test_what_is_about_something_else_is_left_out(changes: dict[str, Any]) -> None:
    assert osv.advisory_of(entry({"introduced": "0"}, **changes), "h2") is None


def answers(*given: dict[str, Any]) -> tuple[Callable[[bytes], bytes], list[dict[str, Any]]]:
    asked: list[dict[str, Any]] = []
    left = list(given)

    def ask(body: bytes) -> bytes:
        asked.append(msgspec.json.decode(body))
        return msgspec.json.encode(left.pop(0))

    return ask, asked


def test_a_package_is_asked_about_whole_and_page_by_page() -> None:
    """Not a version of it. What was withdrawn does not count."""
    second = {**entry({"introduced": "0"}), "id": "PYSEC-0", "aliases": ["CVE-1"]}
    gone = {**entry({"introduced": "0"}), "id": "PYSEC-9", "withdrawn": "2026-01-01T00:00:00Z"}
    ask, asked = answers({"vulns": [entry({"introduced": "0"}), gone], "next_page_token": "more"}, {"vulns": [second]})
    found = osv.renewed(["h2"], TODAY, ask)
    package = {"ecosystem": "PyPI", "name": "h2"}
    assert asked == [{"package": package}, {"package": package, "page_token": "more"}]
    assert [each.id for each in found["h2"].advisories] == ["PYSEC-0", "PYSEC-1"]


def test_silence_is_an_answer() -> None:
    ask, _ = answers({})
    assert osv.renewed(["h2"], TODAY, ask) == {"h2": Package(TODAY, "osv.dev")}


def test_an_answer_without_an_end_is_refused() -> None:
    with pytest.raises(ValueError, match="has no end"):
        osv.renewed(["h2"], TODAY, lambda _: b'{"next_page_token":"again"}')
