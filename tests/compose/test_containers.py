"""Two data centres in containers, with a real engine: what is said of them holds when they run.

One world for all tests of this file: a gateway for immediate payments at each site, a hub with two sites, a processor,
and a Prometheus at each site. Each test leaves it as it found it; the last one drains it and has the ledger judge.
"""

import json
import os
import signal
import subprocess
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from compose.prepare import GROUPS
from compose.world import BASE, PACKAGES, PROCESSOR, World, until
from tests.machines import roots
from tests.machines.engine import Engine, engine

pytestmark = pytest.mark.system

TOP = Path(__file__).parents[2]
A, B = "dc-a-sip-1", "dc-b-sip-1"
WITHIN_S = 60.0


@pytest.fixture(scope="module")
def docker() -> Iterator[Engine]:
    try:
        with engine() as running:
            running.base(BASE, *PACKAGES)
            yield running
    except roots.Missing as missing:
        pytest.skip(str(missing))


@pytest.fixture(scope="module")
def world(docker: Engine, tmp_path_factory: pytest.TempPathFactory) -> World:
    """Up, and signed on. It goes with its engine."""
    subprocess.run(["make", "--silent", "wheels"], cwd=TOP, check=True, capture_output=True)
    it = World(docker, tmp_path_factory.mktemp("containers"), ("sip",))
    it.directory.chmod(0o755)
    it.build(BASE)
    it.prepare()
    it.up()
    return it


def python(docker: Engine, container: str, code: str) -> str:
    return docker.run("exec", container, "python3", "-c", code).strip()


def state(docker: Engine, container: str) -> dict[str, Any]:
    (found,) = json.loads(docker.run("inspect", container))
    assert isinstance(found, dict)
    return found


def query(docker: Engine, site: str, expression: str) -> str:
    """What the Prometheus of a data centre says, one sample a line."""
    asked = ("promtool", "query", "instant", "http://127.0.0.1:9090", expression)
    return docker.run("exec", f"dc-{site}-prometheus-1", *asked)


def settled(world: World) -> int:
    return int(world.processor(do="statistics")["counts"].get("settled", 0))


def test_payments_go_both_ways(world: World) -> None:
    before = settled(world)
    world.load(20, 20, 3)
    world.settle()
    assert settled(world) > before
    assert world.hub(do="statistics")["codes"]["0000"] > 20


def test_submitting_needs_a_certificate(world: World, docker: Engine) -> None:
    """At the port that is published."""
    knock = (
        "import socket, ssl\n"
        "c = ssl.create_default_context(); c.check_hostname = False; c.verify_mode = ssl.CERT_NONE\n"
        "s = c.wrap_socket(socket.create_connection(('127.0.0.1', 9301), 5)); s.send(b'GET / HTTP/1.1\\r\\n\\r\\n')\n"
        "print(s.recv(100))"
    )
    refused = subprocess.run(docker.inside("python3", "-c", knock), capture_output=True, text=True, check=False)
    assert refused.returncode != 0
    assert "CERTIFICATE_REQUIRED" in refused.stderr


def test_the_other_site_may_look_and_not_submit(world: World, docker: Engine) -> None:
    """With the certificate that a gateway has."""
    ask = (
        "import http.client, ssl\n"
        "c = ssl.create_default_context(cafile='/etc/fps-gateway/ca.pem')\n"
        "c.load_cert_chain('/etc/fps-gateway/sip.pem', '/run/secrets/tls-key')\n"
        "h = http.client.HTTPSConnection('sip.dc-b', 9300, context=c)\n"
        "for method, path in (('GET', '/ready'), ('POST', '/payments'), ('GET', '/payments/key')):\n"
        "    h.request(method, path); r = h.getresponse(); r.read(); print(r.status)"
    )
    assert python(docker, A, ask).split() == ["200", "403", "403"]


def test_nobody_outside_the_inner_network_reaches_an_ops_port(world: World, docker: Engine) -> None:
    """Who shares the outer network with it, as hub and processor do, reaches the door, and no more."""
    knock = (
        "import socket\n"
        "for port in (9300, 9200):\n"
        "    try: socket.create_connection(('sip.dc-a', port), 5); print('open')\n"
        "    except OSError as error: print(error.strerror)"
    )
    assert python(docker, PROCESSOR, knock) == "open\nConnection refused"


