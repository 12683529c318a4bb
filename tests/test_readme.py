"""The README names only what is there."""

import re
from pathlib import Path

import msgspec
import pytest

import gateway
from gateway import config
from loadtest.promises import INVARIANTS

TOP = Path(gateway.__file__).parent.parent
TEXT = (TOP / "README.md").read_text(encoding="utf-8")
SOURCES = "\n".join(path.read_text(encoding="utf-8") for path in (TOP / "tests").rglob("*.py"))


@pytest.mark.parametrize("name", sorted(set(re.findall(r"`(test_[a-z0-9_]+)`", TEXT))))
def test_every_test_that_is_named_exists(name: str) -> None:
    assert re.search(rf"def {name}\(", SOURCES)


@pytest.mark.parametrize("path", sorted(set(re.findall(r"`((?:gateway|hsm|loadtest|tests|compose)/[\w/.]*)`", TEXT))))
def test_every_path_that_is_named_exists(path: str) -> None:
    assert (TOP / path).exists()


@pytest.mark.parametrize("setting", sorted(set(re.findall(r"`((?:pair|node)(?:\.[a-z_]+)+)`", TEXT))))
def test_every_setting_that_is_named_exists(setting: str) -> None:
    table: object = config.Configuration
    for part in setting.split("."):
        kind = config.struct_in(table)
        assert kind is not None
        (field,) = [field for field in msgspec.structs.fields(kind) if field.name == part]
        table = field.type


def test_every_promise_of_the_ledger_that_is_named_exists() -> None:
    said = re.findall(r"the ledger's ((?:`[a-z-]+`(?:, | and )?)+)", TEXT)
    names = {name for group in said for name in re.findall(r"`([a-z-]+)`", group)}
    assert names
    assert names <= set(INVARIANTS)


def test_every_metric_that_is_named_exists() -> None:
    metrics = (TOP / "gateway" / "metrics.py").read_text(encoding="utf-8")
    named = set(re.findall(r"`(fps_[a-z_]+)", TEXT))
    assert named
    assert {name for name in named if f'"{name}"' not in metrics} == set()
