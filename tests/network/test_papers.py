"""What we present and whom we trust: renewed while we run, and a bad file takes no good one's place. Certificates are
made here, with any dates and by any authority; handshakes are real ones, in memory.
"""

import os
import shutil
import ssl
import subprocess
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path
from typing import Any, Literal, NamedTuple

import msgspec
import pytest
import trio
import trio.testing
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
)
from cryptography.x509.oid import NameOID

from gateway import config, metrics
from gateway.errors import ConfigurationError
from gateway.network import papers
from gateway.network.papers import Papers, client_context, server_context
from gateway.running.reload import Reload
from tests.conftest import Logged
from tests.fakes.revoked import revocation_list

NOW = datetime.now(UTC).replace(microsecond=0)
DAY = timedelta(days=1)
REFUSED = "changed TLS files are not used"
USED = "changed TLS files are used from now on"
ALL_THE_SAME = "TLS files that are not in order are used"


class Issued(NamedTuple):
    """A certificate and its key."""

    certificate: x509.Certificate
    key: ec.EllipticCurvePrivateKey

    @property
    def pem(self) -> bytes:
        return self.certificate.public_bytes(Encoding.PEM)

    @property
    def key_pem(self) -> bytes:
        return self.key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def issue(
    name: str, by: Issued | None = None, dates: tuple[datetime, datetime] = (NOW - DAY, NOW + 90 * DAY), *,
    authority: bool = False, named: bool = True,
) -> Issued:  # fmt: skip
    """A certificate for this name, by this authority, or by itself. `named`: it has a subjectAltName."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(by.certificate.subject if by is not None else subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(dates[0])
        .not_valid_after(dates[1])
        .add_extension(x509.BasicConstraints(ca=authority, path_length=None), critical=True)
    )
    if named and not authority:
        names = [x509.DNSName(name), x509.IPAddress(ip_address("127.0.0.1"))]
        builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
    return Issued(builder.sign((by or Issued(None, key)).key, SHA256()), key)  # type: ignore[arg-type]


def until(end: datetime) -> tuple[datetime, datetime]:
    return NOW - DAY, end


AUTHORITY = issue("authority", authority=True)
OTHER = issue("other", authority=True)
MIDDLE = issue("middle", AUTHORITY, authority=True)
OURS = issue("gateway.example", AUTHORITY)
ENCIPHERED = OURS.key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"a passphrase"))


class Place:
    """The files of one use, each written anew at a later time."""

    def __init__(self, folder: Path) -> None:
        self.ca, self.certificate, self.key = folder / "ca.pem", folder / "own.pem", folder / "own.key"
        self.crl, self.revokes = folder / "crl.pem", False
        self.stale: Literal["refuse", "use"] = "refuse"
        self._time_ns = 10**18
        self.now = NOW
        self.write(ca=AUTHORITY.pem, certificate=OURS.pem, key=OURS.key_pem)

    def write(self, **files: bytes) -> None:
        """All at once, as a renewal should."""
        for name, content in files.items():
            path: Path = getattr(self, name)
            path.write_bytes(content)
            self._time_ns += 10**9
            os.utime(path, ns=(self._time_ns, self._time_ns))

    @property
    def client(self) -> config.Tls:
        return config.Tls(str(self.ca), str(self.certificate), str(self.key), server_name="gateway.example")

    @property
    def server(self) -> config.ServerTls:
        crl_file = str(self.crl) if self.revokes else ""
        return config.ServerTls(
            str(self.certificate), str(self.key), str(self.ca), crl_file=crl_file, crl_stale=self.stale
        )

    def papers(self, *, server: bool = False) -> Papers:
        return Papers(self.server if server else self.client, "node.test.tls", now=lambda: self.now)


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


def files_of(issued: Issued, *above: Issued) -> dict[str, bytes]:
    return {"certificate": b"".join(each.pem for each in (issued, *above)), "key": issued.key_pem}


def end_of(kind: str) -> datetime:
    return datetime.fromtimestamp(metrics.CERTIFICATE_END_S.labels("node.test.tls", kind)._value.get(), UTC)


ENDED = (NOW - 3 * DAY, NOW - DAY)
NOT_YET = (NOW + DAY, NOW + 9 * DAY)
BOM = b"\xef\xbb\xbf"
ANOTHER = "another authority"
BAD = {
    "ended": (files_of(issue("gateway.example", AUTHORITY, ENDED)), "certificate_file has ended, at "),
    "not begun": (files_of(issue("gateway.example", AUTHORITY, NOT_YET)), "certificate_file begins at "),
    "not its key": ({"certificate": OURS.pem, "key": OTHER.key_pem}, "key_file is not the key of this certificate"),
    "by another authority": (files_of(issue("gateway.example", OTHER)), "certificate_file is signed by no authority"),
    ANOTHER: ({"ca": OTHER.pem}, "certificate_file is signed by no authority in ca_file"),
    "authority ended": ({"ca": issue("a", None, ENDED, authority=True).pem}, "ca_file holds no authority that is "),
    "half written": ({"certificate": OURS.pem[:200]}, "certificate_file: holds no certificate in PEM, or half of one"),
    "empty": ({"ca": b""}, "ca_file: holds no certificate in PEM"),
    "half a key": ({"key": OURS.key_pem[:100]}, "key_file: holds no private key in PEM, or half of one"),
    "a key with a passphrase": ({"key": ENCIPHERED}, "key_file: needs a passphrase, which cannot be entered here"),
    "marked": ({"ca": BOM + OTHER.pem + AUTHORITY.pem}, "ca_file begins with a byte order mark"),
}  # fmt: skip


@pytest.mark.parametrize(
    ("server", "bad"), [(server, bad) for server in (False, True) for bad in BAD if not server or bad != ANOTHER]
)
def test_a_bad_renewal_keeps_the_one_before_and_says_why(
    place: Place, logged: Logged, bad: str, *, server: bool
) -> None:
    """Once, with the file; and a good one after it is taken."""
    files, why = BAD[bad]
    used = place.papers(server=server)
    before = used.context()
    place.write(**files)
    for _ in range(3):
        assert used.context() is before
        place.now += timedelta(seconds=61)
    lines = logged(REFUSED)
    assert why in lines[0]["reason"]
    assert all(line["level"] == "error" and "node.test.tls" in line["reason"] for line in lines)
    assert len(lines) == (2 if bad == "authority ended" and not server else 1), "once, not whenever somebody connects"
    assert used.trouble() == ""
    assert end_of("own") == OURS.certificate.not_valid_after_utc, "of the one in use"
    renewed = issue("gateway.example", AUTHORITY, until(NOW + 400 * DAY))
    place.write(ca=AUTHORITY.pem, **files_of(renewed))
    assert used.context() is not before
    assert len(logged(USED)) == 1
    assert end_of("own") == renewed.certificate.not_valid_after_utc


def test_a_server_takes_another_authority_for_its_clients_at_its_word(place: Place, logged: Logged) -> None:
    """Though the one before had signed our own certificate, too: else an authority could not be withdrawn."""
    used = place.papers(server=True)
    assert used.judge([OURS.certificate]).why == ""
    place.write(**BAD[ANOTHER][0])
    used.look()
    assert "no authority in ca_file has signed" in used.judge([OURS.certificate]).why
    assert used.judge([issue("client", OTHER).certificate]).why == ""
    assert logged(REFUSED) == []


# --- lists of revoked certificates


REVOKED = issue("revoked", AUTHORITY)


def listed(*revoked: Issued, begun: datetime = NOW - DAY, end: datetime = NOW + 3 * DAY) -> bytes:
    """A list of the authority's."""
    certificates = [each.certificate for each in revoked]
    return revocation_list(AUTHORITY.certificate, AUTHORITY.key, *certificates, begun=begun, end=end)


