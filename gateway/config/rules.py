"""What is wrong with a configuration that was read: field by field, and where fields contradict each other."""

import difflib
import ipaddress
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urlsplit

import msgspec
from msgspec import Struct

from gateway import config
from gateway.config.written import is_of

StructT = TypeVar("StructT", bound=Struct)
Mistake = tuple[str, str]
"""A dotted key, and what is wrong there."""
MISSING = "is missing"
PAIR_MISSING = f"{MISSING}: what both sites share lies in a file of its own, mostly; was it given, too?"
"""Defaults would serve: with another group's rules, perhaps, and a stand-in that the other site does not have."""
_PLACEHOLDER = re.compile(r"(.*\.)?example(\.(com|net|org))?\.?", re.IGNORECASE)
"""Names that are kept for examples (RFC 2606): no host ever has one."""
PAYMENT_WAITING_BYTES = 2048
"""What a payment in flight may still have to write: a stand-in with request and reply, and an undelivered reply."""


def mistakes_in(raw: dict[str, Any]) -> Iterator[Mistake]:
    """Say every mistake in what TOML made of all files; where there is none, it is a `config.Configuration`."""
    mistakes = [
        (key, PAIR_MISSING if (key, what) == ("pair", MISSING) else what)
        for key, what in _check_struct(config.Configuration, raw, "")
    ]
    yield from mistakes
    wrong = {key for key, _ in mistakes}
    for key, what in _against_each_other(raw):
        if not _depends(key, what, wrong):
            yield key, what


def _against_each_other(raw: dict[str, Any]) -> Iterator[Mistake]:
    """What no setting can know alone, also where others are wrong: one mistake does not hide the next."""
    pair, node = _mended(config.Pair, raw.get("pair")), _mended(config.Node, raw.get("node"))
    if pair is not None:
        yield from _check_pair(pair)
    if node is not None:
        yield from _check_node(node)
    if pair is not None and node is not None:
        yield from _check_both(config.Configuration(node, pair))


def _depends(key: str, what: str, wrong: set[str]) -> bool:
    """Whether a mistake may come of another one: it is in the same setting, or in one that it is held against, which
    each of these mistakes names, whole or as its neighbour in the table.
    """
    table = key.rpartition(".")[0]
    named = [word.rstrip(".") for word in re.findall(r"[a-z_0-9.\[\]]+", what)]
    about = {key, *(word if "." in word else _join(table, word) for word in named)}
    return any(is_of(each, name) or is_of(name, each) for each in wrong for name in about)


_STAND_INS = ("x", 1, "http://x", "/x", *config.choices_in(config.Group))
"""For a setting that must be there and is missing or wrong. What comes of one is a mistake in that setting, and left
out."""


def _mended(kind: type[StructT], raw: Any) -> StructT | None:
    """The table, with what is wrong in it at its default, or at anything that fits; None when that is not enough."""
    try:
        return msgspec.convert(_mended_table(kind, raw), kind)
    except (msgspec.ValidationError, TypeError):
        return None


def _mended_table(kind: type[Struct], raw: Any) -> dict[str, Any]:
    """Raises `TypeError` when it is no table."""
    if not isinstance(raw, dict):
        raise TypeError
    mended: dict[str, Any] = {}
    for field in msgspec.structs.fields(kind):
        inner = config.struct_in(field.type)
        if field.name in raw and inner is not None:
            value = raw[field.name]
            if config.is_many(field.type):
                mended[field.name] = [_mended_table(inner, item) for item in value]
            elif field.required or isinstance(value, dict):
                mended[field.name] = _mended_table(inner, value)
        elif inner is None:
            given = (raw[field.name],) if field.name in raw else ()
            instead = _STAND_INS if field.required else ()
            fitting = [value for value in (*given, *instead) if _fits(value, field.type)]
            if fitting:
                mended[field.name] = fitting[0]
    return mended


def _fits(value: Any, kind: Any) -> bool:
    try:
        msgspec.convert(value, kind)
    except msgspec.ValidationError:
        return False
    return True


