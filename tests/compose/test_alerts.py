"""The alerts, judged by Prometheus's own tool: each goes off when it should, not before, and not for a neighbour."""

import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import NamedTuple

import pytest

from gateway import metrics
from gateway.engine import STEPS

PROMETHEUS = Path(__file__).parents[2] / "compose" / "prometheus"
RULES = (PROMETHEUS / "alerts.yaml").read_text(encoding="utf-8")
ALERTS = re.findall(r"- alert: (\w+)", RULES)
OTHERS = {"up", "process_start_time_seconds"}
"""What a rule may name besides metrics of ours: Prometheus makes the one, its client the other."""
STEP_S = 5


class Case(NamedTuple):
    """What sets an alert off: samples every five seconds, of the group sip."""

    trouble: dict[str, str]
    """Series to samples, as promtool writes them: `0x20` is 0 and twenty more of it."""
    healthy: dict[str, str]
    """The same metrics where all is well: of the group sop."""
    at_s: int
    """It goes off by then."""
    not_yet_s: int = 0
    """And not before; 0: that is not looked at."""


def gauge(name: str, bad: str, good: str, at_s: int, not_yet_s: int, labels: str = "") -> Case:
    """One that has a bad value in the one group, and a good one in the other."""
    return Case(
        {_series(name, "sip", labels): f"{bad}x100"}, {_series(name, "sop", labels): f"{good}x100"}, at_s, not_yet_s
    )


def count(name: str, labels: str = "", steps: str = "0x20 1x80", at_s: int = 200) -> Case:
    """A counter that grows after 100 s, and one that does not grow."""
    return Case({_series(name, "sip", labels): steps}, {_series(name, "sop", labels): "7x100"}, at_s, 95)


def _series(name: str, group: str, labels: str) -> str:
    return f'{name}{{job="gateway",group="{group}",instance="{group}"{"," if labels else ""}{labels}}}'


def _all(name: str, group: str, values: dict[str, str]) -> dict[str, str]:
    return {_series(name, group, labels): f"{value}x100" for labels, value in values.items()}


