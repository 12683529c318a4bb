"""The rules between settings: contradictions, which no setting can know alone, and remarks on what may be a mistake.

Each contradiction names both settings. Hosts and URLs are checked here, too: the same rules find a placeholder from the
example, or an address in the wrong form, wherever it stands.
"""

import ipaddress
import re
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

from msgspec import Struct

from gateway import config

Mistake = tuple[str, str]
"""A dotted key, and what is wrong there."""
PAYMENT_WAITING_BYTES = 2048
"""The bytes that a payment in flight may still have to write: a stand-in with request and reply, and an undelivered
reply."""
IN_CLEAR: str = config.choices_in(config.InClear)[-1]
"""The words that accept plain HTTP beyond this machine."""
_PLACEHOLDER = re.compile(r"(.*\.)?example(\.(com|net|org))?\.?", re.IGNORECASE)
"""Names reserved for examples (RFC 2606): no host ever has one."""


def check_pair(pair: config.Pair) -> Iterator[Mistake]:
    """The contradictions in the settings that both sites share."""
    times = pair.deadlines
    yield from _ordered("pair.deadlines", times, "stand_in_after_s", "reply_within_s", strictly=True)
    if times.decline_after_s:
        yield from _ordered("pair.deadlines", times, "decline_after_s", "reply_within_s", strictly=True)
        if times.decline_after_s < times.stand_in_after_s:
            what = f"{times.decline_after_s:g} s must not be less than stand_in_after_s"
            yield "pair.deadlines.decline_after_s", f"{what}, which is {times.stand_in_after_s:g} s"
    yield from _check_stand_in(pair.stand_in)
    yield from _check_dates(pair)
    yield from _ordered("pair.deadlines", times, "reply_within_s", "hub_patience_s", strictly=True)
    yield from _ordered("pair.deadlines", times, "hub_patience_s", "sender_answer_s", strictly=True)
    yield from _ordered("pair.session", pair.session, "retry_s", "retry_max_s")
    yield from _ordered("pair.submit", pair.submit, "pause_s", "pause_max_s")
    yield from _ordered("pair.submit", pair.submit, "answer_within_s", "repeat_for_s")
    yield from _check_keys(pair.keys)
    yield from _check_apart(pair)
    if pair.keys.overlap_s < times.reply_within_s:
        least = f"pair.deadlines.reply_within_s, which is {times.reply_within_s:g} s"
        what = f"{pair.keys.overlap_s:g} s must not be less than {least}: a waiting reply would lose its key"
        yield "pair.keys.overlap_s", what
    wire = pair.wire
    longest = wire.frame_bytes_max + (wire.header_bytes if wire.header_inclusive else 0)
    if longest >= (10 if wire.header_format == "ascii" else 256) ** wire.header_bytes:
        header = f"a header of {wire.header_bytes} " + ("digits" if wire.header_format == "ascii" else "bytes")
        yield "pair.wire.frame_bytes_max", f"{longest} does not fit into {header}"
    if wire.field_table and not is_file(wire.field_table):
        yield "pair.wire.field_table", "no such file"
    if wire.usm_table and not is_file(wire.usm_table):
        yield "pair.wire.usm_table", "no such file"
    if wire.code_table and not is_file(wire.code_table):
        yield "pair.wire.code_table", "no such file"


def _check_dates(pair: config.Pair) -> Iterator[Mistake]:
    """A date may be ordinary only while FPIDs are remembered: later, a captured frame would be a new payment."""
    days = config.days_spanned(pair.business_days) - 1
    for code, back in pair.dates.back_days.items():
        if back > days:
            what = f"{back} must not exceed {days}: no FPID is certain to be remembered for longer"
            yield f"pair.dates.back_days.{code}", f"{what} with pair.business_days = {pair.business_days}"


def is_file(path: str) -> bool:
    """Whether this is a file that we can see."""
    try:
        return Path(path).is_file()
    except OSError:  # the name is too long, or we may not look into the directory
        return False


def _check_stand_in(rules: config.StandIn) -> Iterator[Mistake]:
    """Rules that contradict or repeat each other: the author meant something else."""
    if 0 < rules.daily_total_max < rules.amount_max:
        what = f"{rules.amount_max} must not exceed daily_total_max, which is {rules.daily_total_max}"
        yield "pair.stand_in.amount_max", f"{what}: such an amount is never accepted"
    for index, code in enumerate(rules.payment_types):
        if code in rules.payment_types[:index]:
            yield f"pair.stand_in.payment_types[{index}]", "is there already"
    for index, prefix in enumerate(rules.sort_codes):
        for number, other in enumerate(rules.sort_codes):
            if index != number and prefix.startswith(other) and (prefix != other or index > number):
                yield f"pair.stand_in.sort_codes[{index}]", f"is covered by sort_codes[{number}] already"
                break


