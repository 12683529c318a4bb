"""What kill tests and endurance decide without any process: what happens when, what grew, whose story is told."""

import json
import math
import os
import time
from collections import Counter
from pathlib import Path

import pytest

from loadtest.ledger.oracle import Ledger
from loadtest.ledger.promises import Invariant
from loadtest.runs import steady, story
from loadtest.runs.steady import Finding, Limits, Sample, Window
from loadtest.runs.trouble import AT_ONCE, FIRST_S, OF_BANKS, OF_GATEWAYS, OF_PROCESSORS, OF_SITES, Whom, schedule

WHOM = Whom(["sip-a", "sip-b"], ["processor of alpha"], ["a", "b"], patience_s=4.0, banks=["alpha"])


def test_a_seed_replays_its_troubles_and_another_one_has_others() -> None:
    assert schedule(7, 600, WHOM) == schedule(7, 600, WHOM) != schedule(8, 600, WHOM)


def test_everything_happens_to_everybody_and_for_longer_than_anybodys_patience() -> None:
    """In the order of time, after payments flow; at times two things at once."""
    troubles = schedule(1, 3600, WHOM)
    assert [trouble.at_s for trouble in troubles] == sorted(trouble.at_s for trouble in troubles)
    assert FIRST_S == troubles[0].at_s < troubles[-1].at_s < 3600
    wanted = {
        *((what, whom) for whom in WHOM.gateways for what in OF_GATEWAYS),
        *((what, whom) for whom in WHOM.processors for what in OF_PROCESSORS),
        *((what, whom) for whom in WHOM.sites for what in OF_SITES),
        *((what, whom) for whom in WHOM.banks for what in OF_BANKS),
    }
    assert {(trouble.what, trouble.whom) for trouble in troubles} == wanted
    stops = [trouble.for_s for trouble in troubles if trouble.what == "stop" and trouble.whom in WHOM.gateways]
    assert min(stops) < 1 < WHOM.patience_s < max(stops) <= 2 * WHOM.patience_s
    together = [times for times in Counter(trouble.at_s for trouble in troubles).values() if times > 1]
    assert len(together) > AT_ONCE * 0.5 * len(troubles) / 2


def test_who_is_spared_loses_only_workers() -> None:
    troubles = schedule(1, 3600, WHOM._replace(spared=frozenset({"sip-a"})))
    assert {trouble.what for trouble in troubles if trouble.whom == "sip-a"} == {"kill worker", "stop worker"}
    assert {trouble.what for trouble in troubles if trouble.whom == "sip-b"} == set(OF_GATEWAYS)


# --- does anything grow


def samples(each: float = 100.0, *, files: int = 0, threads: int = 0, count: int = 40) -> list[Sample]:
    """Of a process that grows by so many bytes for each payment, and by so many files and threads in all."""
    share = [number / (count - 1) for number in range(count)]
    return [
        Sample(
            at_s=part * 1000,
            payments=int(part * 200_000),
            rss_bytes=60_000_000,
            uss_bytes=50_000_000 + int(each * part * 200_000),
            files=40 + int(files * part),
            threads=5 + int(threads * part),
        )
        for part in share
    ]


def windows(*, slower: float = 1.0, count: int = 40) -> list[Window]:
    """Of latencies that in the end are so many times those of the beginning; some windows measured nothing."""
    made = []
    for number in range(count):
        factor = 1 + (slower - 1) * number / (count - 1)
        made.append(Window(number, 4 * factor, 9 * factor, math.nan if number % 5 == 0 else 6 * factor, 12 * factor))
    return made


def grew(findings: list[Finding]) -> list[str]:
    """What is not flat."""
    return [finding.what.partition(",")[0] for finding in findings if finding.holds is False]


def test_a_line_through_the_memory_is_the_bytes_for_each_payment() -> None:
    assert steady.growth(samples(each=123.0)) == pytest.approx(123.0, abs=1)
    assert steady.growth([samples()[0]] * 9) == 0.0


def test_flat_is_flat() -> None:
    assert not grew(steady.judge(samples(), windows(), Limits()))


@pytest.mark.parametrize(
    ("taken", "measured", "what"),
    [
        (samples(each=400), windows(), ["memory for each payment"]),
        (samples(files=100), windows(), ["open files"]),
        (samples(threads=2), windows(), ["threads"]),
        (
            samples(),
            windows(slower=4),
            [f"{p} of payments that {go}" for go in ("come", "leave") for p in ("p50", "p99")],
        ),
    ],
    ids=["memory", "files", "threads", "latency"],
)
def test_what_grows_is_found(taken: list[Sample], measured: list[Window], what: list[str]) -> None:
    assert grew(steady.judge(taken, measured, Limits())) == what


def test_a_fault_in_between_is_no_growth() -> None:
    """A window of a second's latency, a moment with hundreds of connections."""
    taken, measured = samples(), windows()
    taken[20] = taken[20]._replace(files=900)
    taken[-2] = taken[-2]._replace(files=900)
    measured[-1] = Window(40, 900, 1000, 900, 1000)
    assert not grew(steady.judge(taken, measured, Limits()))


def test_a_short_run_says_nothing_of_memory_files_and_latencies() -> None:
    """What a fault leaves for a minute is more than what is remembered of so few payments."""
    short = [each._replace(at_s=each.at_s / 10, payments=each.payments // 10) for each in samples(each=400, files=100)]
    findings = steady.judge(short, windows(slower=9), Limits())
    assert [finding.what for finding in findings if finding.holds is not None] == ["threads"]


def test_too_short_a_run_says_nothing() -> None:
    with pytest.raises(ValueError, match="at least"):
        steady.judge(samples(count=5), windows(), Limits())


def test_a_process_is_sampled() -> None:
    """This one: it has memory, files and a thread."""
    one = steady.sample(os.getpid(), 1.0, 2)
    assert one.rss_bytes >= one.uss_bytes > 1_000_000
    assert one.files > 2
    assert one.threads >= 1


# --- stories


def test_the_first_broken_payments_are_named_each_once() -> None:
    """Only what a verdict names by a hash."""
    ledger = Ledger()
    verdict = ledger.verdict()
    verdict.invariants[:] = [
        Invariant("x", "", first=["00000000000000aa: lost", "link 3: odd", "00000000000000bb: lost"]),
        Invariant("y", "", first=["00000000000000aa: twice", "00000000000000cc: lost", "00000000000000dd: lost"]),
    ]
    assert story.broken(verdict) == ["00000000000000aa", "00000000000000bb", "00000000000000cc"]


def test_a_story_is_told_in_the_order_of_time(tmp_path: Path) -> None:
    """Each book by its own clock; torn lines and other payments are left out."""
    name, other = "00000000000000aa", "00000000000000bb"
    now_s = time.time()
    ahead_s = now_s - 100.0
    (tmp_path / "hub.ndjson").write_bytes(
        b"\n".join(
            json.dumps({"event": event, "fpid": fpid, "t": t}).encode()
            for event, fpid, t in (("sent", name, 100.0), ("sent", other, 100.5), ("replied", name, 102.0))
        )
        + b'\n{"event":"sent","fpid":"00000000000000aa'
    )
    (tmp_path / "processor.ndjson").write_text(json.dumps({"event": "asked", "fpid": name, "at": now_s + 1}) + "\n")
    told = story.tell(tmp_path, [name], ahead_s).splitlines()
    assert told[0] == f"the story of {name}, in seconds:"
    assert [line.split()[0] for line in told[1:]] == ["0.0000", "1.0000", "2.0000"]
    assert [line.split("event=")[1].split()[0] for line in told[1:]] == ["sent", "asked", "replied"]
