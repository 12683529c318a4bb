"""The configuration: one frozen value. `config.file` reads it from TOML, `config.rules` checks it as a whole.

`pair` is what both sites must share; `node` is this process's own. Every field says its unit and its meaning here,
where it is declared; limits are in the types. What the public protocol note calls likely or unknown is here or in the
field table, never in code. `fps-gateway config example` prints all of it as a file to start from, or each half.
"""

import hashlib
import typing
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta, Struct

Seconds = Annotated[float, Meta(ge=0.001, le=86400 * 30)]
Port = Annotated[int, Meta(ge=0, le=65535)]
Count = Annotated[int, Meta(ge=1)]
# \Z, not $: a $ lets a newline at the end pass
Name = Annotated[str, Meta(pattern=r"^[A-Za-z0-9_.-]{1,40}\Z", description="1 to 40 letters, digits, _ . -")]
Text = Annotated[str, Meta(min_length=1, max_length=1000)]
RefusalCode = Annotated[str, Meta(pattern=r"^1[0-9]{3}\Z", description="four digits, the first of them 1")]
Group = Literal["sip", "sop", "fdp", "other", "usm"]
StandInMode = Literal["timer", "always", "never"]
AnyCode = Annotated[str, Meta(pattern=r"^[0-9]{4}\Z", description="four digits")]
SomeHubCode = Annotated[str, Meta(pattern=r"^9[0-9]{3}\Z", description="four digits, the first of them 9")]
HubCode = Annotated[str, Meta(pattern=r"^(9[0-9]{3})?\Z", description="four digits, the first of them 9, or nothing")]
KeyPart = Literal["use", "wrapped", "check"]
KeyPlace = Annotated[
    str,
    Meta(
        pattern=r"^(use|wrapped|check):([1-9][0-9]?|\*)\Z",
        description="use, wrapped or check, a colon, and a width of 1 to 99 or *",
    ),
]
KeyUse = Annotated[str, Meta(pattern=r"^[0-9A-Za-z]{1,8}\Z", description="1 to 8 letters and digits")]
InstitutionId = Annotated[str, Meta(pattern=r"^[A-Za-z0-9]{1,11}\Z", description="1 to 11 letters and digits")]
PaymentTypeCode = Annotated[str, Meta(pattern=r"^[0-9]{2}\Z", description="two digits")]
PeerName = Annotated[str, Meta(pattern=r"^[A-Za-z0-9_.-]{1,32}\Z", description="1 to 32 letters, digits, _ . -")]
Url = Annotated[
    str,
    Meta(
        pattern=r"^https?://[^/@\s]+(/\S*)?\Z", max_length=1000,
        description="http:// or https://, a host, perhaps a port and a path, in 1000 characters; no user, no blanks",
    ),
]  # fmt: skip


class Wire(Struct, frozen=True, forbid_unknown_fields=True):
    """How frames and messages look (docs/protocol.md section 1)."""

    header_bytes: Literal[2, 4] = 4
    """Width of the length header."""
    header_format: Literal["binary", "ascii"] = "binary"
    """Big-endian binary, or decimal digits."""
    header_inclusive: bool = False
    """Whether the length counts the header too."""
    frame_bytes_max: Annotated[int, Meta(ge=512, le=65535)] = 8192
    """A longer frame ends the connection: the length cannot be right. The built-in table's stay below 4 KiB."""
    field_table: str = ""
    """A field table to use in place of the built-in `gateway/wire/fps.toml` (a path)."""
    usm_table: str = ""
    """What the values in unsolicited messages mean, in place of the built-in `gateway/wire/usm.toml` (a path)."""
    code_table: str = ""
    """The action codes, who says each and what it says, in place of the built-in `gateway/wire/codes.toml` (a path)."""


class Mac(Struct, frozen=True, forbid_unknown_fields=True):
    """DE128 (docs/protocol.md section 7). Keys are labels of secret keys in the token."""

    algorithm: Literal["aes-cmac", "hmac-sha256", "des3-retail"] = "aes-cmac"
    """How the 64 bits are made: the leftmost of AES-CMAC or HMAC-SHA-256, or the retail MAC of DES3."""
    hub_key: Name = "fps-hub"
    """What the hub signs with: we verify by it."""
    own_key: Name = "fps-own"
    """What we sign with."""
    seal_key: Name = "fps-seal"
    """What the journal's chain is sealed with."""


