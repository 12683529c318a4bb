"""A supervisor hears how the process is and that its event loop turns; nothing that it does holds the gateway up."""

import os
import socket
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from math import inf
from pathlib import Path

import pytest

from gateway import notify
from gateway.notify import Supervisor, supervisor_of
from tests.conftest import Logged


class Ear:
    """A real datagram socket, as systemd's."""

    def __init__(self, address: str) -> None:
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(address)
        self._socket.setblocking(False)

    def heard(self) -> list[dict[str, str]]:
        """What came since, each datagram by its names."""
        found: list[dict[str, str]] = []
        while True:
            try:
                datagram = self._socket.recv(65536)
            except BlockingIOError:
                return found
            found.append(dict(line.split("=", 1) for line in datagram.decode().split("\n")))

    def close(self) -> None:
        self._socket.close()


@contextmanager
def ear(address: str) -> Iterator[Ear]:
    it = Ear(address)
    try:
        yield it
    finally:
        it.close()


@pytest.fixture
def address(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """Of a socket. The test's directory may be too long for one."""
    monkeypatch.chdir(tmp_path)
    return "notify"


def environment(address: str, **more: str) -> dict[str, str]:
    return {"NOTIFY_SOCKET": address, "WATCHDOG_USEC": "9000000", "HOME": "/", **more}


Of = Callable[[dict[str, str]], Supervisor]


@pytest.fixture
def of() -> Iterator[Of]:
    """Says who it is by the environment, and is over when the test is."""
    with ExitStack() as made:

        def supervisor(environment: dict[str, str]) -> Supervisor:
            found = supervisor_of(environment)
            made.callback(found.close)
            return found

        yield supervisor


# --- who it is


def test_where_no_socket_is_named_nobody_is_told_and_nobody_watches(of: Of) -> None:
    supervisor = of({"WATCHDOG_USEC": "9000000"})
    assert supervisor.alive_every_s == inf
    supervisor.starting("opening the journal")
    supervisor.ready()
    supervisor.status("ready")
    supervisor.alive()
    supervisor.stopping(1.0)


@pytest.mark.parametrize(
    ("given", "every_s"),
    [
        ({}, 3.0),
        ({"WATCHDOG_PID": str(os.getpid())}, 3.0),
        ({"WATCHDOG_PID": str(os.getpid() + 1)}, inf),
        ({"WATCHDOG_USEC": ""}, inf),
        ({"WATCHDOG_USEC": "0"}, inf),
        ({"WATCHDOG_USEC": "soon"}, inf),
        ({"WATCHDOG_USEC": "²"}, inf),
    ],
)
def test_it_is_heard_at_less_than_half_of_what_is_allowed_when_it_is_the_one_that_is_watched(
    of: Of, given: dict[str, str], every_s: float
) -> None:
    assert of(environment("@x", **given)).alive_every_s == every_s


def test_no_child_speaks_for_its_parent(of: Of) -> None:
    """The workers of the tokens do not inherit the socket's name."""
    variables = environment("@x", WATCHDOG_PID="1")
    of(variables)
    assert variables == {"HOME": "/"}


# --- what it hears


@pytest.mark.parametrize("abstract", [False, True], ids=["path", "abstract"])
def test_a_life_as_the_supervisor_hears_it(of: Of, address: str, *, abstract: bool) -> None:
    name = f"fps-test-{os.getpid()}"
    with ear("\0" + name if abstract else address) as it:
        supervisor = of(environment("@" + name if abstract else address))
        supervisor.starting("opening the journal")
        supervisor.ready()
        supervisor.status("ready")
        supervisor.alive()
        supervisor.stopping(20.5)
        assert it.heard() == [
            {"EXTEND_TIMEOUT_USEC": "120000000", "STATUS": "opening the journal"},
            {"READY": "1"},
            {"STATUS": "ready"},
            {"WATCHDOG": "1"},
            {"STOPPING": "1", "EXTEND_TIMEOUT_USEC": "20500000"},
        ]


def test_a_status_is_said_when_it_is_news_and_is_one_line_of_bounded_length() -> None:
    said: list[bytes] = []
    supervisor = Supervisor(said.append)
    for text in ("ready", "ready", "unready: a\nREADY=1", "x" * 1000, "ready"):
        supervisor.status(text)
    assert said == [
        b"STATUS=ready",
        b"STATUS=unready: a READY=1",
        b"STATUS=" + b"x" * notify.STATUS_MAX,
        b"STATUS=ready",
    ]


# --- what does not hold us up


def test_what_a_supervisor_that_does_not_read_missed_comes_with_the_next_word(
    of: Of, address: str, logged: Logged
) -> None:
    """The last word of each kind. No send waits: this test would hang."""
    with ear(address) as it:
        supervisor = of(environment(address))
        while not logged():
            supervisor.alive()
        supervisor.ready()
        supervisor.status("unready: no HSM token serves")
        supervisor.status("ready")
        it.heard()
        supervisor.status("ready")
        assert it.heard() == [{"WATCHDOG": "1", "READY": "1", "STATUS": "ready"}]
        supervisor.status("ready")
        assert it.heard() == [], "said once"
    (line,) = logged()
    assert (line["level"], line["event"]) == ("warning", "the supervisor is not reached")
    assert line["error"] == "BlockingIOError: Resource temporarily unavailable"


def test_a_supervisor_that_begins_anew_is_found_again(of: Of, address: str, logged: Logged) -> None:
    """As systemd does when it re-executes itself: another socket has that name."""
    supervisor = of(environment(address))
    supervisor.alive()
    with ear(address) as it:
        supervisor.alive()
        assert it.heard() == [{"WATCHDOG": "1"}]
    supervisor.alive()
    Path(address).unlink()
    with ear(address) as it:
        supervisor.status("ready")
        assert it.heard() == [{"WATCHDOG": "1", "STATUS": "ready"}]
    assert [line["error"].partition(":")[0] for line in logged()] == ["FileNotFoundError", "ConnectionRefusedError"]


@pytest.mark.parametrize("address", ["vsock:2:1234", "/" + "x" * 200, "@" + "x" * 200])
def test_an_address_that_is_none_costs_a_line(of: Of, address: str, logged: Logged) -> None:
    supervisor = of(environment(address))
    supervisor.ready()
    supervisor.alive()
    assert [line["event"] for line in logged()] == ["the supervisor is not reached"]
