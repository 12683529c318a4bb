"""Where things are, held by reading the source: the table of imports, owners of libraries, names, log lines."""

import ast
import re
import subprocess
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import pytest

import gateway
from gateway.__main__ import main
from gateway.exitcodes import ExitCode

TOP = Path(gateway.__file__).parent.parent

PURE_ELSEWHERE = {
    "gateway.network.turns",
    *(f"gateway.sdk.{name}" for name in ("prepared", "answers", "submission", "readiness")),
}
"""So are these: another shell may be put around them."""
IMPURE = {
    "trio", "time", "random", "secrets", "uuid", "os", "io", "pathlib", "socket", "ssl", "select", "subprocess",
    "threading", "logging", "structlog", "prometheus_client", "gateway.log",
    "gateway.metrics", "gateway.clock.system_clock",
}  # fmt: skip
READS_ITS_TABLE = {(f"gateway.wire.{name}", "pathlib") for name in ("codes", "fields", "meanings", "tables")}
"""These tables are files; reading each once, at the start, is the one exception."""

READS_JSON = {
    "gateway.processor.request": "counts for itself: it looks for unknown members by the same count, at no cost more",
    "gateway.processor.operations": "its own, just written",
}
"""Modules that read JSON otherwise than by `strict_json`, each with the reason why it may."""

OWNERS = {
    "pkcs11": "gateway.signer",
    "cryptography": "gateway.network",
    "kazoo": "gateway.http.directory_zookeeper",
    "sqlalchemy": "gateway.archive",
    "structlog": "gateway.log",
    "prometheus_client": "gateway.metrics",
    "httptools": "gateway.http",
    "tomllib": "",
}
"""The one module (or folder) of the gateway that may know a library."""

NEVER = {
    "util",
    "utils",
    "base",
    "manager",
    "handler",
    "plugin",
    "plugins",
    "bus",
    "container",
    "helper",
    "helpers",
    "misc",
}
"""Words that say nothing about what a thing is."""


@dataclass(frozen=True)
class Import:
    """One import of one name."""

    module: str
    """Who imports."""
    name: str
    """What, in full: `gateway.errors.Refusal`."""
    line: int


def module_of(path: Path) -> str:
    """The dotted name of a source file."""
    parts = path.relative_to(TOP).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


@cache
def trees(folder: str) -> dict[str, ast.Module]:
    """Every module below a folder, parsed."""
    paths = sorted((TOP / folder).rglob("*.py"))
    assert paths
    return {module_of(path): ast.parse(path.read_text(encoding="utf-8")) for path in paths}


@cache
def imports(folder: str) -> list[Import]:
    """Every import in a folder, wherever in its file it stands."""
    return [found for module, tree in trees(folder).items() for found in imports_of(module, tree)]


def imports_of(module: str, tree: ast.Module) -> Iterator[Import]:
    """The imports of one module."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (Import(module, alias.name, node.lineno) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{module}:{node.lineno}: imports are absolute"
            yield from (Import(module, f"{node.module}.{alias.name}", node.lineno) for alias in node.names)


def is_in(name: str, place: str) -> bool:
    """Whether a dotted name is a place or below it."""
    return name == place or name.startswith(place + ".")


ROOT = {
    ".ci", ".dockerignore", ".gitignore", "CHANGELOG.md", "CONTRIBUTING.md", "LICENSE", "Makefile", "README.md",
    "SECURITY.md", "compose", "docs", "gateway", "hsm", "loadtest", "pyproject.toml", "requirements-dev.lock",
    "requirements.lock", "run", "supply", "tests",
}  # fmt: skip
"""What may lie at the top: whoever comes new reads these names first."""


def test_nothing_else_lies_at_the_top() -> None:
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=TOP, capture_output=True, text=True, check=True).stdout
    assert {name.split("/")[0] for name in listed.split("\0") if name} - ROOT == set()


# --- the table


@dataclass(frozen=True)
class Table:
    """The table in the docstring of a package: who may import whom in it."""

    package: str
    rows: list[list[str]]
    pure: range
    """The rows, from 0, whose modules are functions of their arguments."""

    def row_of(self, name: str) -> int | None:
        """The row of a module, the longest name in the table deciding; None for what is not in it."""
        inner = name.removeprefix(self.package + ".")
        found = [(len(place), number) for number, row in enumerate(self.rows) for place in row if is_in(inner, place)]
        return max(found)[1] if found else None

    def breach(self, module: str, target: str) -> str:
        """Say how an import breaks the law, or nothing."""
        own, other = self.row_of(module), self.row_of(target)
        if self.package in {module, target}:
            # the package itself: the version and the map
            return ""
        if own is None or other is None:
            return "has no row in the table"
        same_folder = folder_of(module) == folder_of(target) != ""
        if other < own or (other == own and same_folder):
            return ""
        return "is below it" if other > own else "stands beside it"


@cache
def table(package: str) -> Table:
    """Read the table: names, then, after wide space, remarks. A line further in goes on."""
    text = (ast.get_docstring(trees(package)[package], clean=True) or "").split("Who may import whom")[1]
    lines = [line.strip() for line in text.split("\n\n")[1].replace("\n        ", " ").splitlines() if line.strip()]
    pure = [number for number, line in enumerate(lines) if "   pure from here" in line]
    shells = [number for number, line in enumerate(lines) if "   shells" in line]
    rows = [re.split(r"\s{3,}", line)[0].split() for line in lines]
    return Table(package, rows, range(pure[0], shells[0]))


def target_of(name: str) -> str:
    """The module that an imported name stands in."""
    modules = trees(name.split(".", maxsplit=1)[0])
    while name not in modules:
        name = name.rpartition(".")[0]
    return name


def folder_of(module: str) -> str:
    """The folder of its package that a module is in, or nothing."""
    package, inner = module.split(".")[:2]
    return inner if (TOP / package / inner).is_dir() else ""


def inside(package: str) -> Iterator[tuple[Import, str]]:
    """Imports of a package's own modules, each with the module that it names."""
    return ((found, target_of(found.name)) for found in imports(package) if is_in(found.name, package))