class Keys(Struct, frozen=True, forbid_unknown_fields=True):
    """Key changes in band (docs/protocol.md section 7): how a new key travels, is proved, and comes into force."""

    transport_key: Name = "fps-transport"
    """What the hub wraps new keys under: the label of a key that may only unwrap, in every token."""
    wrapping: Literal["aes-key-wrap", "aes-key-wrap-pad", "des3-ecb", "des3-cbc"] = "aes-key-wrap"
    """How a key is wrapped: RFC 3394, RFC 5649, or triple DES (CBC from a zero vector). A token that knows it by
    another number: `node.token.wrapping_mechanism`."""
    check_value: Literal["mac-zeros", "encrypt-zeros"] = "mac-zeros"
    """What a key's check value is the leftmost digits of: its MAC over 16 zero bytes, or a block of zeros under it."""
    layout: tuple[KeyPlace, ...] = (
        "use:1", "wrapped:*", "check:6",
    )  # fmt: skip
    """The parts of DE125 in their order, each with its width in characters; * is what the others leave. Key and check
    value are hex digits."""
    change_carries: tuple[KeyPart, ...] = ("use", "wrapped", "check")
    """The parts that a key change (811) has; what says no `use` is about the key that we sign with."""
    verify_carries: tuple[KeyPart, ...] = ("use", "check")
    """The parts that a key verification (886) has."""
    request_carries: tuple[KeyPart, ...] = ("use",)
    """The parts that a request for a new key (885) has."""
    hub_use: KeyUse = "1"
    """What `use` says of the key that the hub signs with."""
    own_use: KeyUse = "2"
    """What `use` says of the key that we sign with."""
    in_force: Literal["verified", "changed"] = "verified"
    """When a new key is in force: once the hub has accepted its verification (886), or already when we have accepted
    the change (811)."""
    overlap_s: Seconds = 60.0
    """How long the key before it is accepted still, from then on. Not less than `pair.deadlines.reply_within_s`: what
    is under way was signed by it."""
    verify_every_s: Seconds = 5.0
    """A verification (886) that was refused or not responded to is sent again after so long."""
    verify_max: Annotated[int, Meta(ge=1, le=100)] = 6
    """How often it is sent in all; then the key before stays in force, and people must look."""


class Deadlines(Struct, frozen=True, forbid_unknown_fields=True):
    """What a payment may take, each counted from the first byte of its request (docs/protocol.md section 6)."""

    stand_in_after_s: Seconds = 5.0
    """When the processor has not answered by then, stand-in does."""
    decline_after_s: Annotated[float, Meta(ge=0, le=86400 * 30)] = 0.0
    """A payment that stand-in may not accept waits for the processor until then; then it is refused, or left unanswered
    (`pair.stand_in.otherwise`). 0: three quarters of the way from `stand_in_after_s` to `reply_within_s`."""
    reply_within_s: Seconds = 9.0
    """A reply that is not on its way by then is not sent at all: it would meet a hub that has given up."""
    hub_patience_s: Seconds = 10.0
    """When the hub takes the receiver for timed out. Not public: ask the scheme."""
    sender_answer_s: Seconds = 15.0
    """When the sending bank must have its answer (certain)."""

    @property
    def last_moment_s(self) -> float:
        """`decline_after_s`, or what it stands for."""
        way_s = self.reply_within_s - self.stand_in_after_s
        return self.decline_after_s or self.stand_in_after_s + 0.75 * way_s


