"""People and processes that come to an ops server, and the TLS files by which they do."""

from pathlib import Path

import msgspec
import trustme

from gateway import config
from gateway.acts.actors import Actors, Caller
from gateway.config import Role

NOBODY = Actors((), lambda _name: None)
"""No actor is configured."""
ANNA = Caller("anna", frozenset({"operate", "look"}), "uid 1000 by socket")
BEN = Caller("ben", frozenset({"operate", "approve", "look"}), "uid 1001 by socket")
PEER = Caller("usm-a", frozenset({"peer"}), "usm-a.bank.example by TLS")


def ordered(what: dict[str, object] | None = None, why: str = "because") -> bytes:
    """The body of an order."""
    return msgspec.json.encode({"why": why, "what": what or {}})


class Papers:
    """An authority, the ops server's certificate, and one for each client that is asked for."""

    def __init__(self, at: Path) -> None:
        self._at = at
        self._authority = trustme.CA()
        self.ca = self._written("ca", self._authority.cert_pem)
        server = self._authority.issue_cert("127.0.0.1", "localhost")
        certificate = self._written("server", *server.cert_chain_pems)
        self.ops = config.OpsTls(certificate, self._written("server-key", server.private_key_pem), self.ca)

    def _written(self, name: str, *blobs: trustme.Blob) -> str:
        path = self._at / f"{name}.pem"
        path.write_bytes(b"".join(blob.bytes() for blob in blobs))
        return str(path)

    def withdraw(self) -> None:
        """From now on another authority signs the clients' certificates; the server's own stays good."""
        self._authority = trustme.CA()
        self._written("ca", self._authority.cert_pem)

    def client(self, name: str) -> config.Tls:
        """The settings of a client with a certificate of this DNS name."""
        leaf = self._authority.issue_cert(name)
        certificate = self._written(name, *leaf.cert_chain_pems)
        return config.Tls(self.ca, certificate, self._written(f"{name}-key", leaf.private_key_pem))


def actors(**roles: tuple[Role, ...]) -> tuple[config.Actor, ...]:
    """Actors by name, who come with a certificate of `NAME.bank.example`."""
    return tuple(
        config.Actor(name.replace("_", "-"), given, certificate=f"{name.replace('_', '-')}.bank.example")
        for name, given in roles.items()
    )
