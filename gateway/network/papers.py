"""TLS: our certificate and the authorities we trust, from files that are renewed while we run. Only this file makes
contexts.

A set of files (authorities, certificate, key) is judged as a whole before it takes the place of the set in use. It is
refused when it cannot be loaded, when its certificate has ended or has not begun, when no authority in it is valid, or
when its authorities do not vouch for its certificate although those before did for theirs. Then the set before stays,
while that is any better, and an error line names the file. A start takes every set that loads, and logs its flaws:
there is nothing better, and one connection that fails is no reason to have none.

Where we are the server, a change of `ca_file` alone is taken at its word: it says which clients are trusted no more.

A certificate or an intermediate authority in `ca_file` is trusted by itself, without the root above it. A peer's name
must be in its subjectAltName: the common name says nothing about hosts (RFC 9525), and authorities do not check it as
one.
"""

import ssl
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final, NamedTuple, NoReturn
from weakref import WeakSet

import trio
from cryptography import x509

from gateway import config, log, metrics
from gateway.errors import ConfigurationError
from gateway.machine.aside import aside
from gateway.machine.shortage import is_shortage
from gateway.network import trust
from gateway.network.trust import Facts, Judgement, RevocationList, is_valid, is_vouched

LOOK_EVERY_S = 60.0
"""How often all files are looked at, with or without connections; and how often a refused set is judged again: a
certificate that had not begun may have by then."""
ENDING_DAYS = 30
"""Days before the end of a certificate from which `config check --here` names it, as the alerts do."""
FILE_BYTES_MAX = 1 << 20
"""The system's whole bundle of authorities has a fifth of that."""
LISTS_BYTES_MAX = 4 << 20
"""Revocation lists: some 80,000 certificates. Whatever is longer holds the event loop up when it is read."""
MEMBERS = ("ca_file", "certificate_file", "key_file", "crl_file")
"""Of the settings, those that name files."""
BOM = b"\xef\xbb\xbf"
NO_CERTIFICATE = "holds no certificate in PEM, or half of one"

Settings = config.Tls | config.ServerTls | config.OpsTls
_SERVERS = (config.ServerTls, config.OpsTls)
_log = log.get("tls")


class _Set(NamedTuple):
    """A set of files, loaded."""

    context: ssl.SSLContext
    own: list[x509.Certificate]
    """Ours and those above it, as the file has them; empty: we present none."""
    authorities: list[x509.Certificate]
    marked: list[str]
    """Members whose file begins with a byte order mark: OpenSSL passes over the first entry in such a file."""
    lists: list[RevocationList] = []  # noqa: RUF012 - a named tuple's default is never changed
    """Of revoked certificates."""
    stale_counts: bool = False
    serves: bool = False
    """We are the server: `authorities` have signed the clients' certificates, and not ours in the first place."""


class Flaw(NamedTuple):
    """A reason against a set."""

    member: str
    """Of the settings: `certificate_file` and the like."""
    why: str


