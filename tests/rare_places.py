"""Where the gateway's source speaks of trouble: found by reading it, so that nobody keeps a list.

Rare is what a day without trouble does not come by: a log line of level warning or above, an error of ours that is
made, a row of the law, an exit code. Whoever writes a log line in a way that this cannot read is told so, here.
"""

import ast
import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import gateway
from gateway.exitcodes import ExitCode
from gateway.payments.inbound_law import LAW as INBOUND_LAW
from gateway.payments.outbound_law import LAW as OUTBOUND_LAW

TOP = Path(gateway.__file__).parent.parent
LEVELS = frozenset({"debug", "info", "warning", "error", "critical"})
RARE = frozenset({"warning", "error", "critical"})
ROOT_ERROR = "GatewayError"
ARGUMENTS_MAX = 90
"""Characters that an error's place shows of what it is made with."""


class UnreadableError(Exception):
    """The source logs in a way that is not understood here. Says where."""


@dataclass(frozen=True, order=True)
class Place:
    """Something that happens rarely. Two places of one name cannot be told apart: `find` gives both."""

    name: str
    where: str = ""
    """File and line, for people."""


def log_name(component: str, level: str, text: str) -> str:
    """The name of a log line's place."""
    return f"{level} {component}: {text}"


def law_name(state: str, event: str) -> str:
    """The name of a row of the law."""
    return f"law {state} + {event}"


def exit_name(code: int) -> str:
    """The name of an exit code."""
    return f"exit {code} {ExitCode(code).name}"


@cache
def find() -> tuple[Place, ...]:
    """Every rare place of the gateway, sorted. Raises `UnreadableError`."""
    kinds = error_kinds()
    places = [place for source in sources() for place in (*source.lines(), *source.errors(kinds))]
    places += [Place(law_name(state.name, event.name)) for state, rows in INBOUND_LAW.rows.items() for event in rows]
    places += [Place(law_name(state.name, event.name)) for state, rows in OUTBOUND_LAW.rows.items() for event in rows]
    places += [Place(exit_name(code)) for code in ExitCode]
    return tuple(sorted(places))


@cache
def sources() -> "tuple[Source, ...]":
    """Every file of the gateway."""
    return tuple(Source(path) for path in sorted((TOP / "gateway").rglob("*.py")))


