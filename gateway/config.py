"""The configuration: one frozen value, read from TOML, checked as a whole, every mistake reported at once.

`pair` is what both sites must share; `node` is this process's own. Every field says its unit and its meaning here, where
it is declared; limits are in the types. What the public protocol note calls likely or unknown is here or in the field
table, never in code.
"""

import hashlib
import tomllib
import types
import typing
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta, Struct

from gateway.errors import ConfigurationError

Seconds = Annotated[float, Meta(gt=0, le=86400 * 30)]
Port = Annotated[int, Meta(ge=0, le=65535)]
Count = Annotated[int, Meta(ge=1)]
Digits4 = Annotated[str, Meta(pattern=r"^[0-9]{4}$")]
Name = Annotated[str, Meta(pattern=r"^[A-Za-z0-9_.-]{1,40}$")]
Group = Literal["sip", "sop", "fdp", "other", "usm"]


class Wire(Struct, frozen=True, forbid_unknown_fields=True):
    """How frames and messages look (fps-protocol section 1)."""

    header_bytes: Literal[2, 4] = 4
    """Width of the length header."""
    header_format: Literal["binary", "ascii"] = "binary"
    """Big-endian binary, or decimal digits."""
    header_inclusive: bool = False
    """Whether the length counts the header too."""
    frame_bytes_max: Annotated[int, Meta(ge=512, le=65535)] = 8192
    """A longer frame ends the connection: the length cannot be right. The largest message of the table is under 4 KiB."""
    field_table: str = ""
    """A field table to use in place of the built-in `gateway/wire/fps.toml` (a path)."""


class Mac(Struct, frozen=True, forbid_unknown_fields=True):
    """DE128 (fps-protocol section 7). Keys are labels of secret keys in the token."""

    algorithm: Literal["aes-cmac", "hmac-sha256", "des3-retail"] = "aes-cmac"
    hub_key: Name = "fps-hub"
    """What the hub signs with: we verify by it."""
    own_key: Name = "fps-own"
    """What we sign with."""


class Deadlines(Struct, frozen=True, forbid_unknown_fields=True):
    """What a payment may take, each counted from the first byte of its request (fps-protocol section 6)."""

    stand_in_after_s: Seconds = 5.0
    """When the processor has not answered by then, stand-in does."""
    reply_within_s: Seconds = 9.0
    """A reply that is not on its way by then is not sent at all: it would meet a hub that has given up."""
    hub_patience_s: Seconds = 10.0
    """When the hub takes the receiver for timed out. Not public: ask the scheme."""
    sender_answer_s: Seconds = 15.0
    """When the sending bank must have its answer (certain)."""


class StandIn(Struct, frozen=True, forbid_unknown_fields=True):
    """How we answer when the processor does not."""

    code: Literal["0080", "0081", "0082", "0083", "0084", "0085"] = "0083"
    """The qualified accept that stand-in gives."""


class Session(Struct, frozen=True, forbid_unknown_fields=True):
    """Management of a link (sign-on, echo, sign-off)."""

    receive: bool = True
    """Sign on to receive payments."""
    submit: bool = True
    """Sign on to submit payments."""
    echo_after_s: Seconds = 30.0
    """Send an echo when nothing came from the hub for this long."""
    respond_within_s: Seconds = 5.0
    """How long the hub may take to respond to a management message of ours."""
    echo_misses_max: Count = 2
    """Unanswered echoes in a row after which the link is given up and dialled again."""
    half_frame_s: Seconds = 10.0
    """How long the rest of a frame may take once its first byte came."""


class Pair(Struct, frozen=True, forbid_unknown_fields=True):
    """What both sites must share. Its fingerprint shows when they do not."""

    group: Group = "sip"
    """The payment group that this process serves."""
    business_days: Annotated[int, Meta(ge=1, le=60)] = 7
    """How long an FPID is remembered for duplicates and repeats, in days without Saturdays and Sundays."""
    reversed_code: Digits4 = "1100"
    """What a payment is refused with that turns up after its reversal."""
    wire: Wire = Wire()
    mac: Mac = Mac()
    deadlines: Deadlines = Deadlines()
    stand_in: StandIn = StandIn()
    session: Session = Session()


class Tls(Struct, frozen=True, forbid_unknown_fields=True):
    """TLS towards one peer, all paths to PEM files."""

    ca_file: str
    """Who may have signed the peer's certificate."""
    certificate_file: str = ""
    """Our client certificate (and `key_file` its key); empty: none is presented."""
    key_file: str = ""
    server_name: str = ""
    """The name that the peer's certificate must hold; empty: the host dialled."""


class HubSite(Struct, frozen=True, forbid_unknown_fields=True):
    """One site of the hub: we hold one link to each."""

    name: Name
    host: str
    port: Annotated[int, Meta(ge=1, le=65535)]
    tls: Tls | None = None
    reconnect_s: Seconds = 0.2
    """The first pause before dialling again; it doubles, with jitter, up to:"""
    reconnect_max_s: Seconds = 15.0
    connect_within_s: Seconds = 5.0
    write_bytes_max: Count = 8 * 1024 * 1024
    """What may wait to be written. A hub that does not read for so long loses the connection."""