PACKAGES = ("gateway", "loadtest")


def test_the_table_is_read() -> None:
    """The table in the docstring has the rows that this test counts on."""
    ours = table("gateway")
    stories = ours.rows[ours.pure.stop - 2]
    assert len(ours.rows) == 19
    assert "wire" in ours.rows[ours.pure.start]
    assert "scheme" in stories
    assert "acts" in ours.rows[ours.pure.stop - 1]
    assert "payments" in ours.rows[ours.pure.stop - 3]
    assert {"hub", "engine"} <= set(ours.rows[ours.pure.stop + 2])


@pytest.mark.parametrize("package", PACKAGES)
def test_every_module_has_a_row(package: str) -> None:
    """A new module is a decision about where it belongs, and the table says it."""
    assert [module for module in trees(package) if module != package and table(package).row_of(module) is None] == []


@pytest.mark.parametrize("package", PACKAGES)
def test_every_name_in_a_row_is_a_module(package: str) -> None:
    """What is gone is gone from the table, too."""
    names = [f"{package}.{name}" for row in table(package).rows for name in row]
    assert [name for name in names if name not in trees(package)] == []


@pytest.mark.parametrize("package", PACKAGES)
def test_imports_go_upwards(package: str) -> None:
    """A module imports from rows above its own or from its own folder; the gateway's shells meet in daemon only."""
    breaches = [
        f"{found.module}:{found.line}: {target} {why}"
        for found, target in inside(package)
        for why in [table(package).breach(found.module, target)]
        if why
    ]
    assert breaches == []


@pytest.mark.parametrize("package", PACKAGES)
def test_nobody_imports_in_a_circle(package: str) -> None:
    """Nor for types only: of two modules, one can be read without the other."""
    graph: dict[str, set[str]] = {module: set() for module in trees(package)}
    for found, target in inside(package):
        if package not in {found.module, target}:
            graph[found.module].add(target)
    while leaves := {module for module, targets in graph.items() if not targets & graph.keys() - {module}}:
        for module in leaves:
            del graph[module]
    assert graph == {}


