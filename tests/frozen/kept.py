"""The committed lists, `*.txt` beside this file, and how they may change.

A new line is an addition: `make frozen` writes it. A line that goes or changes breaks whoever relies on it: a bank's
processor, dashboard, unit file, or a journal of last year. That takes an entry under "Removed" or "Changed" of what is
unreleased in CHANGELOG.md that quotes the line, up to its colon, in backticks; without it `make frozen` writes nothing.
"""

import re
from pathlib import Path

HERE = Path(__file__).parent
CHANGELOG = HERE.parents[1] / "CHANGELOG.md"


def kept() -> dict[str, list[str]]:
    """The lists as they are committed."""
    return {path.stem: path.read_text(encoding="utf-8").splitlines() for path in sorted(HERE.glob("*.txt"))}


def gone(before: dict[str, list[str]], now: dict[str, list[str]]) -> list[str]:
    """Lines that are not there any more: `list: line`."""
    return [f"{name}: {line}" for name, lines in before.items() for line in lines if line not in now.get(name, [])]


def unexplained(lines: list[str], changelog: str) -> list[str]:
    """Those that the changelog's unreleased part does not quote under Removed or Changed."""
    unreleased = re.split(r"(?m)^## ", changelog)[1]
    parts = [part for part in re.split(r"(?m)^### ", unreleased)[1:] if part.startswith(("Removed", "Changed"))]
    said = set(re.findall(r"`([^`\n]+)`", "\n".join(parts)))
    return [line for line in lines if line.split(": ", 1)[1].partition(": ")[0] not in said]


def write(now: dict[str, list[str]]) -> None:
    """Write the lists. Raises `SystemExit` when something went that the changelog does not explain."""
    changelog = CHANGELOG.read_text(encoding="utf-8")
    if missing := unexplained(gone(kept(), now), changelog):
        said = "\n".join(missing)
        raise SystemExit(f"these are frozen, and CHANGELOG.md says nothing of them (see tests/frozen/kept.py):\n{said}")
    for name, lines in now.items():
        (HERE / f"{name}.txt").write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
