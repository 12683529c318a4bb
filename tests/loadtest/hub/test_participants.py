"""Who takes part, from a file or from the command line, and where the hub listens for whom."""

import argparse
import json
from pathlib import Path
from typing import Any

import pytest

from gateway.machine.arguments import Parser
from loadtest.hub import command as hub
from loadtest.hub import participants
from loadtest.hub.sites import Port

KEYS = {"fps-hub": "00" * 16, "fps-own": "11" * 16, "fps-transport": "22" * 16}
FILE = """
[[participant]]
name = "alpha"
institution = "600002"
sort_codes = ["60"]
keys = "alpha.json"
groups = ["sip", "usm"]
[participant.ports.usm]
a = 9301
[[participant.redirect]]
account = "12345678"
agent = "600003"
to = "87654321"

[[participant]]
name = "beta"
institution = "700003"
sort_codes = ["70", "71"]
keys = "beta.json"

[[bank]]
name = "bank"
institution = "400001"
sort_codes = ["40"]
rule = "0000*9,1114"
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    (tmp_path / "alpha.json").write_text(json.dumps(KEYS))
    (tmp_path / "beta.json").write_text(json.dumps({label: KEYS[label] for label in ("fps-hub", "fps-own")}))
    path = tmp_path / "participants.toml"
    path.write_text(FILE)
    return path


def options(*arguments: str) -> argparse.Namespace:
    parser = Parser()
    hub.add_parser(parser.add_subparsers())
    return parser.parse_args(["hub", *arguments])


def test_a_file_says_who_takes_part_and_where(file: Path) -> None:
    """Keys are seen from the file; each group and site has a port; without a transport key no key can change."""
    made, ports = hub.build(options("--participants", str(file), "--site", "a:9300", "--site", "b"))
    parties = made.scheme.parties
    assert {
        (port.party.name, port.group, port.site): number for port, number in ports.items()
    } == {
        ("alpha", "sip", "a"): 9300, ("alpha", "sip", "b"): 0, ("alpha", "usm", "a"): 9301,
        ("beta", "sip", "a"): 0, ("beta", "sip", "b"): 0,
    }  # fmt: skip
    assert parties["alpha"].redirections == {b"12345678": ("600003", "87654321")}
    assert parties["beta"].sort_codes == (b"70", b"71")
    assert made.scheme.first is parties["alpha"]
    assert made.scheme.rekey.statistics().keys() == {"alpha"}
    assert [party.member for party in parties.values()] == ["alpha", "beta", ""]


def test_each_process_has_ports_of_its_own(file: Path) -> None:
    """Besides those of its group, by which nobody can be told from another."""
    file.write_text(
        FILE.replace("[participant.ports.usm]", '[participant.nodes]\nsip-a = "sip"\n[participant.ports.usm]')
    )
    made, ports = hub.build(options("--participants", str(file)))
    alpha = made.scheme.parties["alpha"]
    assert {port for port in ports if port.node} == {Port(alpha, "sip", site, "sip-a") for site in ("a", "b")}


def test_without_a_file_there_are_one_participant_and_one_bank(file: Path) -> None:
    """As ever: `--keys` and `--site`."""
    made, ports = hub.build(options("--keys", str(file.parent / "alpha.json"), "--site", "a:1", "--bank", "silent"))
    one, bank = made.scheme.parties.values()
    assert ports == {Port(one, "sip", "a"): 1}
    assert (one.institution, one.member, bank.institution) == ("600002", "", "400001")
    assert bank.bank is not None
    assert bank.bank.rule == "silent"


MISTAKES: dict[str, tuple[tuple[str, str], str]] = {
    "no TOML": (("[[bank]]", "[[bank"), "participants.toml: "),
    "an unknown member": (("institution", "institutes"), "institutes"),
    "a name twice": (('name = "beta"', 'name = "alpha"'), "each name once"),
    "a port of another group": (("participant.ports.usm", "participant.ports.sop"), "are of its groups"),
    "a process of another group": (
        ("[participant.ports.usm]", '[participant.nodes]\nx = "sop"\n[participant.ports.usm]'),
        "are of its groups",
    ),
    "no such key": (("beta.json", "none.json"), "none.json"),
    "no such rule": (("0000*9,1114", "perhaps"), "perhaps: a bank answers"),
}


@pytest.mark.parametrize("what", MISTAKES)
def test_a_mistake_is_said_with_its_place(file: Path, what: str) -> None:
    """And nothing starts."""
    (before, after), said = MISTAKES[what]
    file.write_text(FILE.replace(before, after))
    with pytest.raises((OSError, ValueError), match=said):
        hub.build(options("--participants", str(file)))


def test_somebody_must_take_part_with_keys(tmp_path: Path) -> None:
    """Neither file nor keys; keys that lack one; a group that there is none of."""
    bare: Any = tmp_path / "bare.json"
    bare.write_text(json.dumps({"fps-hub": "00" * 16}))
    for arguments, said in (
        ((), "--keys or --participants"),
        (("--keys", str(bare)), "has no key fps-own"),
        (("--keys", str(bare), "--group", "sap"), "--group"),
    ):
        with pytest.raises(ValueError, match=said):
            hub.build(options(*arguments))


def test_the_example_in_the_help_is_a_right_file(file: Path) -> None:
    """What one copies must work."""
    (file.parent / "hsm").mkdir()
    (file.parent / "hsm" / "DEVELOPMENT-ONLY-keys.json").write_text(json.dumps(KEYS))
    file.write_text(participants.EXAMPLE)
    made, _ = hub.build(options("--participants", str(file)))
    assert made.scheme.parties.keys() == {"alpha", "bank"}


def test_a_process_may_have_ports_that_the_file_names(file: Path) -> None:
    """So that it can be configured before the hub runs; where none is named there are free ones."""
    named = '[participant.nodes]\nsip-a = "sip"\nsip-b = "sip"\n[participant.ports.sip-a]\na = 9501\nb = 9502\n'
    file.write_text(FILE.replace("[[participant.redirect]]", f"{named}[[participant.redirect]]"))
    _, ports = hub.build(options("--participants", str(file)))
    of = {(port.node, port.site): number for port, number in ports.items() if port.node}
    assert of == {("sip-a", "a"): 9501, ("sip-a", "b"): 9502, ("sip-b", "a"): 0, ("sip-b", "b"): 0}


def test_ports_of_neither_a_group_nor_a_process_are_refused(file: Path) -> None:
    file.write_text(FILE.replace("ports.usm", "ports.sip-c"))
    with pytest.raises(ValueError, match="alpha: ports and nodes are of its groups"):
        participants.read(file)
