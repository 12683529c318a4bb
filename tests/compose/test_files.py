"""The files of a data centre, as Compose reads them: both sites run the same, and each gateway is shut in."""

import json
import os
import re
import shutil
import subprocess
import typing
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from compose import prepare
from gateway import config
from gateway.config import file as config_file
from tests.machines import roots
from tests.machines.engine import compose_plugin

COMPOSE = Path(__file__).parents[2] / "compose"
JOURNAL = "/var/lib/fps-gateway/journal"
Read = Callable[..., dict[str, Any]]


@pytest.fixture(scope="module")
def read(tmp_path_factory: pytest.TempPathFactory) -> Read:
    """Reads a file as Compose does, without an engine."""
    if shutil.which("docker") is None:
        pytest.skip("docker is not installed: it is in the package docker.io")
    client = tmp_path_factory.mktemp("client")
    try:
        plugin = compose_plugin()
    except roots.Missing as missing:
        pytest.skip(str(missing))
    (client / "cli-plugins").mkdir()
    (client / "cli-plugins" / "docker-compose").symlink_to(plugin)

    def reading(file: str, **values: str) -> dict[str, Any]:
        kept = {name: value for name, value in os.environ.items() if not name.startswith("FPS_")}
        ran = subprocess.run(
            ["docker", "compose", "--file", str(COMPOSE / file), "config", "--format", "json"],
            env={**kept, "DOCKER_CONFIG": str(client), **values}, capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert ran.returncode == 0, ran.stderr
        assert "variable is not set" not in ran.stderr
        found: dict[str, Any] = json.loads(ran.stdout)
        return found

    return reading


def gateways(of: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {name: service for name, service in of["services"].items() if name != "prometheus"}


def test_both_sites_are_the_same_but_for_their_name(read: Read) -> None:
    a, b = (json.dumps(read(f"dc-{site}.yaml"), sort_keys=True) for site in "ab")
    renamed = b.replace("dc-b", "dc-a").replace('"SITE": "b"', '"SITE": "a"')
    assert a != b
    assert renamed == a


@pytest.mark.parametrize("site", ["a", "b"])
def test_there_is_a_gateway_for_each_payment_group(read: Read, site: str) -> None:
    assert set(gateways(read(f"dc-{site}.yaml"))) == set(typing.get_args(config.Group))


def test_a_gateway_may_do_nothing_that_it_need_not(read: Read) -> None:
    for name, gateway in gateways(read("dc-a.yaml")).items():
        assert gateway["read_only"], name
        assert gateway["cap_drop"] == ["ALL"], name
        assert gateway["security_opt"] == ["no-new-privileges:true"], name
        assert {"cap_add", "privileged", "environment", "env_file", "devices", "secrets"} & set(gateway) == set(), name
        assert set(gateway["deploy"]["resources"]["limits"]) == {"cpus", "memory", "pids"}, name
        assert set(gateway["ulimits"]) == {"nofile", "core"}, name
        written = {volume["target"] for volume in gateway["volumes"] if not volume.get("read_only")}
        assert written == {"/var/lib/fps-gateway/journal", f"/var/lib/fps-hsm/{name}"}, name
        # a volume that is not mounted is not made up; where nobody reports, there is an empty directory
        made_up = {volume["target"] for volume in gateway["volumes"] if volume["bind"].get("create_host_path")}
        assert made_up == {"/run/fps-volume"}, name


def test_no_gateway_has_what_is_anothers(read: Read) -> None:
    """Two share the configuration and the reports about volumes, which hold no secret, to read; and nothing else."""
    owners = defaultdict[str, set[str]](set)
    for name, gateway in gateways(read("dc-a.yaml")).items():
        for volume in gateway["volumes"]:
            owners[volume["source"]].add(name)
            if not volume.get("read_only") or "secrets" in volume["source"]:
                assert volume["source"].split("/")[-1 if volume["target"] != JOURNAL else -2] == name
    assert {source for source, names in owners.items() if len(names) > 1} == {"/etc/fps-gateway", "/run/fps-volume"}
    assert {names for source, names in ((s, frozenset(n)) for s, n in owners.items()) if "secrets" in source} == {
        frozenset({group}) for group in prepare.GROUPS
    }


def test_each_gateway_has_a_user_of_its_own_everywhere_the_same(read: Read) -> None:
    """In containers, under systemd, and in a world; a journal may move from the one to the other."""
    text = (COMPOSE / "systemd" / "sysusers.conf").read_text(encoding="utf-8")
    users = {group: int(number) for group, number in re.findall(r"(?m)^u fps-gateway-(\w+) (\d+) ", text)}
    members = re.findall(r"(?m)^m fps-gateway-(\w+) fps-gateway$", text)
    found = gateways(read("dc-a.yaml"))
    assert users == prepare.USERS == {name: int(gateway["user"].split(":")[0]) for name, gateway in found.items()}
    assert len(set(users.values())) == len(users)
    assert sorted(members) == sorted(users)
    assert f"g fps-gateway {prepare.OWNER}" in text.splitlines()
    assert all(gateway["group_add"] == [str(prepare.OWNER)] for gateway in found.values())
    unit = (COMPOSE / "systemd" / "fps-gateway@.service").read_text(encoding="utf-8")
    assert {"User=fps-gateway-%i", "Group=fps-gateway-%i"} <= set(unit.splitlines())


@pytest.mark.parametrize(("file", "values"), [("dc-a.yaml", {}), ("world.yaml", {"FPS_WORLD": "/nowhere"})])
def test_no_container_may_do_more_than_it_must_or_take_memory_without_end(
    read: Read, file: str, values: dict[str, str]
) -> None:
    """The watcher and the mock world, too. None swaps: what is in memory stays there."""
    for name, service in read(file, **values)["services"].items():
        assert service["read_only"], name
        assert service["cap_drop"] == ["ALL"], name
        assert service["security_opt"] == ["no-new-privileges:true"], name
        limits = service["deploy"]["resources"]["limits"]
        assert int(service["memswap_limit"]) == int(limits["memory"]) > 0, name
        assert limits["pids"] > 0, name


def test_no_image_is_taken_by_a_tag(read: Read) -> None:
    """Those that we name are built here. What they are built on has no default: whoever builds gives its digest."""
    built = {f"fps-{name}" for name in ("gateway", "world", "prometheus")}
    services = [*read("dc-a.yaml")["services"].values(), *read("world.yaml", FPS_WORLD="/nowhere")["services"].values()]
    assert {service["image"] for service in services} == built
    dockerfile = (COMPOSE / "Dockerfile").read_text(encoding="utf-8")
    stages = re.findall(r"(?m)^FROM (\S+) AS (\S+)$", dockerfile)
    assert len(stages) == len(re.findall(r"(?m)^FROM ", dockerfile))
    assert {source for source, _ in stages} - {name for _, name in stages} == {"${BASE}"}
    assert re.findall(r"(?m)^ARG .*$", dockerfile) == ["ARG BASE"]
    assert [
        place for place in re.findall(r"--from=(\S+)", dockerfile) if place not in {name for _, name in stages}
    ] == []


def test_a_drain_has_the_time_that_it_may_take(read: Read) -> None:
    """Longer than a gateway takes to drain and close, by the settings that it has unless told otherwise."""
    drain_s = config.Node.__struct_defaults__[
        config.Node.__struct_fields__.index("drain_s") - len(config.Node.__struct_fields__)
    ]
    for gateway in gateways(read("dc-a.yaml")).values():
        assert gateway["stop_grace_period"] == "30s"
    assert drain_s * 2 < 30


def test_nobody_outside_sees_an_ops_port(read: Read) -> None:
    found = read("dc-a.yaml")
    published = [port for service in found["services"].values() for port in service.get("ports", [])]
    assert {port["target"] for port in published} == {9300, 9090}
    assert {port["host_ip"] for port in published} == {"127.0.0.1"}
    assert found["networks"]["inside"]["internal"]


def test_a_worlds_surroundings_are_read_too(read: Read) -> None:
    assert set(read("world.yaml", FPS_WORLD="/nowhere")["services"]) == {"hub", "processor"}


@pytest.mark.parametrize("group", prepare.GROUPS)
def test_what_a_world_is_given_is_a_configuration_and_its_sites_are_a_pair(group: str, tmp_path: Path) -> None:
    pair = tmp_path / "pair.toml"
    pair.write_text(prepare.pair_file(group))
    prints, names = set(), set()
    for site in prepare.SITES:
        node = tmp_path / f"{site}.toml"
        node.write_text(prepare.node_file(group, site))
        loaded = config_file.load(pair, node)
        prints.add(loaded.fingerprint())
        names.add(loaded.node.name)
        assert [token.local for token in loaded.node.token].count(True) == 2
        assert loaded.node.submissions is not None
        assert loaded.node.submissions.tls is not None
        assert loaded.node.submissions.tls.client_name == "processor"
        assert loaded.node.sibling is not None
    assert len(prints) == 1
    assert len(names) == 2
