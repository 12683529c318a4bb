"""`fps-gateway config`: the example documents everything and loads; a check says everything."""

import re
from pathlib import Path

import msgspec
import pytest

from gateway import config
from gateway.__main__ import main
from gateway.commands import config as config_command
from gateway.config import file as config_file
from gateway.exitcodes import ExitCode
from gateway.machine.arguments import Parser
from tests.fakes.example import example as edited


def fields_of(kind: type[msgspec.Struct]) -> list[tuple[type[msgspec.Struct], str]]:
    """Every plain setting below a table, with its table."""
    found = []
    for field in msgspec.structs.fields(kind):
        inner = config.struct_in(field.type)
        found += [(kind, field.name)] if inner is None else fields_of(inner)
    return found


SETTINGS = sorted(set(fields_of(config.Configuration)), key=lambda setting: (setting[0].__name__, setting[1]))
EXAMPLE = config_command.example()
EDITED = edited()


@pytest.fixture
def example(tmp_path: Path) -> Path:
    """The example, edited as it asks for, as a file."""
    path = tmp_path / "example.toml"
    path.write_text(EDITED, encoding="utf-8")
    return path


def run(*arguments: str) -> int:
    """Run the command as `fps-gateway` does."""
    parser = Parser()
    config_command.add_parser(parser.add_subparsers())
    chosen = parser.parse_args(["config", *arguments])
    code: int = chosen.run(chosen)
    return code


def test_the_example_loads(example: Path) -> None:
    """Edited, the example has no mistakes, and everything that has a default has it."""
    loaded = config_file.load(example)
    assert loaded.pair == config.Pair(group="sip")
    assert loaded.node.ops == config.Ops()
    assert len(loaded.node.hub) == 2


def test_the_example_loads_with_every_setting_taken_in(example: Path) -> None:
    """With each # taken away it is the same configuration, and TLS to each peer."""
    commented = config_file.load(example)
    example.write_text(re.sub(r"(?m)^#(?! )(?=.)", "", example.read_text()), encoding="utf-8")
    loaded = config_file.load(example)
    assert loaded.pair == commented.pair
    assert loaded.node.hub[0].tls == config.Tls(ca_file="/etc/fps-gateway/hub-ca.pem")
    assert msgspec.structs.replace(loaded.node.hub[0], tls=None) == commented.node.hub[0]


@pytest.mark.parametrize(("table", "setting"), SETTINGS)
def test_every_setting_is_documented(table: type[msgspec.Struct], setting: str) -> None:
    """A setting has a docstring where it is declared, and stands in the example."""
    assert config_command.docstrings(table).get(setting), f"{table.__name__}.{setting} needs a docstring"
    assert re.search(rf"(?m)^#?{setting} = ", EXAMPLE)


def test_lines_fit_a_terminal() -> None:
    """No line of prose is longer than the width, and none ends in a space."""
    prose = [line for line in EXAMPLE.splitlines() if line.startswith("# ")]
    assert max(map(len, prose)) <= config_command.WIDTH + 2
    assert not [line for line in prose if line != line.rstrip()]


def test_limits_are_said() -> None:
    """The values that a type allows stand in the example."""
    text = EXAMPLE
    assert "[2 | 4]\n#header_bytes = 4\n" in text
    assert "[≥0.001 ≤2592000]\n#stand_in_after_s = 5.0\n" in text
    assert "[four digits, the first of them 1]\n#reversed_code" in text.replace("\n# ", " ")


def test_print_the_example(capsys: pytest.CaptureFixture[str]) -> None:
    """`config example` prints it."""
    assert run("example") == ExitCode.ENDED
    assert capsys.readouterr().out == EXAMPLE


LEFT_OPEN = {
    "pair": ["pair.group"],
    "node": ["node.hub[0].host", "node.hub[1].host", "node.processor.url"],
}
"""What the example does not say, by the half that it stands in."""


@pytest.mark.parametrize("untouched", [["pair"], ["node"], ["pair", "node"]], ids="+".join)
@pytest.mark.parametrize("command", ["check", "run"])
def test_an_example_that_nobody_edited_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], untouched: list[str], command: str
) -> None:
    """Either half, or both: by `config check` and by `run`, with every setting that it leaves open."""
    files = []
    for half in ("pair", "node"):
        text = config_command.example(half) if half in untouched else edited(half)
        files.append(tmp_path / f"{half}.toml")
        files[-1].write_text(text, encoding="utf-8")
    paths = [str(path) for path in files]
    arguments = ["run", *(f"--config={path}" for path in paths)] if command == "run" else ["config", "check", *paths]
    assert main(arguments) == ExitCode.CONFIGURATION
    said = re.findall(r"(?m)^\S+:\d+: (\S+): ", capsys.readouterr().err)
    assert said == [key for half in untouched for key in LEFT_OPEN[half]]


