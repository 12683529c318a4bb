"""Figures: a world at a rate for a time, latencies, throughput, memory, and whether the books balance.

    python -m loadtest run --rate 1500 --duration 60 --gateway-cpu 0 --others-cpu 1
    python -m loadtest run --saturate --gateway-cpu 0 --others-cpu 1

The hub's latency counts from the intended time of each payment and so holds the generator's own lateness and the way
through the loopback, both shown: it is an upper bound of what the gateway adds. The gateway's own histogram is shown
beside it, in its buckets. Processor use is in cores; where "machine" is much more than the parts together, something
else was running, and only ratios can be trusted.

With --saturate the rate rises step by step until the gateway no longer keeps up, then the last step is halved twice.
Keeping up means: everything sent in a step was answered, p99 from the intended time stayed below --p99-limit, and no
more was left outstanding at its end than that limit explains.
"""

import argparse
import platform
import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import msgspec
import trio

from loadtest import report
from loadtest.hub import add_load_arguments
from loadtest.ledger import Verdict
from loadtest.world import Plan, World, WorldError, interruptible, said, world

TOLD_WITHIN_S = 120.0
LATE_MS = 5.0
"""A generator that is later than this at p99 does not have the processor when it needs it."""
REFINEMENTS = 2
"""How often the last step of --saturate is halved."""