class StandIn(Struct, frozen=True, forbid_unknown_fields=True):
    """How we answer when the processor does not, and for which payments we may.

    Limits are each process's own: a bank that takes payments at two sites and in several groups divides what it allows.
    """

    code: Annotated[str, Meta(pattern=r"^0[0-9]{3}\Z", description="four digits, the first of them 0")] = "0080"
    """The qualified accept that stand-in gives: one of the code table's (`gateway/wire/codes.toml`), which says what it
    tells the sender. 0080 names no day and is never untrue; to promise one is a bank's own decision. Before it was the
    default that was 0083, the next working day: who means that writes it down."""
    mode: StandInMode = "timer"
    """timer: stand in when the processor has not answered in time. always: at once, without asking (the processor is
    being maintained). never: not at all. An operator can switch it while the gateway runs (`POST /stand-in`); that
    holds over restarts, until this setting is changed: the latest order counts."""
    amount_max: Annotated[int, Meta(ge=0, le=10**14)] = 0
    """The largest amount that stand-in may accept, in pence. 0: any."""
    daily_total_max: Annotated[int, Meta(ge=0, le=10**16)] = 0
    """What stand-in may accept on one day (a date in UTC, by the wall clock) in all, in pence. 0: any. What is reversed
    later still counts."""
    payment_types: tuple[PaymentTypeCode, ...] = ()
    """The payment types that stand-in may accept. None: all."""
    sort_codes: tuple[Annotated[str, Meta(pattern=r"^[0-9]{1,11}\Z", description="1 to 11 digits")], ...] = ()
    """How the beneficiary's sort code (DE95) may begin in what stand-in may accept. None: any."""
    withhold_while_suspended: bool = False
    """Do not stand in while, by the scheme's news, the service, we or the sender are suspended. The hub has admitted
    what it sends, and refuses itself what a suspended sender submits: this is for a bank whose own rules ask for it."""
    otherwise: Literal["1909", "nothing"] = "1909"
    """What a payment gets that stand-in may not accept, when the processor has not answered by `decline_after_s`: a
    refusal (system malfunction), or no answer at all, so that the hub reverses or repeats it. What the scheme says must
    be accepted is stood in for all the same."""


class Submit(Struct, frozen=True, forbid_unknown_fields=True):
    """How a payment of ours is repeated until the hub has said what became of it."""

    answer_within_s: Seconds = 16.0
    """When no answer has come by then, the payment is repeated (9201). The hub owes one after `sender_answer_s`."""
    pause_s: Seconds = 0.5
    """The pause before the first repeat after a link was lost or the hub said nothing of use; it doubles, up to:"""
    pause_max_s: Seconds = 15.0
    """The longest pause before a repeat."""
    repeats_max: Annotated[int, Meta(ge=0, le=100)] = 5
    """Repeats before a payment that may have left is UNKNOWN."""
    repeat_for_s: Seconds = 120.0
    """Nothing is sent for a payment that was submitted longer ago, also after a restart, until the processor submits it
    again."""
    inconclusive_codes: tuple[AnyCode, ...] = ("9909", "9913")
    """Answers of the hub that do not say what became of the payment: it malfunctioned, or knows the FPID already."""
    request_codes: tuple[SomeHubCode, ...] = ("9902", "9930", "9934", "9935", "9936")
    """Answers of the hub that judge the request that it got, not the payment: where an earlier request may have left,
    they settle nothing either."""


class News(Struct, frozen=True, forbid_unknown_fields=True):
    """What the scheme's news (9824) changes: the code for what the hub would refuse; empty: leave that to the hub."""

    own_institutions: tuple[InstitutionId, ...] = ()
    """Our own ids and sort codes as DE100 may have them, besides DE98 of what we submit and DE99 of what we get."""
    members: dict[InstitutionId, tuple[InstitutionId, ...]] = {}
    """For each institution that news may be about: how the sort codes begin that it answers for. A sort code that
    equals an institution's id is its own without being listed."""
    service_suspended_code: HubCode = "9943"
    """The service is suspended."""
    sender_suspended_code: HubCode = "9944"
    """We are suspended."""
    receiver_suspended_code: HubCode = "9945"
    """The receiving institution is suspended."""
    group_unavailable_code: HubCode = "9912"
    """The receiving institution does not take this payment's priority group."""
    settlement_suspended_code: HubCode = ""
    """Settlement is suspended."""
    above_sitl_code: HubCode = "9940"
    """The amount is above our SITL."""
    above_stl_code: HubCode = "9941"
    """The amount is above our STL."""
    cap_reached_code: HubCode = "9942"
    """Our net sender cap is reached."""


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
    retry_s: Seconds = 1.0
    """The first pause after a sign-on that the hub refused or left unanswered; it doubles up to:"""
    retry_max_s: Seconds = 30.0
    """The longest pause before signing on again."""


DaysApart = Annotated[int, Meta(ge=0, le=366)]