class Papers:
    """The TLS context of one use, made anew when its files change: a gateway outlives its certificates."""

    def __init__(self, settings: Settings | None, key: str, *, now: Callable[[], datetime] | None = None) -> None:
        """`key`: the settings' place in the configuration, for mistakes, log and metrics. Without settings the system's
        authorities are used. Raises `ConfigurationError`.
        """
        self._settings = settings
        self._key = key
        self._clock = now
        self._looking = threading.Lock()
        self._stamps = self._look()
        self._refused: list[Flaw] = []
        self._old_said: RevocationList | None = None
        """The list that was called old last."""
        self._again = self.now()
        self._set = load(settings, key)
        self._show()
        self._say_used(flaws_of(self._set, self.now()))
        _all.add(self)

    def context(self) -> ssl.SSLContext:
        """The context for the next connection."""
        self.look()
        return self._set.context

    def known(self) -> ssl.SSLContext:
        """The context in use, without a look at the files."""
        return self._set.context

    def look(self) -> None:
        """Take new files, if there are any and they are good. Any thread may call this; only one at a time looks."""
        if not self._looking.acquire(blocking=False):
            return
        try:
            stamps = self._look()
            if stamps != self._stamps or (self._refused and self.now() >= self._again):
                self._renew(stamps)
            self._say_old()
        finally:
            self._looking.release()

    def now(self) -> datetime:
        """The time by which certificates are judged."""
        return self._clock() if self._clock is not None else wall_now()

    def judge(self, chain: list[x509.Certificate]) -> Judgement:
        """Whether the other end, whose certificate was taken in a handshake, is trusted now, too. `chain`: what it
        sent, its own certificate first.
        """
        used = self._set
        return trust.judge(chain, Facts(used.authorities, used.lists, used.stale_counts), self.now())

    def trouble(self) -> str:
        """The flaws of the set in use, in words; empty when there are none."""
        return "; ".join(map(self._words, flaws_of(self._set, self.now())))

    def _renew(self, stamps: list[tuple[int, int, int]]) -> None:
        changed, self._stamps = stamps != self._stamps, stamps
        self._again = self.now() + timedelta(seconds=LOOK_EVERY_S)
        try:
            found = load(self._settings, self._key)
            flaws = flaws_of(found, self.now(), before=self._set)
        except ConfigurationError as error:
            found, flaws = None, [Flaw("", mistake) for mistake in error.mistakes]
        if self._look() != stamps:
            self._stamps = []  # the files were being written: look again at the next opportunity
            return
        if found is None or (flaws and not flaws_of(self._set, self.now())):
            if changed or flaws != self._refused:
                for flaw in flaws:
                    _log.error("changed TLS files are not used", reason=self._words(flaw), path=self._path(flaw))
            self._refused = flaws
            return
        self._refused = []
        self._set = found
        self._show()
        _log.info("changed TLS files are used from now on", where=self._key)
        self._say_used(flaws)

    def _say_used(self, flaws: list[Flaw]) -> None:
        for flaw in flaws:
            _log.error("TLS files that are not in order are used", reason=self._words(flaw), path=self._path(flaw))

    def _say_old(self) -> None:
        """Say once that a list will be stale soon, while there is time."""
        first = trust.first_to_end(self._set.lists)
        if first is not None and first is not self._old_said and first.is_old(self.now()):
            self._old_said = first
            reason = f"{self._key}.crl_file is stale from {first.end:%F %T} UTC on"
            _log.warning("a revocation list is old, and no newer one is here", reason=reason)

    def _words(self, flaw: Flaw) -> str:
        return f"{self._key}.{flaw.member} {flaw.why}" if flaw.member else flaw.why

    def _path(self, flaw: Flaw) -> str:
        return str(getattr(self._settings, flaw.member)) if flaw.member else ""

    def _show(self) -> None:
        """Set the metrics of the ends: the next one to come in our own chain, and among the authorities."""
        now = self.now()
        for kind, certificates in (("own", self._set.own), ("authority", self._set.authorities)):
            ends = [certificate.not_valid_after_utc for certificate in certificates]
            # an ended certificate among many is of no use and does no harm, unless it is our own
            left = [end for at, end in enumerate(ends) if end > now or (kind == "own" and at == 0)] or ends
            if left:
                metrics.CERTIFICATE_END_S.labels(self._key, kind).set(min(left).timestamp())
        if (first := trust.first_to_end(self._set.lists)) is not None:
            for kind, when in (("issued", first.begun), ("stale", first.end)):
                metrics.REVOCATION_LIST_S.labels(self._key, kind).set(when.timestamp())

    def _look(self) -> list[tuple[int, int, int]]:
        return [_stamp(path) for _, path in files_of(self._settings) if path] if self._settings is not None else []


def wall_now() -> datetime:
    """The time by which certificates are judged."""
    return datetime.now(UTC)


_all: Final[WeakSet[Papers]] = WeakSet()


def look_again() -> None:
    """Look at the files of every use in this process. Blocks while the disk does."""
    for papers in list(_all):
        papers.look()


async def look_after() -> NoReturn:
    """Look for ever: a connection may stand for weeks, and a flaw must show before the certificate is needed."""
    limiter = trio.CapacityLimiter(1)
    while True:
        await trio.sleep(LOOK_EVERY_S)
        try:
            await aside(look_again, limiter)
        except OSError as error:  # no thread can be started; each new connection looks, too
            _log.warning("TLS files cannot be looked at", reason=log.describe(error))


def uses_of(node: config.Node) -> Iterator[tuple[str, Settings]]:
    """Where a node speaks TLS, by the key of the configuration."""
    uses: list[tuple[str, Settings | None]] = [(f"node.hub[{n}].tls", site.tls) for n, site in enumerate(node.hub)]
    uses += [("node.processor.tls", node.processor.tls), ("node.peer_tls", node.peer_tls)]
    if node.sibling is not None:
        uses.append(("node.sibling.tls", node.sibling.tls))
    uses.append(("node.ops.tls", node.ops.tls))
    if node.submissions is not None:
        uses.append(("node.submissions.tls", node.submissions.tls))
    yield from ((key, settings) for key, settings in uses if settings is not None)