def _check_struct(kind: type[Struct], raw: Any, place: str) -> Iterator[Mistake]:
    """Check each field on its own, so that one mistake does not hide the next."""
    if not isinstance(raw, dict):
        yield place, "must be a table"
        return
    fields = {field.name: field for field in msgspec.structs.fields(kind)}
    for key in raw:
        if key not in fields:
            yield _join(place, key), "is not known here" + _meant(key, fields)
    for name, field in fields.items():
        if name in raw:
            yield from _check_value(field.type, raw[name], _join(place, name))
        elif field.required:
            yield _join(place, name), MISSING


def _check_value(kind: Any, value: Any, here: str) -> Iterator[Mistake]:
    inner = config.struct_in(kind)
    if inner is None:
        try:
            msgspec.convert(value, kind)
        except msgspec.ValidationError as error:
            yield here, _in_words(str(error), kind, value)
    elif config.is_many(kind):
        if not isinstance(value, list) or not value:
            yield here, f"must be one or more [[{here}]] tables"
            return
        for index, item in enumerate(value):
            yield from _check_struct(inner, item, f"{here}[{index}]")
    else:
        yield from _check_struct(inner, value, here)


def _meant(key: str, fields: Iterable[str]) -> str:
    """What a name that is not known may have been meant as: a neighbour here, or the same name elsewhere."""
    if near := difflib.get_close_matches(key, list(fields), n=1):
        return f"; {near[0]}?"
    elsewhere = _places_of(key, config.Configuration, "")
    return f"; {', '.join(elsewhere)}?" if elsewhere else ""


def _places_of(key: str, kind: type[Struct], place: str) -> list[str]:
    """Where settings of this name stand."""
    found = []
    for field in msgspec.structs.fields(kind):
        here, inner = _join(place, field.name), config.struct_in(field.type)
        if field.name == key:
            found.append(here)
        if inner is not None:
            found += _places_of(key, inner, here)
    return found


def _in_words(said: str, kind: Any, value: Any) -> str:
    """What msgspec says of a value, for a person: a choice is listed, a pattern described; the value is not quoted."""
    said, at, path = said.partition(" - at ")
    if said.startswith("Invalid enum value"):
        choices = list(map(str, config.choices_in(kind)))
        near = difflib.get_close_matches(value.lower(), choices, n=1) if isinstance(value, str) else []
        said = f"must be one of {', '.join(choices)}" + (f"; {near[0]}?" if near else "")
    for pattern, words in config.described(kind).items():
        if said == f"Expected `str` matching regex {pattern!r}":
            said = f"must be {words}"
    return f"{said}{at}{path}"


def _check_pair(pair: config.Pair) -> Iterator[Mistake]:
    """What no field of the pair can know alone."""
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
    if pair.keys.overlap_s < times.reply_within_s:
        least = f"pair.deadlines.reply_within_s, which is {times.reply_within_s:g} s"
        what = f"{pair.keys.overlap_s:g} s must not be less than {least}: a reply that waits would lose its key"
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
    """What is called ordinary must be remembered: else a frame that was captured is a new payment one day."""
    days = config.days_spanned(pair.business_days) - 1
    for code, back in pair.dates.back_days.items():
        if back > days:
            what = f"{back} must not exceed {days}: FPIDs are not surely remembered for longer"
            yield f"pair.dates.back_days.{code}", f"{what} with pair.business_days = {pair.business_days}"


def is_file(path: str) -> bool:
    """Whether there is one that we can see."""
    try:
        return Path(path).is_file()
    except OSError:  # a name that is too long, a directory that we may not look into
        return False


