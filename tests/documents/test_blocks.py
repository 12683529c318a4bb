"""Every block of every document is one that is run, checked, or marked with why not; and the checks can fail."""

import itertools
import re
import subprocess
from pathlib import Path

import pytest

from gateway import exitcodes
from gateway.__main__ import main
from gateway.commands import config as config_command
from hsm.__main__ import main as hsm_main
from loadtest.__main__ import main as loadtest_main
from tests.documents import blocks, forms
from tests.documents.blocks import SHELL, TOP, Block
from tests.documents.place import BEFORE

ALL = [block for document in blocks.documents() for block in blocks.blocks_of(document)]
COMMANDS = {"fps-gateway": main, "hsm": hsm_main, "loadtest": loadtest_main}
"""Our own programs: as a command, or as a module of Python."""
NONE = {"fps-gateway try", "fps-gateway drain --config", "fps-gateway drain --ops"}
"""Commands that are named for not being there, or an option without its value: a decision or the changelog says why."""
ENDED = 0


def sh(text: str, **marks: str) -> Block:
    return Block("x.md", 1, SHELL, text, {name.replace("_", " "): value for name, value in marks.items()})


def test_there_are_blocks_of_each_kind() -> None:
    """Or the parser finds none, and nothing below means anything."""
    shell = [block for block in ALL if block.language == SHELL]
    assert len(shell) >= 40
    assert sum(forms.not_run(block) is None for block in shell) >= 15
    assert {"README.md", "hsm/README.md", "compose/systemd/README.md"} <= {block.document for block in shell}


@pytest.mark.parametrize("document", blocks.documents())
def test_every_block_says_what_it_is_and_its_own_program_takes_it(document: str) -> None:
    """A language; a reason where it is not run, with who does it instead; nothing that TOML, JSON or bash refuses."""
    assert [mistake for block in blocks.blocks_of(document) for mistake in forms.mistakes_of(block)] == []


def test_marks_are_of_use() -> None:
    """What is said before a block is there, and each of them is used."""
    named = {block.marks["before"] for block in ALL if "before" in block.marks}
    there = {path.stem for path in BEFORE.iterdir()}
    assert named == there


@pytest.mark.parametrize(
    "block",
    [
        Block("x.md", 1, "", "make demo\n", {}),
        Block("x.md", 1, "indented", "make demo\n", {}),
        Block("x.md", 1, "brainwash", "x\n", {}),
        Block("x.md", 1, "text", "$ make demo\n", {}),
        Block("x.md", 1, "toml", "[node.volume]\nresuorce = 'x'\n", {}),
        Block("x.md", 1, "toml", "[node.volume\n", {}),
        Block("x.md", 1, "toml", "[nodes]\n", {}),
        Block("x.md", 1, "json", "{,}", {}),
        Block("x.md", 1, "python", "def", {}),
        sh("if\n"),
        sh("true\nfalse\n", exit="1"),
        sh("true\n", not_run="needs root; tried by tests/no_such_test.py"),
        sh("true\n", not_run="needs root; tried by make nothing"),
    ],
    ids=lambda block: f"{block.language}-{block.text.strip()[:12]}",
)
def test_what_is_wrong_with_a_block_is_said(block: Block) -> None:
    assert forms.mistakes_of(block)


@pytest.mark.parametrize("reason", ["", "needs root", "I had no time; tried by make test", "takes a while; tried by x"])
def test_no_other_reason_is_one(reason: str) -> None:
    with pytest.raises(AssertionError, match="is wanted"):
        forms.not_run(sh("true\n", not_run=reason))


def test_the_shape_of_what_is_printed_is_compared() -> None:
    shown = "/var/x is whole: 71 records\n…\nall 4 agree: …\n"
    assert not forms.differs(shown, "/srv/a/b is whole: 9 records\nseals\nmore\nall 12 agree: abc\n")
    assert not forms.differs(shown, "/var/x is whole: 9 records\nall 12 agree: \n")
    assert forms.differs(shown, "/var/x is damaged: 9 records\nall 12 agree: abc\n")
    assert forms.differs(shown, "/var/x is whole: 9 records\n")
    assert forms.differs(shown, "/var/x is whole: 9 records\nall 12 agree: abc\nand more\n")


# --- what people type


LINES = sorted({
    (block.place, line) for block in ALL if block.language == SHELL for line in block.commands
} | {(document, span) for document in blocks.documents() for span in blocks.spans_of(document)})  # fmt: skip


