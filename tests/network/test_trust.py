"""Whether a client may stay: each rule of the judgement, and that OpenSSL judges alike where it is asked."""

import ssl
from datetime import datetime, timedelta
from pathlib import Path
from typing import Literal, NamedTuple

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from gateway import config
from gateway.network import trust
from gateway.network.papers import server_context
from gateway.network.trust import Facts, certificates_of, judge, lists_in
from tests.fakes.revoked import HOUR, NOW, revocation_list
from tests.network.test_papers import AUTHORITY, ENDED, MIDDLE, NOT_YET, OTHER, OURS, Issued, issue, shake

CLIENT = issue("processor", AUTHORITY)
BELOW = issue("processor", MIDDLE)
SHORT_MIDDLE = issue("short", AUTHORITY, (NOW - HOUR, NOW + HOUR), authority=True)
BELOW_SHORT = issue("processor", SHORT_MIDDLE)
LIKE_AUTHORITY = issue("authority", authority=True)
"""Another one's key under the authority's name."""


def listed(by: Issued, *revoked: Issued, begun: datetime = NOW - HOUR, end: datetime = NOW + 24 * HOUR) -> bytes:
    """A list of revoked certificates."""
    return revocation_list(by.certificate, by.key, *(each.certificate for each in revoked), begun=begun, end=end)


STALE = {"begun": NOW - 3 * HOUR, "end": NOW - HOUR}


class Case(NamedTuple):
    """What a client sends, what it is judged by, and what must come of it."""

    sent: list[Issued]
    authorities: list[Issued]
    lists: bytes
    why: str
    """Empty: it is trusted."""
    stale: Literal["refuse", "use"] = "refuse"
    is_openssls: bool = True
    """OpenSSL judges the same in its handshake."""


CASES = {
    "by an authority": Case([CLIENT], [AUTHORITY], b"", ""),
    "through one that it sent": Case([BELOW, MIDDLE], [AUTHORITY], b"", ""),
    "by an intermediate that is trusted by itself": Case([BELOW], [MIDDLE], b"", ""),
    "a certificate that is trusted by itself": Case([CLIENT], [CLIENT], b"", ""),
    "among others": Case([CLIENT], [OTHER, AUTHORITY], b"", ""),
    "by nobody we trust": Case([CLIENT], [OTHER], b"", "no authority in ca_file has signed its certificate"),
    "in another's name": Case([CLIENT], [LIKE_AUTHORITY], b"", "no authority in ca_file has signed its certificate"),
    "with a gap above it": Case([BELOW], [AUTHORITY], b"", "no authority in ca_file has signed its certificate"),
    "through one that is no authority": Case(
        [issue("x", OURS), OURS], [AUTHORITY], b"", "no authority in ca_file has signed its certificate"
    ),
    "ended": Case([issue("x", AUTHORITY, ENDED)], [AUTHORITY], b"", "its certificate has ended"),
    "not begun": Case([issue("x", AUTHORITY, NOT_YET)], [AUTHORITY], b"", "its certificate has ended, or has not"),
    "the authority has ended": Case(
        [issue("x", (old := issue("old", None, ENDED, authority=True)))], [old], b"", "or it is not valid now"
    ),
    "not on the list": Case([CLIENT], [AUTHORITY], listed(AUTHORITY, OURS), ""),
    "revoked": Case([CLIENT], [AUTHORITY], listed(AUTHORITY, OURS, CLIENT), "its certificate is revoked"),
    "no list of its issuer": Case([CLIENT], [AUTHORITY, OTHER], listed(OTHER), "of whom there is no revocation list"),
    "a list in its issuer's name": Case(
        [CLIENT], [AUTHORITY], listed(LIKE_AUTHORITY), "of whom there is no revocation list"
    ),
    "a stale list": Case([CLIENT], [AUTHORITY], listed(AUTHORITY, **STALE), "whose revocation list is stale"),
    "a stale list that counts": Case([CLIENT], [AUTHORITY], listed(AUTHORITY, **STALE), "", "use"),
    "revoked on a stale list that counts": Case(
        [CLIENT], [AUTHORITY], listed(AUTHORITY, CLIENT, **STALE), "is revoked", "use", is_openssls=False
    ),
    "a stale list beside its successor": Case(
        [CLIENT], [AUTHORITY], listed(AUTHORITY, **STALE) + listed(AUTHORITY), "", is_openssls=False
    ),
    "through one that is not on a list": Case(
        [BELOW, MIDDLE], [AUTHORITY], listed(MIDDLE) + listed(AUTHORITY), ""
    ),
    "without a list above it": Case([BELOW, MIDDLE], [AUTHORITY], listed(MIDDLE), ""),
    "through a revoked one": Case(
        [BELOW, MIDDLE], [AUTHORITY], listed(MIDDLE) + listed(AUTHORITY, MIDDLE),
        "an authority above its certificate is revoked", is_openssls=False,
    ),
    "nothing": Case([], [AUTHORITY], b"", "its certificate cannot be seen", is_openssls=False),
    "where no authority can be read": Case([CLIENT], [], b"", "", is_openssls=False),
    "ended where no authority can be read": Case(
        [issue("x", AUTHORITY, ENDED)], [], b"", "its certificate has ended", is_openssls=False
    ),
}  # fmt: skip


