"""What strangers get: the wheel, its metadata, the licence, the changelog, and what a shell completes."""

import ast
import email
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import sysconfig
import tomllib
import zipfile
from email.message import Message
from importlib.metadata import packages_distributions
from pathlib import Path
from typing import Any

import pytest
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator

import gateway
from gateway.commands import completion
from gateway.journal.record import VERSION
from supply import locks, sbom
from tests.bare.__main__ import PYTHONS

TOP = Path(__file__).parents[1]
PROJECT = tomllib.loads((TOP / "pyproject.toml").read_text(encoding="utf-8"))
CHANGELOG = (TOP / "CHANGELOG.md").read_text(encoding="utf-8")
system = pytest.mark.system


# --- what is declared


def test_the_version_stands_in_one_place() -> None:
    """`gateway.__version__`; the changelog's newest release is that, of that day."""
    assert "version" not in PROJECT["project"]
    assert PROJECT["tool"]["setuptools"]["dynamic"]["version"] == {"attr": "gateway.__version__"}
    released = re.findall(r"(?m)^## \[(\d[^\]]*)\] - (\S+)$", CHANGELOG)
    assert released[0] == (gateway.__version__, gateway.__released__)


def test_the_changelog_has_every_format_of_the_journal() -> None:
    """Newest first, each with what is new in it."""
    formats = re.findall(r"(?m)^\| (\d+) \| \S.* \| \S.* \|$", CHANGELOG)
    assert list(map(int, formats)) == list(range(VERSION, 0, -1))


def test_the_licence_is_the_one_that_is_declared() -> None:
    assert PROJECT["project"]["license"] == "Apache-2.0"
    text = (TOP / "LICENSE").read_text(encoding="utf-8")
    assert "Apache License\n" in text
    assert "Version 2.0, January 2004" in text
    assert "END OF TERMS AND CONDITIONS" in text


def test_the_mock_world_starts_with_what_a_gateway_has() -> None:
    """Its image has the gateway's libraries and no others (compose/Dockerfile). Only a demo's picture needs more."""
    locked = set(re.findall(r"(?m)^([a-z0-9-]+)==", (TOP / "requirements.lock").read_text(encoding="utf-8")))
    absent = [
        module
        for module, owners in packages_distributions().items()
        if not (TOP / module).is_dir() and not any(owner.lower().replace("_", "-") in locked for owner in owners)
    ]
    script = """if True:
        import sys
        sys.modules.update(dict.fromkeys(sys.argv[1:]))
        import hsm.__main__, loadtest.__main__
        loadtest.__main__._commands()
    """
    assert "rich" in absent
    subprocess.run([sys.executable, "-c", script, *absent], cwd=TOP, check=True)


def test_what_the_gateway_needs_is_declared_and_nothing_else() -> None:
    """Who installs it gets every library that it imports, and none that it does not."""
    imported = {
        name.split(".")[0]
        for path in (TOP / "gateway").rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        for name in (
            [alias.name for alias in node.names]
            if isinstance(node, ast.Import)
            else [node.module or ""]
            if isinstance(node, ast.ImportFrom)
            else []
        )
    }
    theirs = imported - set(sys.stdlib_module_names) - {"gateway"}
    installed = packages_distributions()
    needed = {_normal(installed[name][0]) for name in theirs}
    assert needed == {_normal(re.split(r"[<>=~;\[ ]", each)[0]) for each in PROJECT["project"]["dependencies"]}


def _normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


# --- the wheel


