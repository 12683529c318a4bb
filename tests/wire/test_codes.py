"""The action codes: what the built-in table says, what is wrong with a table, and that nobody else lists them."""

import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.errors import ConfigurationError
from gateway.wire import codes
from gateway.wire.codes import Codes

TOP = Path(__file__).parents[2]
FILE = TOP / "gateway" / "wire" / "codes.toml"
BUILT_IN = FILE.read_text(encoding="utf-8")
TABLE = codes.built_in()


def loaded(tmp_path: Path, text: str) -> Codes:
    """A table out of a file."""
    path = tmp_path / "codes.toml"
    path.write_text(text, encoding="utf-8")
    return codes.load(path)


def test_the_built_in_table_is_what_the_protocol_note_says() -> None:
    """Typed a second time, on purpose: each code with who says it, and when a qualified accept credits."""
    assert list(TABLE.accepted) == ["0000"]
    assert TABLE.qualified == {
        "0080": "credited on an unspecified day",
        "0081": "credited the same day",
        "0082": "credited the next calendar day",
        "0083": "credited the next working day",
        "0084": "credited after the next working day",
        "0085": "credited within two hours",
    }
    assert list(TABLE.receiver) == ["1100", "1114", *map(str, range(1160, 1172)), "1181", "1909", "1930"]
    hub = "9902 9908 9909 9910 9911 9912 9913 9930 9934 9935 9936 9940 9941 9942 9943 9944 9945 9950"
    assert list(TABLE.hub) == hub.split()
    assert list(TABLE.reversal) == ["4021", "4400"]


def test_each_code_says_something() -> None:
    """A code of the table has words, and one that is not in it has none."""
    assert TABLE.says("1114") == "account unknown"
    assert TABLE.says("9910") == "receiver not signed on"
    assert TABLE.says("0086") == TABLE.says("1999") == TABLE.says("") == ""


@pytest.mark.parametrize(
    ("before", "after", "mistake"),
    [
        ('0085 = "cr', '1085 = "cr', r":\d+: qualified.1085: a code of this table begins with 0 and is not 0000"),
        ('0085 = "cr', '0000 = "cr', r":\d+: qualified.0000: a code of this table begins with 0 and is not 0000"),
        ('4021 = "re', '1021 = "re', r":\d+: reversal.1021: a code of this table begins with 4 and is not 0000"),
        ('0000 = "accepted"', '0001 = "accepted"', r":\d+: accepted.0001: a code of this table is 0000"),
        ("1181 =", "1182 =", r":\d+: receiver: 1181 is missing: the gateway itself says it"),
        ("1930 =", "1931 =", r":\d+: receiver: 1930 is missing: the gateway itself says it"),
        ('0085 = "credited', "0085 = 5#", "Expected `str`, got `int`"),
        ('0085 = "credited', '0085 = "\\u0007', "matching regex"),
        ('0085 = "credited', '85 = "credited', "matching regex"),
        ("[hub]", "[hubs]", "unknown field `hubs`"),
        ("[hub]", "[hub", "not TOML"),
        ('0085 = "credited', '0084 = "credited', "not TOML"),
    ],
)
def test_what_is_wrong_with_a_table(tmp_path: Path, before: str, after: str, mistake: str) -> None:
    """Said with the file and, where the table can be read, the line."""
    assert BUILT_IN.count(before) == 1
    with pytest.raises(ConfigurationError) as raised:
        loaded(tmp_path, BUILT_IN.replace(before, after))
    assert re.search(f"codes.toml.*{mistake}", "\n".join(raised.value.mistakes))


def test_a_table_without_a_qualified_accept(tmp_path: Path) -> None:
    """Stand-in would have nothing to say."""
    with pytest.raises(ConfigurationError, match="qualified: must have one code: stand-in's"):
        loaded(tmp_path, re.sub(r"(?m)^008\d.*\n", "", BUILT_IN))


def test_a_table_that_is_not_there(tmp_path: Path) -> None:
    """Its name and why."""
    with pytest.raises(ConfigurationError, match=r"none\.toml: cannot be read: FileNotFoundError"):
        codes.load(tmp_path / "none.toml")


@given(data=st.data())
def test_any_table(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    """Lines lost, doubled or replaced give a table whose codes each have one meaning, or mistakes; nothing else."""
    lines = BUILT_IN.splitlines()
    noise = st.sampled_from([*lines, "[qualified]", "x = 1", "0086 = 'credited some day'"]) | st.text(max_size=8)
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(lines) - 1))
        lines[at : at + data.draw(st.integers(0, 2))] = data.draw(st.lists(noise, max_size=2))
    try:
        table = loaded(tmp_path_factory.mktemp("any"), "\n".join(lines))
    except ConfigurationError as error:
        assert error.mistakes  # noqa: PT017 - either is right
        return
    tables = [getattr(table, speaker) for speaker in codes.SPEAKERS]
    assert sum(map(len, tables)) == len({code for table in tables for code in table})


LISTS_SOME = {
    "gateway/wire/codes.toml": "the place",
    "gateway/config/pair.py": "settings whose values are codes",
    "gateway/payments/fates.py": "the table of fates, generated: what the hub hears in each",
    "loadtest/hub/standing.py": "which code the mock hub refuses with for which news",
    "loadtest/hub/returns.py": "which return code (DE126) follows from which refusal",
    "loadtest/hub/submissions.py": "in which order the mock hub judges",
}
"""Files with more than three codes of one speaker, each with the reason why that is no list of what there is."""


def test_nobody_else_lists_them() -> None:
    """A code that is added in one place is known everywhere: no second list can be forgotten."""
    found = set()
    for folder in ("gateway", "loadtest", "compose", "hsm"):
        for path in (TOP / folder).rglob("*.*"):
            if path.suffix in {".py", ".toml", ".yaml", ".yml"}:
                said = set(re.findall(r"\b\d{4}\b", path.read_text(encoding="utf-8")))
                if any(len(said & getattr(TABLE, speaker).keys()) > 3 for speaker in codes.SPEAKERS):
                    found.add(str(path.relative_to(TOP)))
    assert found == set(LISTS_SOME)