def test_nobody_is_told_to_run_python() -> None:
    """Debian has `python3`, and ours is `.venv/bin/python`."""
    assert [line for line in LINES if re.search(r"(^|[\s(;&|])(?:python|pip3?) (?:-m )?[a-z]", line[1])] == []


def test_no_program_tells_people_to_run_python() -> None:
    """In a docstring, a help text or a hint. What runs in an image has that image's own."""
    bare = re.compile(r"(?<![\w/.])python3? -m [a-z]")
    sources = [
        path
        for room in ("gateway", "hsm", "loadtest", "compose", "supply", "tests")
        for path in (TOP / room).rglob("*.py")
    ]
    told = {str(path.relative_to(TOP)) for path in sources if bare.search(path.read_text(encoding="utf-8"))}
    assert len(sources) > 500
    assert told == {"compose/prepare.py"}


def ours(line: str) -> tuple[str, list[str]] | None:
    """The program and its arguments, when it is one of ours: at the beginning, by its path, or as a module."""
    if "…" in line or re.search(r"fps-gateway (COMMAND|completion SHELL)", line):
        return None  # no command, but the form of one
    command = re.split(r"\s(?:\||>|#|&&)", f"{line} ")[0]
    module = re.search(r"python -m (hsm|loadtest) (.*)", command)
    program = re.search(r"(?:^|/)(fps-gateway) (?!-)(.*)", command)
    match = module or program
    return (match[1], forms.words(match[2])) if match else None


def choices(words: list[str]) -> list[list[str]]:
    """`verify|show` is two commands."""
    split = [word.split("|") for word in words]
    return [list(chosen) for chosen in itertools.product(*split)]


@pytest.mark.parametrize(("place", "line"), [each for each in LINES if ours(each[1]) and each[1] not in NONE])
def test_our_programs_take_what_documents_have_people_type(
    place: str, line: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Whatever the arguments are: `--help` behind them is reached only when the commands before it are known."""
    program, arguments = ours(line) or ("", [])
    for chosen in choices(arguments):
        with pytest.raises(SystemExit) as ended:
            COMMANDS[program]([*chosen, "--help"])
        assert ended.value.code == ENDED, f"{place}: {line}: {capsys.readouterr().err}"


def test_every_target_of_make_that_is_named_exists() -> None:
    makefile = (TOP / "Makefile").read_text(encoding="utf-8")
    named = {name for _, line in LINES for name in re.findall(r"(?:^|\s)make ([a-z][a-z-]*)", line)}
    assert len(named) >= 8
    assert {name for name in named if f"\n{name}: " not in makefile} == set()


# --- what is made


@pytest.mark.parametrize("target", sorted({
    (str(Path(block.document).parent), name)
    for block in ALL if block.language == SHELL
    for name in re.findall(r">\s*([\w.-][\w./-]*)", block.text)
}))  # fmt: skip
def test_git_takes_nothing_that_a_document_has_people_write(target: tuple[str, str]) -> None:
    """In the checkout or in the document's own directory, of blocks that nobody runs here, too."""
    directory, name = target
    for path in {name, str(Path(directory, name))}:
        done = subprocess.run(["git", "check-ignore", "-q", path], cwd=TOP, check=False)
        assert done.returncode == 0, path


def test_a_pin_has_one_name() -> None:
    """What the unit makes of a token's PIN is what the example and the documents have."""
    unit = (TOP / "compose/systemd/fps-gateway@.service").read_text(encoding="utf-8")
    assert "\nLoadCredentialEncrypted=pin:/etc/fps-gateway/pins-%i\n" in unit
    texts = [config_command.example(), unit, *((TOP / name).read_text(encoding="utf-8") for name in blocks.documents())]
    named = re.findall(r"CREDENTIALS_DIRECTORY/([\w.-]+)", "\n".join(texts))
    assert len(named) >= 4
    assert [name for name in named if not name.startswith("pin_")] == []


def test_each_exit_code_has_what_to_do_then() -> None:
    """In one table of one document: every code of ours."""
    tables = {name: (TOP / name).read_text(encoding="utf-8") for name in blocks.documents()}
    (text,) = [text for text in tables.values() if text.startswith("# After an exit code\n")]
    rows = {int(code) for cell in re.findall(r"(?m)^\| ([\d, ]+) \|", text) for code in cell.split(", ")}
    assert rows >= {int(code) for code in exitcodes.ExitCode}