@pytest.mark.parametrize("command", ["run", "check"])
def test_a_forgotten_pair_file_is_a_mistake(
    example: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], command: str
) -> None:
    """Nothing is served by defaults that nobody chose: the error says what is missing, and that it may be a file."""
    node = tmp_path / "node.toml"
    node.write_text(edited("node"), encoding="utf-8")
    arguments = ["run", "--config", str(node)] if command == "run" else ["config", "check", str(node)]
    assert main(arguments) == ExitCode.CONFIGURATION
    what = "pair: is missing: the part that both sites share is usually a file of its own; was it given, too?\n"
    assert capsys.readouterr().err.startswith(f"{node}:1: {what}")


def test_each_half_is_a_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """`config example pair` and `config example node`: together they are the whole, and say nothing twice."""
    halves = []
    for half in ("pair", "node"):
        assert run("example", half) == ExitCode.ENDED
        text = capsys.readouterr().out
        assert text.startswith("# What ")
        assert f"`fps-gateway config example {half}`" in text
        halves.append(tmp_path / f"{half}.toml")
        halves[-1].write_text(text, encoding="utf-8")
        assert text == config_command.example(half)
        halves[-1].write_text(edited(half), encoding="utf-8")
    whole = tmp_path / "whole.toml"
    whole.write_text(EDITED, encoding="utf-8")
    assert config_file.load(*halves) == config_file.load(whole)
    settings = [re.findall(r"(?m)^#?[a-z_]+ = .*$", path.read_text()) for path in (*halves, whole)]
    assert sorted(settings[0] + settings[1]) == sorted(settings[2])


def test_check_takes_what_run_is_given(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Several files are checked as one; a mistake in either names that one."""
    pair, node = tmp_path / "pair.toml", tmp_path / "node.toml"
    pair.write_text(edited("pair"), encoding="utf-8")
    node.write_text(edited("node"), encoding="utf-8")
    assert run("check", str(pair), str(node)) == ExitCode.ENDED
    assert config_file.load(pair, node).fingerprint() in capsys.readouterr().out
    pair.write_text(pair.read_text().replace('group = "sip"', 'group = "xyz"'), encoding="utf-8")
    assert run("check", str(pair), str(node)) == ExitCode.CONFIGURATION
    assert re.match(rf"{re.escape(str(pair))}:\d+: pair\.group: ", capsys.readouterr().err)


def test_check_what_is_right(example: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A configuration without mistakes is summed up: who, which deadlines, which fingerprint."""
    text = example.read_text().replace("/var/lib/fps-gateway/sip/journal", str(tmp_path))
    example.write_text(text, encoding="utf-8")
    assert run("check", str(example)) == ExitCode.ENDED
    said = capsys.readouterr()
    assert said.err == ""
    lines = said.out.splitlines()
    assert lines[0].startswith("sip-a: group sip; hub hub-1 hub-1.fps.test:8301, hub-2 hub-2.fps.test:8301; tokens")
    assert "stand-in after 5 s (with 0080), no reply after 9 s, the hub gives up after 10 s" in lines[1]
    assert lines[2] == "stand-in mode timer; what it may not accept is refused after 8 s"
    told = "accepted, to be credited on an unspecified day (0080)"
    assert lines[3] == f"of what stand-in accepts the sender is told: {told}"
    assert lines[4] == "nobody submits payments here"
    assert lines[5] == f"pair fingerprint {config_file.load(example).fingerprint()}: the other site must show the same"
    assert lines[6] == (
        "128 connections to the processor carry 26 payments per second when each answer takes the whole 5 s until"
        " stand-in, 256 when it takes a tenth of that"
    )


def test_check_says_what_this_machine_lacks(example: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Findings in other files are noted and are no mistakes: a check may run anywhere."""
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path))
    pin = tmp_path / "pin_hsm-1"
    pin.touch(mode=0o600)
    pin.chmod(0o604)
    notes = list(config_command.notes(config_file.load(example)))
    assert "node.token[0].pin_file: everyone on this machine may read it" in notes
    assert "node.token[0].pin_file: the PIN file holds no PIN" in notes
    pin.write_text("271828\n", encoding="utf-8")
    assert not any("holds no PIN" in note for note in config_command.notes(config_file.load(example)))
    assert "node.token[1].pin_file: no such file here" in notes
    assert "node.journal.dir: no such directory here" in notes
    assert not [note for note in notes if note.startswith("node.volume")]
    pin.chmod(0o600)
    assert not [
        note for note in config_command.notes(config_file.load(example)) if note.startswith("node.token[0].pin")
    ]


def test_check_says_when_two_partitions_have_one_pin(
    example: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who has it once would have it twice. The PIN itself is not said."""
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path))
    for name, pin in (("pin_hsm-1", "271828\n"), ("pin_hsm-2", "271828")):
        (tmp_path / name).write_text(pin, encoding="utf-8")
    said = [note for note in config_command.notes(config_file.load(example)) if "same PIN" in note]
    assert said == [
        "node.token[1].pin_file: is the same PIN as that of node.token[0].pin_file: give each partition one of its own"
    ]
    (tmp_path / "pin_hsm-2").write_text("314159", encoding="utf-8")
    assert not any("same PIN" in note for note in config_command.notes(config_file.load(example)))