def _check_keys(keys: config.Keys) -> Iterator[Mistake]:
    """Whether the parts of DE125 can be told apart."""
    widths = dict(part.split(":") for part in keys.layout)
    if len(widths) < len(keys.layout):
        yield "pair.keys.layout", "names a part twice"
    if list(widths.values()).count("*") > 1:
        yield "pair.keys.layout", "at most one part can take the rest"
    if widths.get("check", "6") not in {"4", "6", "8", "10", "12", "14", "16"}:
        yield "pair.keys.layout", "check must have an even number of digits, from 4 to 16"
    for name in ("hub_use", "own_use"):
        if widths.get("use", "*") not in {"*", str(len(getattr(keys, name)))}:
            yield f"pair.keys.{name}", f"must have {widths['use']} characters, as pair.keys.layout says"
    if keys.hub_use == keys.own_use:
        yield "pair.keys.own_use", "must differ from hub_use"
    yield from _check_carried(keys, set(widths))


def _check_apart(pair: config.Pair) -> Iterator[Mistake]:
    """One key for two uses is refused by the tokens, too; under one label it can be seen here."""
    labels = {
        "pair.mac.hub_key": pair.mac.hub_key, "pair.mac.own_key": pair.mac.own_key,
        "pair.mac.seal_key": pair.mac.seal_key, "pair.keys.transport_key": pair.keys.transport_key,
    }  # fmt: skip
    seen: dict[str, str] = {}
    for place, label in labels.items():
        if seen.setdefault(label, place) != place:
            yield place, f"must be another key than {seen[label]}"


def _check_carried(keys: config.Keys, placed: set[str]) -> Iterator[Mistake]:
    needed: dict[str, tuple[str, ...]] = {
        "change_carries": ("wrapped", "check"), "verify_carries": ("check",), "request_carries": (),
    }  # fmt: skip
    for name, parts in needed.items():
        carried = getattr(keys, name)
        missing = [f"{part} cannot be missing" for part in parts if part not in carried]
        for what in [*missing, *(f"{part} has no place in layout" for part in carried if part not in placed)]:
            yield f"pair.keys.{name}", what


def check_node(node: config.Node) -> Iterator[Mistake]:
    """The contradictions in the settings of one node."""
    for key, names in (("hub", [site.name for site in node.hub]), ("token", [token.name for token in node.token])):
        for index, name in enumerate(names):
            if name in names[:index]:
                yield f"node.{key}[{index}].name", "is the name of another one already"
    for index, site in enumerate(node.hub):
        yield from _ordered(f"node.hub[{index}]", site, "reconnect_s", "reconnect_max_s")
        yield from _check_host(f"node.hub[{index}].host", site.host)
        yield from _check_tls(f"node.hub[{index}].tls", site.tls)
    yield from _check_host("node.ops.host", node.ops.host)
    if node.submissions is not None:
        yield from _check_host("node.submissions.host", node.submissions.host)
    yield from _check_twice(node)
    yield from _ordered("node.processor", node.processor, "tell_pause_s", "tell_pause_max_s")
    yield from _ordered("node.ejection", node.ejection, "pause_s", "pause_max_s")
    yield from _check_unproved(node.unproved)
    yield from _check_urls(node)
    yield from _check_in_clear(node)
    if node.volume is not None and node.volume.copies_min > node.volume.copies:
        what = f"{node.volume.copies_min} must not exceed copies, which is {node.volume.copies}"
        yield "node.volume.copies_min", f"{what}: it would never be ready"
    if node.volume is not None and node.volume.device and node.volume.report:
        yield "node.volume.device", "and report exclude each other: the report already names the device"
    yield from _check_acts(node)
    door = node.submissions
    if door is not None and door.tls is None and not is_loopback(door.host):
        what = f"is missing, and {door.host} is not a loopback address"
        yield "node.submissions.tls", f"{what}: anybody who reaches it could submit"
    if door is not None and door.tls is not None and not door.tls.client_name:
        what = "is missing: without the DNS name in the processor's certificate"
        yield "node.submissions.tls.client_name", f"{what}, anybody with a certificate of ca_file's could submit"