class Dates(Struct, frozen=True, forbid_unknown_fields=True):
    """Which date (DE12) a payment may bear whose FPID is not known here. Days are those of the calendar in the United
    Kingdom. A synchronous payment outside its window is refused (1930, DE44 012); about another the processor is asked
    with a mark (`unusual_date`), and stand-in does not accept it.
    """

    back_days: dict[PaymentTypeCode, DaysApart] = {}
    """So many days back, by payment type. A type that is not here: 2 when it is synchronous; any other as long as FPIDs
    are surely remembered, which `pair.business_days` decides (11 of the calendar for 7)."""
    ahead_days: dict[PaymentTypeCode, DaysApart] = {}
    """So many days ahead, by payment type. A type that is not here: 1."""
    hub_clock_differs_s: Seconds = 7_200.0
    """The hub's clock (DE7) may differ from ours by so much. When it differs by more on every link, people are alerted,
    and no payment is refused for its date. An hour may be the time zone, which DE7 does not say."""


class Pair(Struct, frozen=True, forbid_unknown_fields=True):
    """What both sites must share. Its fingerprint shows when they do not."""

    group: Group
    """The payment group that this process serves."""
    business_days: Annotated[int, Meta(ge=1, le=60)] = 7
    """How long an FPID is remembered for duplicates and repeats, in days without Saturdays and Sundays."""
    reversed_code: RefusalCode = "1100"
    """What a payment is refused with that turns up after its reversal (1xxx: the receiver refuses)."""
    refused_code: RefusalCode = "1100"
    """What a payment is refused with when the processor refuses it (RJCT) in a way that names no code of use: none, or
    one that no receiver may say."""
    dates: Dates = Dates()
    wire: Wire = Wire()
    mac: Mac = Mac()
    keys: Keys = Keys()
    deadlines: Deadlines = Deadlines()
    stand_in: StandIn = StandIn()
    submit: Submit = Submit()
    news: News = News()
    session: Session = Session()


class Tls(Struct, frozen=True, forbid_unknown_fields=True):
    """TLS towards one peer, all paths to PEM files. Renewed files are used from the next connection on, unless they are
    worse than those before (`gateway/network/papers.py`).
    """

    ca_file: Text
    """Who may have signed the peer's certificate: authorities, also intermediate ones without the root above them, or
    the peer's certificate itself."""
    certificate_file: str = ""
    """Our client certificate (and `key_file` its key); empty: none is presented."""
    key_file: str = ""
    """The private key of `certificate_file`, without a passphrase."""
    server_name: str = ""
    """The name that the peer's certificate must hold in its subjectAltName (a common name is none); empty: the host
    dialled."""


class HubSite(Struct, frozen=True, forbid_unknown_fields=True):
    """One site of the hub: we hold one link to each."""

    name: Name
    """Names the site in logs and metrics."""
    host: Text
    """Host name or address."""
    port: Annotated[int, Meta(ge=1, le=65535)]
    """TCP port of this payment group."""
    tls: Tls | None = None
    reconnect_s: Seconds = 0.2
    """The first pause before dialling again; it doubles, with jitter, up to:"""
    reconnect_max_s: Seconds = 15.0
    """The longest pause before dialling again."""
    connect_within_s: Seconds = 5.0
    """How long connecting may take, TLS included."""
    unconfirmed_s: Seconds = 25.0
    """How long the hub's machine may leave what we sent unconfirmed; then the connection is given up, and payments go
    by another one (TCP_USER_TIMEOUT, on Linux). Less than echoes need for it, which is `pair.session.echo_after_s` and
    `echo_misses_max` times `respond_within_s`; as long as TCP's keepalive, which looks after idle connections."""
    write_bytes_max: Count = 8 * 1024 * 1024
    """What may wait to be written. A hub that does not read for so long loses the connection."""


class Token(Struct, frozen=True, forbid_unknown_fields=True):
    """One HSM token (a SoftHSM token in development)."""

    name: Name
    """Names the token in logs and metrics."""
    label: Text
    """The PKCS#11 token label."""
    module: Text
    """Path of the PKCS#11 library."""
    pin_file: Text
    """A file that holds the PIN and nothing else; `$CREDENTIALS_DIRECTORY` is expanded. A byte order mark before it and
    line ends after it are no part of the PIN; blanks inside are, and one at either end is refused."""
    local: bool = True
    """In our own data centre: preferred."""
    environment: dict[str, str] = {}
    """Set for this token's worker process only (SOFTHSM2_CONF and the like). Variables of Python's own have no effect:
    the worker takes its code from where the gateway is installed."""
    batch_within_s: Seconds = 1.0
    """A batch that takes longer means a hung token: its worker is killed and its work goes to another."""
    start_within_s: Seconds = 10.0
    """How long a worker may take to load the library, log in and find its keys."""
    install_within_s: Seconds = 5.0
    """How long a token may take to unwrap a new key and prove it. Tokens do so one by one, and make no MACs meanwhile:
    the hub hears of a new key within this time for each of them."""
    wrapping_mechanism: Annotated[int, Meta(ge=0, le=0xFFFFFFFF)] = 0
    """The token's number of the mechanism that `pair.keys.wrapping` names, where it is not the usual one (RFC 5649 is
    0x210B in PKCS#11 3.1, and 0x210A in SoftHSM, which is the usual one here). 0: the usual one."""
    retail_mechanism: Annotated[int, Meta(ge=0, le=0xFFFFFFFF)] = 0
    """For `des3-retail`: the vendor's number of the X9.19 MAC mechanism (Luna 0x80000150, ProtectServer 0x80000135).
    0: put together in the token from two keys (`gateway/signer/token.py` says how)."""