def test_a_gateway_is_nobody_and_can_write_nowhere(world: World, docker: Engine) -> None:
    """Seen from inside, not from the settings that should make it so."""
    assert python(docker, A, "import os; print(os.getuid(), os.getgid(), os.getgroups())") == "861 861 [860, 861]"
    status = dict(line.split(":\t", 1) for line in docker.run("exec", A, "cat", "/proc/1/status").splitlines())
    assert status["Name"] == "docker-init", "whose children are buried, and who passes signals on"
    assert int(status["CapEff"], 16) == int(status["CapBnd"], 16) == 0
    assert status["NoNewPrivs"] == "1"
    for place in ("/x", "/opt/fps-gateway/x", "/etc/fps-gateway/x", "/run/secrets/x", "/var/lib/x"):
        tried = python(docker, A, f"try: open({place!r}, 'w')\nexcept OSError as error: print(error.strerror)")
        assert tried in {"Read-only file system", "Permission denied"}, place
    with pytest.raises(Exception, match="Read-only file system"):
        docker.run("exec", "--user", "0", A, "touch", "/opt/fps-gateway/x")
    assert json.loads(docker.run("inspect", "--format", "{{json .HostConfig.Memory}}", A)) == 2 << 30
    assert state(docker, A)["HostConfig"]["PidsLimit"] == 128


def test_whoever_gets_into_a_gateway_has_one_groups_keys_to_use(world: World, docker: Engine) -> None:
    """Its own PINs, TLS key, tokens and journal are there, and nobody else's; and another's PIN opens nothing of it."""
    found = python(docker, A, "import os; print(sorted(os.listdir('/run/secrets')), os.listdir('/var/lib/fps-hsm'))")
    assert found == "['pin-1', 'pin-2', 'pin-3', 'pin-4', 'tls-key'] ['sip']"
    labels = (
        "import os, pkcs11\n"
        "os.environ['SOFTHSM2_CONF'] = '/var/lib/fps-hsm/sip/softhsm2.conf'\n"
        "library = pkcs11.lib('/usr/lib/softhsm/libsofthsm2.so')\n"
        "print(sorted(t.label for t in library.get_tokens() if t.label))\n"
    )
    assert python(docker, A, labels) == "['sip-1', 'sip-2', 'sip-3', 'sip-4']"
    theirs = (world.directory / "dc-a" / "secrets" / "usm" / "pin-1").read_text()
    tried = (
        f"{labels}\n"
        "try:\n"
        f"    library.get_token(token_label='sip-4').open(user_pin={theirs!r})\n"
        "except pkcs11.PKCS11Error as error: print(type(error).__name__)"
    )
    assert python(docker, A, tried).splitlines()[-1] == "PinIncorrect"


def test_no_secret_is_in_what_the_engine_shows(world: World, docker: Engine) -> None:
    files = [path for path in (world.directory / "dc-a" / "secrets").glob("*/*") if path.is_file()]
    secrets = [path.read_text().strip() for path in files]
    assert len(secrets) == len(set(secrets)) == 5 * len(GROUPS) + 1, "each group's are its own, and the watcher's"
    shown = docker.run("inspect", A, "fps-gateway-development") + world.compose("dc-a", "config")
    shown += docker.run("exec", A, "cat", "/proc/1/environ") + docker.run("exec", A, "cat", "/proc/1/cmdline")
    assert [secret for secret in secrets if secret.splitlines()[0 if len(secret) < 40 else 1] in shown] == []


def test_an_image_holds_the_locked_packages_and_nothing_for_tests(world: World, docker: Engine) -> None:
    there = set(python(docker, A, "import pkgutil; print(*(m.name for m in pkgutil.iter_modules()))").split())
    assert {"gateway", "trio", "pkcs11"} <= there
    assert there & {"loadtest", "hsm", "tests", "pytest", "hypothesis", "mypy", "setuptools", "pip"} == set()


