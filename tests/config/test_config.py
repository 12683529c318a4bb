"""A configuration is right as a whole, or every mistake in it is named with its line."""

import re
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway import config
from gateway.config import file as config_file
from gateway.errors import ConfigurationError

GOOD = """\
[node]
name = "sip-a"
drain_s = 12.0

[[node.hub]]
name = "hub-1"
host = "127.0.0.1"
port = 8301

[[node.hub]]
name = "hub-2"
host = "127.0.0.1"
port = 8302

[[node.token]]
name = "hsm-1"
label = "fps"
module = "libsofthsm2.so"
pin_file = "pin"

[node.journal]
dir = "journal"

[node.processor]
url = "http://127.0.0.1:8080"

[pair]
group = "sip"

[pair.deadlines]
stand_in_after_s = 5
"""

Load = Callable[[str], config.Configuration]


@pytest.fixture
def load(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Load:
    """Load a text as fps.toml."""
    monkeypatch.chdir(tmp_path)

    def load_text(text: str) -> config.Configuration:
        Path("fps.toml").write_text(text, encoding="utf-8")
        return config_file.load("fps.toml")

    return load_text


def mistakes_of(load: Load, text: str) -> list[str]:
    """The mistakes in a text, without the file's name."""
    with pytest.raises(ConfigurationError) as raised:
        load(text)
    assert all(mistake.startswith("fps.toml:") for mistake in raised.value.mistakes)
    return [mistake.removeprefix("fps.toml:") for mistake in raised.value.mistakes]


def test_what_is_not_said_has_its_default(load: Load) -> None:
    """A file needs to say only what has no default."""
    loaded = load(GOOD)
    assert loaded.pair == config.Pair(group="sip")
    assert [site.name for site in loaded.node.hub] == ["hub-1", "hub-2"]
    assert loaded.node.ops == config.Ops()


def test_it_cannot_be_changed(load: Load) -> None:
    """A configuration is a value."""
    loaded = load(GOOD)
    with pytest.raises(AttributeError):
        loaded.node.name = "other"  # type: ignore[misc]


MISTAKES = [
    # one field
    ('name = "sip-a"', 'name = ""', "2: node.name: must be 1 to 40 letters, digits, _ . -"),
    ('name = "sip-a"', 'name = "a\\n"', "2: node.name: must be 1 to 40 letters, digits, _ . -"),
    ('name = "sip-a"\n', "", "1: node.name: is missing"),
    ("port = 8302", "port = 0", "13: node.hub[1].port: Expected `int` >= 1"),
    ("port = 8302", 'port = "8302"', "13: node.hub[1].port: Expected `int`, got `str`"),
    ("port = 8302\n", "", "10: node.hub[1].port: is missing"),
    ('"127.0.0.1"', '""', "7: node.hub[0].host: Expected `str` of length >= 1"),
    ("= 5", "= nan", "31: pair.deadlines.stand_in_after_s: Expected `float` >= 0.001"),
    ("= 5", "= inf", "31: pair.deadlines.stand_in_after_s: Expected `float` <= 2592000.0"),
    ("= 5", "= true", "31: pair.deadlines.stand_in_after_s: Expected `float`, got `bool`"),
    ('"sip"', '"SIP"', "28: pair.group: must be one of sip, sop, fdp, other, usm; sip?"),
    (
        'group = "sip"',
        'group = "sip"\nreversed_code = "0000"',
        "29: pair.reversed_code: must be four digits, the first of them 1",
    ),
    # a name that is not known, and what may have been meant
    ("drain_s", "drain", "3: node.drain: is not known here; drain_s?"),
    ("[pair.deadlines]", "[pair.deadline]", "30: pair.deadline: is not known here; deadlines?"),
    ("", "[xyz]", "32: xyz: is not known here"),
    ('group = "sip"\n', "", "27: pair.group: is missing"),
    ('"127.0.0.1"', '"hub.example"', "7: node.hub[0].host: is a placeholder, as the example has it: give the real one"),
    (
        "http://127.0.0.1:8080",
        "https://Processor.EXAMPLE./x",
        "25: node.processor.url: is a placeholder, as the example has it: give the real one",
    ),
    (
        "",
        "[node.sibling]\nurl = 'https://b.example.com:1'",
        "33: node.sibling.url: is a placeholder, as the example has it: give the real one",
    ),
    (
        "",
        "[node.peers]\nsop = 'https://example'",
        "33: node.peers.sop: is a placeholder, as the example has it: give the real one",
    ),
    (
        '"journal"',
        '"journal"\nwaiting_bytes_max = 1048575',
        "23: node.journal.waiting_bytes_max: Expected `int` >= 1048576",
    ),
    # the same twice
    (
        "port = 8302",
        "port = 8301",
        "13: node.hub[1].port: is that of node.hub[0], on the same host: a site dialled twice",
    ),
    (
        "",
        '[[node.token]]\nname = "b"\nlabel = "fps"\nmodule = "libsofthsm2.so"\npin_file = "other"',
        "34: node.token[1].label: is that of node.token[0], in the same module: one token is no two",
    ),
    (
        "",
        "[node.peers]\na = 'http://x:1'\nb = 'http://x:1/'",
        "34: node.peers.b: is that of node.peers.a",
    ),
    (
        "",
        "[node.submissions]\nhost = 'localhost'\nport = 9200",
        "34: node.submissions.port: 9200 is node.ops.port, too: each needs one of its own",
    ),
    (
        "",
        "[node.submissions]\nport = 7\n[node.ops]\nhost = '0.0.0.0'\nport = 7",
        "33: node.submissions.port: 7 is node.ops.port, too: each needs one of its own",
    ),
    # a table
    ("[pair.deadlines]\nstand_in_after_s", "deadlines", "30: pair.deadlines: must be a table"),
    ("[[node.token]]", "[node.token]", "15: node.token: must be one or more [[node.token]] tables"),
    # what no field knows alone
    ("= 5", "= 9", "31: pair.deadlines.stand_in_after_s: 9 s must be less than reply_within_s, which is 9 s"),
    (
        "= 5",
        "= 5\nreply_within_s = 10",
        "32: pair.deadlines.reply_within_s: 10 s must be less than hub_patience_s, which is 10 s",
    ),
    (
        "= 5",
        "= 5\nhub_patience_s = 16",
        "32: pair.deadlines.hub_patience_s: 16 s must be less than sender_answer_s, which is 15 s",
    ),
    (
        "",
        "[pair.keys]\noverlap_s = 8.9",
        (
            "33: pair.keys.overlap_s: 8.9 s must not be less than pair.deadlines.reply_within_s, which is 9 s: a"
            " reply that waits would lose its key"
        ),
    ),
    (
        "= 5",
        "= 5\ndecline_after_s = 9",
        "32: pair.deadlines.decline_after_s: 9 s must be less than reply_within_s, which is 9 s",
    ),
    (
        "= 5",
        "= 5\ndecline_after_s = 4.9",
        "32: pair.deadlines.decline_after_s: 4.9 s must not be less than stand_in_after_s, which is 5 s",
    ),
    (
        "= 12.0",
        "= 7.9",
        "3: node.drain_s: 7.9 s must not be less than pair.deadlines.decline_after_s, which comes to 8 s",
    ),
    (
        "",
        "[pair.dates]\nback_days = { 30 = 12 }",
        (
            "33: pair.dates.back_days.30: 12 must not exceed 11: FPIDs are not surely remembered for longer with"
            " pair.business_days = 7"
        ),
    ),
    (
        "",
        "[pair.stand_in]\namount_max = 11\ndaily_total_max = 10",
        (
            "33: pair.stand_in.amount_max: 11 must not exceed daily_total_max, which is 10: such an amount is never"
            " accepted"
        ),
    ),
    (
        "",
        "[pair.stand_in]\npayment_types = ['10', '10']",
        "33: pair.stand_in.payment_types[1]: is there already",
    ),
    (
        "",
        "[pair.stand_in]\nsort_codes = ['0400', '04']",
        "33: pair.stand_in.sort_codes[0]: is covered by sort_codes[1] already",
    ),
    (
        "",
        "[pair.stand_in]\nsort_codes = ['04', '04']",
        "33: pair.stand_in.sort_codes[1]: is covered by sort_codes[0] already",
    ),
    ("", "[pair.stand_in]\nmode = 'off'", "33: pair.stand_in.mode: must be one of timer, always, never"),
    ("= 12.0", "= 4", "3: node.drain_s: 4 s must not be less than pair.deadlines.stand_in_after_s, which is 5 s"),
    (
        '"journal"',
        '"journal"\nretention_days = 11.9',
        (
            "23: node.journal.retention_days: 11.9 must be at least 12 for pair.business_days, which is 7:"
            " a restart would forget FPIDs"
        ),
    ),
    (
        '"journal"',
        '"journal"\nwaiting_bytes_max = 2000000',
        (
            "23: node.journal.waiting_bytes_max: 2000000 must be at least 2048 for each of node.payments_max,"
            " which is 50000: a disk that hangs must not end us"
        ),
    ),
    ('"hub-2"', '"hub-1"', "11: node.hub[1].name: names another one already"),
    (
        "port = 8302",
        "port = 8302\nreconnect_s = 20",
        "14: node.hub[1].reconnect_s: 20 s must not exceed reconnect_max_s, which is 15 s",
    ),
    (
        '8080"',
        '8080"\ntell_pause_s = 31',
        "26: node.processor.tell_pause_s: 31 s must not exceed tell_pause_max_s, which is 30 s",
    ),
    (
        "",
        "[pair.session]\nretry_s = 31",
        "33: pair.session.retry_s: 31 s must not exceed retry_max_s, which is 30 s",
    ),
    (
        "",
        "[node.volume]\nresource = 'fps-sip'\ncopies = 2\ncopies_min = 3",
        "35: node.volume.copies_min: 3 must not exceed copies, which is 2: it would never be ready",
    ),
    (
        "",
        "[node.volume]\nresource = 'fps-sip'\nreport = '/run/fps-volume/sip/status'\ndevice = '/dev/drbd11'",
        "35: node.volume.device: is what the report says: give one of them",
    ),
    (
        "",
        "[node.volume]\nresource = 'fps-sip'\nreport = \"/run/\\u0000\"",
        "34: node.volume.report: must be a path that begins with /, or nothing",
    ),
    (
        "",
        "[pair.wire]\nheader_bytes = 2\nheader_format = 'ascii'",
        "32: pair.wire.frame_bytes_max: 8192 does not fit into a header of 2 digits",
    ),
    (
        "",
        "[pair.wire]\nheader_bytes = 2\nheader_inclusive = true\nframe_bytes_max = 65534",
        "35: pair.wire.frame_bytes_max: 65536 does not fit into a header of 2 bytes",
    ),
    ("", "[pair.wire]\nfield_table = 'none.toml'", "33: pair.wire.field_table: no such file"),
    (
        "",
        "[node.hub.tls]\nca_file = 'a'\nkey_file = 'k'",
        "32: node.hub[1].tls: certificate_file and key_file belong together: give both or neither",
    ),
    ("", "[node.processor.tls]\nca_file = 'a'", "32: node.processor.tls: is given, but the url says http"),
    ("", "[pair.wire]\nusm_table = 'none.toml'", "33: pair.wire.usm_table: no such file"),
    ("", "[pair.wire]\ncode_table = 'none.toml'", "33: pair.wire.code_table: no such file"),
    (
        "",
        "[node.peers]\nsip-b = 'http://127.0.0.1:1'\n[node.peer_tls]\nca_file = 'a'",
        "34: node.peer_tls: is given, but a url of node.peers says http",
    ),
    (
        "",
        "[node.sibling]\nurl = 'http://127.0.0.1:1'\n[node.sibling.tls]\nca_file = 'a'",
        "34: node.sibling.tls: is given, but the url says http",
    ),
    (
        "",
        "[node.sibling]\nurl = 'https://127.0.0.1:1'\n[node.sibling.tls]\nca_file = 'a'\nkey_file = 'k'",
        "34: node.sibling.tls: certificate_file and key_file belong together: give both or neither",
    ),
    (
        "",
        "[node.peer_tls]\nca_file = 'a'\nkey_file = 'k'",
        "32: node.peer_tls: certificate_file and key_file belong together: give both or neither",
    ),
]


@pytest.mark.parametrize(("old", "new", "mistake"), MISTAKES)
def test_a_mistake(load: Load, old: str, new: str, mistake: str) -> None:
    """A mistake is named with its line, its key and what is wrong."""
    assert old in GOOD
    assert mistakes_of(load, GOOD.replace(old, new, 1) if old else GOOD + new) == [mistake]


def in_two(text: str) -> tuple[str, str]:
    """A text as two: the node's own, which comes first in it, and the rest."""
    node, pair, rest = text.partition("[pair")
    return node, pair + rest


OF_NO_NODE = [case for case in MISTAKES if not case[1].startswith(("[node", "[[node"))]


@pytest.mark.parametrize(("old", "new", "mistake"), OF_NO_NODE)
def test_a_mistake_in_one_of_two_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, old: str, new: str, mistake: str
) -> None:
    """With the pair in a file of its own a mistake is the same, and names its own file and the line in that."""
    monkeypatch.chdir(tmp_path)
    node, pair = in_two(GOOD.replace(old, new, 1) if old else GOOD + new)
    Path("node.toml").write_text(node, encoding="utf-8")
    Path("pair.toml").write_text(pair, encoding="utf-8")
    with pytest.raises(ConfigurationError) as raised:
        config_file.load("node.toml", "pair.toml")
    line, _, said = mistake.partition(":")
    before = node.count("\n")
    expected = f"node.toml:{line}" if int(line) <= before else f"pair.toml:{int(line) - before}"
    assert raised.value.mistakes == [f"{expected}:{said}"]


