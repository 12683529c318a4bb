"""The rules for values: what a bad one comes to, in both directions, and how a bank's own table says otherwise."""

import tomllib
from pathlib import Path

import pytest

from gateway.errors import ConfigurationError
from gateway.wire.codec import SIGHTS_MIN, Codec, Unparseable
from gateway.wire.fields import RULED, load
from gateway.wire.message import TYPES
from tests.wire.test_fields import written
from tests.wire.value_table import BASE, CODEC, FILE, boundaries, lines, message

OLD = (Path(__file__).parents[2] / "gateway" / "wire" / "fps.toml").read_text(encoding="utf-8")
OF_THE_FORM = {
    "absent",  # an object of JSON that is there and lacks a member; on the wire the field is just not there
    "a space at the end",  # of a fixed field on the wire, where it is padding
}
"""Boundaries that mean something else in JSON than on the wire."""


def test_the_table_of_boundary_values_is_what_was_looked_through() -> None:
    """Field by field: what the hub hears, and what the processor. To write it anew:

    `.venv/bin/python -m tests.wire.value_table`
    """
    assert FILE.read_text(encoding="utf-8").splitlines() == list(lines())


def test_what_the_door_refuses_does_not_pass_inbound_nor_the_other_way() -> None:
    """Whatever the value, both directions say the same of it, but where the forms of JSON and wire differ."""
    for line in FILE.read_text(encoding="utf-8").splitlines()[1:]:
        field, boundary, hub, door = line.split(" | ")
        if door == "(the hub's)" or boundary in OF_THE_FORM or field.startswith("3 "):
            continue  # which payment types leave by which gateway is no rule for values
        if field.split()[0] in {"4", "5", "6"} and boundary == "too short":
            continue  # an amount in JSON has no width
        if field == "31 trn" and boundary == "empty":
            continue  # the gateway makes one
        assert (hub == "taken") == (door == "taken"), line


def test_the_compiled_plan_and_the_walk_judge_alike() -> None:
    """Each boundary value, by a codec that has seen the shape often and by one that never did."""
    for number in BASE:
        for name, value in boundaries(CODEC.table.fields[number]):
            if value.startswith("\0"):
                continue
            body = message(BASE | {number: value})
            try:
                walked = CODEC._read_slowly(body)
            except Unparseable:
                continue
            for _ in range(SIGHTS_MIN):
                assert CODEC.decode(body) == walked, (number, name)


@pytest.mark.parametrize("mti", sorted(set(TYPES) - RULED))
def test_what_answers_reverses_or_manages_is_heard_whatever_day_it_names(mti: str) -> None:
    """A hub that fills DE15 with zeros, where it says that it refuses, has said it all the same."""
    table = CODEC.table
    numbers = sorted({*table.layouts[mti].mandatory, *({12, 15, 31, 51} & set(table.layouts[mti].optional))})
    values = {n: BASE.get(n, "1" * table.fields[n].width)[: table.fields[n].width] for n in numbers}
    values |= {n: v for n, v in {12: "20270229", 15: "00000000", 31: " A ", 51: "978"}.items() if n in values}
    kind = TYPES[mti]
    made = kind(mti=mti, **{table.fields[n].name: v for n, v in values.items()})  # type: ignore[arg-type]  # all text
    codec = Codec()
    for _ in range(SIGHTS_MIN + 1):
        assert codec.decode(codec.encode(made) + b"0123456789ABCDEF").fault == 0


# --- a table of a bank's own


def test_a_table_of_before_there_were_rules_has_those_of_the_built_in_one(tmp_path: Path) -> None:
    """A bank that wrote its own goes on, and its gateway refuses the same dates and amounts."""
    lines_of_old = [
        line.partition(", value = ")[0] + " }" if ", value = " in line else line for line in OLD.splitlines()
    ]
    text = "\n".join(line for line in lines_of_old if not line.startswith("together"))
    assert "value" not in str(tomllib.loads(text)["fields"])
    path = tmp_path / "old.toml"
    path.write_text(text, encoding="utf-8")
    old, new = load(path), load()
    assert old.together == new.together
    assert {n: f.rule and f.rule.written for n, f in old.fields.items()} == {
        n: f.rule and f.rule.written for n, f in new.fields.items()
    }
    for number, value, fault in ((12, "20270229", 12), (6, "0" * 14, 6), (51, "978", 51)):
        assert Codec(old).decode(message(BASE | {number: value})).fault == fault


def test_a_table_may_say_otherwise(tmp_path: Path) -> None:
    """`any` lifts a rule, a list is another one, and what goes together need not."""
    path = written(
        tmp_path,
        (6, '"not-zero"', '"any"'),
        (51, '["826"]', '["826", "978"]'),
        (0, "together = [[4, 49], [126, 127]]", "together = []"),
    )
    codec = Codec(load(path))
    for number, value, fault in ((6, "0" * 14, 0), (51, "978", 0), (51, "840", 51), (12, "20270229", 12)):
        assert codec.decode(message(BASE | {number: value})).fault == fault
    assert codec.decode(message({n: v for n, v in BASE.items() if n != 4})).fault == 0
    assert codec.table.fields[51].rule is not None
    assert codec.table.fields[51].rule.words == "must be 826 or 978"


@pytest.mark.parametrize(
    ("change", "mistake"),
    [
        ((12, ', value = "date"', ', value = "any"'), 'fields.12: must have value = "date"'),
        ((6, '"not-zero"', '"date"'), "fields.6: value: a date is eight digits: n8"),
        ((31, '"trimmed"', '"not-zero"'), "fields.31: value: not-zero is for digits"),
        ((6, '"not-zero"', '"trimmed"'), "fields.6: value: trimmed is for text"),
        ((6, '"not-zero"', '"big"'), "fields.6: value: must be any, date, not-zero, trimmed, whole, or a list"),
        ((51, '["826"]', "[]"), "fields.51: value: a list of values holds some, of 1 to 3 characters"),
        ((51, '["826"]', '["GBPX"]'), "fields.51: value: a list of values holds some, of 1 to 3 characters"),
        ((51, '["826"]', "826"), "fields.51: Expected `str | array | null`"),
        ((0, "[4, 49]", "[4]"), "together: each is two fields or more"),
        ((0, "[4, 49]", "[4, 24]"), "together: each is two fields or more, of those that a 9200 has"),
        ((0, "[4, 49]", '"4"'), "together: Expected `array`"),
    ],
)
def test_every_mistake_in_a_rule_is_named(tmp_path: Path, change: tuple[int, str, str], mistake: str) -> None:
    """A rule that cannot be is refused with the table, with file and place."""
    path = written(tmp_path, change)
    with pytest.raises(ConfigurationError) as caught:
        load(path)
    assert any(line.startswith(f"{path}: {mistake}") for line in caught.value.mistakes), caught.value.mistakes
