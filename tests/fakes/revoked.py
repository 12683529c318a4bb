"""Lists of revoked certificates, made here: by any authority, of any age."""

from datetime import UTC, datetime, timedelta

import trustme
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, load_pem_private_key

NOW = datetime.now(UTC).replace(microsecond=0)
HOUR = timedelta(hours=1)


def revocation_list(
    issuer: x509.Certificate,
    key: ec.EllipticCurvePrivateKey,
    *revoked: x509.Certificate,
    begun: datetime = NOW - HOUR,
    end: datetime = NOW + 24 * HOUR,
    partial: bool = False,
) -> bytes:
    """A list in PEM. `partial`: it says that it covers clients' certificates only."""
    builder = x509.CertificateRevocationListBuilder().issuer_name(issuer.subject).last_update(begun).next_update(end)
    for certificate in revoked:
        entry = x509.RevokedCertificateBuilder().serial_number(certificate.serial_number).revocation_date(begun)
        builder = builder.add_revoked_certificate(entry.build())
    if partial:
        only_users = x509.IssuingDistributionPoint(None, None, True, False, None, False, False)
        builder = builder.add_extension(only_users, critical=True)
    return builder.sign(key, SHA256()).public_bytes(Encoding.PEM)


def list_of(authority: trustme.CA, *revoked: trustme.LeafCert, begun: datetime = NOW - HOUR) -> bytes:
    """A list of one of trustme's authorities."""
    key = load_pem_private_key(authority.private_key_pem.bytes(), None)
    assert isinstance(key, ec.EllipticCurvePrivateKey)
    issuer = x509.load_pem_x509_certificate(authority.cert_pem.bytes())
    certificates = [x509.load_pem_x509_certificate(each.cert_chain_pems[0].bytes()) for each in revoked]
    return revocation_list(issuer, key, *certificates, begun=begun)