def notes_on(settings: Settings, key: str) -> list[str]:
    """The flaws of files that exist, for `config check`: a start would use them, or refuse to."""
    if not all(Path(path).is_file() for _, path in files_of(settings) if path):
        return []
    try:
        flaws = flaws_of(load(settings, key), datetime.now(UTC))
    except ConfigurationError as error:
        return error.mistakes
    return [f"{key}.{flaw.member} {flaw.why}" for flaw in flaws]


def ending(settings: Settings, key: str, now: datetime) -> Iterator[str]:
    """Certificates that end soon: our own or one above it, and the authorities, when none lasts longer."""
    soon = now + timedelta(days=ENDING_DAYS)
    for member, certificates in (
        ("certificate_file", _certificates(settings.certificate_file)),
        ("ca_file", _certificates(settings.ca_file)),
    ):
        ends = [certificate.not_valid_after_utc for certificate in certificates]
        # in our own chain the first end counts, among authorities the last: any one of them vouches
        end = (min if member == "certificate_file" else max)(ends, default=None)
        if end is not None and now < end < soon:
            yield f"{key}.{member} ends at {end:%F %T} UTC: in less than {ENDING_DAYS} days"
    lists = _lists(settings, key) if isinstance(settings, _SERVERS) else []
    if (first := trust.first_to_end(lists)) is not None and first.is_old(now) and not first.is_stale(now):
        yield f"{key}.crl_file is stale from {first.end:%F %T} UTC on, and holds no newer list"


# --- a set


def load(settings: Settings | None, key: str) -> _Set:
    """A set of files. Raises `ConfigurationError`."""
    if settings is None:
        return _Set(client_context(None, key), [], [], [])
    lists = list[RevocationList]()
    if isinstance(settings, _SERVERS):
        lists, context = _lists(settings, key), server_context(settings, key)
    else:
        context = client_context(settings, key)
    marked = [name for name, path in files_of(settings) if path and _read(path).startswith(BOM)]
    own, authorities = _certificates(settings.certificate_file), _certificates(settings.ca_file)
    if lists and not authorities:
        raise ConfigurationError([f"{key}.crl_file: of no use, since no authority in ca_file can be read here"])
    if not isinstance(settings, _SERVERS):
        return _Set(context, own, authorities, marked)
    return _Set(context, own, authorities, marked, lists, settings.crl_stale == "use", serves=True)


def flaws_of(of: _Set, now: datetime, *, before: _Set | None = None) -> list[Flaw]:
    """The flaws of a set now, also against the one before."""
    flaws = [Flaw(name, "begins with a byte order mark: save it without") for name in of.marked]
    for certificate in of.own[:1]:
        if now >= certificate.not_valid_after_utc:
            flaws.append(Flaw("certificate_file", f"has ended, at {certificate.not_valid_after_utc:%F %T} UTC"))
        elif now < certificate.not_valid_before_utc:
            flaws.append(Flaw("certificate_file", f"begins at {certificate.not_valid_before_utc:%F %T} UTC only"))
    if of.authorities and not any(is_valid(authority, now) for authority in of.authorities):
        flaws.append(Flaw("ca_file", "holds no authority that is valid now"))
    listed = trust.flaws_of_lists(of.lists, of.authorities, now, before.lists if before is not None else ())
    flaws += [Flaw("crl_file", why) for why in dict.fromkeys(listed)]
    if before is None or (of.serves and of.own == before.own):
        return flaws  # which clients are trusted has nothing to do with who has signed our certificate
    if is_vouched(before.own, before.authorities) and not is_vouched(of.own, of.authorities):
        flaws.append(Flaw("certificate_file", "is signed by no authority in ca_file, although the one before was"))
    return flaws


# --- contexts


def client_context(settings: config.Tls | None, key: str) -> ssl.SSLContext:
    """A context to dial with: it checks the peer's certificate and name, and presents ours when there is one.

    Without settings it trusts the system's authorities. Raises `ConfigurationError`.
    """
    context = _context(ssl.Purpose.SERVER_AUTH, settings.ca_file if settings is not None else None, key)
    context.hostname_checks_common_name = False
    if settings is not None and settings.certificate_file:
        _load(context, settings.certificate_file, settings.key_file, key)
    return context