@pytest.mark.parametrize(
    ("module", "target", "why"),
    [
        ("gateway.engine", "gateway.payments.inbound", ""),
        ("gateway.engine", "gateway.hub.link", "stands beside it"),
        ("gateway.hub.link", "gateway.hub.session", ""),
        ("gateway.hub.session", "gateway.hub.link", "is below it"),
        ("gateway.hub.pool", "gateway.journal.writer", "stands beside it"),
        ("gateway.hub.pool", "gateway.journal.record", ""),
        ("gateway.hub.session", "gateway.journal.record", "stands beside it"),
        ("gateway.payments.inbound", "gateway.payments.outcomes", ""),
        ("gateway.payments.inbound", "gateway.hub.session", "is below it"),
        ("gateway.payments.inbound", "gateway.scheme.news", "is below it"),
        ("gateway.http.hosts", "gateway.processor.client", "is below it"),
        ("gateway.processor.client", "gateway.http.hosts", ""),
        ("gateway.processor.client", "gateway.commands.drain", "is below it"),
        ("gateway.memory.table", "gateway.memory.pages", ""),
        ("gateway.config", "gateway.log", "stands beside it"),
        ("gateway.log", "gateway.errors", ""),
        ("gateway.errors", "gateway.log", "is below it"),
        ("gateway.wire.codec", "gateway.wire.fields", ""),
        ("gateway.wire", "gateway.wire.codec", ""),
        ("gateway.daemon", "gateway.hub.pool", ""),
        ("gateway.newcomer", "gateway.errors", "has no row in the table"),
        ("loadtest.hub.sites", "loadtest.processor.server", "stands beside it"),
        ("loadtest.ledger.oracle", "loadtest.hub.scheme", "is below it"),
        ("loadtest.hub.submissions", "loadtest.hub.deliveries", ""),
    ],
)
def test_the_law_itself(module: str, target: str, why: str) -> None:
    """The law, pair by pair."""
    assert table(module.split(".", maxsplit=1)[0]).breach(module, target) == why


def test_pure_modules_are_pure() -> None:
    """From `wire` to the stories, modules import no clock, randomness, log, metric or I/O: `now` is an argument."""
    impure = [
        f"{found.module}:{found.line}: {found.name}"
        for found in imports("gateway")
        if (table("gateway").row_of(found.module) in table("gateway").pure or found.module in PURE_ELSEWHERE)
        and any(is_in(found.name, name) for name in IMPURE)
        and (found.module, found.name.split(".")[0]) not in READS_ITS_TABLE
    ]
    assert impure == []


def test_one_owner_for_each_library() -> None:
    """A library is known in one place, so that it can be replaced in one place."""
    strangers = [
        f"{found.module}:{found.line}: {found.name}"
        for found in imports("gateway")
        for library, owner in OWNERS.items()
        if owner and is_in(found.name, library) and not is_in(found.module, owner)
    ]
    assert strangers == []


def test_json_is_read_in_one_place() -> None:
    """A member that comes twice is seen by `strict_json` and by nobody else: whoever reads JSON reads it by that."""
    readers = {
        module
        for module, tree in trees("gateway").items()
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute)
        and node.attr in {"decode", "Decoder", "loads", "load"}
        and ast.unparse(node.value).split(".")[-1] in {"json", "orjson"}
    }
    assert readers == {"gateway.strict_json", *READS_JSON}


def test_the_gateway_stands_alone() -> None:
    """The gateway imports neither those who test it nor those who make its keys."""
    assert [found for found in imports("gateway") if found.name.split(".")[0] in {"loadtest", "tests", "hsm"}] == []


def test_the_hub_player_knows_messages_only() -> None:
    """`loadtest` judges the gateway from outside: of its code it knows the wire and the message definitions.

    And how a command line is taken, and how a command meets a terminal.
    """
    known = (
        "gateway.wire", "gateway.processor.messages", "gateway.errors", "gateway.machine.arguments",
        "gateway.machine.console", "gateway.machine.harmless",
        "gateway.entry",
    )  # fmt: skip
    strangers = [
        f"{found.module}:{found.line}: {found.name}"
        for found in imports("loadtest")
        if is_in(found.name, "gateway") and not any(is_in(found.name, name) for name in known)
    ]
    assert strangers == []


# --- names


