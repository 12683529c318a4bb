"""The alerts, judged by Prometheus's own tool: each goes off when it should, not before, and not for a neighbour."""

import importlib
import json
import math
import re
import shutil
import subprocess
from itertools import product
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import trio

from gateway import config, metrics
from gateway.engine import STEPS
from gateway.engine.notes import NOTES
from gateway.hub import pool
from gateway.hub.dial import SILENT_S
from gateway.neighbours import sibling
from gateway.payments import arrival, departure
from gateway.running.holding import WATCH_EVERY_S
from gateway.scheme import keywork
from gateway.scheme.news import COUNTED, OUTCOMES
from gateway.volume import watch
from tests.fakes.network import nameless

PROMETHEUS = Path(__file__).parents[2] / "compose" / "prometheus"
RULES = (PROMETHEUS / "alerts.yaml").read_text(encoding="utf-8")
ALERTS = re.findall(r"- alert: (\w+)", RULES)
OTHERS = {"up", "process_start_time_seconds"}
"""What a rule may name besides metrics of ours: Prometheus makes the one, its client the other."""
STEP_S = 5
_IN, _OUT = arrival.Note, departure.Note


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


def lists(life_s: int, left_s: int, healthy_left_s: int, at_s: int, not_yet_s: int) -> Case:
    """Lists of revoked certificates with so much time left, of as long a life."""
    kinds = {"trouble": ("sip", left_s), "healthy": ("sop", healthy_left_s)}
    trouble, healthy = (
        {
            _series(
                "fps_revocation_list_timestamp_seconds", group, f'use="node.submissions.tls",kind="{kind}"'
            ): samples
            for kind, samples in (("stale", f"{left}x100"), ("issued", f"{left - life_s}x100"))
        }
        for group, left in kinds.values()
    )
    return Case(trouble, healthy, at_s, not_yet_s)


def _series(name: str, group: str, labels: str) -> str:
    return f'{name}{{job="gateway",group="{group}",instance="{group}"{"," if labels else ""}{labels}}}'


def _all(name: str, group: str, values: dict[str, str]) -> dict[str, str]:
    return {_series(name, group, labels): f"{value}x100" for labels, value in values.items()}