def test_two_files_are_one_configuration(load: Load, tmp_path: Path) -> None:
    """The pair in a file of its own: the same configuration in either order, with the same fingerprint."""
    node, pair = in_two(GOOD)
    (tmp_path / "node.toml").write_text(node, encoding="utf-8")
    (tmp_path / "pair.toml").write_text(pair, encoding="utf-8")
    whole = load(GOOD)
    assert config_file.load("node.toml", "pair.toml") == config_file.load("pair.toml", "node.toml") == whole
    assert config_file.load("pair.toml", "node.toml").fingerprint() == whole.fingerprint()


@pytest.mark.parametrize(
    ("first", "second", "mistakes"),
    [
        (GOOD, "\n[pair]\n", ["b.toml:2: pair: stands in a.toml already"]),
        (GOOD, "# no more than a part of it\n[pair.mac]\n", ["b.toml:2: pair: stands in a.toml already"]),
        (
            GOOD,
            "x = 1\npair.group = 'sip'",
            ["b.toml:1: x: is not known here", "b.toml:2: pair: stands in a.toml already"],
        ),
        (
            "[pair]\nx = 1\n",
            "",
            ["a.toml:1: node: is missing", "a.toml:1: pair.group: is missing", "a.toml:2: pair.x: is not known here"],
        ),
        ("x = ", GOOD + "y = ", ["a.toml:1: not TOML: Invalid value", "b.toml:32: not TOML: Invalid value"]),
    ],
)
def test_files_that_do_not_join(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, first: str, second: str, mistakes: list[str]
) -> None:
    """A table stands in one file only; what all lack is said of the first; each that is no TOML is named."""
    monkeypatch.chdir(tmp_path)
    Path("a.toml").write_text(first, encoding="utf-8")
    Path("b.toml").write_text(second, encoding="utf-8")
    with pytest.raises(ConfigurationError) as raised:
        config_file.load("a.toml", "b.toml")
    assert raised.value.mistakes == mistakes