def words_of(name: str) -> set[str]:
    """The words of a name, `HubFault` or `hub_fault`."""
    return {word.lower() for word in re.findall(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+", name)}


@pytest.mark.parametrize("folder", ["gateway", "loadtest", "hsm", "supply"])
def test_names_say_what_a_thing_is(folder: str) -> None:
    """No file and no class is named for being useful."""
    classes = [
        f"{module}.{node.name}"
        for module, tree in trees(folder).items()
        for node in ast.walk(tree)
        if isinstance(node, ast.ClassDef)
    ]
    named = [*trees(folder), *classes]
    assert [name for name in named if words_of(name) & NEVER] == []


def test_test_files_mirror_the_gateway() -> None:
    """No package among the tests: two files of one name may live in two folders."""
    assert list((TOP / "tests").rglob("__init__.py")) == []


# --- threads


def calls_of(tree: ast.Module, name: str) -> Iterator[ast.Call]:
    """Calls of this dotted name."""
    return (node for node in ast.walk(tree) if isinstance(node, ast.Call) and ast.unparse(node.func) == name)


def test_nobody_waits_for_a_thread_that_others_may_hold() -> None:
    """Each use of trio's threads has a limiter of its own: what hangs for one party delays no other."""
    calls = [
        (module, call)
        for module, tree in trees("gateway").items()
        for call in calls_of(tree, "trio.to_thread.run_sync")
    ]
    assert calls
    shared = [
        f"{module}:{call.lineno}" for module, call in calls if "limiter" not in {word.arg for word in call.keywords}
    ]
    assert shared == []


def test_names_are_looked_up_in_one_place() -> None:
    """Trio looks names up in threads that all share: nobody gives it a name but who listens, once, at the start."""
    where = {
        (module, name)
        for module, tree in trees("gateway").items()
        for name in (
            "trio.open_tcp_stream",
            "trio.open_ssl_over_tcp_stream",
            "trio.socket.getaddrinfo",
            "socket.getaddrinfo",
        )
        if name in {ast.unparse(node) for node in ast.walk(tree) if isinstance(node, ast.Attribute)}
    }
    assert where == {
        ("gateway.network.names", "socket.getaddrinfo"),
        ("gateway.network.names", "trio.open_tcp_stream"),  # of addresses, which it does not look up
        ("gateway.network.listening", "trio.socket.getaddrinfo"),
    }


# --- log lines

LEVELS = {"debug", "info", "warning", "error", "critical", "exception"}


def is_log_call(node: ast.AST) -> bool:
    """Whether this is `log.info(…)`, `_log.info(…)`, `self._log.info(…)` or the like."""
    if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in LEVELS):
        return False
    of = node.func.value
    name = of.id if isinstance(of, ast.Name) else of.attr if isinstance(of, ast.Attribute) else ""
    return name.strip("_") in {"log", "logger"}


def is_constant_text(node: ast.expr) -> bool:
    """Whether this is a string of the source, or a choice between two."""
    if isinstance(node, ast.IfExp):
        return is_constant_text(node.body) and is_constant_text(node.orelse)
    return isinstance(node, ast.Constant) and isinstance(node.value, str)


def test_an_event_is_a_constant() -> None:
    """What a log line says happened is words in the source: nothing of a payment can get into it."""
    calls = [
        (module, node)
        for module, tree in trees("gateway").items()
        for node in ast.walk(tree)
        if isinstance(node, ast.Call) and is_log_call(node)
    ]
    assert calls
    made_up = [
        f"{module}:{node.lineno}" for module, node in calls if len(node.args) != 1 or not is_constant_text(node.args[0])
    ]
    assert made_up == []


def test_no_test_sleeps() -> None:
    """Tests wait for events or move a mock clock: none waits for the wall clock."""
    sleepers = [f"{found.module}:{found.line}" for found in imports("tests") if found.name == "time.sleep"]
    sleepers += [
        f"{module}:{node.lineno}"
        for module, tree in trees("tests").items()
        for node in ast.walk(tree)
        if isinstance(node, ast.Call) and ast.unparse(node.func) == "time.sleep"
    ]
    assert sleepers == []


LOOKS = {
    "isinstance": "a builtin that asks for a type",
    "len": "a builtin that counts",
    "_CURSOR.fullmatch": "a regular expression",
}
"""What an assertion may call, each with the reason why it changes nothing. The law is not among them: asking it is part
of what happens to a payment."""


def doings_of(tree: ast.Module) -> list[str]:
    """What assertions do besides looking: `line: source` of each."""
    return [
        f"{node.lineno}: {ast.unparse(inner)}"
        for node in ast.walk(tree)
        if isinstance(node, ast.Assert)
        for inner in ast.walk(node.test)
        if isinstance(inner, ast.NamedExpr | ast.Await | ast.Yield | ast.YieldFrom)
        or (isinstance(inner, ast.Call) and ast.unparse(inner.func) not in LOOKS)
    ]


@pytest.mark.parametrize("folder", ["gateway", "loadtest", "hsm", "compose", "supply"])
def test_nothing_is_done_by_an_assertion(folder: str) -> None:
    """A Python without assertions is refused; all the same none does anything, and what it calls only looks."""
    assert {module: found for module, tree in trees(folder).items() if (found := doings_of(tree))} == {}


@pytest.mark.parametrize(
    ("assertion", "does"),
    [
        ("self._step(payment, event) is Act.SUBMIT", ["self._step(payment, event)"]),
        ("step(state, event).act is Act.CLASH", ["step(state, event)"]),
        ("(act := row.act) is only", ["(act := row.act)"]),
        ("not waiting.pop()", ["waiting.pop()"]),
        ("[one for one in all if one.close()]", ["one.close()"]),
        ("x.len(y)", ["x.len(y)"]),
        ("isinstance(x, int) and len(x.y) < z[1]", []),
        ("act is only", []),
    ],
)
def test_what_an_assertion_does_is_found(assertion: str, does: list[str]) -> None:
    """A call, a name that is bound: wherever in the assertion it stands. Its message is of no interest."""
    assert doings_of(ast.parse(f"assert {assertion}, words()")) == [f"1: {each}" for each in does]


def test_no_python_that_we_start_takes_modules_from_the_working_directory() -> None:
    """Whoever can write there could put a module of their own in the place of ours: each is started with -P or -I."""
    unsafe = []
    for folder in ("gateway", "hsm", "compose", "loadtest", "supply"):
        for path in sorted((TOP / folder).rglob("*.py")):
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
                if isinstance(node, ast.List | ast.Tuple) and node.elts and _is_python(node.elts[0]):
                    options = [each.value for each in node.elts[1:2] if isinstance(each, ast.Constant)]
                    if not {"-P", "-I"} & set(options):
                        unsafe.append(f"{path.relative_to(TOP)}:{node.lineno}")
    assert unsafe == []


def _is_python(node: ast.expr) -> bool:
    return ast.unparse(node) in {"sys.executable", "PYTHON"}


# --- command lines

BY_THEMSELVES = {
    "compose/alive.py": "a health check, which the engine starts every few seconds: it imports next to nothing",
    "compose/drbd/render.py": "runs where there is nothing but Python: it ends at Ctrl-C by itself",
    "tests/network/hanging.py": "becomes the command that it is given",
    "tests/disks/faulty.py": "a mount's process: the end of its input ends it",
    "tests/drill/agent.py": "the first process of a guest, where no gateway is installed",
    "tests/fuzz/worker.py": "libFuzzer's process: Ctrl-C is libFuzzer's business",
}
"""Entry points that do not begin by `gateway.entry`, each with the reason. Nor do benchmarks: they are scripts, and
where one was interrupted is worth a traceback."""


def begins_by_entry(path: Path) -> bool:
    """Whether what is run comes first, before anything is imported that takes time."""
    name = ".".join(path.relative_to(TOP).with_suffix("").parts)
    wanted = f"""import sys
from gateway import entry
if __name__ == '__main__':
    sys.exit(entry.command('{name}'))"""
    _, *body = ast.parse(path.read_text(encoding="utf-8")).body
    return "\n".join(map(ast.unparse, body[:3])) == wanted


def test_every_command_begins_alike() -> None:
    """So that Ctrl-C, closed streams and narrow encodings are met in one place."""
    commands = {
        str(path.relative_to(TOP)): begins_by_entry(path)
        for folder in ("gateway", "hsm", "compose", "loadtest", "supply", "tests")
        for path in sorted((TOP / folder).rglob("*.py"))
        if path.parent.name != "benchmarks"
        and any(
            isinstance(node, ast.If) and ast.unparse(node.test) == "__name__ == '__main__'"
            for node in ast.parse(path.read_text(encoding="utf-8")).body
        )
    }
    assert len(commands) > 15
    assert {name for name, alike in commands.items() if not alike} == {*BY_THEMSELVES}
    scripts = tomllib.loads((TOP / "pyproject.toml").read_text(encoding="utf-8"))["project"]["scripts"]
    assert scripts == {"fps-gateway": "gateway.entry:fps_gateway"}


def test_command_lines_are_taken_in_one_place() -> None:
    """Every parser is a `gateway.machine.arguments.Parser`, which takes no option by its beginning."""
    made = [
        f"{module}:{call.lineno}"
        for folder in ("gateway", "hsm", "compose", "loadtest", "supply", "tests")
        for module, tree in trees(folder).items()
        for name in ("argparse.ArgumentParser", "ArgumentParser")
        for call in calls_of(tree, name)
    ]
    assert made == []


@pytest.mark.parametrize("arguments", [["run", "--conf", "x"], ["journal", "show", "x", "--fpid-h", "x"]], ids=" ".join)
def test_no_option_is_taken_by_its_beginning(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    """Nor in a subcommand of a subcommand."""
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    assert ended.value.code == ExitCode.USAGE
    assert "error: " in capsys.readouterr().err
