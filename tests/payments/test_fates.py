"""The tables of fates are what the program does, they leave nothing out, and a restart finds each payment as left."""

import ast
from typing import Any

import pytest

import gateway.payments.fates
from gateway.payments import inbound_law, outbound_law
from gateway.payments.law import Law
from gateway.wire.codec import fpid_of
from tests import rare
from tests.fakes.engine import CODEC, payment, submission
from tests.fakes.stage import scheme_return
from tests.fates.arriving import INBOUND
from tests.fates.leaving import OUTBOUND
from tests.fates.playing import NOTICES, Fate
from tests.fates.written import MODULE, PAGE, TOP, docstring, renewed
from tests.rare_places import law_name

ALL = [*INBOUND, *OUTBOUND]
FATES = pytest.mark.parametrize("fate", ALL, ids=lambda fate: fate.name)


def test_the_tables_are_what_the_playbooks_do() -> None:
    """`.venv/bin/python -m tests.fates` makes them so."""
    page = PAGE.read_text(encoding="utf-8")
    assert renewed(page) == page
    assert MODULE.read_text(encoding="utf-8") == docstring()
    assert gateway.payments.fates.__doc__


def test_a_page_without_markers_is_not_touched() -> None:
    with pytest.raises(ValueError, match="markers"):
        renewed("# a page")


@FATES
def test_the_test_that_looks_closer_exists(fate: Fate) -> None:
    file, _, name = fate.test.partition("::")
    tree = ast.parse((TOP / "tests" / file).read_text(encoding="utf-8"))
    assert name in {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}


def test_no_two_fates_have_one_name() -> None:
    for fates in (INBOUND, OUTBOUND):
        assert len({fate.name for fate in fates}) == len(fates)


@pytest.mark.parametrize(
    ("fates", "rests"), [(INBOUND, inbound_law.RESTS), (OUTBOUND, outbound_law.RESTS)], ids=["inbound", "outbound"]
)
def test_every_record_that_ends_a_payment_ends_one_here(fates: list[Fate], rests: dict[Any, Any]) -> None:
    assert {kind.name for kind in rests} <= {fate.row()[4] for fate in fates}


def test_every_notice_about_a_payment_is_heard_here() -> None:
    heard = {word for fate in ALL for word in fate.row()[3].replace(",", "").split()}
    assert {kind.name for kind in NOTICES} <= heard


@pytest.mark.parametrize(
    ("fates", "law"), [(INBOUND, inbound_law.LAW), (OUTBOUND, outbound_law.LAW)], ids=["inbound", "outbound"]
)
def test_every_act_of_the_law_is_part_of_a_fate(fates: list[Fate], law: Law[Any, Any, Any]) -> None:
    """What the law can order is in the tables: an act that is new needs a row that shows what it means to others."""
    with rare.watch() as reached:
        for fate in fates:
            fate.play()
    rows = [(law_name(state.name, by.name), row.act) for state in law.rows for by, row in law.rows[state].items()]
    done = {act for name, act in rows if name in reached.found}
    assert {act for _, act in rows} - done <= BESIDE


BESIDE = {inbound_law.Act.NOTHING, outbound_law.Act.NOTHING, outbound_law.Act.NOTE_CODE}
"""Acts of which nobody hears."""


@FATES
def test_a_restart_finds_each_payment_as_it_was_left(fate: Fate) -> None:
    """The state that the story left a payment in is the one that its records say."""
    world = fate.play().world
    world.journal.commit()  # the last records may still wait for others to be written with
    world.sync()
    again = world.restarted()
    message = CODEC.decode(payment())
    for request in (message, scheme_return()):
        fpid = fpid_of(request)  # type: ignore[arg-type]  # both are requests
        assert again.past.inbound.outcomes.get(fpid) == world.past.inbound.outcomes.get(fpid)
    assert again.engine.look(submission().key) == world.engine.look(submission().key)