class JournalSettings(Struct, frozen=True, forbid_unknown_fields=True):
    """Where and how the journal is written."""

    dir: Text
    """The journal's directory, on the replicated volume. One process owns it: a lock in it keeps a second one out."""
    segment_bytes: Annotated[int, Meta(ge=65536, le=4 << 30)] = 64 * 1024 * 1024
    """Size of a segment file, allocated and zero-filled ahead."""
    stall_after_s: Seconds = 1.0
    """A sync that takes longer makes the gateway unready, so that the hub uses the other site."""
    waiting_bytes_max: Annotated[int, Meta(ge=1 << 20)] = 128 * 1024 * 1024
    """What may wait for the disk. From a quarter of it on no payments are taken in: the rest is for the outcomes of
    those that were. Beyond all of it the process ends."""
    retention_days: Annotated[float, Meta(ge=0, le=36525)] = 14.0
    """A segment is deleted when every follower is past it and it is older than this. A restart learns from the journal
    which FPIDs were used: so no less than what `pair.business_days` can span."""
    begin_if_none: bool = False
    """Whether a start that finds no journal begins an empty one. An empty journal remembers no payment: where there was
    one, on another server or on a volume that is not mounted, its duplicates would be paid again. Off, such a start is
    refused, and `fps-gateway journal init` begins the first one. For worlds that are thrown away."""
    seal_every_s: Seconds = 60.0
    """How often the HSM signs the journal's chain, when something was written since."""


class Volume(Struct, frozen=True, forbid_unknown_fields=True):
    """The replicated volume (DRBD) under the journal, watched. Without this table nobody asks about it."""

    resource: Annotated[str, Meta(pattern=r"^[A-Za-z0-9_.-]{1,64}\Z", description="1 to 64 letters, digits, _ . -")]
    """DRBD's name of it. The gateway refuses to start where the journal does not lie on it."""
    device: str = ""
    """Its device; empty: `/dev/drbd/by-res/RESOURCE/0`, the name that udev gives it."""
    report: Annotated[
        str, Meta(pattern=r"^(/[^\x00-\x1f]*)?\Z", max_length=1000, description="a path that begins with /, or nothing")
    ] = ""
    """The file in which the host says what DRBD says (`fps-volume report`), for a gateway in a container, which cannot
    ask itself: `/run/fps-volume/GROUP/status`. Empty: it asks."""
    copies: Annotated[int, Meta(ge=1, le=16)] = 3
    """Servers that should have an up-to-date copy, this one included. With fewer the volume is degraded: a warning."""
    copies_min: Annotated[int, Meta(ge=1, le=16)] = 2
    """With fewer the gateway is unready and signs off to receive, so that the hub uses the other site: what is promised
    on one copy is lost with one server. 1: payments come as long as there is quorum."""

    @property
    def path(self) -> str:
        """What says which device it is: `device`, the report, or the name that udev gives it."""
        return self.device or self.report or f"/dev/drbd/by-res/{self.resource}/0"