@pytest.fixture
def revoking(place: Place) -> Place:
    """A place with a list on which nobody stands."""
    place.revokes = True
    place.write(crl=listed())
    return place


def test_a_new_list_counts_at_once(revoking: Place) -> None:
    """For handshakes, and for those whose handshake is over."""
    used = revoking.papers(server=True)
    client = client_of(revoking, REVOKED)
    shake(client, used.context())
    assert used.judge([REVOKED.certificate]).why == ""
    revoking.write(crl=listed(REVOKED, begun=NOW))
    with pytest.raises(ssl.SSLCertVerificationError, match="certificate revoked"):
        shake(client, used.context())
    assert used.judge([REVOKED.certificate]).why == "its certificate is revoked"
    assert used.judge([OURS.certificate]).why == ""


def client_of(place: Place, who: Issued) -> ssl.SSLContext:
    """A client with this certificate."""
    folder = place.ca.parent
    (folder / "client.pem").write_bytes(who.pem + who.key_pem)
    return client_context(config.Tls(str(place.ca), f"{folder}/client.pem", f"{folder}/client.pem"), "c")


BAD_LISTS = {
    "no list": (b"", "crl_file: holds no revocation list in PEM, or half of one"),
    "half": (listed()[:-50], "crl_file: holds no revocation list in PEM, or half of one"),
    "stale": (listed(begun=NOW - DAY, end=NOW - timedelta(seconds=1)), "crl_file is stale: the next list should"),
    "older": (listed(begun=NOW - 2 * DAY), "crl_file holds a revocation list that is older than the one before"),
    "forged": (
        revocation_list(AUTHORITY.certificate, OTHER.key, end=NOW + 9 * DAY),
        "crl_file holds a revocation list that the authority it names has not signed",
    ),
}  # fmt: skip