@pytest.mark.parametrize("device", ["/dev/drbd/by-res/none/0", "/dev/null"])
def test_check_says_when_the_volume_is_not_up(example: Path, device: str) -> None:
    """Also where there is something of that name that is no disk."""
    text = example.read_text(encoding="utf-8")
    example.write_text(f'{text}[node.volume]\nresource = "none"\ndevice = "{device}"\n', encoding="utf-8")
    note = f"node.volume.resource: {device} is no device here: the volume is not up"
    assert note in config_command.notes(config_file.load(example))


def test_check_says_when_nobody_reports_the_volume(example: Path, tmp_path: Path) -> None:
    text, report = example.read_text(encoding="utf-8"), tmp_path / "status"
    example.write_text(f'{text}[node.volume]\nresource = "none"\nreport = "{report}"\n', encoding="utf-8")
    loaded = config_file.load(example)
    note = f"node.volume.report: {report} is not there: fps-volume-report@ does not run on the host"
    assert note in config_command.notes(loaded)
    example.write_text(example.read_text(encoding="utf-8").replace(str(report), f"/{'x' * 900}"), encoding="utf-8")
    assert "is not there" in "".join(config_command.notes(config_file.load(example)))
    report.touch()
    assert not [note for note in config_command.notes(loaded) if note.startswith("node.volume")]


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("port = 8301", "port = 0", "2 mistakes"),
        ('name = "sip-a"', "", "1 mistake"),
    ],
)
def test_check_what_is_wrong(example: Path, capsys: pytest.CaptureFixture[str], old: str, new: str, said: str) -> None:
    """Every mistake is printed with file and line, then how many there are; the exit code says configuration."""
    example.write_text(example.read_text().replace(old, new), encoding="utf-8")
    assert run("check", str(example)) == ExitCode.CONFIGURATION
    printed = capsys.readouterr()
    assert printed.out == ""
    *mistakes, count = printed.err.splitlines()
    assert count == said
    assert all(re.match(rf"{re.escape(str(example))}:\d+: node\.", mistake) for mistake in mistakes)