class Processor(Struct, frozen=True, forbid_unknown_fields=True):
    """The bank's payment processor: whom we ask and tell."""

    url: Url
    """Base URL; `/payments` and `/notices` are below it. It is logged: no credentials in it."""
    tls: Tls | None = None
    connections_max: Annotated[int, Meta(ge=1, le=4096)] = 128
    """Keep-alive connections for asking; one question at a time on each."""
    waiting_max: Count = 20000
    """Questions that may wait for a connection; beyond it a payment is not asked about and stand-in answers."""
    late_answer_s: Seconds = 10.0
    """How long after a payment's stand-in its late answer is still listened for."""
    connect_within_s: Seconds = 2.0
    """How long connecting may take, TLS included."""
    connection_age_max_s: Seconds = 300.0
    """A connection that is older is closed once it has its answer, so that a processor that moved (its name leads
    elsewhere now) is found though its old host still answers. Each gets up to a quarter less, by chance, so that
    they do not all go at once."""
    answer_bytes_max: Count = 65536
    """A longer answer is no answer: the connection is given up."""
    tell_within_s: Seconds = 10.0
    """How long the processor may take to acknowledge a notice; then it is told again."""
    tell_per_s: Annotated[float, Meta(gt=0, le=1e6)] = 5000.0
    """The pace of notices, per second. Each payment that leaves is one: above it, what is told falls behind."""
    tell_connections: Annotated[int, Meta(ge=1, le=256)] = 8
    """Keep-alive connections for telling; one notice at a time on each."""
    tell_pause_s: Seconds = 0.5
    """The first pause after a notice that was not acknowledged; it doubles, with jitter, up to:"""
    tell_pause_max_s: Seconds = 30.0
    """The longest pause before a notice is told again."""


class ServerTls(Struct, frozen=True, forbid_unknown_fields=True):
    """TLS where we are the server, all paths to PEM files. Only clients that present a certificate are let in. Renewed
    files are used from the next connection on, unless they are worse than those before (`gateway/network/papers.py`).
    """

    certificate_file: Text
    """Our certificate, with the chain above it."""
    key_file: Text
    """The private key of `certificate_file`, without a passphrase."""
    ca_file: Text
    """Who may have signed the clients' certificates."""
    client_name: str = ""
    """A DNS name that the certificate of a client who submits must hold; others whom `ca_file` has signed may look at
    /ready and nothing else. Empty: any certificate that it has signed will do."""


class Submissions(Struct, frozen=True, forbid_unknown_fields=True):
    """Where the payment processor submits payments to us. Without this table nobody does."""

    host: Text = "127.0.0.1"
    """The address to listen on; one that is not loopback needs `tls`: whoever reaches it could submit payments."""
    port: Port = 9300
    """0 picks a free one and logs it."""
    tls: ServerTls | None = None
    connections_max: Annotated[int, Meta(ge=1, le=65536)] = 1024
    """Connections at once, each with one payment that waits for its outcome; beyond it one that is idle gives way, and
    when none is, the new one."""
    body_bytes_max: Annotated[int, Meta(ge=1024, le=1 << 20)] = 16384
    """A longer submission is refused (413). A payment with every field filled is below 4 KiB."""
    request_within_s: Seconds = 5.0
    """How long a request may take to come in, from its first byte, and a response to be read by the client."""
    answer_within_s: Seconds = 10.0
    """When by then it is not durable, the client hears that we do not know (504) and should ask, or submit again."""
    wait_max_s: Seconds = 30.0
    """The longest `Prefer: wait` that is honoured."""
    idle_s: Seconds = 75.0
    """A connection without a request for so long is closed. Above what load balancers keep theirs (60 s)."""


class Ops(Struct, frozen=True, forbid_unknown_fields=True):
    """Where `/live`, `/ready`, `/metrics` and `/statistics` are served."""

    host: Text = "127.0.0.1"
    """The address to listen on. Whoever reaches it can read it all: keep it on loopback or behind a proxy."""
    port: Port = 9200
    """0 picks a free one and logs it."""


class Log(Struct, frozen=True, forbid_unknown_fields=True):
    """The log, on standard output."""

    level: Literal["debug", "info", "warning", "error"] = "info"
    """The least that is logged. SIGHUP has a running gateway read it again."""
    format: Literal["auto", "json", "console"] = "auto"
    """auto: console rendering on a terminal, JSON lines elsewhere."""


class Ejection(Struct, frozen=True, forbid_unknown_fields=True):
    """When a link to the hub gets no new submissions because it brings fewer or slower answers than the other ones
    (`gateway/payments/ejection.py`). It stays signed on, and is tried again.
    """

    slow_after_s: Seconds = 1.0
    """An answer that takes longer is slow; so is one that takes longer than 2, 4, 8 … times this. A link is judged by
    whether it has more of those than its siblings. So long a payment waits for a link on trial before it is repeated by
    another one. At most half of `pair.submit.answer_within_s`, whatever is said here."""
    pause_s: Seconds = 5.0
    """The first pause before a link that was ejected is tried with one payment; it doubles, with jitter, up to:"""
    pause_max_s: Seconds = 60.0
    """The longest pause before the next trial."""


