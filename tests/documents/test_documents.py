"""What our documents have people type works as it is written: on a machine with `python3`, in a fresh copy.

Each fenced block of each Markdown file is run, in the order of its document, or says why not (see `blocks.py`).
`make documents` runs what takes minutes, too, and sets up the copy as a newcomer does.
"""

import os

import pytest

from tests.documents import forms
from tests.documents.blocks import SHELL, Block, blocks_of, documents
from tests.documents.place import BEFORE, Checkout, shell

pytestmark = pytest.mark.system

WHOLE = bool(os.environ.get("DOCUMENTS_WHOLE"))
"""Run what takes minutes, too."""
WITHIN_S = 60.0
"""One block."""
ALL = [block for document in documents() for block in blocks_of(document)]


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Checkout:
    made = Checkout(tmp_path_factory.mktemp("newcomer"), whole=WHOLE)
    if not made.apart:
        pytest.skip("root may not be kept apart from this machine (unshare, findmnt, ip)")
    return made


def is_run(block: Block) -> bool:
    """Here and now."""
    if block.language != SHELL:
        return False
    return forms.not_run(block) is None or (WHOLE and forms.minutes(block) is not None)


@pytest.mark.parametrize("document", sorted({block.document for block in ALL if is_run(block)}))
async def test_the_blocks_of_a_document_do_what_it_says(document: str, checkout: Checkout) -> None:
    """One after the other, with what they show; git is told of all that they make, and nothing of theirs runs on."""
    try:
        async with shell(checkout) as it:
            said = ""
            for block in blocks_of(document):
                if "output" in block.marks:
                    assert not forms.differs(block.text, said), block.place
                if not is_run(block):
                    continue
                if before := block.marks.get("before"):
                    await it.run((BEFORE / f"{before}.sh").read_text(encoding="utf-8"), within_s=WITHIN_S)
                if until := block.marks.get("terminal", "").removeprefix("until "):
                    await it.in_a_terminal(block.text, until)
                    continue
                within_s = WITHIN_S + 180.0 * (forms.minutes(block) or 0)
                said = await it.run(block.text, code=int(block.marks.get("exit", "0")), within_s=within_s)
        assert checkout.changes() == ""
    finally:
        checkout.clean()


# --- and it would be seen if they did not


@pytest.mark.parametrize(
    ("script", "why"),
    [
        ("false\ntrue\n", "ended with 1"),
        ("false | true\n", "ended with 1"),
        ("python --version\n", "ended with 127"),
        ("exit 3\n", "ended with 3"),
        ("touch /etc/written-by-a-document\n", "ended with 1"),
        ("read -r line\n", "ended with 1"),
    ],
)
async def test_a_block_that_fails_is_seen(checkout: Checkout, script: str, why: str) -> None:
    """At its first command that does, also in a pipe. No `python` is there, nobody types, nothing else changes."""
    with pytest.RaisesGroup(pytest.RaisesExc(AssertionError, match=why)):
        async with shell(checkout) as it:
            await it.run(script, within_s=WITHIN_S)


async def test_what_ends_otherwise_than_it_says_is_seen(checkout: Checkout) -> None:
    with pytest.RaisesGroup(pytest.RaisesExc(AssertionError, match="ended with 0")):
        async with shell(checkout) as it:
            assert await it.run("false\n", code=1, within_s=WITHIN_S) == ""
            await it.run("true\n", code=1, within_s=WITHIN_S)


async def test_what_runs_on_is_seen_and_ended(checkout: Checkout) -> None:
    with pytest.RaisesGroup(pytest.RaisesExc(AssertionError, match="left a process behind")):
        async with shell(checkout) as it:
            await it.run("sleep 1000 &\n", within_s=WITHIN_S)


async def test_a_terminal_that_does_not_end_well_is_seen(checkout: Checkout) -> None:
    with pytest.RaisesGroup(pytest.RaisesExc(AssertionError, match="there\n")):
        async with shell(checkout) as it:
            await it.in_a_terminal("bash -c 'echo there; exec sleep 1000'", "there")


async def test_the_blocks_share_what_they_set_and_where_they_are(checkout: Checkout) -> None:
    async with shell(checkout) as it:
        await it.run("NAME=sip\ncd docs\n", within_s=WITHIN_S)
        assert await it.run('echo "$NAME" "$(basename "$PWD")" "$HOME"\n', within_s=WITHIN_S) == (
            f"sip docs {checkout.environment['HOME']}\n"
        )


def test_what_git_would_take_is_seen(checkout: Checkout) -> None:
    (checkout.dir / "secrets.txt").touch()
    assert checkout.changes() == "?? secrets.txt\n"
    checkout.clean()
    assert checkout.changes() == ""
