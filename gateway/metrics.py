"""Every metric, with its unit in its name. Children are made once and kept: `.labels()` costs more than counting.

No label could identify a customer: labels come from the configuration or from closed sets of ours. The metrics of a
part stand together under its heading. Code that counts imports the child, never the registry.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import NamedTuple

from prometheus_client import CollectorRegistry, Counter, Gauge, GCCollector, Histogram, ProcessCollector
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.exposition import choose_encoder
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

REGISTRY = CollectorRegistry()
"""The registry that `/metrics` shows, in place of the library's process-wide default."""

LATENCY_S = (0.0005, 0.001, 0.002, 0.003, 0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 7.5, 10.0)
"""Buckets of every latency histogram, seconds."""


_OPEN = "application/openmetrics-text; version=1.0.0"


def is_openmetrics(accept: str) -> bool:
    """Whether an HTTP Accept header asks for OpenMetrics. A header that cannot be read gets what everyone
    understands.
    """
    try:
        return "openmetrics" in choose_encoder(accept)[1]
    except (TypeError, ValueError):
        return False


def exposition(*, openmetrics: bool) -> tuple[bytes, str]:
    """Render everything, in one of two formats; say which content type it is."""
    encode, content_type = choose_encoder(_OPEN if openmetrics else "")
    return encode(REGISTRY), content_type


@contextmanager
def shown(*collectors: Collector) -> Iterator[None]:
    """Show these collectors, too, while the block runs."""
    for collector in collectors:
        REGISTRY.register(collector)
    try:
        yield
    finally:
        for collector in collectors:
            REGISTRY.unregister(collector)


# --- process

ProcessCollector(registry=REGISTRY)
GCCollector(registry=REGISTRY)

# --- limits

LIMITS = (
    "node.processor.connections_max", "node.processor.waiting_max", "node.submissions.connections_max",
    "signer.WAITING_MAX", "signer.VERIFICATIONS_MAX", "ops.CONNECTIONS_MAX", "node.payments_max",
    "hub.UNJUDGED_MAX",
)  # fmt: skip
"""Named by the setting, or by the place in the code."""
_limit_reached = Counter(
    "fps_limit_reached_total",
    "Times that this limit was reached. Each time counts once, however long it lasted and whatever it held up.",
    ["limit"],
    registry=REGISTRY,
)
_limit_turned_away = Counter(
    "fps_limit_turned_away_total",
    "Pieces of work refused or left undone because of this limit.",
    ["limit"],
    registry=REGISTRY,
)
LIMIT_REACHED = {name: _limit_reached.labels(name) for name in LIMITS}
LIMIT_TURNED_AWAY = {name: _limit_turned_away.labels(name) for name in LIMITS}

# --- shortages

SHORT_PARTS = ("accept", "door", "journal", "dial", "worker")
_SHORTAGES = Counter(
    "fps_shortages_total",
    "Times that a descriptor, thread, process or memory was lacking for something, which was tried again later.",
    ["part"],
    registry=REGISTRY,
)
SHORTAGES = {part: _SHORTAGES.labels(part) for part in SHORT_PARTS}
"""Clients that could not be taken (`accept`) or were turned away for the sake of others (`door`), reads behind the
journal, connections that we would make, workers of tokens."""

# --- addresses

LOOKUP_OUTCOMES = ("found", "failed", "overdue")
NAME_LOOKUPS = Counter(
    "fps_name_lookups",
    "Lookups of the name of a party that we dial, by outcome; overdue: one that hung, whatever came later.",
    ["party", "outcome"],
    registry=REGISTRY,
)
NAME_LOOKUP_TROUBLE = Gauge(
    "fps_name_lookup_trouble",
    "1 while this party's name cannot be looked up: its last known addresses are used.",
    ["party"],
    registry=REGISTRY,
)

# --- journal

JOURNAL_RECORDS = Counter("fps_journal_records_total", "Records made durable.", registry=REGISTRY)
JOURNAL_BYTES = Counter("fps_journal_bytes_total", "Bytes of records made durable.", registry=REGISTRY)
JOURNAL_SYNC_S = Histogram(
    "fps_journal_sync_seconds",
    "Time from handing a batch to the disk (or from the end of the previous sync) until it is durable.",
    registry=REGISTRY,
    buckets=(0.0001, 0.0002, *LATENCY_S),
)
JOURNAL_WAITING_BYTES = Gauge("fps_journal_waiting_bytes", "Bytes that wait for the disk.", registry=REGISTRY)
JOURNAL_SEGMENTS = Gauge("fps_journal_segments", "Segments in use.", registry=REGISTRY)
JOURNAL_LAG = Gauge(
    "fps_journal_follower_lag_records",
    "Records that a follower has not settled.",
    ["follower"],
    registry=REGISTRY,
)