def facts_of(case: Case) -> Facts:
    """What it is judged by."""
    lists = lists_in(case.lists) if case.lists else []
    return Facts([each.certificate for each in case.authorities], lists, stale_counts=case.stale == "use")


@pytest.mark.parametrize("name", CASES)
def test_who_is_trusted(name: str) -> None:
    case = CASES[name]
    judged = judge([each.certificate for each in case.sent], facts_of(case), NOW)
    assert case.why in judged.why
    assert bool(judged.why) is bool(case.why)


@pytest.mark.parametrize("name", [name for name, case in CASES.items() if case.is_openssls])
def test_openssl_judges_alike(name: str, tmp_path: Path) -> None:
    """In a real handshake, with the same authorities and lists: what is judged again is judged by the same law."""
    case = CASES[name]
    for file, content in {
        "ca": b"".join(each.pem for each in case.authorities), "crl": case.lists,
        "own": OURS.pem, "key": OURS.key_pem,
        "client": b"".join(each.pem for each in case.sent), "client.key": case.sent[0].key_pem,
    }.items():  # fmt: skip
        (tmp_path / file).write_bytes(content)
    lists = str(tmp_path / "crl") if case.lists else ""
    settings = config.ServerTls(
        str(tmp_path / "own"), str(tmp_path / "key"), str(tmp_path / "ca"), crl_file=lists, crl_stale=case.stale
    )
    client = ssl.create_default_context(cadata=AUTHORITY.pem.decode())
    client.load_cert_chain(tmp_path / "client", tmp_path / "client.key")
    try:
        shake(client, server_context(settings, "s"))
    except ssl.SSLError:
        taken = False
    else:
        taken = True
    assert taken is not bool(case.why)


def test_until_when_it_is_trusted() -> None:
    """Until the first certificate on the way ends, the client's own or one above it."""
    judged = judge([each.certificate for each in (BELOW_SHORT, SHORT_MIDDLE)], Facts([AUTHORITY.certificate]), NOW)
    assert judged.until == SHORT_MIDDLE.certificate.not_valid_after_utc
    judged = judge([CLIENT.certificate], Facts([AUTHORITY.certificate]), NOW)
    assert judged.until == min(each.certificate.not_valid_after_utc for each in (CLIENT, AUTHORITY))
    assert judge([CLIENT.certificate], Facts([AUTHORITY.certificate]), judged.until).why
    assert not judge([CLIENT.certificate], Facts([AUTHORITY.certificate]), judged.until - timedelta(seconds=1)).why