def _check_stand_in(rules: config.StandIn) -> Iterator[Mistake]:
    """Rules that contradict each other, or that say the same twice, were meant otherwise."""
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
    """Whether DE125 can be taken apart again."""
    widths = dict(part.split(":") for part in keys.layout)
    if len(widths) < len(keys.layout):
        yield "pair.keys.layout", "names a part twice"
    if list(widths.values()).count("*") > 1:
        yield "pair.keys.layout", "at most one part can be what the others leave"
    if widths.get("check", "6") not in {"4", "6", "8", "10", "12", "14", "16"}:
        yield "pair.keys.layout", "check must be 4 to 16 digits, an even number of them"
    for name in ("hub_use", "own_use"):
        if widths.get("use", "*") not in {"*", str(len(getattr(keys, name)))}:
            yield f"pair.keys.{name}", f"must have {widths['use']} characters, as pair.keys.layout says"
    if keys.hub_use == keys.own_use:
        yield "pair.keys.own_use", "must be another one than hub_use"
    yield from _check_carried(keys, set(widths))


def _check_carried(keys: config.Keys, placed: set[str]) -> Iterator[Mistake]:
    needed: dict[str, tuple[str, ...]] = {
        "change_carries": ("wrapped", "check"), "verify_carries": ("check",), "request_carries": (),
    }  # fmt: skip
    for name, parts in needed.items():
        carried = getattr(keys, name)
        missing = [f"{part} cannot be missing" for part in parts if part not in carried]
        for what in [*missing, *(f"{part} has no place in layout" for part in carried if part not in placed)]:
            yield f"pair.keys.{name}", what


def _check_node(node: config.Node) -> Iterator[Mistake]:
    """What no field of the node can know alone."""
    for key, names in (("hub", [site.name for site in node.hub]), ("token", [token.name for token in node.token])):
        for index, name in enumerate(names):
            if name in names[:index]:
                yield f"node.{key}[{index}].name", "names another one already"
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
    yield from _check_urls(node)
    if node.volume is not None and node.volume.copies_min > node.volume.copies:
        what = f"{node.volume.copies_min} must not exceed copies, which is {node.volume.copies}"
        yield "node.volume.copies_min", f"{what}: it would never be ready"
    if node.volume is not None and node.volume.device and node.volume.report:
        yield "node.volume.device", "is what the report says: give one of them"
    door = node.submissions
    if door is not None and door.tls is None and not _LOOPBACK.fullmatch(door.host):
        yield "node.submissions.tls", f"is missing, and {door.host} is no loopback: whoever reaches it could submit"


def _check_twice(node: config.Node) -> Iterator[Mistake]:
    """What is there twice serves once: the second one is a mistake that shows when the first is lost."""
    hubs = [(_bare(site.host), site.port) for site in node.hub]
    peers = list(node.peers.items())
    tokens = [(token.module, token.label, sorted(token.environment.items())) for token in node.token]
    for index, address in enumerate(hubs):
        if (first := hubs.index(address)) < index:
            yield f"node.hub[{index}].port", f"is that of node.hub[{first}], on the same host: a site dialled twice"
    for index, token in enumerate(tokens):
        if (first := tokens.index(token)) < index:
            what = f"is that of node.token[{first}], in the same module: one token is no two"
            yield f"node.token[{index}].label", what
    for name, url in peers:
        first_name = next(other for other, other_url in peers if other_url.rstrip("/") == url.rstrip("/"))
        if first_name != name:
            yield f"node.peers.{name}", f"is that of node.peers.{first_name}"
    door = node.submissions
    if door is not None and door.port and door.port == node.ops.port and _meet(door.host, node.ops.host):
        yield "node.submissions.port", f"{door.port} is node.ops.port, too: each needs one of its own"


_LOOPBACK = re.compile(r"localhost|::1|127(\.[0-9]+){3}")
_EVERYWHERE = ("0.0.0.0", "::")  # noqa: S104 - what is looked for


def _meet(one: str, other: str) -> bool:
    """Whether a port at either address is the same port."""
    one, other = _bare(one), _bare(other)
    both_here = _LOOPBACK.fullmatch(one) is not None and _LOOPBACK.fullmatch(other) is not None
    return one == other or one in _EVERYWHERE or other in _EVERYWHERE or both_here


def _bare(host: str) -> str:
    return host.lower().rstrip(".")


