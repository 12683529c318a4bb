"""A bank of a world: what each of its gateways is told."""

import tomllib
from pathlib import Path

import pytest

from loadtest.parts import processes
from loadtest.runs.banks import BANKS, Bank, Plan


def test_each_data_centre_has_its_own_tokens_near_and_those_of_the_others_far(tmp_path: Path) -> None:
    """The same four, in the same order: what serves in a tie is the same everywhere."""
    bank = Bank(BANKS[0], tmp_path, Plan(tokens=4, remote_tokens=2, data_centres=2), first=True)
    bank._tokens["sip"] = "".join(f'[[node.token]]\nname = "fps-{number}"\n' for number in range(1, 5))
    for data_centre, local in (("a", [True, True, False, False]), ("b", [False, False, True, True])):
        tables = tomllib.loads(bank.tokens_of("sip", data_centre))["node"]["token"]
        assert [table["name"] for table in tables] == ["fps-1", "fps-2", "fps-3", "fps-4"]
        assert [table.get("local", True) for table in tables] == local


def test_a_port_is_given_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody listens on it yet, and still nobody else is given it."""
    monkeypatch.setattr(processes, "PORTS", range(31_000, 31_020))
    given = [processes.free_port() for _ in range(12)]
    assert len(set(given)) == 12