def server_context(settings: config.ServerTls | config.OpsTls, key: str) -> ssl.SSLContext:
    """A context to listen with: it demands the client's certificate, in each handshake. Raises `ConfigurationError`."""
    context = _context(ssl.Purpose.CLIENT_AUTH, settings.ca_file, key)
    context.verify_mode = ssl.CERT_REQUIRED
    # who resumes a session shows no certificate: docs/decisions/trust.md, also about what TLS 1.2 keeps in memory
    context.num_tickets = 0
    context.options |= ssl.OP_NO_TICKET
    if settings.crl_file and settings.crl_stale == "refuse":
        try:
            context.load_verify_locations(settings.crl_file)
        except OSError as error:
            raise ConfigurationError([f"{key}.crl_file: {log.describe(error)}"]) from error
        context.verify_flags |= ssl.VERIFY_CRL_CHECK_LEAF
    _load(context, settings.certificate_file, settings.key_file, key)
    return context


def _context(purpose: ssl.Purpose, ca_file: str | None, key: str) -> ssl.SSLContext:
    try:
        context = ssl.create_default_context(purpose, cafile=ca_file)
    except OSError as error:
        unread = isinstance(error, ssl.SSLError) and ca_file is not None and not _certificates(ca_file)
        raise ConfigurationError([f"{key}.ca_file: {NO_CERTIFICATE if unread else log.describe(error)}"]) from error
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.options |= ssl.OP_NO_RENEGOTIATION  # so that a write never needs a read
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    context.verify_flags &= ~ssl.VERIFY_X509_STRICT  # Python 3.13 sets it: docs/decisions/certificates.md
    return context


def _load(context: ssl.SSLContext, certificate_file: str, key_file: str, key: str) -> None:
    def passphrase() -> str:  # without this OpenSSL asks at the terminal, and the process waits
        raise ConfigurationError([f"{key}.key_file: needs a passphrase, which cannot be entered here"])

    try:
        context.load_cert_chain(certificate_file, key_file or None, passphrase)
    except OSError as error:
        raise ConfigurationError([f"{key}.{_why_not_loaded(error, certificate_file, key_file)}"]) from error


def _why_not_loaded(error: OSError, certificate_file: str, key_file: str) -> str:
    """Which of the two files, and why: OpenSSL has the same words for both, and a renewal may have written half."""
    if not isinstance(error, ssl.SSLError):
        return f"certificate_file: {log.describe(error)}"
    if error.reason == "KEY_VALUES_MISMATCH":
        return "certificate_file: key_file is not the key of this certificate"
    if not _certificates(certificate_file):
        return f"certificate_file: {NO_CERTIFICATE}"
    return f"{'key_file' if key_file else 'certificate_file'}: holds no private key in PEM, or half of one"


# --- files


def files_of(settings: Settings) -> list[tuple[str, str]]:
    """Its files, each by the setting that names it; an empty path: none."""
    return [(name, getattr(settings, name, "")) for name in MEMBERS]


def _stamp(path: str) -> tuple[int, int, int]:
    """Changes when the file is written anew."""
    try:
        status = Path(path).stat()
    except OSError:
        return 0, 0, 0
    return status.st_mtime_ns, status.st_size, status.st_ino


def _read(path: str) -> bytes:
    try:
        with Path(path).open("rb") as file:
            return file.read(FILE_BYTES_MAX)
    except OSError as error:
        if is_shortage(error):
            raise ConfigurationError([f"{path}: {log.describe(error)}"]) from error
        return b""  # OpenSSL has just read it; the next look will see


def _lists(settings: config.ServerTls | config.OpsTls, key: str) -> list[RevocationList]:
    if not settings.crl_file:
        return []
    try:
        with Path(settings.crl_file).open("rb") as file:
            pem = file.read(LISTS_BYTES_MAX + 1)
    except OSError as error:
        raise ConfigurationError([f"{key}.crl_file: {log.describe(error)}"]) from error
    if len(pem) > LISTS_BYTES_MAX:
        raise ConfigurationError([f"{key}.crl_file: is longer than {LISTS_BYTES_MAX} bytes"])
    try:
        return trust.lists_in(pem)
    except ValueError as error:
        raise ConfigurationError([f"{key}.crl_file: {error}"]) from error


def _certificates(path: str) -> list[x509.Certificate]:
    """The certificates in a file that can be parsed. OpenSSL says whether they can be used."""
    try:
        return x509.load_pem_x509_certificates(_read(path)) if path else []
    except (ValueError, x509.InvalidVersion):
        return []