UNDECIDED = "fps_processor_undecided_responses_total"
CERTIFICATE = 'use="node.submissions.tls",kind="own"'
SYNCS = "fps_journal_sync_seconds_bucket"
CASES = {
    "GatewayAway": gauge("up", "0", "1", 35, 25),
    "GatewayNotReady": gauge("fps_ready", "0", "1", 35, 25),
    "GatewayStartsAgainAndAgain": Case(
        {_series("process_start_time_seconds", "sip", ""): "1x20 2x20 3x20 4x20"},
        {_series("process_start_time_seconds", "sop", ""): "1x20 2x60"},
        320, 295,
    ),
    "StoodStill": count("fps_stood_still_seconds_total"),
    "ClockWrong": gauge("fps_clock_wrong", "1", "0", 20, 10),
    "HubClockDiffers": gauge("fps_hub_clock_differs", "1", "0", 65, 55),
    "PaymentsOfAnotherDay": count("fps_steps_total", 'step="bad_date"'),
    "LinkDown": gauge("fps_link_up", "0", "1", 65, 55, 'site="a"'),
    "BothLinksDown": Case(
        _all("fps_link_up", "sip", {'site="a"': "0", 'site="b"': "0"}),
        _all("fps_link_up", "sop", {'site="a"': "0", 'site="b"': "1"}),
        20, 10,
    ),
    "LinkNotSignedOn": Case(
        _all("fps_link_up", "sip", {'site="a"': "1"})
        | _all("fps_link_signed_on", "sip", {'site="a",direction="receive"': "0", 'site="a",direction="submit"': "1"}),
        # where there is no connection another alert says so
        _all("fps_link_up", "sop", {'site="a"': "0"})
        | _all("fps_link_signed_on", "sop", {'site="a",direction="receive"': "0"}),
        125, 115,
    ),
    "LinkEjected": gauge("fps_link_ejected", "1", "0", 65, 55, 'site="a"'),
    "LinkEjectedAgainAndAgain": Case(
        {_series("fps_link_ejections_total", "sip", 'site="a"'): "0x20 1x20 2x20 3x20 5x40"},
        {_series("fps_link_ejections_total", "sop", 'site="a"'): "7x40 8x80"},
        430, 350,
    ),
    "WrongMacs": count("fps_signer_jobs_total", 'outcome="wrong-mac"'),
    "TokenDown": gauge("fps_signer_token_up", "0", "1", 65, 55, 'token="fps-1"'),
    "RemoteTokensOnly": gauge("fps_signer_remote_only", "1", "0", 65, 55),
    "OneTokenLeft": Case(
        _all("fps_signer_token_up", "sip", {'token="1"': "0", 'token="2"': "1"}),
        _all("fps_signer_token_up", "sop", {'token="1"': "1", 'token="2"': "1", 'token="3"': "0"}),
        65, 55,
    ),
    "CertificateEnds": gauge("fps_certificate_end_timestamp_seconds", "1800000", "1900000", 65, 55, CERTIFICATE),
    "CertificateEndsSoon": gauge("fps_certificate_end_timestamp_seconds", "250000", "1800000", 65, 55, CERTIFICATE),
    "SitesDiffer": gauge("fps_sibling_differs", "1", "0", 20, 10),
    "SiblingAway": gauge("fps_sibling_away", "1", "0", 305, 295),
    "TokenKeysDiffer": gauge("fps_signer_token_keys_differ", "1", "0", 65, 55, 'token="fps-1"'),
    "JournalSlow": Case(
        {
            _series(SYNCS, "sip", 'le="0.1"'): "0+90x100",
            _series(SYNCS, "sip", 'le="0.25"'): "0+100x100",
            _series(SYNCS, "sip", 'le="+Inf"'): "0+100x100",
        },
        {_series(SYNCS, "sop", 'le="0.1"'): "0+100x100", _series(SYNCS, "sop", 'le="+Inf"'): "0+100x100"},
        180, 100,
    ),
    "JournalWaits": gauge("fps_journal_waiting_bytes", "20000000", "10000000", 20, 10),
    "JournalFollowerBehind": gauge(
        "fps_journal_follower_lag_records", "100001", "5000", 305, 295, 'follower="processor"'
    ),
    "VolumeDegraded": gauge("fps_volume_state", "1", "0", 65, 55, 'state="degraded"'),
    "VolumeUnready": gauge("fps_volume_state", "1", "0", 20, 10, 'state="unready"'),
    "VolumeStandsAlone": gauge("fps_volume_standalone", "1", "0", 65, 55, 'peer="server2"'),
    "StandIn": count("fps_steps_total", 'step="stood_in"'),
    "LateRefusal": count("fps_steps_total", 'step="late_refusal"'),
    "ProcessorRefusesQuestions": count(UNDECIDED, 'status_class="4xx"', at_s=105),
    "RefusalNotAsAgreed": count("fps_processor_bad_refusals_total"),
    "NoticesOld": gauge("fps_notice_oldest_age_seconds", "301", "10", 65, 55),
    "NoticeParked": count("fps_notices_total", 'outcome="parked"'),
    "SchemeSuspended": gauge("fps_scheme_suspended", "1", "0", 20, 10, 'what="own"'),
    "OthersSuspended": gauge("fps_scheme_suspended", "2", "0", 20, 10, 'what="others"'),
    "NewsNotApplied": count("fps_usm_total", 'function="971",outcome="older"'),
    "NewsLifted": count("fps_steps_total", 'step="news_lifted"'),
    "OtherGroupsPayments": count("fps_steps_total", 'step="other_group"'),
    "KeySupersededAgain": count("fps_steps_total", 'step="key_superseded_again"'),
    "NewsWaiting": gauge("fps_peer_news_oldest_age_seconds", "61", "0", 65, 55, 'peer="sip"'),
}  # fmt: skip