class Token(Struct, frozen=True, forbid_unknown_fields=True):
    """One HSM token (a SoftHSM token in development)."""

    name: Name
    label: str
    """The PKCS#11 token label."""
    module: str
    """Path of the PKCS#11 library."""
    pin_file: str
    """A file that holds the PIN and nothing else; `$CREDENTIALS_DIRECTORY` is expanded."""
    local: bool = True
    """In our own data centre: preferred."""
    environment: dict[str, str] = {}
    """Set for this token's worker process only (SOFTHSM2_CONF and the like)."""
    batch_within_s: Seconds = 1.0
    """A batch that takes longer means a hung token: its worker is killed and its work goes to another."""
    start_within_s: Seconds = 10.0


class JournalSettings(Struct, frozen=True, forbid_unknown_fields=True):
    """Where and how the journal is written."""

    dir: str
    segment_bytes: Annotated[int, Meta(ge=65536, le=4 << 30)] = 64 * 1024 * 1024
    """Size of a segment file, allocated and zero-filled ahead."""
    stall_after_s: Seconds = 1.0
    """A sync that takes longer makes the gateway unready, so that the hub uses the other site."""
    waiting_bytes_max: Count = 64 * 1024 * 1024
    """What may wait for the disk. Beyond it nothing is taken in any more."""
    retention_days: Annotated[float, Meta(ge=0)] = 14.0
    """A segment is deleted when every follower is past it and it is older than this."""


class Processor(Struct, frozen=True, forbid_unknown_fields=True):
    """The bank's payment processor: whom we ask and tell."""

    url: Annotated[str, Meta(pattern=r"^https?://[^/]+(/.*)?$")]
    """Base URL; `/payments` and `/notices` are below it."""
    tls: Tls | None = None
    connections_max: Annotated[int, Meta(ge=1, le=4096)] = 128
    """Keep-alive connections for asking; one question at a time on each."""
    waiting_max: Count = 20000
    """Questions that may wait for a connection; beyond it a payment is not asked about and stand-in answers."""
    late_answer_s: Seconds = 10.0
    """How long after a payment's stand-in its late answer is still listened for."""
    connect_within_s: Seconds = 2.0
    answer_bytes_max: Count = 65536
    tell_within_s: Seconds = 10.0
    tell_per_s: Annotated[float, Meta(gt=0)] = 2000.0
    """The pace of notices."""
    tell_connections: Annotated[int, Meta(ge=1, le=256)] = 8
    tell_pause_s: Seconds = 0.5
    """The first pause after a notice that was not acknowledged; it doubles, with jitter, up to:"""
    tell_pause_max_s: Seconds = 30.0


class Ops(Struct, frozen=True, forbid_unknown_fields=True):
    """Where `/live`, `/ready`, `/metrics` and `/statistics` are served."""

    host: str = "127.0.0.1"
    port: Port = 9200
    """0 picks a free one and logs it."""


class Log(Struct, frozen=True, forbid_unknown_fields=True):
    """The log, on standard output."""

    level: Literal["debug", "info", "warning", "error"] = "info"
    format: Literal["auto", "json", "console"] = "auto"
    """auto: console rendering on a terminal, JSON lines elsewhere."""


class Node(Struct, frozen=True, forbid_unknown_fields=True):
    """What is this process's own."""

    name: Name
    """Names this process in notices, metrics and logs; no two nodes share one."""
    hub: Annotated[tuple[HubSite, ...], Meta(min_length=1)]
    token: Annotated[tuple[Token, ...], Meta(min_length=1)]
    journal: JournalSettings
    processor: Processor
    ops: Ops = Ops()
    log: Log = Log()
    payments_max: Count = 50000
    """Payments being decided at once; beyond it a payment is not asked about and stand-in answers at once."""
    drain_s: Seconds = 12.0
    """How long what is in flight may take to finish after SIGTERM."""


class Configuration(Struct, frozen=True, forbid_unknown_fields=True):
    """The whole of it."""

    node: Node
    pair: Pair = Pair()

    def fingerprint(self) -> str:
        """Sixteen hex digits over what the pair shares: equal on both sites, or something is wrong."""
        return hashlib.blake2b(msgspec.json.encode(self.pair, order="deterministic"), digest_size=8).hexdigest()


def load(path: str | Path) -> Configuration:
    """Read and check the file. Raises `ConfigurationError` with every mistake, each with file, line and key."""
    path = Path(path)
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError([f"{path}: cannot be read: {error.__class__.__name__}"]) from error
    try:
        raw = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ConfigurationError([f"{path}: not TOML: {error}"]) from error
    mistakes: list[tuple[str, str]] = []
    _check_struct(Configuration, raw, "", mistakes)
    configuration = None
    if not mistakes:
        configuration = msgspec.convert(raw, Configuration)
        _check_whole(configuration, mistakes)
    if mistakes:
        raise ConfigurationError([f"{path}:{_line_of(text, key)}: {key}: {what}" for key, what in mistakes])
    assert configuration is not None
    return configuration


