"""The demo and the figures with real processes, sockets and SoftHSM: they judge, clean up, and can be run again."""

import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from loadtest.traffic.payments import NAMES

pytestmark = pytest.mark.system

ROOT = Path(__file__).parents[3]
WITHIN_S = 120
"""A limit for when it hangs, not a wait."""


def loadtest(temporary: Path, *arguments: str) -> subprocess.Popen[str]:
    """Start a command of loadtest, whose temporary directories lie in this one."""
    return subprocess.Popen(
        [sys.executable, "-m", "loadtest", *arguments],
        cwd=ROOT,
        env={**os.environ, "TMPDIR": str(temporary), "PYTHONUNBUFFERED": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def processes_of(directory: Path) -> Iterator[str]:
    """Command lines of the processes that know this directory."""
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and int(entry.name) != os.getpid():
            try:
                command = (entry / "cmdline").read_bytes()
            except OSError:
                continue
            if str(directory).encode() in command:
                yield command.decode().replace("\0", " ")


def row_of(said: str) -> tuple[int, ...]:
    """Of the demo's last row: payments in, by stand-in, reversed; out, accepted."""
    shown = re.findall(
        r"payments in ([0-9,]+): .* answered, ([0-9,]+) by stand-in, .*, ([0-9,]+) reversed; "
        r"payments out ([0-9,]+): ([0-9,]+) accepted",
        said,
    )[-1]
    return tuple(int(number.replace(",", "")) for number in shown)


def ledger_of(said: str) -> tuple[int, ...]:
    """The same figures, as the ledger has them at its end."""
    lines = dict(re.findall(r"^ *([a-z ]+[a-z])  +([0-9,]+)$", said, re.MULTILINE))
    names = ("sent", "stood in", "reversed", "submitted", "accepted")
    return tuple(int(lines[name].replace(",", "")) for name in names)


def test_the_demo_balances_and_leaves_nothing_behind(tmp_path: Path) -> None:
    """Processor, hub site, token worker and data centre each go and come back, a key changes, news come, payments go
    both ways; every payment is accounted for. The last row and the ledger have the same figures. Nothing that it
    prints may be somebody's account or name.
    """
    with loadtest(tmp_path, "demo", "--seconds", "20", "--rate", "50") as demo:
        said, _ = demo.communicate(timeout=WITHIN_S)
    assert demo.returncode == 0, said
    assert "The ledger balances." in said
    assert "The demo went as it should." in said
    assert "Key changes so far: 1" in said
    for what in ("stood in", "reversed", "kill -9: the gateway of data centre A", "accepted", "Where to look next"):
        assert what in said
    for away in ("processor", "hub site a", "data centre A"):
        assert f"away {away}" in said
    assert row_of(said) == ledger_of(said)
    assert not re.search(r"[0-9]{6}", said)
    assert [name for name in NAMES if name in said] == []
    assert list(tmp_path.iterdir()) == []
    assert list(processes_of(tmp_path)) == []


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_demo_that_is_interrupted_cleans_up(tmp_path: Path, number: signal.Signals) -> None:
    """Ctrl-C in the middle leaves no process and no file."""
    with loadtest(tmp_path, "demo", "--seconds", "20", "--rate", "50") as demo:
        assert demo.stdout is not None
        for line in demo.stdout:
            if "payments in " in line:
                break
        assert list(processes_of(tmp_path)) != []
        demo.send_signal(number)
        said, _ = demo.communicate(timeout=WITHIN_S)
    assert demo.returncode == 130, said
    assert list(tmp_path.iterdir()) == []
    assert list(processes_of(tmp_path)) == []


def test_figures_with_every_mischief_as_json(tmp_path: Path) -> None:
    """Latencies, throughput, memory and a verdict, and the gateway answers each mischief as the scheme says."""
    arguments = ("--rate", "100", "--duration", "14", "--warm-up", "1", "--mischief", "all", "--asynchronous", "--json")
    with loadtest(tmp_path, "run", *arguments, "--dir", str(tmp_path / "kept")) as figures:
        said, _ = figures.communicate(timeout=WITHIN_S)
    assert figures.returncode == 0, said
    shown = msgspec.json.decode(said)
    assert shown["ledger"]["balances"]
    load = shown["load"]
    inbound = load["inbound"]
    # latencies also hold what was still outstanding when the time was over
    assert 0 < inbound["done"] <= load["latency"]["intended"]["count"] <= inbound["done"] + inbound["left"]
    assert shown["hub"]["counts"]["mischief answered"] >= 10
    assert shown["gateway"]["rss_mib"] > 0
    (kept,) = (tmp_path / "kept").iterdir()
    assert {"gateway.toml", "hub.ndjson", "processor.ndjson", "journal"} <= {entry.name for entry in kept.iterdir()}
    assert list(processes_of(tmp_path)) == []


def test_figures_of_payments_that_leave_and_come(tmp_path: Path) -> None:
    """Latency from submission to outcome beside that of the hub's, and one ledger over both."""
    arguments = ("--rate", "50", "--outbound", "50", "--duration", "4", "--warm-up", "1", "--json")
    with loadtest(tmp_path, "run", *arguments) as figures:
        said, _ = figures.communicate(timeout=WITHIN_S)
    assert figures.returncode == 0, said
    shown = msgspec.json.decode(said)
    assert shown["load"]["outbound"]["done"] <= shown["load"]["latency"]["settled"]["count"]
    assert shown["load"]["latency"]["settled"]["p99_ms"] > 0
    assert shown["load"]["inbound"]["done"] > 0
    ledger = shown["ledger"]
    assert ledger["balances"]
    assert ledger["outbound"]["accepted"] == ledger["submitted"] > 0
    assert list(processes_of(tmp_path)) == []