def _check_unproved(unproved: config.Unproved) -> Iterator[Mistake]:
    """A budget that holds less than a second of what it earns would never hold what it earns."""
    yield from _ordered("node.unproved", unproved, "pause_s", "pause_max_s")
    for what in ("frames", "bytes"):
        most, per_s = getattr(unproved, f"{what}_max"), getattr(unproved, f"{what}_per_s")
        if most < per_s:
            said = f"{most} must not be less than {what}_per_s, which is {per_s:g}"
            yield f"node.unproved.{what}_max", f"{said}: it would not hold one second of it"


SOCKET_PATH_BYTES_MAX = 107
"""The kernel's limit for the path of a Unix socket."""


def _check_acts(node: config.Node) -> Iterator[Mistake]:
    """Who may look and act, and by which way."""
    ops, acts = node.ops, node.acts
    if ops.tls is None and not is_loopback(ops.host):
        yield "node.ops.tls", f"is missing, and {ops.host} is no loopback: whoever reaches it could look"
    if len(acts.socket.encode()) > SOCKET_PATH_BYTES_MAX:
        yield "node.acts.socket", f"is longer than {SOCKET_PATH_BYTES_MAX} bytes, the system's limit"
    for member in ("name", "user", "certificate"):
        seen: dict[str, int] = {}
        for index, actor in enumerate(node.actors):
            value = getattr(actor, member)
            if value and value in seen:
                yield f"node.actors[{index}].{member}", f"is that of node.actors[{seen[value]}] already"
            seen.setdefault(value, index)
    for index, actor in enumerate(node.actors):
        if not (actor.user or actor.certificate):
            yield f"node.actors[{index}]", "has neither user nor certificate: nobody could come under this name"
    if acts.second_person and len([one for one in node.actors if {"operate", "approve"} & set(one.roles)]) < 2:
        yield "node.acts.second_person", "needs two people: one who may operate, and another who may approve"


def _check_twice(node: config.Node) -> Iterator[Mistake]:
    """Things given twice serve once: the mistake would show only when the first is lost."""
    hubs = [(_bare(site.host), site.port) for site in node.hub]
    peers = list(node.peers.items())
    tokens = [(token.module, token.label, sorted(token.environment.items())) for token in node.token]
    for index, address in enumerate(hubs):
        if (first := hubs.index(address)) < index:
            yield f"node.hub[{index}].port", f"is that of node.hub[{first}], on the same host: a site dialled twice"
    for index, token in enumerate(tokens):
        if (first := tokens.index(token)) < index:
            what = f"is that of node.token[{first}], in the same module: one token does not count twice"
            yield f"node.token[{index}].label", what
    for name, url in peers:
        first_name = next(other for other, other_url in peers if other_url.rstrip("/") == url.rstrip("/"))
        if first_name != name:
            yield f"node.peers.{name}", f"is that of node.peers.{first_name}"
    door = node.submissions
    if door is not None and door.port and door.port == node.ops.port and _meet(door.host, node.ops.host):
        yield "node.submissions.port", f"{door.port} is node.ops.port, too: each needs one of its own"


