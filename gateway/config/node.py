"""The settings of one process: its neighbours, its devices, its files, and its limits."""

from typing import Annotated, Literal

from msgspec import Meta, Struct

from gateway.config.kinds import (
    Count,
    InClear,
    Name,
    PeerName,
    PeerUrl,
    Port,
    Role,
    Seconds,
    Text,
    TwoPersonAct,
    Url,
)


class Tls(Struct, frozen=True, forbid_unknown_fields=True):
    """TLS towards one peer. All paths are of PEM files. Renewed files are used from the next connection on, unless they
    are worse than the previous ones (`gateway/network/papers.py`).
    """

    ca_file: Text
    """Certificates that may have signed the peer's: authorities, also intermediate ones without the root above them, or
    the peer's certificate itself."""
    certificate_file: str = ""
    """Our client certificate, which needs `key_file`. Empty: we present none."""
    key_file: str = ""
    """The private key of `certificate_file`, without a passphrase."""
    server_name: str = ""
    """The name that the peer's certificate must hold in its subjectAltName; a common name does not count. Empty: the
    host that is dialled."""


class HubSite(Struct, frozen=True, forbid_unknown_fields=True):
    """One site of the hub. We hold one link to each."""

    name: Name
    """The site's name in logs and metrics."""
    host: Text
    """Host name or address."""
    port: Annotated[int, Meta(ge=1, le=65535)]
    """TCP port of this payment group."""
    tls: Tls | None = None
    reconnect_s: Seconds = 0.2
    """First pause before dialling again. The pause doubles, with jitter, up to `reconnect_max_s`."""
    reconnect_max_s: Seconds = 15.0
    """Longest pause before dialling again."""
    connect_within_s: Seconds = 5.0
    """Time that connecting may take, TLS included."""
    unconfirmed_s: Seconds = 25.0
    """Time that the hub's machine may leave what we sent unconfirmed. After it the connection is given up, and payments
    take another one (TCP_USER_TIMEOUT, on Linux). Set it below the time that echoes need to find the same, which is
    `pair.session.echo_after_s` plus `echo_misses_max` times `respond_within_s`. TCP's keepalive, which finds dead idle
    connections, takes as long as is set here."""
    write_bytes_max: Count = 8 * 1024 * 1024
    """Bytes at most that wait to be written. A hub that does not read for so long loses the connection."""


class Token(Struct, frozen=True, forbid_unknown_fields=True):
    """One HSM token (a SoftHSM token in development)."""

    name: Name
    """The token's name in logs and metrics."""
    label: Text
    """The PKCS#11 token label."""
    module: Text
    """Path of the PKCS#11 library."""
    pin_file: Text
    """Path of a file that holds the PIN and nothing else. `$CREDENTIALS_DIRECTORY` is expanded. A byte order mark
    before the PIN and line ends after it do not belong to it. Blanks inside do; a blank at either end is refused."""
    local: bool = True
    """Whether the token is in our own data centre. Local tokens are preferred."""
    environment: dict[str, str] = {}
    """Environment variables for this token's worker process alone (SOFTHSM2_CONF and the like). Python's own variables
    have no effect: the worker takes its code from where the gateway is installed."""
    batch_within_s: Seconds = 1.0
    """Time that a batch may take. After it the token counts as hung: its worker is killed, and another token does the
    work."""
    start_within_s: Seconds = 10.0
    """Time that a worker may take to load the library, log in and find its keys."""
    install_within_s: Seconds = 5.0
    """Time that the token may take to unwrap a new key and prove it. Tokens do so one by one, and make no MACs
    meanwhile: the hub hears of a new key after this time for each of them, at the latest."""
    wrapping_mechanism: Annotated[int, Meta(ge=0, le=0xFFFFFFFF)] = 0
    """The token's number of the mechanism that `pair.keys.wrapping` names, where it is not the usual one (RFC 5649 is
    0x210B in PKCS#11 3.1, and 0x210A in SoftHSM, which is the usual one here). 0: the usual one."""
    retail_mechanism: Annotated[int, Meta(ge=0, le=0xFFFFFFFF)] = 0
    """For `des3-retail`: the vendor's number of the X9.19 MAC mechanism (Luna 0x80000150, ProtectServer 0x80000135).
    0: the token puts the MAC together from two keys (`gateway/signer/token.py` says how)."""


