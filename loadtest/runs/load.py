"""Payments at a rate for a time, in one direction or both, and what came of them and what it cost."""

import argparse
from typing import Any, Literal, NamedTuple

import trio

from loadtest.runs.world import World

Figures = dict[str, Any]
Direction = Literal["inbound", "outbound"]


class Rates(NamedTuple):
    """Payments per second; 0: none."""

    inbound: float
    """That the hub sends."""
    outbound: float
    """That the processor submits."""

    def times(self, factor: float) -> "Rates":
        """Both by this factor."""
        return Rates(self.inbound * factor, self.outbound * factor)

    def __str__(self) -> str:
        each = [f"{rate:,.0f}/s {name}" for rate, name in zip(self, ("in", "out"), strict=True) if rate]
        return " + ".join(each)


class _Figures(NamedTuple):
    """What the hub, the processor and the machine say at one moment."""

    hub: Figures
    processor: Figures
    spent: dict[str, float]


async def drive(it: World, options: argparse.Namespace, rates: Rates, duration: float) -> None:
    """Have the hub send and the processor submit; return when both have."""
    if rates.inbound:
        await it.hub("start", rate=rates.inbound, duration=duration, model=options.model, seed=options.seed)
    if rates.outbound:
        await it.submit(rates.outbound, duration, wait_s=options.wait, model=options.model, seed=options.seed)
    await trio.sleep(duration)  # looking costs the hub a millisecond: not while it sends
    while await _loading(it, rates):  # noqa: ASYNC110 - others' processes
        await trio.sleep(0.02)


async def _loading(it: World, rates: Rates) -> bool:
    if (await it.hub("statistics"))["loading"]:
        return True
    return bool(rates.outbound and (await it.submitted())["loading"])


async def step(it: World, options: argparse.Namespace, rates: Rates, duration: float) -> Figures:
    """One rate for one time: figures of each direction, and `cpu`, the cores that each part used."""
    before = await _look(it, rates)
    await drive(it, options, rates, duration)
    after = await _look(it, rates)
    elapsed_s = after.hub["now_s"] - before.hub["now_s"]
    figures: Figures = {"elapsed_s": round(elapsed_s, 3)}
    if rates.inbound:
        figures["inbound"] = _inbound(before.hub, after.hub, rates.inbound, elapsed_s)
    if rates.outbound:
        figures["outbound"] = _outbound(before.processor, after.processor, rates.outbound)
    figures["cpu"] = {
        name: round((seconds - before.spent.get(name, 0.0)) / elapsed_s, 3) for name, seconds in after.spent.items()
    }
    return figures


async def _look(it: World, rates: Rates) -> _Figures:
    processor = await it.submitted(recent=True) if rates.outbound else {}
    return _Figures(await it.hub("statistics", recent=True), processor, it.spent_s())


def _inbound(before: Figures, after: Figures, rate: float, elapsed_s: float) -> Figures:
    done = _more(before, after, "replied")
    return {
        "rate": rate,
        "sent": _more(before, after, "sent"),
        "withheld": _more(before, after, "withheld"),
        "done": done,
        "done_per_s": round(done / elapsed_s, 1),
        "left": after["outstanding"],
        "recent": after["recent"]["intended"],
    }


def _outbound(before: Figures, after: Figures, rate: float) -> Figures:
    done = _more(before, after, "settled")
    return {
        "rate": rate,
        "sent": _more(before, after, "submitted"),
        "withheld": _more(before, after, "withheld"),
        "unavailable": _more(before, after, "status 503"),
        "done": done,
        "done_per_s": round(done / (after["now_s"] - before["now_s"]), 1),
        "left": after["open"],
        "recent": after["recent"]["settled"],
    }


def _more(before: Figures, after: Figures, name: str) -> int:
    return int(after["counts"].get(name, 0)) - int(before["counts"].get(name, 0))


def kept_up(figures: Figures, p99_limit_ms: float) -> bool:
    """Whether each direction was: see `run`."""
    each = [figures[name] for name in ("inbound", "outbound") if name in figures]
    return all(
        part["recent"].get("p99_ms", float("inf")) < p99_limit_ms
        and part["left"] <= part["rate"] * p99_limit_ms / 1000 + 10
        and not part["withheld"]
        and not part.get("unavailable")
        for part in each
    )
