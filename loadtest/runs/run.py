"""Figures: a world at a rate for a time, latencies, throughput, memory, and whether the books balance.

    .venv/bin/python -m loadtest run --rate 1500 --duration 60 --gateway-cpu 0 --others-cpu 1
    .venv/bin/python -m loadtest run --saturate --gateway-cpu 0 --others-cpu 1
    .venv/bin/python -m loadtest run --outbound 1000 --rate 500

With --outbound the mock processor submits payments, too; without --rate only these are sent. Their latency counts from
the intended time until the processor hears the outcome: through the gateway, the hub and the bank that the hub plays.

The hub's latency counts from the intended time of each payment. It includes the generator's own lateness, which is
shown, and the loopback: it is an upper bound of what the gateway adds. The gateway's own histogram is shown beside it.
Processor use is in cores. Where "machine" is much more than the parts together, something else was running, and only
ratios can be trusted.

With --saturate the rate rises step by step until the gateway no longer keeps up; then the last step is halved twice.
A gateway keeps up with a step when every payment is sent, p99 from the intended time stays below --p99-limit, no more
payments are left at the end than that limit explains, and no submission is turned away (503). With --rate and
--outbound both rise together.
"""

import argparse
import platform
import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import msgspec
import trio

from gateway.machine import harmless
from gateway.machine.arguments import CORE, FEW, RATE_OR_NONE, SECONDS, SECONDS_OR_NONE, Commands, Number
from loadtest.hub.command import add_load_arguments
from loadtest.ledger import report
from loadtest.ledger.oracle import Verdict
from loadtest.runs import load
from loadtest.runs.load import Figures, Rates
from loadtest.runs.world import Plan, World, WorldError, interruptible, said, world

TOLD_WITHIN_S = 120.0
TELL_PER_S = 20_000.0
"""The pace of notices where payments leave: each outcome is told."""
LATE_MS = 5.0
"""A generator that is later than this at p99 does not have the processor when it needs it."""
REFINEMENTS = 2
"""How often the last step of --saturate is halved."""