@pytest.mark.parametrize(
    ("keys", "mistakes"),
    [
        (
            "layout = ['use:1', 'wrapped:*', 'check:*']",
            [
                "33: pair.keys.layout: at most one part can be what the others leave",
                "33: pair.keys.layout: check must be 4 to 16 digits, an even number of them",
            ],
        ),
        (
            "layout = ['use:1', 'wrapped:*', 'use:1']",
            [
                "32: pair.keys.change_carries: check has no place in layout",
                "32: pair.keys.verify_carries: check has no place in layout",
                "33: pair.keys.layout: names a part twice",
            ],
        ),
        (
            "change_carries = ['use', 'check']\nverify_carries = ['use']",
            [
                "33: pair.keys.change_carries: wrapped cannot be missing",
                "34: pair.keys.verify_carries: check cannot be missing",
            ],
        ),
        ("own_use = '02'", ["33: pair.keys.own_use: must have 1 characters, as pair.keys.layout says"]),
        ("own_use = '1'", ["33: pair.keys.own_use: must be another one than hub_use"]),
    ],
)
def test_key_data_that_could_not_be_taken_apart(load: Load, keys: str, mistakes: list[str]) -> None:
    """The layout of DE125 must say of each character whose it is."""
    assert mistakes_of(load, GOOD + "[pair.keys]\n" + keys + "\n") == mistakes