def made(into: Path, *, umask: int = 0o022) -> Path:
    """`make dist`, in whatever surroundings."""
    done = subprocess.run(
        ["make", "--silent", "dist", f"DIST={into}"], cwd=TOP, umask=umask, capture_output=True, text=True, check=False,
        timeout=120,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    (wheel,) = into.glob("*.whl")
    return wheel


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return made(tmp_path_factory.mktemp("dist"))


@pytest.fixture(scope="module")
def metadata(wheel: Path) -> Message:
    with zipfile.ZipFile(wheel) as packed:
        (name,) = [name for name in packed.namelist() if name.endswith(".dist-info/METADATA")]
        return email.message_from_bytes(packed.read(name))


@pytest.fixture(scope="module")
def materials(wheel: Path) -> Any:
    """The bill of materials that is made with the wheel."""
    return json.loads(wheel.with_suffix(sbom.SUFFIX).read_text(encoding="utf-8"))


@system
def test_a_wheel_is_the_same_bytes_each_time(wheel: Path, tmp_path: Path) -> None:
    """However strict the umask is, and whatever time it is."""
    again = made(tmp_path / "again", umask=0o077)
    assert (again.name, again.read_bytes()) == (wheel.name, wheel.read_bytes())
    assert again.with_suffix(sbom.SUFFIX).read_bytes() == wheel.with_suffix(sbom.SUFFIX).read_bytes()
    with zipfile.ZipFile(wheel) as packed:
        released = tuple(map(int, gateway.__released__.split("-")))
        assert {each.date_time for each in packed.infolist()} == {(*released, 0, 0, 0)}


@system
def test_a_wheel_holds_the_gateway_alone(wheel: Path) -> None:
    """Every module and table of it, the mark that it is typed, and the licence; nothing at top level beside it."""
    with zipfile.ZipFile(wheel) as packed:
        names = set(packed.namelist())
    info = f"fps_gateway-{gateway.__version__}.dist-info"
    assert {name.split("/")[0] for name in names} == {"gateway", info}
    files = (path for path in (TOP / "gateway").rglob("*") if path.suffix in {".py", ".toml", ".typed"})
    assert {name for name in names if name.startswith("gateway/")} == {str(path.relative_to(TOP)) for path in files}
    assert "gateway/py.typed" in names
    assert f"{info}/licenses/LICENSE" in names


@system
def test_a_wheel_says_what_it_is(metadata: Message) -> None:
    assert (metadata["Name"], metadata["Version"]) == ("fps-gateway", gateway.__version__)
    assert metadata["License-Expression"] == "Apache-2.0"
    assert metadata["Author"] or metadata["Author-email"]
    assert metadata["Requires-Python"] == ">=3.11"
    needed = [each for each in metadata.get_all("Requires-Dist", []) if "extra ==" not in each]
    assert len(needed) == len(PROJECT["project"]["dependencies"])


def test_the_pythons_that_are_named_are_those_that_tests_run_on() -> None:
    """Debian 12's Python, the oldest that pip takes, and that of `make newer-python`."""
    classifiers = PROJECT["project"]["classifiers"]
    named = {each.rpartition(" ")[2] for each in classifiers if re.search(r":: Python :: 3\.\d+$", each)}
    assert named == set(PYTHONS.values())
    assert PROJECT["project"]["requires-python"] == f">={min(named)}"
    assert PROJECT["tool"]["mypy"]["python_version"] == min(named)
    contributing = (TOP / "CONTRIBUTING.md").read_text(encoding="utf-8")
    assert all(python in contributing for python in named)


@system
def test_a_wheels_bill_of_materials_is_valid(wheel: Path) -> None:
    """By the schema of CycloneDX itself, in which an unknown member is an error."""
    text = wheel.with_suffix(sbom.SUFFIX).read_text(encoding="utf-8")
    judge = JsonStrictValidator(SchemaVersion.V1_6)
    assert judge.validate_str(text) is None
    assert judge.validate_str(text.replace('"bom-ref"', '"bomref"', 1)) is not None, "a judge that takes all"


@system
def test_a_wheels_bill_of_materials_is_the_lock(wheel: Path, materials: Any) -> None:
    """Each package with version, licence and the hashes of its files; and the wheel that it is about, by its hash."""
    of = materials["metadata"]["component"]
    assert of["hashes"] == [{"alg": "SHA-256", "content": hashlib.sha256(wheel.read_bytes()).hexdigest()}]
    found = {
        locks.Locked(
            each["name"],
            each["version"],
            tuple(sorted(digest["content"] for digest in each["externalReferences"][0]["hashes"])),
        )
        for each in materials["components"]
    }
    assert found == set(locks.read(locks.SHIPPED))
    assert all(each["licenses"][0]["expression"] for each in materials["components"])


@system
def test_a_wheels_bill_of_materials_says_who_needs_whom(materials: Any) -> None:
    """All that is listed is needed, but for what builds; and what is compiled into a package is listed below it."""
    needs = {each["ref"]: set(each.get("dependsOn", ())) for each in materials["dependencies"]}
    seen, left = set[str](), {materials["metadata"]["component"]["bom-ref"]}
    while left:
        seen |= left
        left = {other for each in left for other in needs[each]} - seen
    assert {each["bom-ref"].split("@")[0] for each in materials["components"] if each["bom-ref"] not in seen} == {
        "setuptools"
    }
    inside = {part["name"] for each in materials["components"] for part in each.get("components", ())}
    assert "openssl" in inside


@system
def test_an_installed_wheel_works(wheel: Path, tmp_path: Path) -> None:
    """In an environment of its own, away from the checkout: the command is there, its tables too, and no mock world."""
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", tmp_path / "venv"], check=True)
    python, command = (tmp_path / "venv" / "bin" / name for name in ("python", "fps-gateway"))
    subprocess.run(
        [sys.executable, "-m", "pip", "-q", "--python", python, "install", "--no-index", "--no-deps", wheel], check=True
    )
    # its libraries are ours: an index is not asked. A .pth brings a folder in, and not what that folder's own .pth say
    packages = subprocess.run(
        [python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"],
        capture_output=True,
        text=True,
        check=True,
    ).stdout.strip()
    (Path(packages) / "libraries.pth").write_text(f"{sysconfig.get_path('purelib')}\n", encoding="utf-8")

    def run(*arguments: str | Path) -> str:
        environment = {"PATH": os.environ["PATH"]}
        done = subprocess.run(
            arguments, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False, timeout=60
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    assert run(command, "--version") == f"fps-gateway {gateway.__version__}\n"
    assert "usage: fps-gateway" in run(command, "--help")
    assert "[node.journal]" in run(command, "config", "example")
    assert run(python, "-c", "from gateway.wire import codes; print(bool(codes.built_in().accepted))") == "True\n"
    told = run(
        python,
        "-c",
        "import importlib.util as u; print([bool(u.find_spec(n)) for n in ('gateway', 'loadtest', 'hsm')])",
    )
    assert told == "[True, False, False]\n"


# --- completion

BASH = """
source "$1"; shift
COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1))
_shtab_fps_gateway
printf '%s\\n' "${COMPREPLY[@]}"
"""
FISH = """
source $argv[1]
complete --do-complete "$argv[2..]" | string replace --regex '\\t.*' ''; or true
"""
ZSH = r"""
# Completion needs an interactive zsh on a terminal. What that would offer is printed, and not inserted.
mkdir functions && cp "$1" functions/_fps-gateway; shift
zmodload zsh/zpty
zpty shell zsh -f -i
say() { zpty -w shell "$1" }
say 'fpath=($PWD/functions $fpath); autoload -Uz compinit; compinit -D -u; bindkey "^I" complete-word; LISTMAX=0'
say 'compadd() {
  if [[ ${@[1,(i)(-|--)]} == *-(O|A|D)\ * ]]; then builtin compadd "$@"; return; fi
  typeset -a offered
  builtin compadd -A offered "$@"
  for each in $offered; do print -r -- "<offer>$each</offer>"; done
}'
say 'finish() { print "<over>" }; zle -N finish; bindkey "^X" finish; print "<rea""dy>"'
zpty -r shell printed '*<ready>*'
zpty -w -n shell "$*"$'\t\x18'
zpty -r shell printed '*<over>*'
print -rl -- ${(M)${(f)printed}:#*</offer>*} | sed 's/.*<offer>//; s/<\/offer>.*//'
zpty -d shell
"""
COMPLETING = {
    "bash": ["bash", "--norc", "-c", BASH, "bash"],
    "fish": ["fish", "--no-config", "-c", FISH],
    "zsh": ["zsh", "-f", "-c", ZSH, "zsh"],
}
"""For each shell a program that prints what it would complete. Arguments: the script, and the typed words."""
CHECKS = {"bash": ["bash", "-n"], "zsh": ["zsh", "-n"], "fish": ["fish", "--no-execute"]}


def script(shell: str) -> str:
    """What the command prints."""
    command = [sys.executable, "-m", "gateway", "completion", shell]
    return subprocess.run(command, cwd=TOP, capture_output=True, text=True, check=True, timeout=60).stdout


@system
@pytest.mark.parametrize("shell", completion.SHELLS)
def test_a_script_for_each_shell_is_one(shell: str, tmp_path: Path) -> None:
    """It names every command; where the shell is here, it parses it."""
    text = script(shell)
    for command in ("run", "drain", "journal", "fpid-hash", "compare"):
        assert command in text
    if shutil.which(shell) is None:
        pytest.skip(f"no {shell} here: package {shell}")
    (tmp_path / "script").write_text(text, encoding="utf-8")
    subprocess.run([*CHECKS[shell], tmp_path / "script"], check=True, timeout=60)


@system
@pytest.mark.parametrize("shell", completion.SHELLS)
@pytest.mark.parametrize(
    ("typed", "completed"),
    [
        (["jou"], {"journal"}),
        (["journal", "co"], {"compare"}),
        (["journal", "show", "--fpid"], {"--fpid", "--fpid-hash"}),
        (["decode", "--input", "r"], {"raw"}),
        (["completion", ""], {"bash", "fish", "zsh"}),
        (["run", "--config", "pai"], {"pair.toml"}),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_a_shell_completes_what_is_typed(shell: str, typed: list[str], completed: set[str], tmp_path: Path) -> None:
    """Commands, options, choices, and files where a file is meant; in each shell that is here."""
    if shutil.which(shell) is None:
        pytest.skip(f"no {shell} here: package {shell}")
    (tmp_path / "script").write_text(script(shell), encoding="utf-8")
    (tmp_path / "pair.toml").touch()
    done = subprocess.run(
        [*COMPLETING[shell], "./script", "fps-gateway", *typed],
        cwd=tmp_path, capture_output=True, text=True, check=True, timeout=60,
    )  # fmt: skip
    assert set(done.stdout.split()) == completed


def test_completion_costs_no_other_command_its_library() -> None:
    """It is imported when a script is asked for."""
    probe = "import sys, gateway.__main__ as it; it.command_line(); print('shtab' in sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", probe], cwd=TOP, capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stdout == "False\n"
