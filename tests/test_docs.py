"""The documents: they build without a warning, and the generated references leave nothing out."""

import argparse
import re
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest

import gateway
from docs import references
from gateway import config, metrics
from gateway.__main__ import command_line
from gateway.config import Configuration
from gateway.exitcodes import ExitCode
from gateway.processor import openapi

TOP = Path(gateway.__file__).parent.parent
DOCS = TOP / "docs"


def made(name: str) -> str:
    """One reference."""
    return "\n".join(references.REFERENCES[name]())


@pytest.mark.parametrize("builder", ["html", "man"])
def test_the_documents_build_without_a_warning(builder: str, tmp_path: Path) -> None:
    """Every page is in a list, every link leads somewhere, every reference is there; nothing is fetched."""
    built = subprocess.run(
        [sys.executable, "-P", "-m", "sphinx", "-q", "-W", "--keep-going", "-b", builder, DOCS, tmp_path / builder],
        capture_output=True, text=True, check=False, cwd=tmp_path,
        env={"PATH": "/usr/bin:/bin", "https_proxy": "http://127.0.0.1:1", "http_proxy": "http://127.0.0.1:1"},
    )  # fmt: skip
    assert built.stderr == ""
    assert built.returncode == 0
    pages = {
        "html": ["index.html", "gateway.openapi.json", "processor.openapi.json"],
        "man": ["fps-gateway.1", "fps-gateway.toml.5"],
    }
    assert [name for name in pages[builder] if not (tmp_path / builder / name).stat().st_size] == []
    # whoever reads them on a server without a network has all of them
    taken = re.compile(r"<(?:script|img|link)[^>]* (?:src|href)=\"(?:https?:)?//")
    assert [page.name for page in (tmp_path / builder).rglob("*.html") if taken.search(page.read_text("utf-8"))] == []


def test_every_setting_is_in_its_reference() -> None:
    """With its meaning: a setting whose docstring is empty says nothing to anybody."""
    text = made("settings")

    def look(kind: type[msgspec.Struct]) -> None:
        for field in msgspec.structs.fields(kind):
            if inner := config.struct_in(field.type):
                look(inner)
            else:
                rows = [line for line in text.splitlines() if line.startswith(f"| `{field.name}` |")]
                assert rows, field.name
                assert not [row for row in rows if not re.split(r"(?<!\\)\|", row)[4].strip()], field.name

    look(Configuration)


def test_every_metric_is_in_its_reference() -> None:
    """What `/metrics` shows of ours is there, and what only a running gateway registers."""
    text = made("metrics")
    families = [family for family in metrics.REGISTRY.collect() if family.name.startswith("fps_")]
    assert families
    shown = {family.name + ("_total" if family.type == "counter" else "") for family in families}
    assert {name for name in shown if f"| `{name}` |" not in text} == set()
    assert {name for name in ("fps_pair_info", "fps_steps_total", "fps_volume_copies") if name not in text} == set()


def test_every_alert_is_in_its_reference() -> None:
    text = made("alerts")
    rules = [line.split()[-1] for line in references.ALERTS.read_text("utf-8").splitlines() if "- alert:" in line]
    assert rules
    assert [name for name in rules if f"### {name}\n" not in text] == []


def test_every_exit_code_is_in_its_reference() -> None:
    text = made("exit-codes")
    assert [code for code in ExitCode if f"| {code.value} | `{code.name}` | " not in text] == []


def test_every_command_and_option_is_in_its_reference() -> None:
    text = made("commands")

    def look(parser: argparse.ArgumentParser) -> None:
        assert f"`{parser.prog}`" in text
        for action in parser._actions:
            assert [option for option in action.option_strings if option not in text and option != "--help"] == []
            if isinstance(action, argparse._SubParsersAction):
                for command in action.choices.values():
                    look(command)

    look(command_line())


def test_every_call_and_member_of_the_http_interface_is_in_its_reference() -> None:
    document = openapi.document()
    text = made("http")
    calls = [
        f"### `{method.upper()} {path}`"
        for part in ("paths", "webhooks")
        for path, methods in document[part].items()
        for method in methods
        if method != "parameters"
    ]
    assert len(calls) > 5
    assert [call for call in calls if call not in text] == []
    assert [name for name in document["components"]["schemas"] if f"\n### {name}\n" not in text] == []


def test_every_name_of_the_library_is_in_its_reference() -> None:
    from gateway import sdk

    text = made("sdk")
    assert [name for name in sdk.__all__ if f"## `{name}`\n" not in text] == []


def test_a_reference_that_does_not_exist_is_an_error() -> None:
    with pytest.raises(KeyError):
        references.with_references("<!-- reference: nothing-like-it -->")


def test_the_law_is_shown_as_a_table() -> None:
    """A reader without a program that draws Mermaid reads every move."""
    text = "```mermaid\nstateDiagram-v2\n    [*] --> NEW\n    NEW --> OLD: TIME / RECORD, WORD\n```\n"
    shown = references.law(text)
    assert "mermaid" not in shown
    assert "It begins as `NEW`." in shown
    assert "| `NEW` | `TIME` | `RECORD` | `OLD` |" in shown
    assert "| `NEW` | `WORD` |  | `OLD` |" in shown


@pytest.mark.parametrize(
    "page", sorted(path.stem for path in (DOCS / "decisions").glob("*.md") if path.stem != "index")
)
def test_a_decision_says_its_context_and_its_consequences(page: str) -> None:
    text = (DOCS / "decisions" / f"{page}.md").read_text(encoding="utf-8")
    headings = re.findall(r"^#+ .*", text, re.MULTILINE)
    assert headings[1:] == ["## Context", "## Decision", "## Consequences"]