@pytest.mark.parametrize("bad", BAD_LISTS)
def test_a_list_that_is_worse_leaves_the_one_before(revoking: Place, logged: Logged, bad: str) -> None:
    """And is named in an error line; a good one after it is taken."""
    revoking.write(crl=listed(REVOKED, begun=NOW - DAY))
    used = revoking.papers(server=True)
    content, why = BAD_LISTS[bad]
    revoking.write(crl=content)
    used.look()
    assert used.judge([REVOKED.certificate]).why == "its certificate is revoked"
    assert [why in line["reason"] for line in logged(REFUSED)] == [True]
    revoking.write(crl=listed(begun=NOW))
    used.look()
    assert used.judge([REVOKED.certificate]).why == ""


def test_lists_that_are_too_long_are_refused(revoking: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was cut off would count as not revoked."""
    monkeypatch.setattr(papers, "LISTS_BYTES_MAX", len(listed()))
    revoking.papers(server=True)
    revoking.write(crl=listed() + b"\n")
    with pytest.raises(ConfigurationError, match=r"node\.test\.tls\.crl_file: is longer than \d+ bytes"):
        revoking.papers(server=True)


def test_lists_without_an_authority_that_can_be_read_are_refused(
    revoking: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody could be judged by them."""
    monkeypatch.setattr(papers, "_certificates", lambda _path: [])
    with pytest.raises(ConfigurationError, match=r"crl_file: of no use, since no authority in ca_file can be read"):
        revoking.papers(server=True)


def test_a_list_without_a_file_is_a_mistake_of_the_configuration(revoking: Place) -> None:
    """At a start."""
    revoking.crl.unlink()
    with pytest.raises(ConfigurationError, match=r"node\.test\.tls\.crl_file: FileNotFoundError"):
        revoking.papers(server=True)


@pytest.mark.parametrize("stale", ["refuse", "use"])
def test_a_stale_list_refuses_everybody_or_counts_as_it_is(revoking: Place, stale: Any) -> None:
    """As the settings say; OpenSSL asks the real clock, so the list here is stale by it."""
    revoking.stale = stale
    revoking.write(crl=listed(REVOKED, begun=NOW - 2 * DAY, end=NOW - timedelta(seconds=1)))
    used = revoking.papers(server=True)
    assert "crl_file is stale" in used.trouble()
    client = client_of(revoking, OURS)
    if stale == "refuse":
        with pytest.raises(ssl.SSLCertVerificationError, match="CRL has expired"):
            shake(client, used.context())
    else:
        shake(client, used.context())
    refused = "its certificate has an issuer whose revocation list is stale" if stale == "refuse" else ""
    assert used.judge([OURS.certificate]).why == refused
    assert used.judge([REVOKED.certificate]).why == "its certificate is revoked"


def test_a_list_that_gets_old_is_said_once_and_its_times_are_shown(revoking: Place, logged: Logged) -> None:
    """While there is time, by a line and by what an alert watches; and by `config check --here`."""
    used = revoking.papers(server=True)
    old = "a revocation list is old, and no newer one is here"
    shown = {kind: metrics.REVOCATION_LIST_S.labels("node.test.tls", kind)._value.get() for kind in ("issued", "stale")}
    assert shown == {"issued": (NOW - DAY).timestamp(), "stale": (NOW + 3 * DAY).timestamp()}
    used.look()
    assert logged(old) == []
    assert list(papers.ending(revoking.server, "node.test.tls", NOW)) == []
    revoking.now = NOW + 2 * DAY
    for _ in range(3):
        used.look()
    assert [line["reason"].startswith("node.test.tls.crl_file is stale from ") for line in logged(old)] == [True]
    (said,) = papers.ending(revoking.server, "node.test.tls", revoking.now)
    assert said.startswith("node.test.tls.crl_file is stale from ")
    revoking.write(crl=listed(begun=NOW + 2 * DAY, end=NOW + 5 * DAY))
    used.look()
    assert len(logged(old)) == 1


GOOD: dict[str, dict[str, bytes]] = {
    "renewed": files_of(issue("gateway.example", AUTHORITY)),
    "by an intermediate": files_of(issue("gateway.example", MIDDLE), MIDDLE),
    "new authority beside the old": {"ca": AUTHORITY.pem + OTHER.pem},
    "all by another authority": {"ca": OTHER.pem, **files_of(issue("gateway.example", OTHER))},
    "an ended authority beside a good one": {"ca": issue("a", None, ENDED, authority=True).pem + AUTHORITY.pem},
}


@pytest.mark.parametrize("good", GOOD)
def test_a_good_renewal_is_used_by_the_next_connection(place: Place, logged: Logged, good: str) -> None:
    used = place.papers()
    before = used.context()
    place.write(**GOOD[good])
    assert used.context() is not before
    assert used.context() is used.context()
    assert logged(REFUSED) == []


def test_what_was_not_valid_yet_is_used_once_it_is(place: Place) -> None:
    """Without another change of the files."""
    used = place.papers()
    before = used.context()
    place.write(**BAD["not begun"][0])
    assert used.context() is before
    place.now = NOW + DAY + timedelta(minutes=2)
    assert used.context() is not before


def test_a_file_of_the_same_time_is_seen_to_be_another(place: Place) -> None:
    """A copy may keep the time of its original."""
    used = place.papers()
    before, status = used.context(), place.certificate.stat()
    place.write(**files_of(issue("gateway.example.with.a.longer.name", AUTHORITY)))
    os.utime(place.certificate, ns=(status.st_mtime_ns, status.st_mtime_ns))
    assert used.context() is not before


def test_where_the_one_in_use_is_no_better_the_new_one_is_taken(place: Place, logged: Logged) -> None:
    """A start takes every set that loads, and logs its flaws; so does a renewal of a set that has ended."""
    place.write(**BAD["ended"][0])
    used = place.papers()
    assert "has ended" in used.trouble()
    assert end_of("own") < NOW
    before = used.context()
    place.write(**files_of(issue("gateway.example", AUTHORITY, ENDED)))
    assert used.context() is not before
    assert ["has ended" in line["reason"] for line in logged(ALL_THE_SAME)] == [True, True]
    place.write(**files_of(OURS))
    used.look()
    assert used.trouble() == ""


def test_files_that_change_while_they_are_read_are_looked_at_again(
    place: Place, logged: Logged, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing is said of a set that was being written."""
    used = place.papers()
    before = used.context()
    place.write(certificate=OURS.pem[:100])
    load = papers.load

    def torn(*arguments: Any) -> Any:
        try:
            return load(*arguments)
        finally:
            monkeypatch.setattr(papers, "load", load)
            place.write(**files_of(issue("gateway.example", AUTHORITY)))

    monkeypatch.setattr(papers, "load", torn)
    assert used.context() is before
    assert used.context() is not before
    assert logged(REFUSED) == []


def test_when_what_is_in_use_ends_is_shown(place: Place) -> None:
    """Of what we present the first of the chain that does, of authorities the first that has not yet."""
    middle = issue("middle", AUTHORITY, until(NOW + 20 * DAY), authority=True)
    soon = issue("soon", None, until(NOW + 30 * DAY), authority=True)
    place.write(ca=issue("old", None, ENDED, authority=True).pem + soon.pem + AUTHORITY.pem)
    place.write(**files_of(issue("gateway.example", middle), middle))
    place.papers()
    assert end_of("own") == NOW + 20 * DAY
    assert end_of("authority") == NOW + 30 * DAY


KEYS = {
    "a curve of its own": ("ec", "ec_paramgen_curve:prime239v1"),
    "a curve spelt out": ("ec", "ec_paramgen_curve:prime256v1", "ec_param_enc:explicit"),
    "SM2": ("ec", "ec_paramgen_curve:SM2"),
    "Ed448": ("ed448",),
    "RSA-PSS": ("rsa-pss", "rsa_keygen_bits:2048"),
}  # fmt: skip
"""Keys of authorities that OpenSSL can use, and another reader may not know."""


@pytest.mark.parametrize("kind", KEYS)
def test_an_authority_whose_key_only_openssl_knows_can_sign_a_renewal(kind: str, place: Place, logged: Logged) -> None:
    """No content of a certificate ends the process that reads it, and a foreign one is refused as ever."""
    openssl = shutil.which("openssl")
    if openssl is None:
        pytest.skip("no openssl here: it makes the certificates that cryptography cannot")
    name, *options = KEYS[kind]
    new = ["-newkey", name, *(each for option in options for each in ("-pkeyopt", option)), "-nodes", "-days", "30"]
    folder = place.ca.parent
    authority = ["req", "-x509", *new, "-subj", "/CN=odd", "-keyout", str(folder / "odd.key"), "-out", str(place.ca)]
    signing = ["-CA", str(place.ca), "-CAkey", str(folder / "odd.key"), "-days", "30"]
    ours = ["req", "-x509", "-key", str(place.key), "-subj", "/CN=gateway.example", *signing]
    for number, arguments in enumerate([authority, [*ours, "-out", str(place.certificate)]]):
        made = subprocess.run([openssl, *arguments], capture_output=True, text=True, check=False)
        if made.returncode:
            assert not number, made.stderr
            pytest.skip(f"this openssl makes no such key: {kind}")
    place.now = NOW + DAY
    papers = place.papers()
    assert papers.trouble() == ""
    place.write(certificate=place.certificate.read_bytes())
    papers.look()
    assert (len(logged(USED)), logged(REFUSED)) == (1, [])
    place.write(**files_of(issue("gateway.example", OTHER)))
    papers.look()
    assert len(logged(REFUSED)) == 1


def test_files_that_cannot_be_looked_into_are_openssls_business(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """A set that OpenSSL loads is used, whatever another reader thinks of it."""

    def refuse(_data: bytes) -> None:
        raise ValueError

    monkeypatch.setattr(x509, "load_pem_x509_certificates", refuse)
    assert place.papers().trouble() == ""


def test_a_mistake_at_the_start_is_one_of_the_configuration(place: Place) -> None:
    """With the key of the setting."""
    for files in ({"key": OTHER.key_pem}, {"ca": b"none"}):
        place.write(**files)
        with pytest.raises(ConfigurationError, match=r"node\.test\.tls\.c"):
            place.papers(server=True)


def test_config_check_notes_what_is_wrong(place: Place, logged: Logged) -> None:
    """The flaws for which a start would refuse, and those with which it would start; nothing about missing files."""
    assert papers.notes_on(place.client, "node.test.tls") == []
    place.write(**BAD["ended"][0])
    (note,) = papers.notes_on(place.client, "node.test.tls")
    assert note.startswith("node.test.tls.certificate_file has ended, at ")
    place.write(key=OTHER.key_pem)
    (note,) = papers.notes_on(place.server, "node.test.tls")
    assert note == "node.test.tls.certificate_file: key_file is not the key of this certificate"
    place.key.unlink()
    assert papers.notes_on(place.server, "node.test.tls") == []
    assert logged() == []


def test_two_do_not_look_at_once(place: Place) -> None:
    """The second caller connects with the present set: a disk that hangs holds up no connection."""
    used = place.papers()
    before = used.context()
    place.write(**files_of(issue("gateway.example", AUTHORITY)))
    with used._looking:
        assert used.context() is before
    assert used.context() is not before


async def test_files_are_looked_at_although_nobody_connects(
    place: Place, logged: Logged, autojump_clock: trio.testing.MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A connection to the hub may stand for weeks. Where no thread can be had it is said, and tried again."""
    used = place.papers()
    place.write(**BAD["ended"][0])

    async def at_once(call: Callable[[], None], **_: object) -> None:
        if trio.current_time() < 100:
            raise RuntimeError("can't start new thread")
        call()

    monkeypatch.setattr(trio.to_thread, "run_sync", at_once)
    with trio.move_on_after(2.5 * papers.LOOK_EVERY_S):
        await papers.look_after()
    assert [line["reason"] for line in logged("TLS files cannot be looked at")] == ["no thread can be started"]
    assert len(logged(REFUSED)) == 1
    assert used.trouble() == ""


RUNNING = config.Configuration(
    config.Node(
        "sip-a", (config.HubSite("a", "127.0.0.1", 1),), (config.Token("t", "t", "none", "none"),),
        config.JournalSettings("journal"), config.Processor("http://127.0.0.1:1"),
    ),
    config.Pair(group="sip"),
)  # fmt: skip


def test_sighup_has_them_looked_at(place: Place, logged: Logged) -> None:
    """Also when the configuration that is read again has mistakes."""
    used = place.papers()
    place.write(**files_of(issue("gateway.example", AUTHORITY)))

    def mistaken() -> config.Configuration:
        raise ConfigurationError(["all of it"])

    Reload(RUNNING, mistaken)()
    assert len(logged(USED)) == 1
    assert used.trouble() == ""


# --- handshakes


def shake(client: ssl.SSLContext, server: ssl.SSLContext, name: str = "gateway.example") -> None:
    """A handshake in memory. Raises what the first to complain says."""
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    ends = [
        client.wrap_bio(to_client, to_server, server_hostname=name),
        server.wrap_bio(to_server, to_client, server_side=True),
    ]
    waiting = list(ends)
    for _ in range(6):
        for end in list(waiting):
            try:
                end.do_handshake()
            except ssl.SSLWantReadError:
                continue
            waiting.remove(end)
    assert not waiting


def test_a_list_of_revoked_certificates_that_goes_as_it_is_read_is_a_mistake(place: Place) -> None:
    """It was there when its dates were looked at, and is gone when OpenSSL reads it."""
    settings = msgspec.structs.replace(place.server, crl_file=f"{place.ca}.nowhere")
    with pytest.raises(ConfigurationError, match=r"s\.crl_file: FileNotFoundError"):
        server_context(settings, "s")


def test_an_intermediate_authority_is_trusted_alone(place: Place) -> None:
    """At both ends; what the root has signed otherwise is not."""
    place.write(ca=MIDDLE.pem, **files_of(issue("gateway.example", MIDDLE)))
    client, server = client_context(place.client, "c"), server_context(place.server, "s")
    shake(client, server)
    place.write(**files_of(OURS))
    with pytest.raises(ssl.SSLCertVerificationError, match="unable to get local issuer certificate"):
        shake(client, server_context(place.server, "s"))


def test_a_name_is_looked_for_where_it_is_one(place: Place) -> None:
    """A common name is none, with or without a subjectAltName."""
    client = client_context(place.client, "c")
    shake(client, server_context(place.server, "s"))
    place.write(**files_of(issue("gateway.example", AUTHORITY, named=False)))
    with pytest.raises(ssl.SSLCertVerificationError, match="Hostname mismatch"):
        shake(client, server_context(place.server, "s"))


def test_a_certificate_without_an_authority_key_identifier_is_taken_by_every_python(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Python 3.13 turns on a flag that refuses it. The gateway turns it off, whatever the Python's default."""
    assert not any(each.oid == x509.AuthorityKeyIdentifier.oid for each in OURS.certificate.extensions)
    default = ssl.create_default_context

    def strict(*arguments: Any, **named: Any) -> ssl.SSLContext:
        context = default(*arguments, **named)
        context.verify_flags |= ssl.VERIFY_X509_STRICT
        return context

    monkeypatch.setattr(ssl, "create_default_context", strict)
    client, server = client_context(place.client, "c"), server_context(place.server, "s")
    shake(client, server)
    for end in (client, server):
        end.verify_flags |= ssl.VERIFY_X509_STRICT
        with pytest.raises(ssl.SSLCertVerificationError, match="Missing Authority Key Identifier"):
            shake(client, server)
        end.verify_flags &= ~ssl.VERIFY_X509_STRICT


def test_both_ends_speak_tls_1_2_at_least(place: Place) -> None:
    for context in (client_context(place.client, "c"), client_context(None, "c"), server_context(place.server, "s")):
        assert context.minimum_version is ssl.TLSVersion.TLSv1_2
        assert context.verify_mode is ssl.CERT_REQUIRED