# --- signer

SIGNER_JOBS = Counter(
    "fps_signer_jobs_total", "MACs requested from the tokens, by outcome.", ["outcome"], registry=REGISTRY
)
SIGNER_DONE = SIGNER_JOBS.labels("done")
SIGNER_WRONG_MAC = SIGNER_JOBS.labels("wrong-mac")
SIGNER_UNAVAILABLE = SIGNER_JOBS.labels("unavailable")
SIGNER_WAITING = Gauge("fps_signer_waiting_jobs", "Jobs that wait for a token.", registry=REGISTRY)
SIGNER_BATCH_JOBS = Histogram(
    "fps_signer_batch_jobs",
    "Jobs in a batch.",
    registry=REGISTRY,
    buckets=(1, 2, 4, 8, 16, 32, 64, 128, 256),
)
SIGNER_BATCH_S = Histogram(
    "fps_signer_batch_seconds",
    "Time from sending a batch to its results.",
    ["token"],
    registry=REGISTRY,
    buckets=LATENCY_S,
)
SIGNER_LOST = Counter(
    "fps_signer_token_lost_total",
    "Times that a token was lost or could not be opened.",
    ["token", "state"],
    registry=REGISTRY,
)
SIGNER_HANDED_ON = Counter(
    "fps_signer_handed_on_jobs_total",
    "Jobs passed on to another token because the first was lost or late.",
    registry=REGISTRY,
)
SIGNER_DOUBLED = Counter(
    "fps_signer_doubled_jobs_total",
    "Jobs given to a second token as well, because the first one took long.",
    registry=REGISTRY,
)
SIGNER_REMOTE_ONLY = Gauge(
    "fps_signer_remote_only",
    "1 while only tokens of the other data centre are used, because ours are away or too slow.",
    registry=REGISTRY,
)
SIGNER_SERVING = Gauge("fps_signer_tokens_serving", "Tokens that serve.", registry=REGISTRY)
SIGNER_TOKEN_UP = Gauge("fps_signer_token_up", "1 when this token serves.", ["token"], registry=REGISTRY)
SIGNER_SAID_BYTES = Counter(
    "fps_signer_library_output_bytes_total",
    "Bytes that this token's PKCS#11 library wrote to standard error.",
    ["token"],
    registry=REGISTRY,
)
SIGNER_KEYS_DIFFER = Gauge(
    "fps_signer_token_keys_differ", "1 when this token is kept out because of its keys.", ["token"], registry=REGISTRY
)

# --- TLS

CERTIFICATE_END_S = Gauge(
    "fps_certificate_end_timestamp_seconds",
    "End of the certificate that a use of TLS presents (own) or trusts (authority), in seconds since the epoch.",
    ["use", "kind"],
    registry=REGISTRY,
)

REVOCATION_LIST_S = Gauge(
    "fps_revocation_list_timestamp_seconds",
    "Of the list of revoked certificates that is stale first, in seconds since the epoch: when it was issued, and from "
    "when on it is stale.",
    ["use", "kind"],
    registry=REGISTRY,
)

# --- hub