class JournalSettings(Struct, frozen=True, forbid_unknown_fields=True):
    """Where and how the journal is written."""

    dir: Text
    """The journal's directory, on the replicated volume. One process owns it: a lock in it keeps a second one out."""
    segment_bytes: Annotated[int, Meta(ge=65536, le=4 << 30)] = 64 * 1024 * 1024
    """Size of a segment file. It is allocated and filled with zeros ahead of its use."""
    stall_after_s: Seconds = 1.0
    """Time that a sync may take. While one takes longer the gateway is unready, so that the hub uses the other site."""
    waiting_bytes_max: Annotated[int, Meta(ge=1 << 20)] = 128 * 1024 * 1024
    """Bytes at most that wait for the disk; with more, the process ends. From a quarter of this on, no payments are
    taken in: the rest is for the outcomes of those that were."""
    retention_days: Annotated[float, Meta(ge=0, le=36525)] = 14.0
    """Age from which a segment is deleted, once every follower is past it. A restart learns from the journal which
    FPIDs were used: so it must not be less than `pair.business_days` can span."""
    begin_if_none: bool = False
    """Whether a start that finds no journal begins an empty one. An empty journal remembers no payment: where there was
    a journal, on another server or on a volume that is not mounted, its duplicates would be paid again. So by default
    such a start is refused, and `fps-gateway journal init` begins the first journal. Set it only in environments that
    are thrown away."""
    seal_every_s: Seconds = 60.0
    """Pause between two seals: the HSM signs the journal's chain, when something was written since."""


class Volume(Struct, frozen=True, forbid_unknown_fields=True):
    """The replicated volume (DRBD) under the journal, to be watched. Without this table the gateway does not watch
    it.
    """

    resource: Annotated[str, Meta(pattern=r"^[A-Za-z0-9_.-]{1,64}\Z", description="1 to 64 letters, digits, _ . -")]
    """DRBD's name for the volume. The gateway refuses to start when the journal does not lie on it."""
    device: str = ""
    """The volume's device. Empty: `/dev/drbd/by-res/RESOURCE/0`, the name that udev gives it."""
    report: Annotated[
        str, Meta(pattern=r"^(/[^\x00-\x1f]*)?\Z", max_length=1000, description="a path that begins with /, or nothing")
    ] = ""
    """Path of the file in which the host reports DRBD's state (`fps-volume report`), for a gateway in a container,
    which cannot ask DRBD: `/run/fps-volume/GROUP/status`. Empty: the gateway asks."""
    copies: Annotated[int, Meta(ge=1, le=16)] = 3
    """Servers that should have an up-to-date copy, this one included. With fewer, the volume is degraded: a warning."""
    copies_min: Annotated[int, Meta(ge=1, le=16)] = 2
    """Up-to-date copies at least. With fewer, the gateway is unready and signs off to receive, so that the hub uses the
    other site: a promise that is kept on one copy is lost with one server. 1: payments come while there is quorum."""

    @property
    def path(self) -> str:
        """The path that tells the device: `device`, the report, or the name that udev gives it."""
        return self.device or self.report or f"/dev/drbd/by-res/{self.resource}/0"