def add_parser(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add `run`."""
    parser = commands.add_parser(
        "run",
        help="figures: latency and throughput at a rate, or the highest rate that is kept up",
        description=__doc__,
        epilog="Exit code 0: the ledger balances and the hub was content. 1: not so. 2: it could not be run.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add_load_arguments(parser.add_argument_group("the load"))
    parser.add_argument("--warm-up", type=float, default=5.0, metavar="S", help="at the same rate (default: 5)")
    saturate = parser.add_argument_group("saturation")
    saturate.add_argument("--saturate", action="store_true", help="raise the rate until it is no longer kept up")
    saturate.add_argument("--step", type=float, default=1.25, metavar="X", help="from rate to rate (default: 1.25)")
    saturate.add_argument("--step-s", type=float, default=8.0, metavar="S", help="each for so long (default: 8)")
    saturate.add_argument("--p99-limit", type=float, default=100.0, metavar="MS", help="(default: 100)")
    where = parser.add_argument_group("the world")
    where.add_argument("--gateway-cpu", type=int, metavar="N", help="pin the gateway's process to this core")
    where.add_argument("--workers-cpu", type=int, metavar="N", help="and its token workers to this (default: the same)")
    where.add_argument("--others-cpu", type=int, metavar="N", help="pin hub and processor to this core")
    where.add_argument("--tokens", type=int, default=2, help="SoftHSM tokens (default: 2)")
    where.add_argument("--processor-mode", default="fast", metavar="MODE", help="see processor --help")
    where.add_argument("--mischief", default="", metavar="LIST", help="of the hub, see hub --help (default: none)")
    where.add_argument("--stand-in-after", type=float, default=5.0, metavar="S", help="(default: 5)")
    where.add_argument("--asynchronous", action="store_true", help="the hub repeats rather than reverses")
    where.add_argument("--dir", type=Path, help="put everything below this (default: a temporary directory)")
    where.add_argument("--keep", action="store_true", help="do not remove the temporary directory")
    where.add_argument(
        "--no-gateway",
        action="store_true",
        help="start hub and processor, write gateway.toml (--dir says where), and wait for a gateway of yours to sign "
        "on; its journal is judged when you have ended it",
    )
    parser.add_argument("--json", action="store_true", help="the figures as JSON")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Measure and print."""
    if options.no_gateway and options.dir is None:
        print("run: --no-gateway needs --dir", file=sys.stderr)
        return 2
    if options.rate is None:
        options.rate = 500.0 if options.saturate else 100.0
    try:
        return trio.run(interruptible, partial(_main, options))
    except* WorldError as group:
        print(f"run: {said(group)}", file=sys.stderr)
    return 2


async def _main(options: argparse.Namespace) -> int:
    plan = Plan(
        tokens=options.tokens,
        stand_in_after_s=options.stand_in_after,
        synchronous=not options.asynchronous,
        processor_mode=options.processor_mode,
        mischief=options.mischief,
        gateway_cpu=options.gateway_cpu,
        workers_cpu=options.workers_cpu,
        others_cpu=options.others_cpu,
        log_level="warning",
    )
    async with world(plan, options.dir, keep=options.keep) as it:
        await it.start(gateway=not options.no_gateway)
        if options.no_gateway:
            _say(f"waiting for a gateway with {it.configuration} to sign on")
            await it.signed_on()
        figures: dict[str, Any] = {"python": platform.python_version(), "cpus": _cpus(plan)}
        if options.saturate:
            figures["saturation"] = await _saturate(it, options)
        else:
            figures["load"] = await _measure(it, options)
        figures["gateway"] = await _gateway(it)
        await it.settled()
        await it.processor_mode("fast")  # whatever it was like: it must be possible to tell it everything now
        figures["told"] = await it.told_everything(TOLD_WITHIN_S)
        if options.no_gateway:
            _say("end your gateway now: its journal is judged then")
            await it.gone()
        else:
            figures["gateway"]["exit_code"] = await it.stop_gateway()
        figures["hub"] = await it.finish_hub()
        await it.stop_processor()
        verdict = await it.verdict()
    if options.json:
        print(msgspec.json.encode({**figures, "ledger": verdict}).decode())
    else:
        print("\n\n".join(_sections(figures, verdict)))
    return 0 if verdict.balances and not figures["gateway"].get("exit_code") else 1


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def _cpus(plan: Plan) -> dict[str, int | None]:
    return {"gateway": plan.gateway_cpu, "workers": plan.workers_cpu, "others": plan.others_cpu}


async def _measure(it: World, options: argparse.Namespace) -> dict[str, Any]:
    """Warm up, then measure at one rate."""
    await _warm_up(it, options)
    await it.hub("reset")
    figures = await _step(it, options, options.rate, options.duration)
    settled = await it.settled()
    return {**figures, "latency": settled["latency"], "outstanding_after": 0}


async def _warm_up(it: World, options: argparse.Namespace) -> None:
    if options.warm_up:
        await _load(it, options, options.rate, options.warm_up)
        await it.settled()


async def _load(it: World, options: argparse.Namespace, rate: float, duration: float) -> None:
    await it.hub("start", rate=rate, duration=duration, model=options.model, seed=options.seed)
    await trio.sleep(duration)  # looking costs the hub a millisecond: not while it sends
    while (await it.hub("statistics"))["loading"]:  # noqa: ASYNC110 - the hub is another process
        await trio.sleep(0.02)


async def _step(it: World, options: argparse.Namespace, rate: float, duration: float) -> dict[str, Any]:
    """One rate for one time: what was sent and answered meanwhile, and what it cost."""
    before, spent = await it.hub("statistics", recent=True), it.spent_s()
    await _load(it, options, rate, duration)
    after, spent_after = await it.hub("statistics", recent=True), it.spent_s()
    elapsed_s = after["now_s"] - before["now_s"]
    replied = after["counts"].get("replied", 0) - before["counts"].get("replied", 0)
    sent = after["counts"].get("sent", 0) - before["counts"].get("sent", 0)
    figures = {
        "rate": rate,
        "elapsed_s": round(elapsed_s, 3),
        "sent": sent,
        "withheld": after["counts"].get("withheld", 0) - before["counts"].get("withheld", 0),
        "replied": replied,
        "replied_per_s": round(replied / elapsed_s, 1),
        "outstanding": after["outstanding"],
        "recent": after["recent"],
    }
    for name, seconds in spent_after.items():
        figures[f"{name}_cpu"] = round((seconds - spent.get(name, 0.0)) / elapsed_s, 3)
    return figures


async def _saturate(it: World, options: argparse.Namespace) -> dict[str, Any]:
    """Raise the rate until it is not kept up, then narrow down."""
    steps: list[dict[str, Any]] = []
    await _warm_up(it, options)
    good, bad = 0.0, 0.0
    for rate in _rates(options.rate, options.step):
        kept = await _kept_up(it, options, rate, steps)
        good, bad = (rate, bad) if kept else (good, rate)
        if bad:
            break
    for _ in range(REFINEMENTS):
        rate = (good + bad) / 2
        kept = await _kept_up(it, options, rate, steps)
        good, bad = (rate, bad) if kept else (good, rate)
    return {"sustained_per_s": round(good), "p99_limit_ms": options.p99_limit, "steps": steps}


def _rates(first: float, factor: float) -> Iterator[float]:
    rate = first
    while True:
        yield rate
        rate *= factor


async def _kept_up(it: World, options: argparse.Namespace, rate: float, steps: list[dict[str, Any]]) -> bool:
    """Whether this rate is kept up; a rate that is not gets a second try, for the machine may have been busy."""
    return await _try(it, options, rate, steps) or await _try(it, options, rate, steps)


async def _try(it: World, options: argparse.Namespace, rate: float, steps: list[dict[str, Any]]) -> bool:
    figures = await _step(it, options, rate, options.step_s)
    limit_ms = options.p99_limit
    p99_ms = figures["recent"]["intended"].get("p99_ms", float("inf"))
    left_max = rate * limit_ms / 1000 + 10
    figures["kept_up"] = p99_ms < limit_ms and figures["outstanding"] <= left_max and not figures["withheld"]
    steps.append(figures)
    _say(
        f"{rate:8,.0f}/s: replied {figures['replied_per_s']:8,.0f}/s, p99 {p99_ms:,.1f} ms, "
        f"outstanding {figures['outstanding']:,}: {'kept up' if figures['kept_up'] else 'not kept up'}"
    )
    await it.settled()
    return bool(figures["kept_up"])


async def _gateway(it: World) -> dict[str, Any]:
    """What the gateway says of itself: memory, and its own histogram of reply times."""
    figures: dict[str, Any] = {}
    if (rss := it.gateway_rss_bytes()) is not None:
        figures["rss_mib"] = round(rss / 2**20, 1)
    buckets: list[tuple[str, float]] = []
    for line in (await it.metrics()).splitlines():
        name, _, value = line.rpartition(" ")
        if name.startswith("fps_payment_reply_seconds_bucket"):
            buckets.append((name.partition('le="')[2].partition('"')[0], float(value)))
    if buckets and buckets[-1][1]:
        figures["replied_within"] = {f"{edge} s": round(count / buckets[-1][1], 5) for edge, count in buckets}
    return figures


def _sections(figures: dict[str, Any], verdict: Verdict) -> Iterator[str]:
    """The figures as text."""
    cpus = ", ".join(f"{name} on core {cpu}" for name, cpu in figures["cpus"].items() if cpu is not None)
    yield f"Python {figures['python']}; {cpus or 'not pinned'}"
    if "load" in figures:
        load = figures["load"]
        shown = {name: f"{value:,}" for name, value in load.items() if isinstance(value, int | float)}
        yield report.table(["the load", ""], list(shown.items()))
        yield report.latencies(load["latency"])
        if (late_ms := load["latency"]["lateness"].get("p99_ms", 0.0)) > LATE_MS:
            yield (
                f"The generator itself was {late_ms:g} ms late at p99: this machine was busy with something else, and "
                "the figures hold that too."
            )
    else:
        yield _saturation(figures["saturation"])
    gateway = figures["gateway"]
    lines = [f"{name}: {value}" for name, value in gateway.items() if name != "replied_within"]
    if within := gateway.get("replied_within"):
        lines.append("replied within, by its own histogram (warm-up and all): ")
        lines += [f"  {edge}: {share:.3%}" for edge, share in within.items() if share > 0]
    yield "the gateway\n" + "\n".join(lines)
    yield report.verdict(verdict)


def _saturation(found: dict[str, Any]) -> str:
    rows = [
        [
            f"{step['rate']:,.0f}/s", f"{step['replied_per_s']:,.0f}/s",
            *(f"{step['recent']['intended'].get(name, float('nan')):,.1f}" for name in ("p50_ms", "p99_ms", "max_ms")),
            f"{step['outstanding']:,}", step.get("gateway_cpu", "–"), step.get("workers_cpu", "–"),
            step.get("hub_cpu", "–"), step.get("processor_cpu", "–"), step["machine_cpu"],
            "yes" if step["kept_up"] else "no",
        ]
        for step in found["steps"]
    ]  # fmt: skip
    head = [
        "offered",
        "replied",
        "p50 ms",
        "p99 ms",
        "max ms",
        "left",
        "gateway CPU",
        "workers",
        "hub",
        "processor",
        "machine",
    ]
    sustained = f"sustained: {found['sustained_per_s']:,}/s with p99 below {found['p99_limit_ms']:g} ms"
    return report.table([*head, "kept up"], rows) + "\n\n" + sustained