LINK_UP = Gauge(
    "fps_link_up",
    "1 while a connection to this hub site stands and the machine at its other end has just shown that it is there.",
    ["site"],
    registry=REGISTRY,
)
LINK_SIGNED_ON = Gauge(
    "fps_link_signed_on",
    "1 while the hub has us signed on in this direction.",
    ["site", "direction"],
    registry=REGISTRY,
)
LINK_DIALS = Counter(
    "fps_link_dials", "Attempts to connect, by outcome: connected, failed.", ["site", "outcome"], registry=REGISTRY
)
LINK_REPORTS = Counter(
    "fps_link_reports",
    "Reports of the session, by kind (gateway/hub/session.py).",
    ["site", "report"],
    registry=REGISTRY,
)
LINK_EJECTED = Gauge(
    "fps_link_ejected",
    "1 while this hub site's link gets no new submissions, because it brings fewer or slower answers than the others.",
    ["site"],
    registry=REGISTRY,
)
LINK_EJECTIONS = Counter(
    "fps_link_ejections",
    "Times that this hub site's link was ejected: it got no new submissions for a while.",
    ["site"],
    registry=REGISTRY,
)
LINK_FRAMES_IN = Counter("fps_link_frames_in", "Frames read.", ["site"], registry=REGISTRY)
LINK_EMPTY_FRAMES = Counter("fps_link_empty_frames", "Frames without a body: ignored.", ["site"], registry=REGISTRY)
LINK_UNPROVED_FRAMES = Counter(
    "fps_link_unproved_frames", "Frames that prove nothing: no message, or a wrong MAC.", ["site"], registry=REGISTRY
)
LINK_UNPROVED_BYTES = Counter("fps_link_unproved_bytes", "Bytes of these frames.", ["site"], registry=REGISTRY)
OVER_BUDGET_OUTCOMES = ("closed", "paced")
LINK_OVER_BUDGET = Counter(
    "fps_link_over_budget",
    "Times that a link brought more frames that prove nothing than node.unproved allows, by what came of it: it was "
    "closed, or, where no other link does well, is read no faster than that (paced).",
    ["site", "outcome"],
    registry=REGISTRY,
)
LINK_FRAMES_OUT = Counter("fps_link_frames_out", "Frames written.", ["site"], registry=REGISTRY)
LINK_IN_BYTES = Counter("fps_link_in_bytes", "Bytes read.", ["site"], registry=REGISTRY)
LINK_OUT_BYTES = Counter("fps_link_out_bytes", "Bytes written.", ["site"], registry=REGISTRY)

# --- processor

PROCESSOR_ASK_OUTCOMES = (
    "answered", "late",  # an answer
    "dropped", "expired",  # never sent, or not again: too many waited; no time was left
    "malformed", "status", "away", "silent",  # no answer: of no use, refused, nobody met, nothing came
    "again",  # asked once more: no end of its own
)  # fmt: skip
"""Each ask ends in exactly one of these but the last; in none when it is made void before it is sent (again)."""
_processor_asks = Counter("fps_processor_asks", "Questions about payments, by outcome.", ["outcome"], registry=REGISTRY)
PROCESSOR_ASKS = {outcome: _processor_asks.labels(outcome) for outcome in PROCESSOR_ASK_OUTCOMES}
_processor_undecided = Counter(
    "fps_processor_undecided_responses",
    "Complete responses that decide nothing and lead to no new question, by status class.",
    ["status_class"],
    registry=REGISTRY,
)
PROCESSOR_UNDECIDED = {number: _processor_undecided.labels(f"{number}xx") for number in range(2, 10)}
"""By the first digit of the status: HTTP has five, and a parser takes whatever has three digits."""
PROCESSOR_BAD_REFUSALS = Counter(
    "fps_processor_bad_refusals",
    "Refusals that count although they are not as agreed: repeated members, a useless reason, an unexpected status.",
    registry=REGISTRY,
)
PROCESSOR_ANSWER_S = Histogram(
    "fps_processor_answer_seconds", "Time from sending a question to its answer.", registry=REGISTRY, buckets=LATENCY_S
)
PROCESSOR_CONNECTIONS = Gauge("fps_processor_connections", "Connections for asking.", registry=REGISTRY)
PROCESSOR_CONNECT_FAILURES = Counter(
    "fps_processor_connect_failures", "Connections that could not be made.", registry=REGISTRY
)
NOTICE_OUTCOMES = ("told", "parked", "again", "dropped")


class Telling(NamedTuple):
    """How telling somebody goes."""

    outcomes: dict[str, Counter]
    """One for each of `NOTICE_OUTCOMES`."""
    waiting: Gauge
    oldest_age_s: Gauge
    parked: Gauge


_notices = Counter("fps_notices", "Notices told, by outcome.", ["outcome"], registry=REGISTRY)
NOTICES = Telling(
    {outcome: _notices.labels(outcome) for outcome in NOTICE_OUTCOMES},
    Gauge("fps_notices_waiting", "Notices read from the journal and not acknowledged yet.", registry=REGISTRY),
    Gauge(
        "fps_notice_oldest_age_seconds",
        "Age of the record of the lowest notice that is neither acknowledged nor parked; 0 when there is none.",
        registry=REGISTRY,
    ),
    Gauge(
        "fps_notices_parked",
        "Notices that the processor refused for good, neither acknowledged nor dropped since: those that the journal "
        "held when this process started, and those that came later.",
        registry=REGISTRY,
    ),
)
_peer_news = Counter(
    "fps_peer_news", "News handed on to another process of ours, by outcome.", ["peer", "outcome"], registry=REGISTRY
)
_peer_waiting = Gauge(
    "fps_peer_news_waiting", "News that a process of ours has not taken yet.", ["peer"], registry=REGISTRY
)
_peer_oldest_age_s = Gauge(
    "fps_peer_news_oldest_age_seconds",
    "Age of the record of the lowest news that this other process of ours has not taken; 0 when there is none.",
    ["peer"],
    registry=REGISTRY,
)
_peer_parked = Gauge(
    "fps_peer_news_parked",
    "News that a process of ours refused for good, as fps_notices_parked counts notices.",
    ["peer"],
    registry=REGISTRY,
)