_LOOPBACK = re.compile(r"localhost|::1|127(\.[0-9]+){3}")


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach the address."""
    return _LOOPBACK.fullmatch(host) is not None


_EVERYWHERE = ("0.0.0.0", "::")  # noqa: S104 - compared, not bound


def _meet(one: str, other: str) -> bool:
    """Whether a port at either address is the same port."""
    one, other = _bare(one), _bare(other)
    both_here = is_loopback(one) and is_loopback(other)
    return one == other or one in _EVERYWHERE or other in _EVERYWHERE or both_here


def _bare(host: str) -> str:
    return host.lower().rstrip(".")


def _check_host(place: str, host: str) -> Iterator[Mistake]:
    """A host that is neither a name nor an address would be dialled for ever."""
    if host.startswith("[") and host.endswith("]") and _is_ipv6(host[1:-1]):
        yield place, "is an IPv6 address in brackets: give it without them"
    elif re.search(r"[\s/@\[\]\x00]", host) or (":" in host and not _is_ipv6(host)):
        yield place, "must be a host name or an address and nothing else: no scheme, no port"
    else:
        yield from _check_placeholder(place, host)


def _check_placeholder(place: str, host: str) -> Iterator[Mistake]:
    """The unedited example must not start: it would dial for ever."""
    if _PLACEHOLDER.fullmatch(host):
        yield place, "is a placeholder from the example: give the real name"


def _is_ipv6(text: str) -> bool:
    try:
        ipaddress.IPv6Address(text)
    except ValueError:
        return False
    return True


def _host_in(url: str) -> str:
    """The host; empty where none can be recognised."""
    try:
        return urlsplit(url).hostname or ""
    except ValueError:  # unbalanced brackets
        return ""


def _check_urls(node: config.Node) -> Iterator[Mistake]:
    """The URLs that we dial, and whether their schemes match the TLS settings."""
    urls = {"node.processor.url": node.processor.url}
    urls |= {f"node.peers.{name}": url for name, url in node.peers.items()}
    if node.sibling is not None:
        urls["node.sibling.url"] = node.sibling.url
    for place, url in urls.items():
        yield from _check_placeholder(place, _host_in(url))
    yield from _check_tls("node.processor.tls", node.processor.tls)
    if node.processor.url.startswith("http://") and node.processor.tls is not None:
        yield "node.processor.tls", "is given, but the url says http"
    yield from _check_tls("node.peer_tls", node.peer_tls)
    if node.peer_tls is not None and any(url.startswith("http://") for url in node.peers.values()):
        yield "node.peer_tls", "is given, but a url of node.peers says http"
    if node.sibling is not None:
        yield from _check_tls("node.sibling.tls", node.sibling.tls)
        if node.sibling.url.startswith("http://") and node.sibling.tls is not None:
            yield "node.sibling.tls", "is given, but the url says http"


def _in_clear(node: config.Node) -> Iterator[tuple[str, bool, list[str]]]:
    """Each setting that accepts plain HTTP, whether it does, and the URLs by which something leaves in clear."""
    uses = {
        "node.processor.in_clear": (node.processor.in_clear, {"node.processor.url": node.processor.url}),
        "node.peers_in_clear": (node.peers_in_clear, {f"node.peers.{name}": url for name, url in node.peers.items()}),
    }
    if node.sibling is not None:
        uses["node.sibling.in_clear"] = (node.sibling.in_clear, {"node.sibling.url": node.sibling.url})
    for setting, (words, urls) in uses.items():
        clear = [place for place, url in urls.items() if url.startswith("http://") and not is_loopback(_host_in(url))]
        yield setting, bool(words), clear


def _check_in_clear(node: config.Node) -> Iterator[Mistake]:
    """Plain HTTP leaves this machine only where that is accepted in words; and those stand only where it does."""
    for setting, accepted, clear in _in_clear(node):
        if accepted and not clear:
            yield setting, "is given, but nothing leaves this machine in clear: take it out, or it hides that one day"
        for place in clear if not accepted else ():
            yield place, f'leaves this machine in clear: give https://, or accept that, by {setting} = "{IN_CLEAR}"'


def remarks_on(configuration: config.Configuration) -> Iterator[Mistake]:
    """Settings that are allowed and perhaps not meant: they have no effect, or a wider one than it seems."""
    node, pair, times = configuration.node, configuration.pair, configuration.pair.deadlines
    if node.submissions is not None and node.submissions.tls is None:
        yield "node.submissions.tls", "is not given: every user of this machine can submit payments"
    yield from (
        (setting, f"is accepted: plain HTTP leaves this machine, and {IN_CLEAR}")
        for setting, accepted, _ in _in_clear(node)
        if accepted
    )
    rules = pair.stand_in
    if rules.mode != "never" and not (rules.amount_max or rules.daily_total_max):
        yield "pair.stand_in.amount_max", "is 0, as daily_total_max is: stand-in accepts without a limit"
    if node.processor.connect_within_s >= times.stand_in_after_s:
        what = f"{node.processor.connect_within_s:g} s is not less than pair.deadlines.stand_in_after_s"
        yield "node.processor.connect_within_s", f"{what}: a connection that takes so long helps no payment"
    for index, token in enumerate(node.token):
        if token.batch_within_s >= (left_s := times.reply_within_s - times.stand_in_after_s):
            what = f"{token.batch_within_s:g} s is not less than the {left_s:g} s from stand-in to the last reply"
            yield f"node.token[{index}].batch_within_s", f"{what}: a hanging token makes replies late"
    session = pair.session
    echoes_s = session.echo_after_s + session.echo_misses_max * session.respond_within_s
    for index, site in enumerate(node.hub):
        if site.unconfirmed_s >= echoes_s:
            what = f"{site.unconfirmed_s:g} s is not less than the {echoes_s:g} s that echoes take"
            yield f"node.hub[{index}].unconfirmed_s", f"{what}: it never closes a connection"
    if pair.submit.answer_within_s < times.sender_answer_s:
        what = f"{pair.submit.answer_within_s:g} s is less than pair.deadlines.sender_answer_s"
        yield "pair.submit.answer_within_s", f"{what}: payments are repeated although their answers are in time"


def short_of(configuration: config.Configuration, per_s: float) -> Iterator[Mistake]:
    """The limits that cannot carry this rate of payments while the processor is away, which is when they count."""
    node, times = configuration.node, configuration.pair.deadlines
    rules = configuration.pair.stand_in
    limited = rules.mode == "never" or rules.amount_max or rules.daily_total_max or rules.payment_types
    held_s = times.last_moment_s if limited or rules.sort_codes else times.stand_in_after_s
    rows = (
        ("node.payments_max", node.payments_max, per_s * held_s, f"payments, each held for {held_s:g} s"),
        (
            "node.processor.waiting_max",
            node.processor.waiting_max + node.processor.connections_max,
            per_s * times.stand_in_after_s,
            f"questions, each for {times.stand_in_after_s:g} s, waiting or on a connection",
        ),
        ("node.processor.tell_per_s", node.processor.tell_per_s, per_s, "notices a second: each stand-in is one"),
        (
            "node.journal.waiting_bytes_max",
            node.journal.waiting_bytes_max // 4,
            per_s * PAYMENT_WAITING_BYTES * node.journal.stall_after_s,
            f"bytes in a quarter of it, when a sync takes {node.journal.stall_after_s:g} s",
        ),
    )
    for key, has, needs, what in rows:
        if has < needs:
            yield key, f"{per_s:g} payments a second need {needs:.0f} {what}; there are {has:g}"


def check_both(configuration: config.Configuration) -> Iterator[Mistake]:
    """The settings of the node that do not fit those of the pair."""
    drain_s, stand_in_after_s = configuration.node.drain_s, configuration.pair.deadlines.stand_in_after_s
    if drain_s < stand_in_after_s:
        large = f"pair.deadlines.stand_in_after_s, which is {stand_in_after_s:g} s"
        yield "node.drain_s", f"{drain_s:g} s must not be less than {large}"
    elif drain_s < (last_s := configuration.pair.deadlines.last_moment_s):
        large = f"pair.deadlines.decline_after_s, which comes to {last_s:g} s"
        yield "node.drain_s", f"{drain_s:g} s must not be less than {large}"
    segment_bytes, frame_bytes_max = configuration.node.journal.segment_bytes, configuration.pair.wire.frame_bytes_max
    if segment_bytes < 4 * frame_bytes_max:
        what = f"{segment_bytes} must be at least four times pair.wire.frame_bytes_max, which is {frame_bytes_max}"
        yield "node.journal.segment_bytes", f"{what}: a record holds a message and its reply"
    if (unproved_bytes_max := configuration.node.unproved.bytes_max) < frame_bytes_max:
        what = f"{unproved_bytes_max} must not be less than pair.wire.frame_bytes_max, which is {frame_bytes_max}"
        yield "node.unproved.bytes_max", f"{what}: one frame would be too much"
    waiting_bytes_max, payments_max = configuration.node.journal.waiting_bytes_max, configuration.node.payments_max
    if waiting_bytes_max < payments_max * PAYMENT_WAITING_BYTES:
        what = f"{waiting_bytes_max} must be at least {PAYMENT_WAITING_BYTES} for each of node.payments_max, which is"
        yield "node.journal.waiting_bytes_max", f"{what} {payments_max}: a hanging disk must not end the gateway"
    retention_days, business_days = configuration.node.journal.retention_days, configuration.pair.business_days
    if retention_days < (least := config.days_spanned(business_days)):
        what = f"{retention_days:g} must be at least {least} for pair.business_days, which is {business_days}"
        yield "node.journal.retention_days", f"{what}: a restart would forget FPIDs"


def _check_tls(place: str, tls: config.Tls | None) -> Iterator[Mistake]:
    if tls is not None and bool(tls.certificate_file) != bool(tls.key_file):
        yield place, "certificate_file and key_file belong together: give both or neither"


def _ordered(place: str, of: Struct, small: str, large: str, *, strictly: bool = False) -> Iterator[Mistake]:
    a, b = getattr(of, small), getattr(of, large)
    if a > b or (strictly and a == b):
        rule = "must be less than" if strictly else "must not exceed"
        yield f"{place}.{small}", f"{a:g} s {rule} {large}, which is {b:g} s"
