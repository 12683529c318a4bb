"""The README and the documents name only what is there."""

import re
from pathlib import Path

import msgspec
import pytest

import gateway
from gateway import config
from gateway.payments import inbound_law, outbound_law
from loadtest.ledger.promises import INVARIANTS

TOP = Path(gateway.__file__).parent.parent
PAGES = [TOP / "README.md", *sorted((TOP / "docs").rglob("*.md"))]
TEXT = "\n".join(page.read_text(encoding="utf-8") for page in PAGES)
SOURCES = "\n".join(path.read_text(encoding="utf-8") for path in (TOP / "tests").rglob("*.py"))


@pytest.mark.parametrize("name", sorted(set(re.findall(r"`(test_[a-z0-9_]+)`", TEXT))))
def test_every_test_that_is_named_exists(name: str) -> None:
    assert re.search(rf"def {name}\(", SOURCES)


@pytest.mark.parametrize(
    "path", sorted(set(re.findall(r"`((?:gateway|hsm|loadtest|tests|compose|docs|supply)/[\w/.]*)`", TEXT)))
)
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
    metrics = "\n".join(path.read_text(encoding="utf-8") for path in (TOP / "gateway").rglob("*.py"))
    named = set(re.findall(r"`(fps_[a-z_]+)", TEXT))
    assert named
    assert {name for name in named if f'"{name}"' not in metrics} == set()


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(TOP)))
def test_every_link_to_a_file_leads_to_one(page: Path) -> None:
    """On a code host, too, where nobody builds the documents."""
    links = re.findall(r"\]\((?!https?:|#)([^)#\s]+)(?:#[^)]*)?\)", page.read_text(encoding="utf-8"))
    assert [link for link in links if not (page.parent / link).exists()] == []


def test_every_section_of_the_protocol_that_the_code_cites_exists() -> None:
    """Sections keep their numbers: the code cites them."""
    protocol = (TOP / "docs" / "protocol.md").read_text(encoding="utf-8")
    sections = set(re.findall(r"^## (\d+)\.", protocol, re.MULTILINE)) | {"rulings"}
    assert "### Rulings\n" in protocol
    folders = ("gateway", "loadtest", "hsm", "compose", "tests")
    sources = "\n".join(
        path.read_text(encoding="utf-8")
        for folder in folders
        for path in (TOP / folder).rglob("*")
        if path.suffix in {".py", ".toml", ".md"}
    )
    sources = re.sub(r"\s*\n\s*", " ", sources)
    cited = re.findall(r"docs/protocol\.md(?:, | sections? | )(\d+(?: and \d+)*|rulings)?", sources)
    assert len(cited) > 30
    assert "" not in cited
    assert {number for numbers in cited for number in numbers.split(" and ")} <= sections


def test_the_page_of_the_law_explains_every_state() -> None:
    """One row for each, and none for a state that is not there."""
    page = (TOP / "docs" / "law.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| `([A-Z_]+)` \|", page, re.MULTILINE)
    states = [*inbound_law.State, *outbound_law.State]
    assert sorted(rows) == sorted(state.name for state in states)


def test_the_readme_is_read_to_its_end() -> None:
    """What is longer goes to docs/ (docs/README.md says where)."""
    assert len((TOP / "README.md").read_text(encoding="utf-8").splitlines()) <= 150