def _check_struct(kind: type[Struct], raw: Any, place: str, mistakes: list[tuple[str, str]]) -> None:
    """Check each field on its own, so that one mistake does not hide the next."""
    if not isinstance(raw, dict):
        mistakes.append((place, "must be a table"))
        return
    fields = {field.name: field for field in msgspec.structs.fields(kind)}
    mistakes += [(_join(place, key), "is not known here") for key in raw if key not in fields]
    for name, field in fields.items():
        here = _join(place, name)
        if name not in raw:
            if field.required:
                mistakes.append((here, "is missing"))
            continue
        _check_value(field.type, raw[name], here, mistakes)


def _check_value(kind: Any, value: Any, here: str, mistakes: list[tuple[str, str]]) -> None:
    inner = _struct_in(kind)
    if inner is None:
        try:
            msgspec.convert(value, kind)
        except msgspec.ValidationError as error:
            mistakes.append((here, str(error)))
    elif _is_many(kind):
        if not isinstance(value, list) or not value:
            mistakes.append((here, f"must be one or more [[{here}]] tables"))
            return
        for index, item in enumerate(value):
            _check_struct(inner, item, f"{here}[{index}]", mistakes)
    else:
        _check_struct(inner, value, here, mistakes)


def _struct_in(kind: Any) -> type[Struct] | None:
    if isinstance(kind, type) and issubclass(kind, Struct):
        return kind
    if isinstance(kind, types.UnionType) or typing.get_origin(kind) is not None:
        return next((found for item in typing.get_args(kind) if (found := _struct_in(item))), None)
    return None


def _is_many(kind: Any) -> bool:
    if typing.get_origin(kind) is Annotated:
        return _is_many(typing.get_args(kind)[0])
    return typing.get_origin(kind) is tuple


def _check_whole(configuration: Configuration, mistakes: list[tuple[str, str]]) -> None:
    """What no field can know alone: the deadlines must fit into each other, names must differ."""
    times = configuration.pair.deadlines
    for small, large in (
        ("stand_in_after_s", "reply_within_s"),
        ("reply_within_s", "hub_patience_s"),
        ("hub_patience_s", "sender_answer_s"),
    ):
        a, b = getattr(times, small), getattr(times, large)
        if a >= b:
            mistakes.append((f"pair.deadlines.{small}", f"{a:g} s must be less than {large}, which is {b:g} s"))
    node = configuration.node
    for key, names in (("hub", [h.name for h in node.hub]), ("token", [t.name for t in node.token])):
        mistakes += [
            (f"node.{key}[{index}].name", "names another one already")
            for index, name in enumerate(names)
            if name in names[:index]
        ]
    for index, site in enumerate(node.hub):
        if site.reconnect_s > site.reconnect_max_s:
            text = f"{site.reconnect_s:g} s must not exceed reconnect_max_s, which is {site.reconnect_max_s:g} s"
            mistakes.append((f"node.hub[{index}].reconnect_s", text))
    pause, pause_max = node.processor.tell_pause_s, node.processor.tell_pause_max_s
    if pause > pause_max:
        text = f"{pause:g} s must not exceed tell_pause_max_s, which is {pause_max:g} s"
        mistakes.append(("node.processor.tell_pause_s", text))
    if node.drain_s < times.stand_in_after_s:
        text = f"must not be less than pair.deadlines.stand_in_after_s, which is {times.stand_in_after_s:g} s"
        mistakes.append(("node.drain_s", f"{node.drain_s:g} s {text}"))
    if node.processor.url.startswith("http://") and node.processor.tls is not None:
        mistakes.append(("node.processor.tls", "is given, but the url says http"))
    wire = configuration.pair.wire
    if wire.header_format == "ascii" and wire.frame_bytes_max + wire.header_bytes >= 10**wire.header_bytes:
        mistakes.append(("pair.wire.frame_bytes_max", f"does not fit into a header of {wire.header_bytes} digits"))


def _join(place: str, name: str) -> str:
    return f"{place}.{name}" if place else name


def _line_of(text: str, key: str) -> int:
    """The line of a dotted key, or of the nearest table above it that is written; 1 when none is."""
    written: dict[str, int] = {}
    table, counts = "", dict[str, int]()
    for number, line in enumerate(text.splitlines(), 1):
        stripped = line.strip()
        if stripped.startswith("[["):
            name = stripped.strip("[]").split("]")[0].strip()
            index = counts.get(name, 0)
            counts[name] = index + 1
            table = f"{name}[{index}]"
            written.setdefault(name, number)
            written[table] = number
        elif stripped.startswith("["):
            table = stripped[1:].split("]")[0].strip()
            # a table below the latest of an array of tables: [node.hub.tls] belongs to node.hub[n]
            for name, count in counts.items():
                if table.startswith(name + "."):
                    table = f"{name}[{count - 1}]{table[len(name) :]}"
            written.setdefault(table, number)
        elif "=" in stripped and not stripped.startswith("#"):
            written.setdefault(_join(table, stripped.split("=")[0].strip()), number)
    while key:
        if key in written:
            return written[key]
        key = key[: max(key.rfind("."), key.rfind("["), 0)]
    return 1