class Source:
    """One file, read."""

    def __init__(self, path: Path, text: str | None = None) -> None:
        self.path = path.relative_to(TOP).as_posix()
        self.tree = ast.parse(path.read_text(encoding="utf-8") if text is None else text)
        self._above = {child: node for node in ast.walk(self.tree) for child in ast.iter_child_nodes(node)}

    def _place(self, name: str, node: ast.expr) -> Place:
        return Place(name, f"{self.path}:{node.lineno}")

    # --- errors

    def errors(self, kinds: frozenset[str]) -> Iterator[Place]:
        """Where an error of one of these classes is made."""
        for node in ast.walk(self.tree):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in kinds:
                within = getattr(self._function_of(node), "name", "")
                yield self._place(f"{self.path} {within}: {ast.unparse(node)[:ARGUMENTS_MAX]}", node)

    # --- log lines

    def lines(self) -> Iterator[Place]:
        """Where a line of level warning or above is logged. Raises `UnreadableError`."""
        loggers = self._loggers()
        said = set[ast.expr]()
        for node in ast.walk(self.tree):
            if isinstance(node, ast.Name | ast.Attribute) and isinstance(node.ctx, ast.Load):
                component = loggers.get(ast.unparse(node))
                if component is not None:
                    yield from self._spoken(node, component, said)
            elif isinstance(node, ast.Dict):
                yield from self._by_hand(node)

    def _loggers(self) -> dict[str, str]:
        """The names of loggers in this file, and their components. What is bound to more goes on by its own name."""
        found: dict[str, str] = {}
        for node in ast.walk(self.tree):
            if isinstance(node, ast.Assign) and isinstance(node.value, ast.Call):
                name, of = ast.unparse(node.targets[0]), node.value.func
                if ast.unparse(of) == "log.get":
                    found[name] = str(ast.literal_eval(node.value.args[0]))
                elif isinstance(of, ast.Attribute) and of.attr == "bind" and ast.unparse(of.value) in found:
                    found[name] = found[ast.unparse(of.value)]
        return found

    def _spoken(self, logger: ast.expr, component: str, said: set[ast.expr]) -> Iterator[Place]:
        above = self._above[logger]
        if isinstance(above, ast.Attribute) and above.attr in LEVELS:
            chosen = self._choice_of(above)
            if chosen not in said:  # once for `_log.error if urgent else _log.info`, not for each half
                said.add(chosen)
                for call in self._calls_of(chosen):
                    for level, text in pairs(chosen, call.args[0]):
                        if level in RARE:
                            yield self._place(log_name(component, level, text), call)
        elif isinstance(above, ast.Attribute) and above.attr == "log":
            said_with = self._above[above]
            if not (isinstance(said_with, ast.Call) and isinstance(said_with.args[0], ast.Subscript)):
                raise self._unreadable(logger)
            yield from self._of_levels(said_with.args[0].value, component)
        elif isinstance(above, ast.Call) and ast.unparse(above.func) == "getattr":
            yield from self._of_rows(above, component)
        elif not (isinstance(above, ast.Attribute) and above.attr == "bind"):
            raise self._unreadable(logger)

    def _choice_of(self, half: ast.expr) -> ast.expr:
        """The whole of `_log.error if … else _log.info`, whichever of its halves this is."""
        above = self._above[half]
        return self._choice_of(above) if isinstance(above, ast.IfExp) else half

    def _calls_of(self, said: ast.expr) -> list[ast.Call]:
        """The calls of what may be called at once or by a name that it is given."""
        above = self._above[said]
        if isinstance(above, ast.Call) and above.func is said:
            return [above]
        if isinstance(above, ast.Assign) and isinstance(above.targets[0], ast.Name):
            name, within = above.targets[0].id, self._function_of(above)
            calls = [node for node in ast.walk(within) if isinstance(node, ast.Call)]
            if found := [call for call in calls if isinstance(call.func, ast.Name) and call.func.id == name]:
                return found
        raise self._unreadable(said)

    def _function_of(self, node: ast.AST) -> ast.AST:
        while not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Module):
            node = self._above[node]
        return node

    def _of_levels(self, table: ast.expr, component: str) -> Iterator[Place]:
        """`log.log(TABLE[text], text)`: a table of text → level."""
        source, rows = self._table(table)
        for key, value in rows:
            if isinstance(value, ast.Attribute) and value.attr.lower() in RARE:
                yield source._place(log_name(component, value.attr.lower(), str(ast.literal_eval(key))), key)

    def _of_rows(self, call: ast.Call, component: str) -> Iterator[Place]:
        """`level, text = TABLE[note]`, then `getattr(log, level)`: a table of note → (level, text)."""
        wanted = ast.unparse(call.args[1])
        for node in ast.walk(self._function_of(call)):
            if (
                isinstance(node, ast.Assign)
                and isinstance(node.value, ast.Subscript)
                and isinstance(node.targets[0], ast.Tuple)
                and ast.unparse(node.targets[0].elts[0]) == wanted
            ):
                source, rows = self._table(node.value.value)
                for _, value in rows:
                    level, text = ast.literal_eval(value)
                    if level in RARE:
                        yield source._place(log_name(component, level, text), value)
                return
        raise self._unreadable(call)

    def _table(self, name: ast.expr) -> "tuple[Source, list[tuple[ast.expr, ast.expr]]]":
        """A table of this module, or of the one that it is imported from."""
        for node in self.tree.body:
            if isinstance(node, ast.ImportFrom) and ast.unparse(name) in {alias.name for alias in node.names}:
                return Source(TOP / f"{str(node.module).replace('.', '/')}.py")._table(name)
            target = node.targets[0] if isinstance(node, ast.Assign) else getattr(node, "target", None)
            if isinstance(node, ast.Assign | ast.AnnAssign) and target and ast.unparse(target) == ast.unparse(name):
                assert isinstance(node.value, ast.Dict)
                return self, [
                    (key, value) for key, value in zip(node.value.keys, node.value.values, strict=True) if key
                ]
        raise self._unreadable(name)

    def _by_hand(self, line: ast.Dict) -> Iterator[Place]:
        """A line that is put together without a logger."""
        known = {
            key.value: value for key, value in zip(line.keys, line.values, strict=True) if isinstance(key, ast.Constant)
        }
        if {"component", "level", "event"} <= known.keys():
            component, level, text = (str(ast.literal_eval(known[name])) for name in ("component", "level", "event"))
            if level in RARE:
                yield self._place(log_name(component, level, text), line)

    def _unreadable(self, node: ast.expr) -> UnreadableError:
        return UnreadableError(f"{self.path}:{node.lineno}: cannot tell what `{ast.unparse(node)}` says")


@cache
def error_kinds() -> frozenset[str]:
    """The classes that are errors of ours: the root and all that are made of it."""
    bases = {
        node.name: {ast.unparse(base) for base in node.bases}
        for source in sources()
        for node in ast.walk(source.tree)
        if isinstance(node, ast.ClassDef)
    }
    kinds = {ROOT_ERROR}
    while more := {name for name, of in bases.items() if of & kinds} - kinds:
        kinds |= more
    return frozenset(kinds)


def pairs(level: ast.expr, text: ast.expr) -> set[tuple[str, str]]:
    """Levels and texts that may come together when each is a choice: both are made for each way that the conditions
    may turn out. Raises `UnreadableError` for a text that is no constant.
    """
    conditions = sorted({condition for one in (level, text) for condition in conditions_of(one)})
    found = set[tuple[str, str]]()
    for outcomes in itertools.product((True, False), repeat=len(conditions)):
        facts = dict(zip(conditions, outcomes, strict=True))
        of, words = chosen_of(level, facts), chosen_of(text, facts)
        if not (isinstance(of, ast.Attribute) and isinstance(words, ast.Constant)):
            raise UnreadableError(f"line {text.lineno}: `{ast.unparse(text)}` is not a choice of constants")
        found.add((of.attr, str(words.value)))
    return found


def conditions_of(choice: ast.expr) -> Iterator[str]:
    """What a choice depends on."""
    if isinstance(choice, ast.IfExp):
        yield condition_of(choice.test)[0]
        yield from (*conditions_of(choice.body), *conditions_of(choice.orelse))


def chosen_of(choice: ast.expr, facts: dict[str, bool]) -> ast.expr:
    """What is chosen when these conditions hold or do not."""
    if not isinstance(choice, ast.IfExp):
        return choice
    condition, as_is = condition_of(choice.test)
    return chosen_of(choice.body if facts[condition] == as_is else choice.orelse, facts)


def condition_of(test: ast.expr) -> tuple[str, bool]:
    """A condition, and whether it must hold: `not x` is `x`, and must not."""
    if isinstance(test, ast.UnaryOp) and isinstance(test.op, ast.Not):
        condition, as_is = condition_of(test.operand)
        return condition, not as_is
    return ast.unparse(test), True