def test_every_mistake_at_once(load: Load) -> None:
    """One mistake does not hide the next, neither in the same table nor between those that fit together."""
    text = GOOD.replace('"sip-a"', '"sip a"').replace("8301", "-1").replace("= 5", "= 9.5")
    keys = [mistake.split(": ")[1] for mistake in mistakes_of(load, text)]
    assert keys == ["node.name", "node.hub[0].port", "pair.deadlines.stand_in_after_s"]
    text = GOOD.replace("[pair]", "[pair]\nx = 1").replace("8302", "8302\nreconnect_s = 16").replace("hub-2", "hub-1")
    keys = [mistake.split(": ")[1] for mistake in mistakes_of(load, text)]
    assert keys == ["node.hub[1].name", "node.hub[1].reconnect_s", "pair.x"]


ALONE = {
    "node.name": ('"sip-a"', '"sip a"'),
    "node.hub[0].port": ("8301", "-1"),
    "node.hub[1].host": ('host = "127.0.0.1"\nport = 8302', "port = 8302"),
    "node.token[0].label": ('label = "fps"', "label = 3"),
    "node.journal.dir": ('dir = "journal"', ""),
    "node.processor.url": ("http://127.0.0.1:8080", "127.0.0.1"),
    "node.log.levle": ("[node.journal]", "[node.log]\nlevle = 1\n[node.journal]"),
    "pair.group": ('group = "sip"', ""),
    "pair.reversed_code": ('group = "sip"', 'group = "sip"\nreversed_code = "0000"'),
}
"""Mistakes that a setting has alone."""
TOGETHER = {
    "node.hub[1].reconnect_s": ("port = 8302", "port = 8302\nreconnect_s = 16"),
    "node.hub[1].name": ("hub-2", "hub-1"),
    "node.processor.tell_pause_s": ("[node.processor]", "[node.processor]\ntell_pause_s = 31"),
    "node.drain_s": ("drain_s = 12.0", "drain_s = 4"),
    "pair.deadlines.stand_in_after_s": ("= 5", "= 9.5"),
    "pair.keys.overlap_s": ("[pair.deadlines]", "[pair.keys]\noverlap_s = 1\n[pair.deadlines]"),
    "node.submissions.port": ("[node.journal]", "[node.submissions]\nport = 9200\n[node.journal]"),
}
"""Those that it has against another one."""


