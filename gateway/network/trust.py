"""Whether a client may stay whose certificate was taken: by dates, authorities and revocation lists. Pure.

OpenSSL judges a certificate once, in the handshake. A connection may stand for an hour. Meanwhile a certificate ends,
an authority is withdrawn, a list of revoked certificates comes. So what OpenSSL has taken is judged again here, by the
same facts. The way leads from the client's certificate up to an authority that is trusted now.

    its dates                       now must lie within them, for each certificate on the way
    its issuer                      an authority in `ca_file`, or a certificate that the client sent, up to such an
                                    authority. Where that cannot be seen, the client is not trusted: it may connect
                                    again, and OpenSSL decides
    revoked                         by a list that the issuer has signed
    no list of the issuer           not trusted, when there are lists at all. Above the client's own certificate a list
                                    may be missing
    a list that is stale            as the settings say: it counts all the same (`use`), or nobody is trusted by it

A list that is partial or a delta is refused when it is loaded: it would say "not revoked" of what it does not cover.
Where no authority can be read here (OpenSSL knows more kinds of keys), only the dates are judged.
"""

import re
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime
from typing import Any, NamedTuple, cast

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.hashes import SHA256

CHAIN_MAX = 8
"""Authorities above a certificate that are followed."""
OLD_AT = 0.75
"""The part of a list's life after which it is called old: the next one should have come."""
SIGNERS_MAX = 16
"""Certificates of which a list remembers whether they have signed it."""
FOREVER = datetime.max.replace(tzinfo=UTC)

_LIST = re.compile(rb"-----BEGIN X509 CRL-----\s.*?-----END X509 CRL-----", re.DOTALL)

Certificate = x509.Certificate


class RevocationList:
    """A list of revoked certificates. It remembers who has signed it: to find out takes as long as it is."""

    def __init__(self, of: x509.CertificateRevocationList) -> None:
        self._of = of
        self._signed: dict[bytes, bool] = {}
        self.issuer = of.issuer
        self.begun = of.last_update_utc
        self.end = of.next_update_utc or FOREVER
        """When the next one should be here. One that names no time for it is never stale."""

    def holds(self, certificate: Certificate) -> bool:
        """Whether this certificate of its issuer's is revoked."""
        return self._of.get_revoked_certificate_by_serial_number(certificate.serial_number) is not None

    def is_of(self, issuer: Certificate) -> bool:
        """Whether this issuer has signed it."""
        if self.issuer != issuer.subject:
            return False
        key = issuer.fingerprint(SHA256())
        if key not in self._signed:
            if len(self._signed) >= SIGNERS_MAX:
                self._signed.clear()
            self._signed[key] = _is_signed(self._of, issuer)
        return self._signed[key]

    def is_stale(self, now: datetime) -> bool:
        """Whether the next one should be here."""
        return now >= self.end

    def is_old(self, now: datetime) -> bool:
        """Whether it is stale soon: of its life, little is left."""
        return self.end != FOREVER and now >= self.begun + OLD_AT * (self.end - self.begun)


class Facts(NamedTuple):
    """What certificates are judged by."""

    authorities: Sequence[Certificate]
    lists: Sequence[RevocationList] = ()
    """None: nothing is asked about revocation."""
    stale_counts: bool = False
    """A stale list is used all the same."""


class Judgement(NamedTuple):
    """What came of it."""

    why: str
    """Why the client is not trusted; empty: it is."""
    until: datetime = FOREVER
    """When the first of its certificates ends."""


def judge(chain: Sequence[Certificate], facts: Facts, now: datetime) -> Judgement:
    """A client's certificate, and those that it sent with it."""
    if not chain:
        return Judgement("its certificate cannot be seen")
    at, until = chain[0], FOREVER
    for height in range(CHAIN_MAX):
        whose = "an authority above its certificate" if height else "its certificate"
        if not is_valid(at, now):
            return Judgement(f"{whose} has ended, or has not begun")
        until = min(until, at.not_valid_after_utc)
        if at in facts.authorities or not facts.authorities:
            return Judgement("", until)
        issuer = _issuer(at, facts.authorities, now) or _issuer(at, filter(_may_sign, chain[1:]), now)
        if issuer is None:
            return Judgement(f"no authority in ca_file has signed {whose}, or it is not valid now")
        if facts.lists and (why := _revoked(at, issuer, facts, now, is_own=not height)):
            return Judgement(f"{whose} {why}")
        at = issuer
    return Judgement("there are too many authorities above its certificate")