def test_no_mistake_in_a_table_hides_one_in_another(
    example: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Every table, what is held against each, and what is wrong in the file: in one run, by `check` and by `run`."""
    for name in ("fields", "codes", "usm"):
        (tmp_path / f"{name}.toml").write_text(f"{name}_nonsense = 1\n", encoding="utf-8")
    text = EDITED
    for old, new in (
        ('#field_table = ""', f'field_table = "{tmp_path}/fields.toml"'),
        ('#code_table = ""', f'code_table = "{tmp_path}/codes.toml"'),
        ('#usm_table = ""', f'usm_table = "{tmp_path}/usm.toml"'),
        ('name = "sip-a"', 'name = "sip a"'),
    ):
        assert old in text
        text = text.replace(old, new)
    example.write_text(text, encoding="utf-8")
    for command in (["config", "check", str(example)], ["run", "--config", str(example)]):
        assert main(command) == ExitCode.CONFIGURATION
        said = capsys.readouterr().err
        assert all(f"{tmp_path}/{name}.toml: " in said for name in ("fields", "codes", "usm"))
        assert f"{example}:" in said
        assert "node.name: must be" in said


def test_what_does_not_fit_the_tables_has_its_line(example: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Codes, types and windows: each with file, line and key, all of them at once."""
    text = EDITED.replace("#payment_types = []", 'payment_types = ["30"]').replace('#code = "0080"', 'code = "0099"')
    example.write_text(text.replace("#ahead_days = {}", "ahead_days = {99 = 1}"), encoding="utf-8")
    assert run("check", str(example)) == ExitCode.CONFIGURATION
    *said, count = capsys.readouterr().err.splitlines()
    assert count == "3 mistakes"
    assert sorted(re.sub(r"^.*?:\d+: (\S+): .*", r"\1", line) for line in said) == [
        "pair.dates.ahead_days.99", "pair.stand_in.code", "pair.stand_in.payment_types[0]",
    ]  # fmt: skip


def notes_of(example: Path, capsys: pytest.CaptureFixture[str], *changes: tuple[str, str]) -> list[str]:
    """The keys of the notes on settings, with these changes."""
    text = EDITED
    for old, new in changes:
        assert old in text
        text = text.replace(old, new)
    example.write_text(text, encoding="utf-8")
    assert run("check", str(example)) == ExitCode.ENDED
    notes = re.findall(r"(?m)^note: (\S+): (.*)$", capsys.readouterr().out)
    return [key for key, what in notes if "here" not in what]


UNLIMITED = "pair.stand_in.amount_max"


@pytest.mark.parametrize(
    ("change", "keys"),
    [
        (("x", "x"), [UNLIMITED]),
        (("#amount_max = 0", "amount_max = 5"), []),
        (('#mode = "timer"', 'mode = "never"'), []),
        (("#batch_within_s = 1.0", "batch_within_s = 4.0"), [UNLIMITED, "node.token[0].batch_within_s"]),
        (("#unconfirmed_s = 25.0", "unconfirmed_s = 40.0"), [UNLIMITED, "node.hub[0].unconfirmed_s"]),
        (("#answer_within_s = 16.0", "answer_within_s = 14.0"), [UNLIMITED, "pair.submit.answer_within_s"]),
        (("#stand_in_after_s = 5.0", "stand_in_after_s = 2.0"), [UNLIMITED, "node.processor.connect_within_s"]),
    ],
    ids=str,
)
def test_what_was_perhaps_not_meant_is_noted(
    example: Path, capsys: pytest.CaptureFixture[str], change: tuple[str, str], keys: list[str]
) -> None:
    """Deadlines that are of no use, stand-in without a limit: no mistake, and said."""
    found = notes_of(example, capsys, *([] if change == ("x", "x") else [change]))
    assert sorted(found) == sorted(keys)


def test_limits_are_held_against_a_rate(example: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """`--rate`: what the limits cannot carry while the processor is away is said, each with what it needs."""
    assert run("check", "--rate", "4000", str(example)) == ExitCode.ENDED
    capsys.readouterr()
    assert run("check", "--rate", "20000", str(example)) == ExitCode.CONFIGURATION
    said = capsys.readouterr()
    assert said.out == ""
    assert re.findall(r"(?m)^(node\.\S+): ", said.err) == [
        "node.payments_max", "node.processor.waiting_max", "node.processor.tell_per_s",
        "node.journal.waiting_bytes_max",
    ]  # fmt: skip
    assert "20000 payments a second need 100000 payments, each held for 5 s; there are 50000" in said.err
    with pytest.raises(SystemExit):
        run("check", "--rate", "0", str(example))


def test_check_looks_into_the_field_table(example: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A field table that is no field table is a mistake too."""
    table = tmp_path / "fields.toml"
    table.write_text("nonsense = 1\n", encoding="utf-8")
    example.write_text(example.read_text().replace('#field_table = ""', f'field_table = "{table}"'), encoding="utf-8")
    assert run("check", str(example)) == ExitCode.CONFIGURATION
    assert "nonsense" in capsys.readouterr().err


def test_check_holds_stand_ins_types_against_the_field_table(example: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A type that never comes here is a rule that was meant otherwise."""
    example.write_text(example.read_text().replace("#payment_types = []", 'payment_types = ["30"]'), encoding="utf-8")
    assert run("check", str(example)) == ExitCode.CONFIGURATION
    assert "pair.stand_in.payment_types[0]: 30 is of group sop, and pair.group is sip" in capsys.readouterr().err