@pytest.mark.parametrize("together", TOGETHER)
@pytest.mark.parametrize("alone", ALONE)
def test_a_mistake_hides_no_other(load: Load, alone: str, together: str) -> None:
    """Each of two that have nothing to do with each other is said, and nothing else: none comes of the other one."""
    text = GOOD
    for old, new in (TOGETHER[together], ALONE[alone]):
        assert old in text
        text = text.replace(old, new, 1)
    keys = {mistake.split(": ")[1] for mistake in mistakes_of(load, text)}
    assert keys == {alone, together}


@pytest.mark.parametrize(
    ("change", "key"),
    [
        (("= 5", '= "soon"\nreply_within_s = 4.5'), "pair.deadlines.stand_in_after_s"),
        (("= 5", "= 9.5\nreply_within_s = true"), "pair.deadlines.reply_within_s"),
        (('name = "hub-2"', "name = 2"), "node.hub[1].name"),
        (("[node.journal]", "[node.journal]\nwaiting_bytes_max = 0"), "node.journal.waiting_bytes_max"),
    ],
)
def test_no_mistake_comes_of_another_one(load: Load, change: tuple[str, str], key: str) -> None:
    """What is held against a setting that is wrong is not judged by its default."""
    keys = [mistake.split(": ")[1] for mistake in mistakes_of(load, GOOD.replace(*change, 1))]
    assert keys == [key]