def add_parser(commands: Commands) -> None:
    """Add `run`."""
    parser = commands.add_parser(
        "run",
        help="figures: latency and throughput at a rate, or the highest rate that is kept up",
        description=__doc__,
        epilog="Exit code 0: the ledger balances and the hub was content. 1: not so. 2: it could not be run.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add_load_arguments(parser.add_argument_group("the load"))
    parser.add_argument(
        "--outbound",
        type=RATE_OR_NONE,
        default=0.0,
        metavar="PER_S",
        help="payments per second that the processor submits; without --rate, the hub sends none",
    )
    parser.add_argument(
        "--wait",
        type=SECONDS_OR_NONE,
        default=10.0,
        metavar="S",
        help="with --outbound: Prefer: wait, the outcome comes in the response; 0: in a notice (default: 10)",
    )
    parser.add_argument(
        "--warm-up", type=SECONDS_OR_NONE, default=5.0, metavar="S", help="at the same rate (default: 5)"
    )
    _add_saturation(parser.add_argument_group("saturation"))
    _add_world(parser.add_argument_group("the world"))
    parser.add_argument("--json", action="store_true", help="the figures as JSON")
    parser.set_defaults(run=run)


def _add_saturation(saturate: "argparse._ArgumentGroup") -> None:
    """Options for how the highest rate is found."""
    saturate.add_argument("--saturate", action="store_true", help="raise the rate until it is no longer kept up")
    saturate.add_argument(
        "--step", type=Number(1, 100, above=True), default=1.25, metavar="X", help="from rate to rate (default: 1.25)"
    )
    saturate.add_argument("--step-s", type=SECONDS, default=8.0, metavar="S", help="each for so long (default: 8)")
    saturate.add_argument(
        "--p99-limit", type=Number(0, 1e6, above=True), default=100.0, metavar="MS", help="(default: 100)"
    )


def _add_world(where: "argparse._ArgumentGroup") -> None:
    """Options for the gateway and what is around it."""
    where.add_argument("--gateway-cpu", type=CORE, metavar="N", help="pin the gateway's process to this core")
    where.add_argument(
        "--workers-cpu", type=CORE, metavar="N", help="and its token workers to this (default: the same)"
    )
    where.add_argument("--others-cpu", type=CORE, metavar="N", help="pin hub and processor to this core")
    where.add_argument("--tokens", type=FEW, default=2, help="SoftHSM tokens (default: 2)")
    where.add_argument("--processor-mode", default="fast", metavar="MODE", help="see processor --help")
    where.add_argument("--bank", default="accept", metavar="RULE", help="the hub's simulated bank, see hub --help")
    where.add_argument("--mischief", default="", metavar="LIST", help="of the hub, see hub --help (default: none)")
    where.add_argument("--stand-in-after", type=SECONDS, default=5.0, metavar="S", help="(default: 5)")
    where.add_argument("--asynchronous", action="store_true", help="the hub repeats rather than reverses")
    where.add_argument("--dir", type=Path, help="put everything below this (default: a temporary directory)")
    where.add_argument("--keep", action="store_true", help="do not remove the temporary directory")
    where.add_argument(
        "--no-gateway",
        action="store_true",
        help="start hub and processor, write gateway.toml (--dir says where), and wait for a gateway of yours to sign "
        "on; its journal is judged when you have ended it",
    )


def run(options: argparse.Namespace) -> int:
    """Measure and print."""
    if options.no_gateway and options.dir is None:
        print("run: --no-gateway needs --dir", file=sys.stderr)
        return 2
    if options.rate is None:
        options.rate = 0.0 if options.outbound else 500.0 if options.saturate else 100.0
    try:
        return trio.run(interruptible, partial(_main, options))
    except* WorldError as group:
        print(f"run: {harmless.line(said(group))}", file=sys.stderr)
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
        outbound=bool(options.outbound),
        simulated=options.bank,
        tell_per_s=TELL_PER_S if options.outbound else Plan().tell_per_s,
    )
    async with world(plan, options.dir, keep=options.keep) as it:
        await it.start(gateway=not options.no_gateway)
        if options.no_gateway:
            _say(f"waiting for a gateway with {it.configuration} to sign on")
            await it.signed_on()
        figures: Figures = {"python": platform.python_version(), "cpus": _cpus(plan)}
        rates = Rates(options.rate, options.outbound)
        if options.saturate:
            figures["saturation"] = await _saturate(it, options, rates)
        else:
            figures["load"] = await _measure(it, options, rates)
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


async def _measure(it: World, options: argparse.Namespace, rates: Rates) -> Figures:
    """Warm up, then measure at one rate."""
    await _warm_up(it, options, rates)
    await it.hub("reset")
    if rates.outbound:
        await it.bank.submissions(do="reset")
    figures = await load.step(it, options, rates, options.duration)
    latency = (await it.settled())["latency"]
    if not rates.inbound:
        latency = {}
    if rates.outbound:
        latency |= (await it.submitted())["latency"]
    return {**figures, "latency": latency}


async def _warm_up(it: World, options: argparse.Namespace, rates: Rates) -> None:
    if options.warm_up:
        await load.drive(it, options, rates, options.warm_up)
        await it.settled()


async def _saturate(it: World, options: argparse.Namespace, first: Rates) -> Figures:
    """Raise the rate until it is not kept up, then narrow down. Both directions rise together."""
    steps: list[Figures] = []
    await _warm_up(it, options, first)
    good, bad = 0.0, 0.0
    for factor in _factors(options.step):
        kept = await _kept_up(it, options, first.times(factor), steps)
        good, bad = (factor, bad) if kept else (good, factor)
        if bad:
            break
    for _ in range(REFINEMENTS):
        factor = (good + bad) / 2
        kept = await _kept_up(it, options, first.times(factor), steps)
        good, bad = (factor, bad) if kept else (good, factor)
    sustained = first.times(good)
    return {
        "sustained_per_s": round(sum(sustained)),
        "sustained": {name: round(rate) for name, rate in sustained._asdict().items() if rate},
        "p99_limit_ms": options.p99_limit,
        "steps": steps,
    }


