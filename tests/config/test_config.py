"""Files become one configuration, a frozen value; what is no TOML, or does not join, is refused by name and line."""

import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway import config
from gateway.config import file as config_file
from gateway.errors import ConfigurationError
from tests.config.good import GOOD, Load, in_two, mistakes_of


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