class Processor(Struct, frozen=True, forbid_unknown_fields=True):
    """The bank's payment processor, which we ask and tell."""

    url: Url
    """Base URL. `/payments` and `/notices` are below it. It is logged: no credentials in it."""
    tls: Tls | None = None
    in_clear: InClear = ""
    """Allows `http://` in `url` to a host that is not this machine: questions with names and accounts go there, and
    answers that accept or refuse payments come back. Give the words to say that you know it: `anyone on the path may
    read and change it`. Without them such a URL is a mistake."""
    connections_max: Annotated[int, Meta(ge=1, le=4096)] = 128
    """Keep-alive connections for questions at most. Each carries one question at a time."""
    waiting_max: Count = 20000
    """Questions at most that wait for a connection. Above it, a payment is not asked about, and stand-in answers."""
    late_answer_s: Seconds = 10.0
    """Time after a payment's stand-in during which its late answer is still heard."""
    connect_within_s: Seconds = 2.0
    """Time that connecting may take, TLS included."""
    connection_age_max_s: Seconds = 300.0
    """Age from which a connection is closed, once it has its answer. So a processor that has moved (its name leads
    elsewhere now) is found although its old host still answers. Each connection gets up to a quarter less, by chance,
    so that they do not all close at once."""
    answer_bytes_max: Count = 65536
    """Longest answer. A longer one counts as no answer, and the connection is given up."""
    tell_within_s: Seconds = 10.0
    """Time that the processor has to acknowledge a notice. After it, the notice is told again."""
    tell_per_s: Annotated[float, Meta(gt=0, le=1e6)] = 5000.0
    """Notices per second at most. Each payment that leaves makes one: at a higher rate of payments, telling falls
    behind."""
    tell_connections: Annotated[int, Meta(ge=1, le=256)] = 8
    """Keep-alive connections for notices. Each carries one notice at a time."""
    tell_pause_s: Seconds = 0.5
    """First pause after a notice that was not acknowledged. The pause doubles, with jitter, up to
    `tell_pause_max_s`."""
    tell_pause_max_s: Seconds = 30.0
    """Longest pause before a notice is told again."""


class ServerTls(Struct, frozen=True, forbid_unknown_fields=True):
    """TLS where we are the server. All paths are of PEM files. A client must present a certificate. Renewed files are
    used from the next connection on, unless they are worse than the previous ones (`gateway/network/papers.py`).
    """

    certificate_file: Text
    """Our certificate, with the chain above it."""
    key_file: Text
    """The private key of `certificate_file`, without a passphrase."""
    ca_file: Text
    """Certificates of the authorities that may have signed the clients'."""
    client_name: str = ""
    """The DNS name that a client's certificate must hold before the client may submit. It must be given. Other clients
    whose certificate `ca_file` has signed may look at /ready and nothing else. A running gateway reads it again on
    SIGHUP, and closes the connections of clients that may submit no more."""
    crl_file: str = ""
    """Lists of revoked certificates (CRLs), one of each authority that signs clients' certificates. Renewed lists are
    used within a minute, also for connections that stand. Empty: nobody asks whether a certificate was revoked."""
    crl_stale: Literal["refuse", "use"] = "refuse"
    """What a list is worth after its next update should have come. refuse: no client of that authority is let in until
    a newer list is here. use: it counts until then, as it is. An alert comes before, when three quarters of its time
    are over."""


class Submissions(Struct, frozen=True, forbid_unknown_fields=True):
    """Where the payment processor submits payments to us. Without this table it cannot."""

    host: Text = "127.0.0.1"
    """Address to listen on. One that is not loopback needs `tls`: anybody who reached it could submit payments."""
    port: Port = 9300
    """TCP port. 0: a free one, which is logged."""
    tls: ServerTls | None = None
    connections_max: Annotated[int, Meta(ge=1, le=65536)] = 1024
    """Connections at most, each with one payment that waits for its outcome. Above it an idle connection gives way to
    the new one; when none is idle, the new one is closed."""
    body_bytes_max: Annotated[int, Meta(ge=1024, le=1 << 20)] = 16384
    """Longest submission. A longer one is refused (413). A payment with every field filled is below 4 KiB."""
    request_within_s: Seconds = 5.0
    """Time that a request may take to come in, from its first byte, and that the client may take to read a response."""
    answer_within_s: Seconds = 10.0
    """Time that a submission may take to become durable. After it the client hears that we do not know (504), and
    should ask, or submit again."""
    wait_max_s: Seconds = 30.0
    """Longest `Prefer: wait` that is honoured."""
    idle_s: Seconds = 75.0
    """Time without a request after which a connection is closed. Longer than load balancers keep theirs (60 s)."""
    connection_age_max_s: Seconds = 3600.0
    """Age from which a connection is closed: the response to its next request says so, and the client shows its
    certificate anew. Each connection gets up to a quarter less, so that they do not all close at once."""