def peer_news(peer: str) -> Telling:
    """How handing news on to a process of ours goes; its name is out of the configuration."""
    outcomes = {outcome: _peer_news.labels(peer, outcome) for outcome in NOTICE_OUTCOMES}
    return Telling(outcomes, _peer_waiting.labels(peer), _peer_oldest_age_s.labels(peer), _peer_parked.labels(peer))


SUBMISSIONS_BY_STATUS = Counter(
    "fps_submissions", "Responses to clients that submit or look, by HTTP status.", ["status"], registry=REGISTRY
)
SUBMISSION_DURABLE_S = Histogram(
    "fps_submission_durable_seconds",
    "Time from reading a submission until it is durable or refused.",
    registry=REGISTRY,
    buckets=LATENCY_S,
)
SUBMISSION_CONNECTIONS = Gauge("fps_submission_connections", "Connections of clients that submit.", registry=REGISTRY)

# --- clients that have shown no certificate

STRANGERS_AT = ("submissions", "ops")
"""Our ports, by the table of the configuration."""
STRANGER_OUTCOMES = ("refused", "late", "crowded")
_strangers = Counter(
    "fps_strangers_total",
    "Clients at a TLS port of ours that were not let in: what they showed was refused; they showed nothing in time "
    "(late); their place was needed for a newer client (crowded).",
    ["port", "outcome"],
    registry=REGISTRY,
)
_trust_ended = Counter(
    "fps_trust_ended_total",
    "Connections to a TLS port of ours that were closed because the client's certificate was trusted no more: it "
    "ended, was revoked, or its authority was withdrawn.",
    ["port"],
    registry=REGISTRY,
)
TRUST_ENDED = {port: _trust_ended.labels(port) for port in STRANGERS_AT}
STRANGERS = {
    port: {outcome: _strangers.labels(port, outcome) for outcome in STRANGER_OUTCOMES} for port in STRANGERS_AT
}

# --- payments

READY = Gauge("fps_ready", "1 while payments may come here, as /ready reports.", registry=REGISTRY)
CLOCK_WRONG = Gauge(
    "fps_clock_wrong",
    "1 while the wall clock is certainly wrong, as the journal and the release show.",
    registry=REGISTRY,
)
HUB_CLOCK_DIFFERS = Gauge(
    "fps_hub_clock_differs", "1 while the hub's clock (DE7) differs from ours on every link.", registry=REGISTRY
)
STOOD_STILL_S = Counter(
    "fps_stood_still_seconds_total",
    "Seconds for which this process did not run, because the machine slept or somebody had stopped it.",
    registry=REGISTRY,
)

PAYMENT_REPLY_S = Histogram(
    "fps_payment_reply_seconds",
    "Time from the first byte of a request until its reply is written to the link.",
    buckets=LATENCY_S,
    registry=REGISTRY,
)

OUTBOUND_SETTLE_S = Histogram(
    "fps_outbound_settle_seconds",
    "Time from a submission until its outcome is durable.",
    buckets=(*LATENCY_S, 15.0, 20.0, 30.0, 60.0),
    registry=REGISTRY,
)


# --- the pair

SIBLING_DIFFERS = Gauge(
    "fps_sibling_differs",
    "1 while the gateway of our group at the other site does not share what a pair must share, as far as it was seen.",
    registry=REGISTRY,
)
SIBLING_AWAY = Gauge(
    "fps_sibling_away",
    "1 while the gateway of our group at the other site, if one is configured, cannot be reached.",
    registry=REGISTRY,
)


class PairInfo(Collector):
    """Shows the group, the fingerprint and the version of this process."""

    def __init__(self, group: str, fingerprint: str, version: str) -> None:
        self._labels = {"group": group, "fingerprint": fingerprint, "version": version}

    def collect(self) -> Iterator[Metric]:
        """See prometheus_client."""
        text = "Always 1: the group, the fingerprint of what both sites must share, and the version that runs."
        info = GaugeMetricFamily("fps_pair_info", text, labels=list(self._labels))
        info.add_metric(list(self._labels.values()), 1)
        yield info