def test_a_way_that_is_too_long() -> None:
    """Ends, and is not trusted."""
    at, sent = AUTHORITY, list[Issued]()
    for number in range(trust.CHAIN_MAX + 1):
        at = issue(f"middle {number}", at, authority=True)
        sent.insert(0, at)
    judged = judge([each.certificate for each in sent], Facts([AUTHORITY.certificate]), NOW)
    assert judged.why == "there are too many authorities above its certificate"


def test_what_cannot_be_read_is_not_there() -> None:
    """A certificate that only OpenSSL can read: the client's own, or one above it."""
    good = CLIENT.certificate.public_bytes(Encoding.DER)
    assert certificates_of([good, b"\x30\x00", good]) == [CLIENT.certificate]
    assert certificates_of([b"", good]) == []


BAD_LISTS = {
    "none": (b"", "holds no revocation list in PEM, or half of one"),
    "a certificate": (AUTHORITY.pem, "holds no revocation list in PEM, or half of one"),
    "half of one": (listed(AUTHORITY) + listed(OTHER)[:-40], "holds no revocation list in PEM, or half of one"),
    "garbage": (
        b"-----BEGIN X509 CRL-----\nAAAA\n-----END X509 CRL-----\n", "holds a revocation list that cannot be read",
    ),
    "partial": (
        revocation_list(AUTHORITY.certificate, AUTHORITY.key, partial=True), "with a critical extension, a delta or a",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", BAD_LISTS)
def test_lists_that_say_nothing_that_can_be_relied_on(name: str) -> None:
    pem, why = BAD_LISTS[name]
    with pytest.raises(ValueError, match=why):
        lists_in(pem)


def test_a_list_remembers_a_few_signers(monkeypatch: pytest.MonkeyPatch) -> None:
    """And is right about all."""
    monkeypatch.setattr(trust, "SIGNERS_MAX", 2)
    (one,) = lists_in(listed(AUTHORITY))
    others = [issue("authority", authority=True) for _ in range(4)]
    for _ in range(2):
        assert [one.is_of(each.certificate) for each in (AUTHORITY, *others)] == [True, False, False, False, False]
    assert len(one._signed) <= 2


def test_the_age_of_a_list() -> None:
    """Old when three quarters of its time are over, stale at the end; one without an end is neither, ever."""
    (one,) = lists_in(listed(AUTHORITY, begun=NOW, end=NOW + 4 * HOUR))
    ages = {0: (False, False), 2.9: (False, False), 3: (True, False), 3.9: (True, False), 4: (True, True)}
    for hours, said in ages.items():
        now = NOW + hours * HOUR
        assert (one.is_old(now), one.is_stale(now)) == said
    (two,) = lists_in(listed(AUTHORITY, begun=NOW, end=NOW + HOUR))
    assert trust.first_to_end([one, two]) is two
    assert trust.first_to_end([]) is None


def test_what_is_wrong_with_new_lists() -> None:
    """Forged, stale, or older than those in use."""

    def flaws(pem: bytes, before: bytes = b"") -> list[str]:
        old = lists_in(before) if before else []
        return list(trust.flaws_of_lists(lists_in(pem), [AUTHORITY.certificate], NOW, old))

    assert flaws(listed(AUTHORITY) + listed(OTHER)) == []
    assert "the authority it names has not signed" in flaws(listed(LIKE_AUTHORITY))[0]
    assert flaws(listed(AUTHORITY, **STALE))[0].startswith("is stale: ")
    newer = listed(AUTHORITY, begun=NOW - HOUR / 2)
    assert "older than the one before" in flaws(listed(AUTHORITY), newer)[0]
    assert flaws(newer, listed(AUTHORITY)) == []
    assert flaws(listed(OTHER), newer) == []


def test_a_certificate_of_an_authority_says_that_it_is_one() -> None:
    """One without the extension is none."""
    bare = issue("bare", AUTHORITY).certificate
    assert isinstance(bare, x509.Certificate)
    assert not trust._may_sign(bare)
    assert trust._may_sign(MIDDLE.certificate)