class Sibling(Struct, frozen=True, forbid_unknown_fields=True):
    """The gateway of the same group at the other site. It is looked at to see that both share what a pair must share;
    without this table nobody looks. Nothing is decided by it.
    """

    url: Url
    """The base URL of its ops server, or, where that cannot be reached from here, of its `node.submissions`. It is
    logged: no credentials in it."""
    tls: Tls | None = None
    look_every_s: Seconds = 10.0
    """How often its `/ready` is looked at."""


class Node(Struct, frozen=True, forbid_unknown_fields=True):
    """What is this process's own."""

    name: Name
    """Names this process in notices, metrics and logs; no two nodes share one."""
    hub: Annotated[tuple[HubSite, ...], Meta(min_length=1)]
    token: Annotated[tuple[Token, ...], Meta(min_length=1)]
    journal: JournalSettings
    processor: Processor
    volume: Volume | None = None
    submissions: Submissions | None = None
    ops: Ops = Ops()
    log: Log = Log()
    peers: dict[PeerName, Url] = {}
    """Our other processes of this data centre, by name: the base URL of each one's ops server. The scheme's news that a
    link of ours brings is handed on to each. A name is for ever: the journal is kept until this one has it all."""
    peer_tls: Tls | None = None
    sibling: Sibling | None = None
    ejection: Ejection = Ejection()
    payments_max: Count = 50000
    """Payments being decided at once; beyond it a payment is not asked about and stand-in answers at once. Of ours: so
    many may be under way; beyond it submitting is refused as unavailable."""
    drain_s: Seconds = 12.0
    """How long what is in flight may take to finish after SIGTERM."""


class Configuration(Struct, frozen=True, forbid_unknown_fields=True):
    """The whole of it."""

    node: Node
    pair: Pair

    def fingerprint(self) -> str:
        """Sixteen hex digits over what the pair shares: equal on both sites, or something is wrong.

        A table counts by what it holds, not by where it lies. Raises `OSError` when it cannot be read any more.
        """
        wire = self.pair.wire
        wire_alone = msgspec.structs.replace(wire, field_table="", usm_table="", code_table="")
        shared = msgspec.structs.replace(self.pair, wire=wire_alone)
        digest = hashlib.blake2b(msgspec.json.encode(shared, order="deterministic"), digest_size=8)
        if wire.field_table:
            digest.update(Path(wire.field_table).read_bytes())
        if wire.usm_table:
            digest.update(b"\0usm\0" + Path(wire.usm_table).read_bytes())
        if wire.code_table:
            digest.update(b"\0codes\0" + Path(wire.code_table).read_bytes())
        return digest.hexdigest()


def struct_in(kind: Any) -> type[Struct] | None:
    """The table that a field's type stands for: `Tls` in `Tls | None`; None where it is a plain value."""
    if isinstance(kind, type) and issubclass(kind, Struct):
        return kind
    return next((found for item in typing.get_args(kind) if (found := struct_in(item))), None)


def described(kind: Any) -> dict[str, str]:
    """What a value must be, in words, by the pattern that it must match: of a type and all that it is made of."""
    found: dict[str, str] = {}
    for item in typing.get_args(kind):
        if isinstance(item, Meta):
            if item.pattern is not None:
                found[item.pattern] = item.description or ""
        else:
            found |= described(item)
    return found


def choices_in(kind: Any) -> tuple[Any, ...]:
    """What a value must be one of, in a type or what it is made of; empty where there is no such choice."""
    if typing.get_origin(kind) is Literal:
        return typing.get_args(kind)
    return next((found for item in typing.get_args(kind) if (found := choices_in(item))), ())


def is_many(kind: Any) -> bool:
    """Whether a field is an array of tables."""
    if typing.get_origin(kind) is Annotated:
        return is_many(typing.get_args(kind)[0])
    return typing.get_origin(kind) is tuple


def days_spanned(business_days: int) -> int:
    """The most calendar days that so many business days and today can span: weekends do not count as business days.

    Bank holidays do, so around one an FPID may be remembered a day less: the configuration has the number.
    """
    return business_days + 2 * (business_days // 5 + 1) + 1