def _check_host(place: str, host: str) -> Iterator[Mistake]:
    """What can be neither name nor address would be dialled for ever."""
    if host.startswith("[") and host.endswith("]") and _is_ipv6(host[1:-1]):
        yield place, "is an IPv6 address in brackets: give it without them"
    elif re.search(r"[\s/@\[\]\x00]", host) or (":" in host and not _is_ipv6(host)):
        yield place, "must be a host name or an address and nothing else: no scheme, no port"
    else:
        yield from _check_placeholder(place, host)


def _check_placeholder(place: str, host: str) -> Iterator[Mistake]:
    """What nobody has edited must not start: the example would dial for ever."""
    if _PLACEHOLDER.fullmatch(host):
        yield place, "is a placeholder, as the example has it: give the real one"


def _is_ipv6(text: str) -> bool:
    try:
        ipaddress.IPv6Address(text)
    except ValueError:
        return False
    return True


def _host_in(url: str) -> str:
    """Empty where there is none to be seen."""
    try:
        return urlsplit(url).hostname or ""
    except ValueError:  # a bracket too many
        return ""


def _check_urls(node: config.Node) -> Iterator[Mistake]:
    """Whom we reach by a URL, and whether there is to be TLS."""
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


def remarks_on(configuration: config.Configuration) -> Iterator[Mistake]:
    """What is allowed, and was perhaps not meant: of no use as it is, or of more than somebody thought of."""
    node, pair, times = configuration.node, configuration.pair, configuration.pair.deadlines
    if not _LOOPBACK.fullmatch(node.ops.host):
        what = "is no loopback: whoever reaches it can read everything, drain this gateway and switch stand-in"
        yield "node.ops.host", what
    rules = pair.stand_in
    if rules.mode != "never" and not (rules.amount_max or rules.daily_total_max):
        yield "pair.stand_in.amount_max", "is 0, as daily_total_max is: stand-in accepts without a limit"
    if node.processor.connect_within_s >= times.stand_in_after_s:
        what = f"{node.processor.connect_within_s:g} s is no less than pair.deadlines.stand_in_after_s"
        yield "node.processor.connect_within_s", f"{what}: a connection that takes so long helps no payment"
    for index, token in enumerate(node.token):
        if token.batch_within_s >= (left_s := times.reply_within_s - times.stand_in_after_s):
            what = f"{token.batch_within_s:g} s is no less than the {left_s:g} s from stand-in to the last reply"
            yield f"node.token[{index}].batch_within_s", f"{what}: a token that hangs makes replies too late"
    session = pair.session
    echoes_s = session.echo_after_s + session.echo_misses_max * session.respond_within_s
    for index, site in enumerate(node.hub):
        if site.unconfirmed_s >= echoes_s:
            what = f"{site.unconfirmed_s:g} s is no less than the {echoes_s:g} s that echoes take"
            yield f"node.hub[{index}].unconfirmed_s", f"{what}: it never gives a connection up"
    if pair.submit.answer_within_s < times.sender_answer_s:
        what = f"{pair.submit.answer_within_s:g} s is less than pair.deadlines.sender_answer_s"
        yield "pair.submit.answer_within_s", f"{what}: payments are repeated that are answered in time"


def short_of(configuration: config.Configuration, per_s: float) -> Iterator[Mistake]:
    """Limits that cannot carry so many payments a second while the processor is away: that is when they count."""
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


def _check_both(configuration: config.Configuration) -> Iterator[Mistake]:
    """Where a node's own must fit what the pair shares."""
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
    waiting_bytes_max, payments_max = configuration.node.journal.waiting_bytes_max, configuration.node.payments_max
    if waiting_bytes_max < payments_max * PAYMENT_WAITING_BYTES:
        what = f"{waiting_bytes_max} must be at least {PAYMENT_WAITING_BYTES} for each of node.payments_max"
        yield "node.journal.waiting_bytes_max", f"{what}, which is {payments_max}: a disk that hangs must not end us"
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


def _join(place: str, name: str) -> str:
    return f"{place}.{name}" if place else name