class OpsTls(Struct, frozen=True, forbid_unknown_fields=True):
    """TLS of the ops server. All paths are of PEM files. A client must present a certificate, and `node.actors` says
    what its names may do here.
    """

    certificate_file: Text
    """Our certificate, with the chain above it."""
    key_file: Text
    """The private key of `certificate_file`, without a passphrase."""
    ca_file: Text
    """Certificates of the authorities that may have signed the clients'."""
    crl_file: str = ""
    """As in `node.submissions.tls`."""
    crl_stale: Literal["refuse", "use"] = "refuse"
    """As in `node.submissions.tls`."""


class Ops(Struct, frozen=True, forbid_unknown_fields=True):
    """The ops server: `/live`, `/ready`, `/metrics`, `/statistics`. Over TLS acts, too, and news of our processes."""

    host: Text = "127.0.0.1"
    """Address to listen on. One that is not loopback needs `tls`. On loopback without `tls`, everybody on this machine
    may look, and nobody can act: acts go to `node.acts.socket`."""
    port: Port = 9200
    """TCP port. 0: a free one, which is logged."""
    tls: OpsTls | None = None
    hosts: tuple[Text, ...] = ()
    """Names, beside localhost and addresses, by which clients reach it: another name in `Host` is refused, since it may
    be a web page's."""


class Actor(Struct, frozen=True, forbid_unknown_fields=True):
    """A person, or a process of ours, that may look or act here: under one name, however it comes."""

    name: Name
    """Stands in the record of each act."""
    roles: Annotated[tuple[Role, ...], Meta(min_length=1)]
    """look: see the states and the metrics. operate: act, and look. approve: be the second person for an act, and look.
    peer: hand on the scheme's news."""
    user: str = ""
    """The user of this machine, by name or number, who comes by `node.acts.socket`. Empty: none."""
    certificate: str = ""
    """A DNS name in the subjectAltName of the client's certificate at `node.ops`. Empty: none."""


class Acts(Struct, frozen=True, forbid_unknown_fields=True):
    """How people act on this process (`fps-gateway acts --help`)."""

    socket: str = ""
    """Path of the Unix socket that takes acts. The kernel says which user comes, and `node.actors` what that user may
    do. Empty: there is none."""
    second_person: tuple[TwoPersonAct, ...] = ()
    """Acts that wait until another person approves them. Acts that only make us do less never wait."""
    approve_within_s: Seconds = 900.0
    """Time in which the second person must approve."""


class Log(Struct, frozen=True, forbid_unknown_fields=True):
    """The log, on standard output."""

    level: Literal["debug", "info", "warning", "error"] = "info"
    """The lowest level that is logged. A running gateway reads it again on SIGHUP."""
    format: Literal["auto", "json", "console"] = "auto"
    """console: coloured lines for people. json: one JSON object a line. auto: console on a terminal, json elsewhere."""


class Ejection(Struct, frozen=True, forbid_unknown_fields=True):
    """When a link to the hub gets no new submissions, because it brings fewer or slower answers than the others
    (`gateway/payments/ejection.py`). It stays signed on, and is tried again.
    """

    slow_after_s: Seconds = 1.0
    """Time from which an answer is slow; it is slower from 2, 4, 8 … times this. A link is judged by whether it has
    more slow answers than its siblings. A payment on a link on trial waits for this time, too, before another link
    repeats it. At most half of `pair.submit.answer_within_s` is used, even where more is set."""
    pause_s: Seconds = 5.0
    """First pause before an ejected link is tried with one payment. The pause doubles, with jitter, up to
    `pause_max_s`."""
    pause_max_s: Seconds = 60.0
    """Longest pause before the next trial."""