WAYS = ("receive", "submit")
UNDECIDED = "fps_processor_undecided_responses_total"
CERTIFICATE = 'use="node.submissions.tls",kind="own"'
SYNCS = "fps_journal_sync_seconds_bucket"
CASES = {
    "GatewayAway": gauge("up", "0", "1", 20, 15),
    "GatewayNotReady": gauge("fps_ready", "0", "1", 20, 15),
    "GatewayStartsAgainAndAgain": Case(
        {_series("process_start_time_seconds", "sip", ""): "1x20 2x20 3x20 4x20"},
        {_series("process_start_time_seconds", "sop", ""): "1x20 2x60"},
        320, 295,
    ),
    "StoodStill": count("fps_stood_still_seconds_total"),
    "ProcessShort": count("fps_shortages_total", 'part="door"'),
    "ClockWrong": gauge("fps_clock_wrong", "1", "0", 20, 10),
    "HubClockDiffers": gauge("fps_hub_clock_differs", "1", "0", 65, 55),
    "PaymentsOfAnotherDay": count("fps_steps_total", 'step="bad_date"'),
    "LinkDown": gauge("fps_link_up", "0", "1", 20, 15, 'site="a"'),
    "BothLinksDown": Case(
        _all("fps_link_up", "sip", {'site="a"': "0", 'site="b"': "0"}),
        _all("fps_link_up", "sop", {'site="a"': "0", 'site="b"': "1"}),
        20, 10,
    ),
    "NoLinkSignedOn": Case(
        _all("fps_link_signed_on", "sip", {f'site="{site}",direction="{way}"': "0" for site in "ab" for way in WAYS}),
        _all("fps_link_signed_on", "sop", {'site="a",direction="receive"': "0", 'site="b",direction="receive"': "1"}),
        20, 15,
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
    "LinkFlooded": count("fps_link_over_budget_total", 'site="a",outcome="closed"', at_s=105),
    "EveryLinkFlooded": count("fps_link_over_budget_total", 'site="a",outcome="paced"', at_s=105),
    "TokenDown": gauge("fps_signer_token_up", "0", "1", 65, 55, 'token="fps-1"'),
    "NoTokenLeft": gauge("fps_signer_tokens_serving", "0", "1", 10, 5),
    "RemoteTokensOnly": gauge("fps_signer_remote_only", "1", "0", 30, 25),
    "UnreadableMessages": count("fps_steps_total", 'step="unreadable"', at_s=105),
    "KeyChangeFailed": count("fps_steps_total", 'step="key_given_up"', at_s=105),
    "NameLookupTrouble": gauge("fps_name_lookup_trouble", "1", "0", 60, 55, 'party="hub a"'),
    "NotTakenIn": count("fps_steps_total", 'step="not_taken_in"', at_s=105),
    "OneTokenLeft": Case(
        _all("fps_signer_token_up", "sip", {'token="1"': "0", 'token="2"': "1"}),
        _all("fps_signer_token_up", "sop", {'token="1"': "1", 'token="2"': "1", 'token="3"': "0"}),
        30, 25,
    ),
    "CertificateEnds": gauge("fps_certificate_end_timestamp_seconds", "1800000", "1900000", 65, 55, CERTIFICATE),
    "CertificateEndsSoon": gauge("fps_certificate_end_timestamp_seconds", "250000", "1800000", 20, 10, CERTIFICATE),
    "SitesDiffer": gauge("fps_sibling_differs", "1", "0", 20, 10),
    "SiblingAway": gauge("fps_sibling_away", "1", "0", 305, 295),
    "TokenKeysDiffer": gauge("fps_signer_token_keys_differ", "1", "0", 30, 25, 'token="fps-1"'),
    "JournalSlow": Case(
        {
            _series(SYNCS, "sip", 'le="0.1"'): "0+90x100",
            _series(SYNCS, "sip", 'le="0.25"'): "0+100x100",
            _series(SYNCS, "sip", 'le="+Inf"'): "0+100x100",
        },
        {_series(SYNCS, "sop", 'le="0.1"'): "0+100x100", _series(SYNCS, "sop", 'le="+Inf"'): "0+100x100"},
        180, 100,
    ),
    "JournalUnready": gauge("fps_part_well", "0", "1", 10, 5, 'part="journal"'),
    "JournalWaits": gauge("fps_journal_waiting_bytes", "20000000", "10000000", 20, 10),
    "JournalFollowerBehind": gauge(
        "fps_journal_follower_lag_records", "100001", "5000", 305, 295, 'follower="processor"'
    ),
    "RevocationListOld": lists(24 * 3600, 6 * 3600 - 30, 6 * 3600 + 3600, 125, 55),
    "RevocationListEnds": lists(24 * 3600, 3600 - 5, 3600 + 3600, 20, 10),
    "StrangersAtTheDoor": Case(
        {_series("fps_strangers_total", "sip", 'port="submissions",outcome="crowded"'): "0+8x100",
         _series("fps_strangers_total", "sip", 'port="submissions",outcome="refused"'): "0+8x100"},
        {_series("fps_strangers_total", "sop", 'port="submissions",outcome="refused"'): "0+4x100"},
        120, 90,
    ),
    "VolumeDegraded": gauge("fps_volume_state", "1", "0", 65, 55, 'state="degraded"'),
    "VolumeUnready": gauge("fps_volume_state", "1", "0", 20, 10, 'state="unready"'),
    "VolumeStandsAlone": gauge("fps_volume_standalone", "1", "0", 65, 55, 'peer="server2"'),
    "ProcessorAway": gauge("fps_part_well", "0", "1", 20, 10, 'part="processor"'),
    "StandIn": count("fps_steps_total", 'step="stood_in"', at_s=105),
    "StandInSwitched": gauge("fps_part_well", "0", "1", 20, 10, 'part="stand_in"'),
    "SubmittingStopped": Case(
        {_series("fps_part_well", "sip", 'part="submitting"'): "1x20 0x300"},
        {_series("fps_part_well", "sop", 'part="submitting"'): "1x20 0x100 1x200"},
        1010, 1000,
    ),
    "RefusedInOurName": count("fps_steps_total", 'step="declined"', at_s=105),
    "LateAccept": count("fps_steps_total", 'step="late_accept"', at_s=105),
    "Overruled": count("fps_steps_total", 'step="overruled"', at_s=105),
    "Undelivered": count("fps_steps_total", 'step="undelivered"', at_s=105),
    "Orphaned": count("fps_steps_total", 'step="orphaned"', at_s=105),
    "OutboundUnknown": count("fps_steps_total", 'step="outbound_unknown"', at_s=105),
    "OutboundUnsent": count("fps_steps_total", 'step="outbound_unsent"', at_s=105),
    "Contradicted": count("fps_steps_total", 'step="outbound_contradicted"', at_s=105),
    "SubmissionsTurnedAway": count("fps_submissions_total", 'status="503"', at_s=105),
    "LimitTurnsAway": count("fps_limit_turned_away_total", 'limit="node.payments_max"', at_s=105),
    "LateRefusal": count("fps_steps_total", 'step="late_refusal"'),
    "ProcessorRefusesQuestions": count(UNDECIDED, 'status_class="4xx"', at_s=105),
    "RefusalNotAsAgreed": count("fps_processor_bad_refusals_total"),
    "NoticesOld": gauge("fps_notice_oldest_age_seconds", "301", "10", 20, 10),
    "NoticeParked": gauge("fps_notices_parked", "2", "0", 20, 10),
    "SchemeSuspended": gauge("fps_scheme_suspended", "1", "0", 20, 10, 'what="own"'),
    "OthersSuspended": gauge("fps_scheme_suspended", "2", "0", 20, 10, 'what="others"'),
    "NewsNotApplied": count("fps_usm_total", 'function="971",outcome="older"'),
    "NewsLifted": count("fps_steps_total", 'step="news_lifted"'),
    "OtherGroupsPayments": count("fps_steps_total", 'step="other_group"'),
    "KeySupersededAgain": count("fps_steps_total", 'step="key_superseded_again"'),
    "KeyAllowed": count("fps_steps_total", 'step="key_allowed"'),
    "OwnPaymentCameBack": count("fps_steps_total", 'step="own_sender"'),
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
    # the certificates that it shows are there in a container alone
    checked = promtool("check", "config", "--syntax-only", str(PROMETHEUS / "prometheus.yaml"))
    assert checked.returncode == 0, checked.stderr
    checked = promtool("check", "rules", str(PROMETHEUS / "alerts.yaml"))
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
    judge([{"interval": f"{STEP_S}s", "input_series": series, "promql_expr_test": expected}], tmp_path)


def judge(tests: list[dict[str, Any]], directory: Path) -> None:
    """Have promtool say whether the alerts do what these expect."""
    file = directory / "tests.yaml"  # JSON is YAML
    rules = {"rule_files": [str(PROMETHEUS / "alerts.yaml")], "evaluation_interval": f"{STEP_S}s", "tests": tests}
    file.write_text(json.dumps(rules))
    judged = promtool("test", "rules", str(file))
    assert judged.returncode == 0, judged.stdout + judged.stderr


# --- how soon


class Rule(NamedTuple):
    """What a rule says of itself."""

    severity: str
    for_s: float
    why: str


SECONDS = {"s": 1.0, "m": 60.0}
PAGE_WITHIN_S = 45.0
ONE_BOUNCE_S = 15
"""How long a link may be down that bounces once: the hub site hangs up, and we dial again with a growing pause."""


def seconds(text: str) -> float:
    """A duration as Prometheus writes it."""
    number, unit = re.fullmatch(r"(\d+)([sm])", text).groups()  # type: ignore[union-attr]
    return float(number) * SECONDS[unit]


def setting(name: str, text: str) -> float:
    """A duration that stands alone in a file."""
    found = re.findall(rf"^ +{name}: (\w+)$", text, re.MULTILINE)
    assert len(found) == 1, name
    return seconds(found[0])


def rules() -> dict[str, Rule]:
    """Every rule of the file, by name."""
    found: dict[str, Rule] = {}
    for block in re.split(r"(?m)^      - alert: ", RULES)[1:]:
        name, body = block.split("\n", 1)
        for_ = re.search(r"^        for: (\w+)$", body, re.MULTILINE)
        severity = re.search(r"labels: \{severity: (\w+)\}", body)
        why = re.search(r'^          why: "(.+)"$', body, re.MULTILINE)
        found[name] = Rule(
            severity.group(1) if severity else "", seconds(for_.group(1)) if for_ else 0.0, why.group(1) if why else ""
        )
    return found


_TIMES = config.Deadlines()
_SESSION = config.Session()
_STALL_S = config.JournalSettings("any").stall_after_s
_SIBLING = config.Sibling(url="http://any")
OWN_TIME_S = {
    "ClockWrong": WATCH_EVERY_S,
    "SitesDiffer": _SIBLING.look_every_s + sibling.LOOK_WITHIN_S,
    "VolumeUnready": watch.EVERY_S + watch.WITHIN_S,
    "JournalUnready": _STALL_S + WATCH_EVERY_S,
    "GatewayNotReady": _STALL_S + WATCH_EVERY_S,
    "StandIn": _TIMES.stand_in_after_s,
    "RefusedInOurName": _TIMES.last_moment_s,
    "Undelivered": _TIMES.reply_within_s,
    "LinkDown": SILENT_S,
    "BothLinksDown": SILENT_S,
}
"""What the gateway itself takes, as it is configured by default, until its metric says so: it looks at disks, clocks
and the other site every now and then, and gives a processor that is silent its time. Others show at once, or when the
fault is by its definition (a payment is unknown when it was asked for in vain). A link may be cut without a word: then
its hub's machine confirms nothing, and is in doubt after `SILENT_S`."""


def worst_s(name: str, rule: Rule) -> float:
    """From the fault to the alert, when everything has just been looked at: the scrape comes an interval later and
    takes as long as it may, the evaluation that sees it an interval after that, and `for` ends at an evaluation.
    """
    prometheus = (PROMETHEUS / "prometheus.yaml").read_text(encoding="utf-8")
    evaluated_s = setting("evaluation_interval", prometheus)
    waits_s = math.ceil(rule.for_s / evaluated_s) * evaluated_s
    scraped_s = setting("scrape_interval", prometheus) + setting("scrape_timeout", prometheus)
    return OWN_TIME_S.get(name, 0.0) + scraped_s + evaluated_s + waits_s


def test_every_alert_is_a_page_or_a_ticket_and_says_why() -> None:
    found = rules()
    assert list(found) == ALERTS
    assert [name for name, rule in found.items() if rule.severity not in {"page", "ticket"} or not rule.why] == []
    assert set(OWN_TIME_S) <= {name for name, rule in found.items() if rule.severity == "page"}


def test_every_page_comes_within_45_seconds_at_worst() -> None:
    """Added up from the files: scrape, evaluation, `for`, and what the gateway takes to know."""
    pages = {name: rule for name, rule in rules().items() if rule.severity == "page"}
    assert len(pages) > 20
    assert {name: worst for name, rule in pages.items() if (worst := worst_s(name, rule)) >= PAGE_WITHIN_S} == {}


WHEN_LINKS_GO = "LinkDown|BothLinksDown|NoLinkSignedOn|GatewayNotReady"


def test_a_link_that_bounces_once_calls_nobody_and_one_that_flaps_calls_once(tmp_path: Path) -> None:
    """Down for a quarter of a minute: no alert. Down for half a minute and up for more, in turn: each alert of links
    begins once, and goes on without a gap.
    """
    once = f"1x9 0x{ONE_BOUNCE_S // STEP_S - 1} 1x100"  # `0xN` is N + 1 of them
    flapping = "1x9 " + "0x5 1x9 " * 5 + "1x100"
    gauges = {"fps_link_up": 'site="a"', "fps_link_signed_on": 'site="a",direction="receive"', "fps_ready": ""}
    series = [
        {"series": _series(name, group, labels), "values": values}
        for name, labels in gauges.items()
        for group, values in (("sip", once), ("sop", flapping))
    ]

    def fired(group: str) -> str:
        alerts = f'ALERTS{{alertname=~"{WHEN_LINKS_GO}",alertstate="firing",group="{group}"}}'
        return f"sum by (alertname) ({alerts})[7m:{STEP_S}s]"

    def expect(expression: str, value: int | None) -> dict[str, Any]:
        samples = [] if value is None else [{"labels": "{}", "value": value}]
        return {"expr": expression, "eval_time": "7m", "exp_samples": samples}

    # down at 50 s for the first time: firing from 70 s on, at every look
    looks = (7 * 60 - 70) // STEP_S + 1
    expected = [
        expect(f"count(count_over_time({fired('sip')}))", None),
        expect(f"count(count_over_time({fired('sop')}))", len(WHEN_LINKS_GO.split("|"))),
        expect(f"min(count_over_time({fired('sop')}))", looks),
    ]
    judge([{"interval": f"{STEP_S}s", "input_series": series, "promql_expr_test": expected}], tmp_path)


@pytest.mark.parametrize(("metric", "labels"), [("fps_notices_parked", ""), ("fps_peer_news_parked", 'peer="other"')])
def test_a_parked_notice_is_a_ticket_for_as_long_as_it_is_parked(metric: str, labels: str, tmp_path: Path) -> None:
    """Not for a quarter of an hour after it was: it goes off, stays for hours, and clears when there is none left."""
    series = [{"series": _series(metric, "sip", labels), "values": f"0x10 1x{3 * 3600 // STEP_S} 0x60"}]
    firing = 'count by (group) (ALERTS{alertname="NoticeParked",alertstate="firing",severity="ticket"})'
    held = [{"labels": '{group="sip"}', "value": 1}]
    expected = [
        {"expr": firing, "eval_time": at, "exp_samples": samples}
        for at, samples in (("50s", []), ("90s", held), ("2h50m", held), ("3h2m", []))
    ]
    judge([{"interval": f"{STEP_S}s", "input_series": series, "promql_expr_test": expected}], tmp_path)


# --- what they name


def names_of(rules: str) -> set[str]:
    """Every metric that an expression names: what stands before a brace, or begins as ours do."""
    expressions = "\n".join(re.findall(r"expr: (?:\|\n)?(.*(?:\n {10}.*)*)", rules))
    return set(re.findall(r"\b(fps_\w+|up|process_\w+)\b", expressions))


def test_every_metric_that_a_rule_names_is_one_of_the_gateway() -> None:
    """By the names that /metrics shows, with what the parts show when they are asked."""
    counts = metrics.StepCounts({"received": 1})
    volume = metrics.VolumeStates(("ok",), lambda: metrics.VolumeShown("ok", 3, 3, True, {"server2": (False, 0)}))
    news = metrics.SchemeNews({("971", "older"): 0}, lambda: {"service": 0})
    parts = metrics.Parts(lambda: {"journal": True}, ("timer",), lambda: "timer")
    with metrics.shown(counts, volume, news, parts):
        shown = metrics.exposition(openmetrics=False)[0].decode()
    known = set(re.findall(r"^# TYPE (\S+) ", shown, re.MULTILINE))
    histograms = set(re.findall(r"^# TYPE (\S+) histogram", shown, re.MULTILINE))
    known |= {f"{name}_bucket" for name in histograms}
    named = names_of(RULES)
    assert len(named) > 10
    assert named - known - OTHERS == set()


def series_of(rules: str) -> set[tuple[str, str]]:
    """Every counter whose growth a rule waits for, where the rule says of what: with each label value that it names."""
    found: set[tuple[str, str]] = set()
    for metric, label, values in re.findall(r'increase\((\w+)\{(\w+)=~?"([^"]+)"\}', rules):
        found |= {(metric, f'{label}="{value}"') for value in values.split("|")}
    return found


def test_a_counter_that_an_alert_waits_for_is_there_before_it_counts() -> None:
    """Prometheus sees it grow from 0 to 1; that it comes to be with 1 is no increase, and the first would be missed."""
    importlib.import_module("gateway.daemon")  # a part makes what it counts when it is imported
    waited = series_of(RULES)
    assert len(waited) > 15
    importlib.import_module("gateway.daemon")  # a gateway that runs has made the counters of all its modules
    news = metrics.SchemeNews(dict.fromkeys(product(COUNTED, OUTCOMES), 0), dict)
    # a gateway makes those of its hub's sites before it dials
    pool._Site(config.HubSite("hub", "hub.example", 1), (), nameless(trio.open_tcp_stream), config.Unproved())
    with metrics.shown(metrics.StepCounts({}, STEPS), news):
        shown = re.findall(r"^(\w+)\{(.*)\} ", metrics.exposition(openmetrics=False)[0].decode(), re.MULTILINE)
    there = {(metric, label) for metric, labels in shown for label in labels.split(",")}
    assert waited - there == set()


NO_ALERT = {
    _IN.CONFLICT: "refused: the sender's mistake, and the hub's to hear of",
    _IN.BAD_FIELD: "refused: the sender's mistake",
    _IN.REVERSED: "the hub's right, and told; the processor acts on it",
    _IN.REFUSED_REVERSED: "the hub's right: what came late is refused",
    _IN.MUST_ACCEPT: "accepted as StandIn says, which pages",
    _IN.STAND_IN_MODE: "StandInSwitched goes by the mode itself",
    _OUT.CLASH: "the submitter's mistake, and its response says so",
    _OUT.DECLINED: "refused before it left, and its response says so; that the scheme suspends us pages",
    _OUT.RETRIED: "the promise works; when it does not, OutboundUnknown pages",
    _OUT.INCONCLUSIVE: "it is repeated; when that does not help, OutboundUnknown pages",
    _OUT.STOPPED: "SubmittingStopped goes by the stop itself, once it stands for long",
    _OUT.RESUMED: "taken up again; GatewayStartsAgainAndAgain pages for a process that does not stay",
}
"""What the log warns of and no rule names, and why."""


def test_whatever_the_log_warns_of_is_an_alert_or_has_a_reason_not_to_be() -> None:
    """Of payments: a fault that raises nothing is one that nobody has thought of."""
    named = {step for said in re.findall(r'step=~?"([\w|]+)"', RULES) for step in said.split("|")}
    loud = {note for note, (level, _) in NOTES.items() if level in {"warning", "error"}}
    silent = {
        note for note in loud if ("outbound_" * isinstance(note, departure.Note) + note.name.lower()) not in named
    }
    assert silent == set(NO_ALERT)
    assert not {note for note in silent if NOTES[note][0] == "error"}
    keys = {f"key_{note.name.lower()}" for note, (level, _) in keywork.SAID.items() if level == "error"}
    assert keys - named == set()


def test_every_step_that_a_rule_names_is_one_that_is_counted() -> None:
    steps = {step for said in re.findall(r'step=~?"([\w|]+)"', RULES) for step in said.split("|")}
    assert len(steps) > 3
    assert steps <= set(STEPS)


def test_documents_say_alert_of_rules_only() -> None:
    """What nobody is called for is a log line or a metric; an alert that is named is a rule of ours."""
    top = PROMETHEUS.parents[1]
    places = [
        top / "README.md",
        *(path for place in ("docs", "compose", "hsm") for path in (top / place).rglob("*.md")),
    ]
    documents = {path: path.read_text(encoding="utf-8") for path in places}
    assert len(documents) > 30
    assert [str(path) for path, text in documents.items() if re.search(r"\balarm", text, re.IGNORECASE)] == []
    named = re.findall(r"\balerts? (?:at both )?\(((?:`\w+`(?:, )?)+)\)", "\n".join(documents.values()))
    assert len(named) > 5
    assert {name for names in named for name in re.findall(r"\w+", names)} - set(ALERTS) == set()
