"""Verdicts and latencies as text for a terminal or a log. Pure: values in, lines out."""

from collections.abc import Mapping, Sequence
from typing import Any

from loadtest.ledger.oracle import Verdict
from loadtest.traffic.histogram import QUANTILES

_LATENCIES = {
    "intended": "from the intended time to the reply",
    "decided": "from the request's writing to the reply",
    "stood_in": "the same, where stand-in replied",
    "lateness": "delay of the generator itself",
    "acknowledged": "from the intended time until it was taken",
    "settled": "from the intended time to the outcome",
    "submitter": "delay of the submitter itself",
}


def table(head: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """Columns as narrow as possible; the first is aligned left, the others right."""
    cells = [[str(cell) for cell in row] for row in (head, *rows)]
    widths = [max(len(row[column]) for row in cells) for column in range(len(head))]
    lines = [
        "  ".join(cell.ljust(width) if not column else cell.rjust(width) for column, (cell, width) in enumerate(pairs))
        for row in cells
        for pairs in [list(zip(row, widths, strict=True))]
    ]
    return "\n".join(line.rstrip() for line in (lines[0], "  ".join("-" * width for width in widths), *lines[1:]))


def latencies(latency: Mapping[str, Mapping[str, float]]) -> str:
    """The latency table, milliseconds, from `Histogram.summary` values."""
    names = [f"p{share * 100:g}" for share in QUANTILES]
    rows = []
    for name, summary in latency.items():
        if name == "stood_in" and not summary.get("count"):
            continue
        figures = [summary.get(f"{column}_ms") for column in (*names, "max")]
        shown = ["–" if figure is None else f"{figure:.2f}" for figure in figures]
        rows.append([_LATENCIES.get(name, name), f"{summary.get('count', 0):.0f}", *shown])
    return table(["latency, ms", "count", *names, "max"], rows)


def counts(title: str, figures: Mapping[str, int]) -> str:
    """A table of numbers by name."""
    return table([title, "count"], [[name, f"{number:,}"] for name, number in figures.items()])


def hub(statistics: Mapping[str, Any]) -> str:
    """The hub's counts and latencies, at its end."""
    codes = {f"replied {code}": number for code, number in sorted(statistics["codes"].items())}
    parts = [counts("the hub", {**statistics["counts"], **codes}), latencies(statistics["latency"])]
    if statistics["faults"]:
        parts.append("faults, the last few:\n" + "\n".join(f"  {fault}" for fault in statistics["faults"]))
    return "\n\n".join(parts)


def _accounts(accounts: Mapping[str, int]) -> list[list[str]]:
    return [[f"  {name}", f"{number:,}"] for name, number in accounts.items() if number or name == "lost"]


def accounts(judged: Verdict) -> str:
    """The number of payments in each account."""
    rows = [["sent", f"{judged.sent:,}"], *_accounts(judged.accounts)]
    if judged.submitted:
        rows += [["submitted", f"{judged.submitted:,}"], *_accounts(judged.outbound)]
    return table(["the ledger", "payments"], rows)


def verdict(judged: Verdict) -> str:
    """The ledger: accounts, figures, promises, and the violations."""
    promises = [
        [invariant.name, f"{invariant.checked:,}", f"{invariant.violations:,}" if invariant.violations else "holds"]
        for invariant in judged.invariants
        if invariant.checked
    ]
    parts = [accounts(judged)]
    if figures := {name: number for name, number in sorted(judged.figures.items()) if number}:
        parts.append(counts("besides", figures))
    idle = len(judged.invariants) - len(promises)
    about = f"\n({idle} more had nothing to check)" if idle else ""
    parts.append(table(["promise", "checked", "violations"], promises) + about)
    for invariant in judged.invariants:
        if invariant.violations:
            more = invariant.violations - len(invariant.first)
            examples = [f"  {example}" for example in invariant.first] + ([f"  and {more:,} more"] if more else [])
            parts.append("\n".join([f"{invariant.name}: {invariant.sentence}. Violated:", *examples]))
    parts.append("The ledger balances." if judged.balances else "THE LEDGER DOES NOT BALANCE.")
    return "\n\n".join(parts)