class Unproved(Struct, frozen=True, forbid_unknown_fields=True):
    """How much a link to the hub may bring that proves nothing: frames that are no message, or whose MAC is wrong. Each
    such frame costs room in the journal and a reply. Frames that no HSM could judge do not count.

    A link that brings more is closed for a while, where another one does well. Where none does, the cause is a key or
    the hub: the links stay, and are read no faster than this (`gateway/hub/budget.py`).
    """

    frames_max: Annotated[int, Meta(ge=1, le=10**6)] = 200
    """Frames that prove nothing that a link may bring at once."""
    frames_per_s: Annotated[float, Meta(ge=0.01, le=1e6)] = 20.0
    """Frames that prove nothing per second that it may bring for ever."""
    bytes_max: Annotated[int, Meta(ge=512, le=1 << 30)] = 256 * 1024
    """Bytes of such frames that a link may bring at once. At least `pair.wire.frame_bytes_max`."""
    bytes_per_s: Annotated[float, Meta(ge=1, le=1e9)] = 16384.0
    """Bytes of such frames per second that it may bring for ever. All of them go into the journal: the default is 1.4
    GB a day for each link."""
    key_change_factor: Annotated[float, Meta(ge=1, le=1000)] = 10.0
    """How many times as much a link may bring while the key that the hub signs with changes: messages that are the
    hub's may fail then."""
    pause_s: Seconds = 5.0
    """First pause before a link is dialled again that brought too much. The pause doubles, with jitter, up to
    `pause_max_s`, and is the first one again when the link has kept to its budget for `pause_max_s`. It ends when no
    other link does well."""
    pause_max_s: Seconds = 300.0
    """Longest pause before such a link is dialled again."""


class Sibling(Struct, frozen=True, forbid_unknown_fields=True):
    """The gateway of the same group at the other site. We look at it to see that both share what a pair must share;
    nothing is decided by it. Without this table we do not look.
    """

    url: Url
    """Base URL of its ops server, or, where that cannot be reached from here, of its `node.submissions`. It is
    logged: no credentials in it."""
    tls: Tls | None = None
    in_clear: InClear = ""
    """Allows `http://` in `url` to a host that is not this machine, as `node.processor.in_clear` does."""
    look_every_s: Seconds = 10.0
    """Pause between two looks at its `/ready`."""


class Node(Struct, frozen=True, forbid_unknown_fields=True):
    """What belongs to this process alone."""

    name: Name
    """The process's name in notices, metrics and logs. No two nodes share one."""
    hub: Annotated[tuple[HubSite, ...], Meta(min_length=1)]
    token: Annotated[tuple[Token, ...], Meta(min_length=1)]
    journal: JournalSettings
    processor: Processor
    volume: Volume | None = None
    submissions: Submissions | None = None
    ops: Ops = Ops()
    acts: Acts = Acts()
    actors: tuple[Actor, ...] = ()
    log: Log = Log()
    peers: dict[PeerName, PeerUrl] = {}
    """Our other processes of this data centre: name, and base URL of its ops server, or, on the same machine, `unix:`
    and the path of its `node.acts.socket`. There we need the role `peer`. The scheme's news that a link of
    ours brings is handed on to each. A name is for ever: the journal is kept until this peer has all news."""
    peer_tls: Tls | None = None
    peers_in_clear: InClear = ""
    """Allows `http://` in `peers` to hosts that are not this machine, as `node.processor.in_clear` does. The scheme's
    news, which goes there, decides whom we refuse."""
    sibling: Sibling | None = None
    ejection: Ejection = Ejection()
    unproved: Unproved = Unproved()
    payments_max: Count = 50000
    """Payments being decided at most, and payments of ours under way at most. Above it, a payment that arrives is not
    asked about, and stand-in answers at once; a submission is refused as unavailable."""
    drain_s: Seconds = 12.0
    """Time that payments in flight have to finish after SIGTERM."""