def test_a_file_that_cannot_be_read_hides_no_mistake_in_another(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And what it may hold is not called missing."""
    monkeypatch.chdir(tmp_path)
    Path("node.toml").write_text(GOOD[: GOOD.index("[pair]")].replace('"sip-a"', '"sip a"'), encoding="utf-8")
    with pytest.raises(ConfigurationError) as raised:
        config_file.load("pair.toml", "node.toml")
    assert raised.value.mistakes == [
        "pair.toml: cannot be read: FileNotFoundError",
        "node.toml:2: node.name: must be 1 to 40 letters, digits, _ . -",
    ]


def patterns_in(kind: type[msgspec.Struct]) -> Iterator[tuple[str, str]]:
    """Every pattern of a table and those in it, with its words."""
    for field in msgspec.structs.fields(kind):
        inner = config.struct_in(field.type)
        yield from config.described(field.type).items() if inner is None else patterns_in(inner)


def test_every_pattern_is_said_in_words() -> None:
    """Nobody who configures a gateway has to read a regular expression."""
    found = dict(patterns_in(config.Configuration))
    assert len(found) > 10
    assert [pattern for pattern, words in found.items() if not words] == []


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (
            "[pair.keys]\nlayout = ['use:1', 'mac:2']",
            "must be use, wrapped or check, a colon, and a width of 1 to 99 or *",
        ),
        ("[pair.keys]\nverify_carries = ['us']", "must be one of use, wrapped, check"),
        ("[node.peers]\n'a b' = 'http://b'", "must be 1 to 32 letters, digits, _ . -"),
        ("[pair.wire]\nheader_format = 'ASCII'", "must be one of binary, ascii; ascii?"),
        ("[pair.wire]\nheader_bytes = 3", "must be one of 2, 4"),
        ("[pair.submit]\nstand_in_after_s = 1", "is not known here; pair.deadlines.stand_in_after_s?"),
        ("[pair.submit]\nanswer_within = 1", "is not known here; answer_within_s?"),
        ("[pair.submit]\nwhatever = 1", "is not known here"),
    ],
)
def test_a_mistake_says_what_would_be_right(load: Load, text: str, said: str) -> None:
    """A choice is listed, a pattern said in words, and a neighbour named: by its spelling, or where it stands."""
    (mistake,) = mistakes_of(load, GOOD + text)
    assert mistake.split(": ", 2)[2].partition(" - at ")[0] == said


def test_not_toml(load: Load) -> None:
    """A file that is no TOML is refused with the line where it stops being TOML."""
    assert mistakes_of(load, GOOD.replace("port = 8302", "port 8302"))[0].startswith("13: not TOML: ")
    assert mistakes_of(load, "[node]\nname = ")[0].startswith("2: not TOML: ")


@pytest.mark.parametrize("value", ["[" * 3000, "[" * 2000 + "]" * 2000, "{a=" * 1500 + "1" + "}" * 1500, "9" * 5000])
def test_toml_that_python_cannot_read(load: Load, value: str) -> None:
    """Nested without end, a number without end: refused like everything else that is wrong with the file."""
    (mistake,) = mistakes_of(load, GOOD + f"x = {value}")
    assert mistake == "1: not TOML: it nests too deeply, or holds a number of too many digits"


@pytest.mark.parametrize("name", ["missing.toml", "a" * 300, "a\\u0000b", "/" * 5000 + "x", "."])
def test_a_table_that_is_no_file(load: Load, name: str) -> None:
    """Whatever the system says to its name."""
    (mistake,) = mistakes_of(load, GOOD + f'\n[pair.wire]\nfield_table = "{name}"')
    assert mistake.endswith("pair.wire.field_table: no such file")


def test_no_file(tmp_path: Path) -> None:
    """A file that cannot be read is refused by name."""
    with pytest.raises(ConfigurationError, match=r"none\.toml: cannot be read: FileNotFoundError$"):
        config_file.load(tmp_path / "none.toml")
    (tmp_path / "latin.toml").write_bytes(b"# \xe9\n")
    with pytest.raises(ConfigurationError, match=r"latin\.toml: cannot be read: it is no UTF-8$"):
        config_file.load(tmp_path / "latin.toml")


@pytest.mark.parametrize("before", [b"", b"\xef\xbb\xbf"])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
@pytest.mark.parametrize("last", [True, False])
def test_a_file_is_read_however_it_was_saved(tmp_path: Path, before: bytes, end: str, last: bool) -> None:  # noqa: FBT001
    """With a byte order mark, with CR LF, without a last line end; a mistake is on the same line."""
    path, wrong = tmp_path / "saved.toml", tmp_path / "wrong.toml"
    text = GOOD.rstrip("\n") + "\n" * last
    path.write_bytes(before + text.replace("\n", end).encode())
    assert config_file.load(path).node.name
    wrong.write_bytes(before + ("stray = 1\n" + text).replace("\n", end).encode())
    with pytest.raises(ConfigurationError, match=r"wrong\.toml:1: stray: is not known here"):
        config_file.load(wrong)


@pytest.mark.parametrize(
    ("url", "good"),
    [
        ("http://127.0.0.1:8080", True),
        ("https://processor.example/fps/v1", True),
        ("https://user:word@processor.example", False),
        ("https://processor.example/a b", False),
        ("https://processor.example\n", False),
        ("ftp://processor.example", False),
        ("https://", False),
    ],
)
def test_the_processor_url(url: str, good: bool) -> None:  # noqa: FBT001
    """The URL is logged: it holds no credentials."""
    expected = nullcontext() if good else pytest.raises(msgspec.ValidationError, match="matching regex")
    with expected as raised:
        msgspec.convert({"url": url}, config.Processor)
    assert good or "word" not in str(raised)


@pytest.mark.parametrize(
    ("host", "mistake"),
    [
        ("::1", ""),
        ("fe80::1%eth0", ""),
        ("127.0.0.1", ""),
        ("hub-1.fps_net.test.", ""),
        ("[::1]", "is an IPv6 address in brackets: give it without them"),
        ("[fe80::1%eth0]", "is an IPv6 address in brackets: give it without them"),
        ("[hub]", "must be a host name or an address and nothing else: no scheme, no port"),
        ("[::1]:8301", "must be a host name or an address and nothing else: no scheme, no port"),
        ("hub.example:8301", "must be a host name or an address and nothing else: no scheme, no port"),
        ("tcp://hub.example", "must be a host name or an address and nothing else: no scheme, no port"),
        (" hub.example", "must be a host name or an address and nothing else: no scheme, no port"),
    ],
)
@pytest.mark.parametrize("key", ["node.hub[1].host", "node.ops.host", "node.submissions.host"])
def test_a_host_that_would_never_be_reached(load: Load, key: str, host: str, mistake: str) -> None:
    """What is no name and no address is a mistake wherever a host is given, in words, and not a dial that fails for
    ever.
    """
    tables = {"node.ops.host": "[node.ops]", "node.submissions.host": "[node.submissions]"}
    text = (
        f'{GOOD}\n{tables.get(key, "")}\nhost = "{host}"\n'
        if key in tables
        else GOOD.replace('name = "hub-2"\nhost = "127.0.0.1"', f'name = "hub-2"\nhost = "{host}"')
    )
    mistakes: list[str] = []
    try:
        load(text)
    except ConfigurationError as error:
        mistakes = error.mistakes
    assert [what.partition(f"{key}: ")[2] for what in mistakes if f"{key}: " in what] == ([mistake] if mistake else [])


def test_a_port_that_others_can_reach_needs_tls(load: Load) -> None:
    """Whoever reaches the door of submissions can submit payments."""
    for host in ("localhost", "127.0.0.1", "127.1.2.3", "::1"):
        load(GOOD + f'[node.submissions]\nhost = "{host}"\n')
    for host in ("0.0.0.0", "::", "gateway", "10.0.0.1", "127.0.0.1.test"):  # noqa: S104 - what is refused
        (mistake,) = mistakes_of(load, GOOD + f'[node.submissions]\nhost = "{host}"\n')
        assert f"node.submissions.tls: is missing, and {host} is no loopback" in mistake


# --- the fingerprint


def other(value: Any) -> Any:
    """Some other value of the same type."""
    match value:
        case bool():
            return not value
        case int() | float():
            return value + 1
        case str():
            return value + "x"
    if isinstance(value, tuple):
        return value[:-1] or ("other",)
    if isinstance(value, dict):
        return {"other": "other"}
    raise AssertionError(value)


def variants(shared: msgspec.Struct) -> list[tuple[str, msgspec.Struct]]:
    """The same with one setting changed, for every setting."""
    found = []
    for field in msgspec.structs.fields(shared):
        value = getattr(shared, field.name)
        if isinstance(value, msgspec.Struct):
            inner = [(f"{field.name}.{name}", {field.name: changed}) for name, changed in variants(value)]
            found += [(name, msgspec.structs.replace(shared, **changed)) for name, changed in inner]
        elif field.name not in {"field_table", "usm_table", "code_table"}:
            found.append((field.name, msgspec.structs.replace(shared, **{field.name: other(value)})))
    return found


@pytest.mark.parametrize("pair", [pytest.param(pair, id=name) for name, pair in variants(config.Pair(group="sip"))])
def test_the_fingerprint_shows_any_difference(load: Load, pair: config.Pair) -> None:
    """Two sites that differ in anything they must share have different fingerprints."""
    loaded = load(GOOD)
    assert msgspec.structs.replace(loaded, pair=pair).fingerprint() != loaded.fingerprint()


def test_the_fingerprint_is_the_pairs(load: Load) -> None:
    """What is a node's own does not show in it."""
    here, there = load(GOOD), load(GOOD.replace("sip-a", "sip-b").replace("8302", "8402"))
    assert here.fingerprint() == there.fingerprint()
    assert re.fullmatch("[0-9a-f]{16}", here.fingerprint())


@pytest.mark.parametrize("key", ["field_table", "usm_table", "code_table"])
def test_a_table_counts_by_what_it_holds(load: Load, key: str) -> None:
    """The same table in two places is the same; another in the same place is not."""
    Path("a.toml").write_text("x = 1", encoding="utf-8")
    Path("b.toml").write_text("x = 1", encoding="utf-8")
    a, b = (load(GOOD + f"[pair.wire]\n{key} = '{name}'\n").fingerprint() for name in ("a.toml", "b.toml"))
    assert a == b != load(GOOD).fingerprint()
    Path("b.toml").write_text("x = 2", encoding="utf-8")
    assert load(GOOD + f"[pair.wire]\n{key} = 'b.toml'\n").fingerprint() != a


# --- any file


@given(data=st.data())
def test_any_file(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    """Lines lost, doubled, swapped or replaced give a configuration or mistakes with lines, never anything else."""
    lines = GOOD.splitlines()
    wrong = ["[node]", "[[pair]]", "x", "name = 1", "node = 1", "[node.hub.tls]", "hub = []", "'a b' = {}"]
    noise = st.sampled_from([*lines, *wrong]) | st.text(max_size=8)
    for _ in range(data.draw(st.integers(1, 6))):
        where = data.draw(st.integers(0, len(lines) - 1))
        lines[where : where + data.draw(st.integers(0, 2))] = data.draw(st.lists(noise, max_size=2))
        if not lines:
            break
    path = tmp_path_factory.mktemp("any") / "fps.toml"
    path.write_text("\n".join(lines), encoding="utf-8", errors="replace")
    mistakes = ["fps.toml:1: none"]
    try:
        config_file.load(path)
    except ConfigurationError as error:
        mistakes = error.mistakes
    assert mistakes
    for mistake in mistakes:
        found = re.fullmatch(r".*fps\.toml:(\d+): (.+)", mistake, re.DOTALL)
        assert found, mistake
        assert 1 <= int(found[1]) <= len("\n".join(lines).splitlines()) + 1
