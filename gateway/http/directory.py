"""Where the processor is: which host is asked and told, and which hosts take inquiries.

For now the configuration names one host. Callers look it up for each request, so that the answer may change.
"""

from typing import Protocol
from urllib.parse import urlsplit

from msgspec import Struct

from gateway import config
from gateway.errors import ConfigurationError


class Endpoint(Struct, frozen=True):
    """A processor host. Its name is resolved for each connection."""

    host: str
    port: int
    tls: bool
    authority: str
    """What goes into the Host header."""
    path: str
    """Stands in front of `/payments` and `/notices`; ends without a slash."""


class Directory(Protocol):
    """Names the hosts of the moment."""

    def primary(self) -> Endpoint:
        """The host that is asked and told."""

    def inquiries(self) -> tuple[Endpoint, ...]:
        """The hosts that take inquiries, best first."""


class FixedDirectory:
    """One processor, always the same."""

    def __init__(self, endpoint: Endpoint) -> None:
        self._endpoint = endpoint

    def primary(self) -> Endpoint:
        """The host that is asked and told."""
        return self._endpoint

    def inquiries(self) -> tuple[Endpoint, ...]:
        """The hosts that take inquiries."""
        return (self._endpoint,)


def endpoint(settings: config.Processor, key: str = "node.processor.url") -> Endpoint:
    """The endpoint that the configuration names at this key. Raises `ConfigurationError` when it names none."""
    return endpoint_at(settings.url, key)


def endpoint_at(text: str, place: str) -> Endpoint:
    """The endpoint of a URL that was given at this place. Raises `ConfigurationError` when it names none."""
    try:
        url = urlsplit(text)
        port = url.port
        (url.hostname or "").encode("idna")
    except ValueError as error:
        raise ConfigurationError([f"{place}: {error}"]) from error
    if url.scheme not in {"http", "https"} or not url.hostname or url.username is not None or url.query or url.fragment:
        raise ConfigurationError([f"{place}: must be http(s)://host[:port][/path] and nothing else"])
    if not text.isascii() or not text.isprintable() or " " in text:
        raise ConfigurationError([f"{place}: must be printable ASCII without spaces"])
    tls = url.scheme == "https"
    return Endpoint(url.hostname, port or (443 if tls else 80), tls, url.netloc, url.path.rstrip("/"))
