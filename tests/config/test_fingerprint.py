"""The fingerprint shows any difference in what both sites must share, and nothing else."""

import re
from pathlib import Path
from typing import Any

import msgspec
import pytest

from gateway import config
from tests.config.good import GOOD, Load

# --- the fingerprint


def other(value: Any) -> Any:
    """Some other value of the same type."""
    match value:
        case bool():
            return not value
        case int() | float():
            return value + 1
        case str():
            return value + "x"
    if isinstance(value, tuple):
        return value[:-1] or ("other",)
    if isinstance(value, dict):
        return {"other": "other"}
    raise AssertionError(value)


def variants(shared: msgspec.Struct) -> list[tuple[str, msgspec.Struct]]:
    """The same with one setting changed, for every setting."""
    found = []
    for field in msgspec.structs.fields(shared):
        value = getattr(shared, field.name)
        if isinstance(value, msgspec.Struct):
            inner = [(f"{field.name}.{name}", {field.name: changed}) for name, changed in variants(value)]
            found += [(name, msgspec.structs.replace(shared, **changed)) for name, changed in inner]
        elif field.name not in {"field_table", "usm_table", "code_table"}:
            found.append((field.name, msgspec.structs.replace(shared, **{field.name: other(value)})))
    return found


@pytest.mark.parametrize("pair", [pytest.param(pair, id=name) for name, pair in variants(config.Pair(group="sip"))])
def test_the_fingerprint_shows_any_difference(load: Load, pair: config.Pair) -> None:
    """Two sites that differ in anything they must share have different fingerprints."""
    loaded = load(GOOD)
    assert msgspec.structs.replace(loaded, pair=pair).fingerprint() != loaded.fingerprint()


def test_the_fingerprint_is_the_pairs(load: Load) -> None:
    """The settings of a node alone do not show in it."""
    here, there = load(GOOD), load(GOOD.replace("sip-a", "sip-b").replace("8302", "8402"))
    assert here.fingerprint() == there.fingerprint()
    assert re.fullmatch("[0-9a-f]{16}", here.fingerprint())


@pytest.mark.parametrize("key", ["field_table", "usm_table", "code_table"])
def test_a_table_counts_by_what_it_holds(load: Load, key: str) -> None:
    """The same table in two places is the same; another in the same place is not."""
    Path("a.toml").write_text("x = 1", encoding="utf-8")
    Path("b.toml").write_text("x = 1", encoding="utf-8")
    a, b = (load(GOOD + f"[pair.wire]\n{key} = '{name}'\n").fingerprint() for name in ("a.toml", "b.toml"))
    assert a == b != load(GOOD).fingerprint()
    Path("b.toml").write_text("x = 2", encoding="utf-8")
    assert load(GOOD + f"[pair.wire]\n{key} = 'b.toml'\n").fingerprint() != a