def _factors(step: float) -> Iterator[float]:
    factor = 1.0
    while True:
        yield factor
        factor *= step


async def _kept_up(it: World, options: argparse.Namespace, rates: Rates, steps: list[Figures]) -> bool:
    """Whether this rate is kept up; a rate that is not gets a second try, for the machine may have been busy."""
    return await _try(it, options, rates, steps) or await _try(it, options, rates, steps)


async def _try(it: World, options: argparse.Namespace, rates: Rates, steps: list[Figures]) -> bool:
    figures = await load.step(it, options, rates, options.step_s)
    figures["kept_up"] = load.kept_up(figures, options.p99_limit)
    steps.append(figures)
    said = [
        f"{name} {part['done_per_s']:,.0f}/s, p99 {part['recent'].get('p99_ms', float('nan')):,.1f} ms, "
        f"{part['left']:,} left"
        for name, part in _directions(figures)
    ]
    _say(f"{rates}: {'; '.join(said)}: {'kept up' if figures['kept_up'] else 'not kept up'}")
    await it.settled()
    return bool(figures["kept_up"])


def _directions(figures: Figures) -> list[tuple[str, Figures]]:
    return [(name, figures[name]) for name in ("inbound", "outbound") if name in figures]


async def _gateway(it: World) -> Figures:
    """What the gateway says of itself: memory, and its own histogram of reply times."""
    figures: Figures = {}
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


def _sections(figures: Figures, verdict: Verdict) -> Iterator[str]:
    """The figures as text."""
    cpus = ", ".join(f"{name} on core {cpu}" for name, cpu in figures["cpus"].items() if cpu is not None)
    yield f"Python {figures['python']}; {cpus or 'not pinned'}"
    if "load" in figures:
        yield _load(figures["load"])
    else:
        yield _saturation(figures["saturation"])
    gateway = figures["gateway"]
    lines = [f"{name}: {value}" for name, value in gateway.items() if name != "replied_within"]
    if within := gateway.get("replied_within"):
        lines.append("replied within, by its own histogram (warm-up and all): ")
        lines += [f"  {edge}: {share:.3%}" for edge, share in within.items() if share > 0]
    yield "the gateway\n" + "\n".join(lines)
    yield report.verdict(verdict)


def _load(measured: Figures) -> str:
    rows = [
        [name, *(f"{part[column]:,}" for column in ("rate", "sent", "done", "done_per_s", "left", "withheld"))]
        for name, part in _directions(measured)
    ]
    latency = measured["latency"]
    cores = ", ".join(f"{name} {cores:g}" for name, cores in measured["cpu"].items())
    parts = [
        report.table(["the load", "per s", "sent", "done", "done per s", "left at its end", "withheld"], rows),
        f"cores: {cores}",
        report.latencies(latency),
    ]
    for name in ("lateness", "submitter"):
        late_ms = latency.get(name, {}).get("p99_ms", 0.0)
        if late_ms > LATE_MS:
            parts.append(
                f"The generator itself was {late_ms:g} ms late at p99 ({name}): this machine was busy with something "
                "else, and the figures hold that too."
            )
    return "\n\n".join(parts)


CPUS = ("gateway", "workers", "hub", "processor", "machine")


def _saturation(found: Figures) -> str:
    rows = [
        [
            name, f"{part['rate']:,.0f}/s", f"{part['done_per_s']:,.0f}/s",
            *(f"{part['recent'].get(column, float('nan')):,.1f}" for column in ("p50_ms", "p99_ms", "max_ms")),
            f"{part['left']:,}", *(step["cpu"].get(cpu, "–") for cpu in CPUS), "yes" if step["kept_up"] else "no",
        ]
        for step in found["steps"]
        for name, part in _directions(step)
    ]  # fmt: skip
    head = ["direction", "offered", "done", "p50 ms", "p99 ms", "max ms", "left", *CPUS, "kept up"]
    each = " and ".join(f"{rate:,}/s {name}" for name, rate in found["sustained"].items())
    return report.table(head, rows) + f"\n\nsustained: {each} with p99 below {found['p99_limit_ms']:g} ms"
