"""The library over real sockets, plain and with certificates on both sides, before the real door."""

import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import trio
import trustme

from gateway.sdk import Gateways, Limits, Settled, Site, Tls, Unknown, Unsent, prepare
from tests.fakes.door import ignore, post
from tests.processor.test_door_sockets import Certificates, listening
from tests.sdk.test_client import accept
from tests.sdk.test_prepared import PAYMENT

pytestmark = pytest.mark.system

LIMITS = Limits(submit_within_s=0.3, within_s=5.0, call_within_s=4.0, wait_s=2)


@asynccontextmanager
async def running(*sites: Site) -> AsyncIterator[Gateways]:
    """The library at these sites."""
    async with trio.open_nursery() as nursery:
        gateways = Gateways(sites, LIMITS)
        await nursery.start(gateways.run)
        yield gateways
        nursery.cancel_scope.cancel()


def papers(folder: Path, certificates: Certificates, who: trustme.LeafCert) -> Tls:
    """A processor's side, as files."""
    certificate, key = folder / "processor.pem", folder / "processor.key"
    who.private_key_pem.write_to_path(key)
    who.cert_chain_pems[0].write_to_path(certificate)
    return Tls(str(certificates.authority), str(certificate), str(key), "gateway.example")


async def test_over_tcp_and_a_site_where_nobody_listens() -> None:
    """Refused connections cost nothing but the way to the other site."""
    with socket.create_server(("127.0.0.1", 0)) as nobody:
        away = nobody.getsockname()[1]
    sites = [Site("a", f"http://127.0.0.1:{away}")]
    async with listening(accept) as served, running(*sites, Site("b", f"http://127.0.0.1:{served.port}")) as gateways:
        for number in range(3):
            outcome = await gateways.submit(prepare(PAYMENT, f"key-{number}"), first=True)
            assert isinstance(outcome, Settled)
            assert outcome.site == "b"
        assert served.door.statistics()["connections"] == 1
    async with running(*sites) as gateways:
        assert isinstance(await gateways.submit(prepare(PAYMENT, "key"), first=True), Unsent)


async def test_a_crowded_door_took_nothing() -> None:
    """It says so to whom it turns away, who may hear it before asking or after: both are certain."""
    async with listening(ignore, connections_max=1) as served:
        busy = await served.client()
        await busy.send(post())
        await served.engine.submitted()
        async with running(Site("a", f"http://127.0.0.1:{served.port}")) as gateways:
            outcome = await gateways.submit(prepare(PAYMENT, "key-2"), first=True)
        assert isinstance(outcome, Unsent)
        assert [seen.last for seen in outcome.seen] in (["DECLINED"], ["UNREACHED"])
        assert len(served.engine.submissions) == 1


@pytest.fixture
def certificates(tmp_path: Path) -> Certificates:
    """Fresh ones."""
    return Certificates(tmp_path)


async def test_with_certificates_on_both_sides(certificates: Certificates, tmp_path: Path) -> None:
    """One payment after the other over one connection."""
    tls = papers(tmp_path, certificates, certificates.client)
    async with (
        listening(accept, tls=certificates.settings()) as served,
        running(Site("a", f"https://127.0.0.1:{served.port}", tls=tls)) as gateways,
    ):
        for number in range(3):
            assert isinstance(await gateways.submit(prepare(PAYMENT, f"key-{number}"), first=True), Settled)
        assert served.door.statistics()["connections"] == 1


async def test_a_gateway_that_is_somebody_else_gets_nothing(certificates: Certificates, tmp_path: Path) -> None:
    """Its certificate is of another authority: surely nothing was sent to it."""
    other = tmp_path / "other"
    other.mkdir()
    tls = papers(other, Certificates(other), certificates.client)
    async with (
        listening(accept, tls=certificates.settings()) as served,
        running(Site("a", f"https://127.0.0.1:{served.port}", tls=tls)) as gateways,
    ):
        assert isinstance(await gateways.submit(prepare(PAYMENT, "key-1"), first=True), Unsent)
        assert not served.engine.submissions


async def test_a_certificate_that_the_gateway_does_not_know(certificates: Certificates, tmp_path: Path) -> None:
    """With TLS 1.3 the client hears of it when its own handshake is over. When it has sent by then, it cannot know that
    nothing was taken.
    """
    tls = papers(tmp_path, certificates, certificates.stranger)
    async with (
        listening(accept, tls=certificates.settings()) as served,
        running(Site("a", f"https://127.0.0.1:{served.port}", tls=tls)) as gateways,
    ):
        assert isinstance(await gateways.submit(prepare(PAYMENT, "key-1"), first=True), Unknown | Unsent)
        assert not served.engine.submissions