def _issuer(of: Certificate, among: Iterable[Certificate], now: datetime) -> Certificate | None:
    return next((one for one in among if one != of and is_valid(one, now) and has_signed(one, of)), None)


def _may_sign(certificate: Certificate) -> bool:
    """Whether it is an authority's, by its own word; those in `ca_file` are ours to name."""
    try:
        return certificate.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    except (x509.ExtensionNotFound, x509.DuplicateExtension, ValueError):
        return False


def _revoked(at: Certificate, issuer: Certificate, facts: Facts, now: datetime, *, is_own: bool) -> str:
    lists = [each for each in facts.lists if each.is_of(issuer)]
    if any(each.holds(at) for each in lists):
        return "is revoked"
    if not lists:
        return "has an issuer of whom there is no revocation list" if is_own else ""
    if not facts.stale_counts and all(each.is_stale(now) for each in lists):
        return "has an issuer whose revocation list is stale"
    return ""


# --- certificates


def certificates_of(sent: Iterable[bytes]) -> list[Certificate]:
    """The certificates that a client sent, in DER; none when its own cannot be read."""
    found = []
    for each in sent:
        try:
            found.append(x509.load_der_x509_certificate(each))
        except (ValueError, x509.InvalidVersion):
            break
    return found


def is_valid(certificate: Certificate, now: datetime) -> bool:
    """Whether now lies within its dates."""
    return certificate.not_valid_before_utc <= now < certificate.not_valid_after_utc


def has_signed(issuer: Certificate, certificate: Certificate) -> bool:
    """Whether the one has signed the other."""
    try:
        certificate.verify_directly_issued_by(issuer)
    except UnsupportedAlgorithm:
        return certificate.issuer == issuer.subject  # OpenSSL may know the algorithm; here only the names are left
    except (ValueError, TypeError, InvalidSignature):
        return False
    return True


def is_vouched(own: Sequence[Certificate], authorities: Sequence[Certificate]) -> bool:
    """Whether the authorities have signed the first of these, directly or through those behind it."""
    if not own or not authorities:
        return False
    at, above = own[0], own[1:]
    for _ in range(CHAIN_MAX):
        if any(at == authority or has_signed(authority, at) for authority in authorities):
            return True
        found = next((issuer for issuer in above if issuer != at and has_signed(issuer, at)), None)
        if found is None:
            return False
        at = found
    return False


# --- lists


def lists_in(pem: bytes) -> list[RevocationList]:
    """The revocation lists in a file. Raises ValueError, with words for whoever gave the file."""
    blocks = _LIST.findall(pem)
    if not blocks or len(blocks) != pem.count(b"-----BEGIN X509 CRL-----"):
        raise ValueError("holds no revocation list in PEM, or half of one")
    try:
        lists = [x509.load_pem_x509_crl(block) for block in blocks]
        partial = any(extension.critical for each in lists for extension in each.extensions)
    except (ValueError, UnsupportedAlgorithm, x509.InvalidVersion):
        raise ValueError("holds a revocation list that cannot be read") from None
    if partial:
        raise ValueError("holds a revocation list with a critical extension, a delta or a part: give whole lists")
    return [RevocationList(each) for each in lists]


def _is_signed(of: x509.CertificateRevocationList, issuer: Certificate) -> bool:
    try:
        return of.is_signature_valid(cast("Any", issuer.public_key()))
    except (UnsupportedAlgorithm, TypeError):
        return True  # OpenSSL may know the algorithm; here only the name is left
    except ValueError:
        return False


def first_to_end(lists: Sequence[RevocationList]) -> RevocationList | None:
    """The list that is stale first; None: none ever is."""
    return min((each for each in lists if each.end != FOREVER), key=lambda each: each.end, default=None)


def flaws_of_lists(
    lists: Sequence[RevocationList],
    authorities: Sequence[Certificate],
    now: datetime,
    before: Sequence[RevocationList] = (),
) -> Iterator[str]:
    """What is wrong with the lists of a file, also against those before, in words that follow the file's name."""
    for each in lists:
        named = [authority for authority in authorities if authority.subject == each.issuer]
        if named and not any(map(each.is_of, named)):
            yield "holds a revocation list that the authority it names has not signed"
        if each.is_stale(now):
            yield f"is stale: the next list should have been here by {each.end:%F %T} UTC"
        if any(each.issuer == old.issuer and each.begun < old.begun for old in before):
            yield "holds a revocation list that is older than the one before"
