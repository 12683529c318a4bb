"""Listening at a name: at each of its addresses that this machine has, and at one port."""

import errno
import socket
from typing import Any

import pytest
import trio

from gateway.network.listening import listen_tcp

NOT_OURS = "192.0.2.1"
"""An address that no machine has (RFC 5737)."""


@pytest.fixture
def named(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Have a name lead to these addresses."""
    real = socket.getaddrinfo

    def name(host: str, *addresses: str) -> None:
        def looked_up(asked: Any, port: Any, *given: Any, **more: Any) -> Any:
            if asked not in {host, host.encode()}:
                return real(asked, port, *given, **more)
            if (given[3] if len(given) > 3 else 0) & socket.AI_NUMERICHOST:
                raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
            return [entry for address in addresses for entry in real(address, port, type=socket.SOCK_STREAM)]

        monkeypatch.setattr(socket, "getaddrinfo", looked_up)

    return name


@pytest.mark.parametrize("addresses", [(NOT_OURS, "127.0.0.1"), ("127.0.0.1", NOT_OURS)])
async def test_an_address_that_this_machine_does_not_have_is_passed_over(
    named: Any, addresses: tuple[str, ...]
) -> None:
    """As `::1` of `localhost` where there is no IPv6."""
    named("localhost", *addresses)
    listeners, port = await listen_tcp("localhost", 0, 1)
    assert [listener.socket.getsockname() for listener in listeners] == [("127.0.0.1", port)]
    for listener in listeners:
        await listener.aclose()


async def test_all_addresses_of_a_name_are_listened_on_at_one_port(named: Any) -> None:
    """Also when any port would do: only one is said."""
    named("localhost", "127.0.0.1", "127.0.0.2")
    listeners, port = await listen_tcp("localhost", 0, 1)
    assert [listener.socket.getsockname() for listener in listeners] == [("127.0.0.1", port), ("127.0.0.2", port)]
    for listener in listeners:
        await listener.aclose()


async def test_none_of_its_addresses_is_here(named: Any) -> None:
    """An error, as ever."""
    named("elsewhere", NOT_OURS)
    with pytest.raises(OSError, match="assign") as caught:
        await listen_tcp("elsewhere", 0, 1)
    assert caught.value.errno == errno.EADDRNOTAVAIL


async def test_a_port_that_is_taken_leaves_nothing_open(named: Any) -> None:
    """It is taken at one address: nothing is listened on at the other."""
    (taken,) = await trio.open_tcp_listeners(0, host="127.0.0.2")
    port = taken.socket.getsockname()[1]
    named("localhost", "127.0.0.1", "127.0.0.2")
    with pytest.raises(OSError, match="in use"):
        await listen_tcp("localhost", port, 1)
    (free,) = await trio.open_tcp_listeners(port, host="127.0.0.1")
    await free.aclose()
    await taken.aclose()
