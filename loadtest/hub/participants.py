"""The participants of the mock scheme, from a file (`EXAMPLE`), or the one of the command line."""

import tomllib
from pathlib import Path
from typing import get_args

import msgspec
from msgspec import Struct

from loadtest.hub.bank import SimulatedBank
from loadtest.hub.keys import Algorithm, mac_of, read_keys, wrap
from loadtest.hub.parties import Group, Party, Redirection
from loadtest.hub.rekey import KeyBox

EXAMPLE = """\
[[participant]]                 # a bank behind a gateway
name = "alpha"
institution = "600002"          # DE98 of what it submits, DE99 of what it receives
sort_codes = ["60"]             # prefixes of DE95 that go to it, and of DE42 that it may send
keys = "hsm/DEVELOPMENT-ONLY-keys.json"    # seen from this file; as provisioning writes it
groups = ["sip", "usm"]         # of sip, sop, fdp, other, usm (default: sip); each has ports of its own
[participant.ports.sip]         # of a group, or of a process: site = port; 0 or not said: a free one
a = 9301
[participant.nodes]             # its processes, and the group of each: each gets ports of its own besides, by which the
sip-a = "sip"                   # hub knows it
[[participant.redirect]]        # an account that moved: DE57 and DE58 of the sender's answer
account = "12345678"
agent = "600003"
to = "87654321"

[[bank]]                        # a bank that the hub plays
name = "bank"
institution = "400001"
sort_codes = ["40"]
rule = "accept"                 # see --bank
"""
INSTITUTION, SORT_CODES = "600002", ("60",)
"""Of the command line's participant: generated payments go there."""
BANK, BANK_INSTITUTION, BANK_SORT_CODES = "bank", "400001", ("40",)
"""The bank that the hub plays when there is no file."""


class Redirect(Struct, frozen=True, forbid_unknown_fields=True):
    """An account that moved."""

    account: str
    agent: str
    to: str


class Entry(Struct, frozen=True, forbid_unknown_fields=True):
    """A participant, as written in the file."""

    name: str
    institution: str
    sort_codes: tuple[str, ...]
    keys: str
    groups: tuple[Group, ...] = ("sip",)
    ports: dict[str, dict[str, int]] = {}
    """By group, and by process."""
    nodes: dict[str, Group] = {}
    """Its processes, and the group of each: each may dial ports of its own."""
    hub_key: str = "fps-hub"
    """Label of the key with which the hub signs messages to it."""
    own_key: str = "fps-own"
    """Label of the key with which it signs."""
    transport_key: str = "fps-transport"
    """Label of the key that wraps new keys; without it no key can be changed."""
    redirect: tuple[Redirect, ...] = ()


class BankEntry(Struct, frozen=True, forbid_unknown_fields=True):
    """A bank that the hub plays, as written in the file."""

    name: str
    institution: str
    sort_codes: tuple[str, ...]
    rule: str = "accept"
    redirect: tuple[Redirect, ...] = ()


class Cast(Struct, frozen=True, forbid_unknown_fields=True, rename={"participants": "participant", "banks": "bank"}):
    """Everyone."""

    participants: tuple[Entry, ...]
    banks: tuple[BankEntry, ...] = ()


def read(path: Path) -> Cast:
    """Read a file of participants. Raises OSError or ValueError with the place."""
    try:
        cast = msgspec.convert(tomllib.loads(path.read_text(encoding="utf-8-sig")), Cast)
    except (tomllib.TOMLDecodeError, msgspec.ValidationError) as error:
        raise ValueError(f"{path}: {error}") from error
    names = [entry.name for entry in cast.participants] + [bank.name for bank in cast.banks]
    if not cast.participants or len(set(names)) != len(names):
        raise ValueError(f"{path}: at least one participant, and each name once")
    for entry in cast.participants:
        if not entry.groups or _strangers(entry):
            raise ValueError(f"{path}: {entry.name}: ports and nodes are of its groups, of which there is one at least")
    folder = path.parent
    return msgspec.structs.replace(
        cast,
        participants=tuple(
            msgspec.structs.replace(entry, keys=str(folder / entry.keys)) for entry in cast.participants
        ),
    )


def _strangers(entry: Entry) -> set[str]:
    """Groups that it has none of, and ports of neither group nor process."""
    return (set(entry.ports) - set(entry.nodes) | set(entry.nodes.values())) - set(entry.groups)


def parties(cast: Cast, algorithm: Algorithm, seed: int) -> tuple[list[Party], dict[str, KeyBox]]:
    """The participants, and the means to change the keys of each. Raises OSError or ValueError."""
    made: list[Party] = []
    boxes: dict[str, KeyBox] = {}
    for entry in cast.participants:
        keys = read_keys(entry.keys)
        for label in (entry.hub_key, entry.own_key):
            if label not in keys:
                raise ValueError(f"{entry.keys}: has no key {label}")
        hub, own = keys[entry.hub_key], keys[entry.own_key]
        made.append(
            Party(
                entry.name, entry.institution, entry.sort_codes, mac_of(algorithm, hub), mac_of(algorithm, own),
                groups=entry.groups, redirections=_redirections(entry.redirect),
            )
        )  # fmt: skip
        if entry.transport_key in keys:
            boxes[entry.name] = _box(algorithm, keys[entry.transport_key], hub, own)
    made += [
        Party(
            bank.name, bank.institution, bank.sort_codes, _no_mac, _no_mac,
            redirections=_redirections(bank.redirect), bank=SimulatedBank(bank.rule, seed=seed),
        )
        for bank in cast.banks
    ]  # fmt: skip
    return made, boxes


def groups(given: list[str]) -> tuple[Group, ...]:
    """Groups from the command line. Raises ValueError."""
    found = tuple(group for text in given for group in get_args(Group) if group == text)
    if len(found) != len(given):
        raise ValueError(f"--group: of {', '.join(get_args(Group))}")
    return found


def _redirections(entries: tuple[Redirect, ...]) -> dict[str, Redirection]:
    return {entry.account: Redirection(entry.agent, entry.to) for entry in entries}


def _box(algorithm: Algorithm, transport: bytes, hub: bytes, own: bytes) -> KeyBox:
    return KeyBox(
        mac_of=lambda key: mac_of(algorithm, key),
        wrap=lambda key: wrap(transport, key),
        in_use={"hub": hub, "own": own},
    )


def _no_mac(_: bytes) -> bytes:
    raise AssertionError("nobody talks to a bank of the hub's own")