def test_prometheus_sees_every_gateway_and_says_who_is_away(world: World, docker: Engine) -> None:
    away = [group for group in GROUPS if group != "sip"]  # this world does not start those
    for site in "ab":
        # each scrape is a moment of its own: what is waited for is that they have all been made
        asked = partial(query, docker, site)
        until(lambda asked=asked: '"sip"' in asked("fps_ready == 1"), WITHIN_S, "it is ready")  # type: ignore[misc]
        until(lambda asked=asked: asked("fps_link_up == 1").count("\n") == 2, WITHIN_S, "both links")  # type: ignore[misc]
        until(lambda asked=asked: asked("up == 0").count("\n") == len(away), WITHIN_S, "the others")  # type: ignore[misc]
        assert [group for group in GROUPS if f'group="{group}"' in asked("up == 0")] == away
    missed = 'ALERTS{alertname="GatewayAway",alertstate="firing"}'
    until(lambda: query(docker, "a", missed).count("\n") == len(GROUPS) - 1, WITHIN_S, "those are missed")
    assert 'group="sip"' not in query(docker, "a", missed)


def test_a_link_that_is_lost_is_an_alert_and_payments_go_on(world: World, docker: Engine) -> None:
    before = settled(world)
    world.hub(do="close", site="a")
    until(lambda: 'site="a"' in query(docker, "a", "fps_link_up == 0"), WITHIN_S, "the link is missed")
    until(lambda: 'site="a"' in query(docker, "a", 'ALERTS{alertname="LinkDown"}'), WITHIN_S, "it is an alert")
    assert 'site="b"' not in query(docker, "a", 'ALERTS{alertname="LinkDown"}')
    world.load(10, 10, 2)
    world.settle()
    assert settled(world) > before
    world.hub(do="open", site="a")
    world.signed_on()


def test_a_gateway_that_is_killed_is_started_again_and_goes_on(world: World, docker: Engine) -> None:
    """Under load. `docker kill` would not do: that is an order, which the engine honours by leaving it dead."""
    world.load(20, 20, 6)
    restarts = state(docker, A)["RestartCount"]
    os.kill(first_process(state(docker, A)["Id"]), signal.SIGKILL)
    until(lambda: state(docker, A)["RestartCount"] == restarts + 1, WITHIN_S, "it is started again")
    world.signed_on()
    world.settle()
    until(lambda: state(docker, A)["State"]["Health"]["Status"] == "healthy", WITHIN_S, "it is healthy")


def first_process(container: str) -> int:
    """The process id, here, of the first process of a container."""
    for process in Path("/proc").glob("[0-9]*"):
        try:
            groups, status = (process / "cgroup").read_text(), (process / "status").read_text()
        except OSError:
            continue  # gone
        if container in groups and next(line for line in status.splitlines() if line.startswith("NSpid")).endswith(
            "\t1"
        ):
            return int(process.name)
    raise AssertionError("it does not run")


def test_when_a_whole_data_centre_dies_the_other_one_serves(world: World, docker: Engine) -> None:
    """With nobody touching anything; and when it is back, both do."""
    before = settled(world)
    world.load(20, 20, 6)
    world.compose("dc-a", "kill")
    assert state(docker, A)["State"]["ExitCode"] == 137
    world.settle(("b",))
    without = settled(world)
    assert without > before
    world.load(10, 10, 2)
    world.settle(("b",))
    assert settled(world) > without
    world.start("a")
    world.signed_on()


def test_sites_that_differ_are_an_alert_and_payments_go_on(world: World, docker: Engine) -> None:
    """One site gets another pair file. It is left so: the ledger judges below what that does to payments, nothing."""
    for site in "ab":
        alike = partial(query, docker, site, "fps_sibling_differs + fps_sibling_away == 0")
        until(lambda alike=alike: '"sip"' in alike(), WITHIN_S, "they see that they are alike")  # type: ignore[misc]
    pair = world.directory / "dc-b" / "config" / "pair-sip.toml"
    pair.write_text(pair.read_text() + "business_days = 9\n")
    world.compose("dc-b", "restart", "sip")
    world.signed_on()
    for site in "ab":
        alerted = partial(query, docker, site, 'ALERTS{alertname="SitesDiffer",alertstate="firing"}')
        until(lambda alerted=alerted: '"sip"' in alerted(), WITHIN_S, "it is an alert")  # type: ignore[misc]
    assert "the sites do not share what a pair must share" in docker.run("logs", A)


def test_a_stop_drains_with_0_and_the_ledger_balances(world: World) -> None:
    """The last of this file: it ends the world."""
    world.load(20, 20, 3)
    world.settle()
    assert world.stop() == {A: 0, B: 0}
    verdict = world.verdict()
    assert verdict["balances"], [one for one in verdict["invariants"] if one["violations"]]
    assert verdict["sent"] > 100
    assert verdict["submitted"] > 100