class Parts(Collector):
    """Shows, on request, which part has trouble that `/ready` describes in words, and the mode of stand-in."""

    def __init__(self, well: Callable[[], dict[str, bool]], modes: Sequence[str], mode: Callable[[], str]) -> None:
        """`modes`: all modes; `mode`: the one in force."""
        self._well = well
        self._modes = modes
        self._mode = mode

    def collect(self) -> Iterator[Metric]:
        """See prometheus_client."""
        text = "1 while this part of /ready is well; 0: /ready says in words what is wrong."
        parts = GaugeMetricFamily("fps_part_well", text, labels=["part"])
        for part, well in self._well().items():
            parts.add_metric([part], well)
        yield parts
        mode = self._mode()
        modes = GaugeMetricFamily("fps_stand_in_mode", "1 for the mode of stand-in that is in force.", labels=["mode"])
        for one in self._modes:
            modes.add_metric([one], one == mode)
        yield modes


class SchemeNews(Collector):
    """Shows, on request, what the scheme's news says. `counts` and `held` are from `news.News`."""

    def __init__(self, counts: dict[tuple[str, str], int], held: Callable[[], dict[str, int]]) -> None:
        self._counts = counts
        self._held = held

    def collect(self) -> Iterator[Metric]:
        """See prometheus_client."""
        text = "Unsolicited messages (9824), by function code and outcome (gateway/scheme/news.py)."
        usms = CounterMetricFamily("fps_usm", text, labels=["function", "outcome"])
        for labels, count in sorted(self._counts.items()):
            usms.add_metric(labels, count)
        yield usms
        text = "1 while the scheme has suspended this; others: the number of other institutions suspended."
        suspended = GaugeMetricFamily("fps_scheme_suspended", text, labels=["what"])
        for what, value in self._held().items():
            suspended.add_metric([what], value)
        yield suspended


class VolumeShown(NamedTuple):
    """The state of the volume under the journal as it is shown; None stands for what was never known."""

    state: str
    copies_wanted: int
    copies: int | None
    quorum: bool | None
    peers: dict[str, tuple[bool, int]]
    """For each server: whether DRBD does not even try to connect to it, and the bytes known to differ there."""


class VolumeStates(Collector):
    """Shows the volume, on request; registered only where one is configured."""

    def __init__(self, states: Sequence[str], shown: Callable[[], VolumeShown]) -> None:
        self._states = states
        self._shown = shown

    def collect(self) -> Iterator[Metric]:
        """See prometheus_client."""
        now = self._shown()
        text = "1 for the present state of the volume under the journal: ok, degraded, unready, unknown."
        state = GaugeMetricFamily("fps_volume_state", text, labels=["state"])
        for one in self._states:
            state.add_metric([one], one == now.state)
        yield state
        for name, text, value in (
            ("fps_volume_copies_wanted", "Servers that should have an up-to-date copy.", now.copies_wanted),
            ("fps_volume_copies", "Servers that have one, this one included, when last known.", now.copies),
            ("fps_volume_quorum", "1 while the volume has quorum, when last known.", now.quorum),
        ):
            if value is not None:
                yield GaugeMetricFamily(name, text, value)
        text = "1 while DRBD does not even try to connect to this server (drbdadm adjust)."
        alone = GaugeMetricFamily("fps_volume_standalone", text, labels=["peer"])
        text = "Bytes that are known to differ on this server."
        differing = GaugeMetricFamily("fps_volume_out_of_sync_bytes", text, labels=["peer"])
        for peer, (is_alone, out_of_sync_bytes) in sorted(now.peers.items()):
            alone.add_metric([peer], is_alone)
            differing.add_metric([peer], out_of_sync_bytes)
        yield alone
        yield differing


class StepCounts(Collector):
    """Shows the engine's own counts, on request, so that each payment is counted once only."""

    def __init__(self, counts: dict[str, int], known: Sequence[str] = ()) -> None:
        """`known`: steps shown from the start, as 0. Prometheus sees a counter grow, but not appear: an alert on the
        first of its kind would not fire.
        """
        self._counts = counts
        self._known = dict.fromkeys(known, 0)

    def collect(self) -> Iterator[Metric]:
        """See prometheus_client."""
        family = CounterMetricFamily("fps_steps", "Steps of messages and payments, by kind.", labels=["step"])
        for step, count in sorted({**self._known, **self._counts}.items()):
            family.add_metric([step], count)
        yield family
