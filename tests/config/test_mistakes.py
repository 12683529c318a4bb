"""Every mistake in a configuration is named with its line, and none hides another."""

from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path

import msgspec
import pytest

from gateway import config
from gateway.config import file as config_file
from gateway.config.rules import remarks_on
from gateway.errors import ConfigurationError
from tests.config.good import GOOD, Load, in_two, mistakes_of

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
    ('"127.0.0.1"', '"hub.example"', "7: node.hub[0].host: is a placeholder from the example: give the real name"),
    (
        "http://127.0.0.1:8080",
        "https://Processor.EXAMPLE./x",
        "25: node.processor.url: is a placeholder from the example: give the real name",
    ),
    (
        "",
        "[node.sibling]\nurl = 'https://b.example.com:1'",
        "33: node.sibling.url: is a placeholder from the example: give the real name",
    ),
    (
        "",
        "[node.peers]\nsop = 'https://example'",
        "33: node.peers.sop: is a placeholder from the example: give the real name",
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
        "34: node.token[1].label: is that of node.token[0], in the same module: one token does not count twice",
    ),
    (
        "",
        "[node.peers]\na = 'https://x:1'\nb = 'https://x:1/'",
        "34: node.peers.b: is that of node.peers.a",
    ),
    (
        "",
        "[node.submissions]\nhost = 'localhost'\nport = 9200",
        "34: node.submissions.port: 9200 is node.ops.port, too: each needs one of its own",
    ),
    (
        "",
        "[node.submissions]\nport = 7\n[node.ops]\nhost = 'localhost'\nport = 7",
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
            " waiting reply would lose its key"
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
            "33: pair.dates.back_days.30: 12 must not exceed 11: no FPID is certain to be remembered for longer with"
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
    (
        "[node.journal]",
        "[node.unproved]\nframes_max = 19\n[node.journal]",
        (
            "22: node.unproved.frames_max: 19 must not be less than frames_per_s, which is 20: it would not hold"
            " one second of it"
        ),
    ),
    (
        "[node.journal]",
        "[node.unproved]\nbytes_max = 8192\n[node.journal]",
        (
            "22: node.unproved.bytes_max: 8192 must not be less than bytes_per_s, which is 16384: it would not hold"
            " one second of it"
        ),
    ),
    (
        "[node.journal]",
        "[node.unproved]\nbytes_max = 8191\nbytes_per_s = 1.0\n[node.journal]",
        (
            "22: node.unproved.bytes_max: 8191 must not be less than pair.wire.frame_bytes_max, which is 8192: one"
            " frame would be too much"
        ),
    ),
    (
        "[node.journal]",
        "[node.unproved]\npause_s = 301\n[node.journal]",
        "22: node.unproved.pause_s: 301 s must not exceed pause_max_s, which is 300 s",
    ),
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
            " which is 50000: a hanging disk must not end the gateway"
        ),
    ),
    ('"hub-2"', '"hub-1"', "11: node.hub[1].name: is the name of another one already"),
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
        "35: node.volume.device: and report exclude each other: the report already names the device",
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


OF_NO_NODE = [case for case in MISTAKES if not case[1].startswith(("[node", "[[node"))]


@pytest.mark.parametrize(("old", "new", "mistake"), OF_NO_NODE)
def test_a_mistake_in_one_of_two_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, old: str, new: str, mistake: str
) -> None:
    """With the pair in a file of its own, a mistake is the same, and names that file and its line there."""
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


@pytest.mark.parametrize(
    ("keys", "mistakes"),
    [
        (
            "layout = ['use:1', 'wrapped:*', 'check:*']",
            [
                "33: pair.keys.layout: at most one part can take the rest",
                "33: pair.keys.layout: check must have an even number of digits, from 4 to 16",
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
        ("own_use = '1'", ["33: pair.keys.own_use: must differ from hub_use"]),
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
    """A setting that must fit a wrong one is not compared with that one's default."""
    keys = [mistake.split(": ")[1] for mistake in mistakes_of(load, GOOD.replace(*change, 1))]
    assert keys == [key]


def test_a_file_that_cannot_be_read_hides_no_mistake_in_another(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Settings that the unreadable file may hold are not called missing."""
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


def test_a_port_that_every_local_user_reaches_is_remarked_on(load: Load) -> None:
    """On loopback it needs no TLS, and yet it moves money for whoever has an account on the machine."""
    remark = ("node.submissions.tls", "is not given: every user of this machine can submit payments")
    assert remark in list(remarks_on(load(f"{GOOD}[node.submissions]\n")))
    assert remark not in list(remarks_on(load(GOOD)))


def test_a_port_that_others_can_reach_needs_tls(load: Load) -> None:
    """Anybody who reaches the door of submissions can submit payments."""
    for host in ("localhost", "127.0.0.1", "127.1.2.3", "::1"):
        load(GOOD + f'[node.submissions]\nhost = "{host}"\n')
    for host in ("0.0.0.0", "::", "gateway", "10.0.0.1", "127.0.0.1.test"):  # noqa: S104 - what is refused
        (mistake,) = mistakes_of(load, GOOD + f'[node.submissions]\nhost = "{host}"\n')
        assert f"node.submissions.tls: is missing, and {host} is not a loopback address" in mistake