def promtool(*arguments: str) -> "subprocess.CompletedProcess[str]":
    tool = shutil.which("promtool")
    if tool is None:
        pytest.skip("promtool is not installed: it is in the package prometheus")
    return subprocess.run([tool, *arguments], capture_output=True, text=True, check=False)


def test_every_alert_has_a_case() -> None:
    assert sorted(ALERTS) == sorted(CASES)


def test_prometheus_takes_configuration_and_rules() -> None:
    checked = promtool("check", "config", str(PROMETHEUS / "prometheus.yaml"))
    assert checked.returncode == 0, checked.stderr
    assert f"{len(ALERTS)} rules found" in checked.stdout


@pytest.mark.parametrize("alert", ALERTS)
def test_it_goes_off_for_its_trouble_in_time_and_for_nothing_else(alert: str, tmp_path: Path) -> None:
    case = CASES[alert]
    firing = f'count by (group) (ALERTS{{alertname="{alert}",alertstate="firing"}})'
    series = [{"series": name, "values": values} for name, values in {**case.trouble, **case.healthy}.items()]
    expected = [
        {"expr": firing, "eval_time": f"{case.at_s}s", "exp_samples": [{"labels": '{group="sip"}', "value": 1}]}
    ]
    if case.not_yet_s:
        expected.append({"expr": firing, "eval_time": f"{case.not_yet_s}s", "exp_samples": []})
    tests = tmp_path / "tests.yaml"  # JSON is YAML
    tests.write_text(
        json.dumps(
            {
                "rule_files": [str(PROMETHEUS / "alerts.yaml")],
                "evaluation_interval": f"{STEP_S}s",
                "tests": [{"interval": f"{STEP_S}s", "input_series": series, "promql_expr_test": expected}],
            }
        )
    )
    judged = promtool("test", "rules", str(tests))
    assert judged.returncode == 0, judged.stdout + judged.stderr


def names_of(rules: str) -> set[str]:
    """Every metric that an expression names: what stands before a brace, or begins as ours do."""
    expressions = "\n".join(re.findall(r"expr: (?:\|\n)?(.*(?:\n {10}.*)*)", rules))
    return set(re.findall(r"\b(fps_\w+|up|process_\w+)\b", expressions))


def test_every_metric_that_a_rule_names_is_one_of_the_gateway() -> None:
    """By the names that /metrics shows, with what the parts show when they are asked."""
    counts = metrics.StepCounts({"received": 1})
    volume = metrics.VolumeStates(("ok",), lambda: metrics.VolumeShown("ok", 3, 3, True, {"server2": (False, 0)}))
    news = metrics.SchemeNews({("971", "older"): 0}, lambda: {"service": 0})
    with metrics.shown(counts, volume, news):
        shown = metrics.exposition("")[0].decode()
    known = set(re.findall(r"^# TYPE (\S+) ", shown, re.MULTILINE))
    histograms = set(re.findall(r"^# TYPE (\S+) histogram", shown, re.MULTILINE))
    known |= {f"{name}_bucket" for name in histograms}
    named = names_of(RULES)
    assert len(named) > 10
    assert named - known - OTHERS == set()


def test_a_counter_that_an_alert_waits_for_is_there_before_it_counts() -> None:
    """Prometheus sees it grow from 0 to 1; that it comes to be with 1 is no increase, and the first would be missed."""
    waited = set(re.findall(r'increase\((\w+\{\w+="[^"]+"\})', RULES))
    assert len(waited) > 3
    with metrics.shown(metrics.StepCounts({}, STEPS)):
        shown = metrics.exposition("")[0].decode()
    assert {series for series in waited if f"{series} " not in shown} == set()


def test_every_step_that_a_rule_names_is_one_that_is_counted() -> None:
    steps = {step for said in re.findall(r'step=~?"([\w|]+)"', RULES) for step in said.split("|")}
    assert len(steps) > 3
    assert steps <= set(STEPS)
