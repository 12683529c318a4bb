"""The gateway's configuration in a guest: what the world wrote for its own machine, moved into the guest. No I/O."""

from typing import Any

import msgspec

from gateway.config.rules import IN_CLEAR
from tests.drill.plan import ETC, JOURNAL, OPS_PORT, OUTSIDE, RESOURCE, SERVERS, SUBMIT_PORT

PATIENT = {
    "connect_within_s": 20.0, "stall_after_s": 4.0, "batch_within_s": 20.0, "start_within_s": 120.0, "drain_s": 60.0,
    "respond_within_s": 20.0, "answer_within_s": 30.0, "echo_after_s": 10.0,
}  # fmt: skip
"""Limits of a machine that is twenty times slower than one that a bank would use."""


def inside(outside: dict[str, Any], tokens: str) -> str:
    """The TOML of the gateway in a guest.

    `outside` is the configuration that the world wrote, parsed; `tokens` the folder of its tokens there.
    """
    node, pair = outside["node"], outside["pair"]
    for hub in node["hub"]:
        hub.update(host=OUTSIDE, connect_within_s=PATIENT["connect_within_s"])
    node["processor"].update(url=node["processor"]["url"].replace("127.0.0.1", OUTSIDE), in_clear=IN_CLEAR)
    node["processor"]["connect_within_s"] = PATIENT["connect_within_s"]
    node["journal"].update(dir=JOURNAL, stall_after_s=PATIENT["stall_after_s"])
    node["ops"]["port"] = OPS_PORT
    node["submissions"].update(port=SUBMIT_PORT, answer_within_s=PATIENT["answer_within_s"])
    # of two servers one may be dead, and the other one serves on
    node["volume"] = {"resource": RESOURCE, "copies": len(SERVERS), "copies_min": 1}
    node["drain_s"] = PATIENT["drain_s"]
    for token in node["token"]:
        token.update({name: PATIENT[name] for name in ("batch_within_s", "start_within_s")})
    pair["session"] = {name: PATIENT[name] for name in ("respond_within_s", "echo_after_s")}
    return _toml(outside).replace(tokens, f"{ETC}/hsm")


def _toml(table: dict[str, Any], name: str = "") -> str:
    """A table of values, tables and lists of tables, as TOML."""
    lines: list[str] = []
    below: list[str] = []
    for key, value in table.items():
        path = f"{name}.{key}" if name else key
        if isinstance(value, dict):
            below.append(f"\n[{path}]\n{_toml(value, path)}")
        elif isinstance(value, list) and value and isinstance(value[0], dict):
            below += [f"\n[[{path}]]\n{_toml(each, path)}" for each in value]
        else:
            # a JSON string, number, boolean or list of these is the same in TOML
            lines.append(f"{key} = {msgspec.json.encode(value).decode()}\n")
    return "".join((*lines, *below))
