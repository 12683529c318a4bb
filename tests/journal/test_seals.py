"""The seals of the HSM: which hold, which do not, and of which nobody can say."""

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest
import trio

from gateway import config
from gateway.__main__ import main
from gateway.commands import journal as command
from gateway.commands import seal_check
from gateway.config import JournalSettings
from gateway.disk import RealDisk
from gateway.journal import seals
from gateway.journal.manifest import read_manifest, write_manifest
from gateway.journal.seals import Ask
from gateway.journal.segment import Walk, name_of
from gateway.journal.writer import Journal
from gateway.machine.arguments import Parser
from gateway.payments import steps
from gateway.payments.steps import Kind, Seal
from hsm import reference
from tests.fakes.example import example
from tests.fakes.journal import SETTINGS, WALL_NS, durable, running
from tests.fakes.token import FakeTokens

SECOND = 1_000_000_000
KEYS = {"fps-seal": b"a key of the HSM", "fps-older": b"one from before.", "fps-hub": bytes(16)}
TOKENS = ("t1", "t2", "t3")

Run = Callable[..., tuple[int, str, str]]


class Book:
    """A journal that is written, and sealed."""

    def __init__(self, journal: Journal) -> None:
        self.journal = journal
        self.at_s = 0

    async def write(self, count: int = 3, body: bytes = b"a body") -> None:
        """That many records, one a second, durable."""
        for _ in range(count):
            self.put(Kind.RECEIVED, body)
        await durable(self.journal)

    async def seal(self, label: str = "fps-seal", **changes: Any) -> int:
        """Seal as the gateway does; `changes`: what is wrong with it. Returns the position of the seal."""
        chain = self.journal.durable_chain
        made = Seal(self.journal.durable, chain, label, reference.mac("aes-cmac", KEYS[label], chain))
        at = self.put(Kind.SEALED, steps.pack(msgspec.structs.replace(made, **changes)))
        await durable(self.journal)
        return at

    def put(self, kind: Kind, body: bytes) -> int:
        """A record, one second after the one before."""
        self.at_s += 1
        return self.journal.append(kind, body, wall_ns=WALL_NS + self.at_s * SECOND)


@pytest.fixture
def settings(tmp_path: Path) -> JournalSettings:
    """On the real disk."""
    return msgspec.structs.replace(SETTINGS, dir=str(tmp_path / "journal"))


@pytest.fixture
def tokens() -> FakeTokens:
    """Three with the same keys."""
    return FakeTokens(TOKENS, KEYS)


@asynccontextmanager
async def book(settings: JournalSettings) -> AsyncIterator[Book]:
    """A journal to write."""
    disk = RealDisk()
    async with running(disk, settings) as journal:
        yield Book(journal)
    disk.release()


@pytest.fixture
def wrote(settings: JournalSettings) -> Callable[[Callable[[Book], Awaitable[None]]], None]:
    """Write a journal."""

    def write(story: Callable[[Book], Awaitable[None]]) -> None:
        async def run() -> None:
            async with book(settings) as it:
                await story(it)

        trio.run(run)

    return write


Wrote = Callable[[Callable[[Book], Awaitable[None]]], None]


@pytest.fixture
def verify(settings: JournalSettings, tokens: FakeTokens, capsys: pytest.CaptureFixture[str]) -> Run:
    """Run `journal verify` on it with a configuration of these tokens: exit code, standard output, standard error."""
    configuration = config.Configuration(
        config.Node(
            name="sip-a",
            hub=(config.HubSite(name="hub-1", host="127.0.0.1", port=1),),
            token=tuple(config.Token(name=name, label=name, module="none", pin_file="none") for name in TOKENS),
            journal=settings,
            processor=config.Processor(url="http://127.0.0.1:1"),
        ),
        config.Pair(group="sip"),
    )

    def tokens_of(files: Sequence[str], older: Sequence[str]) -> Ask:
        assert list(files) == ["gateway.toml"]
        return lambda found: trio.run(seal_check.ask, found, configuration, older, tokens.open)

    def run(*arguments: str, config: str = "gateway.toml") -> tuple[int, str, str]:
        parser = Parser()
        command.add_parser(parser.add_subparsers(), tokens_of, lambda _files: 1)
        given = ["--config", config] if config else []
        args = parser.parse_args(["journal", "verify", settings.dir, *given, *arguments])
        capsys.readouterr()
        code = args.run(args)
        return code, *capsys.readouterr()

    return run


async def a_day(it: Book) -> None:
    """Two seals, and records behind the last."""
    await it.write(3)
    await it.seal()
    await it.write(4)
    await it.seal()
    await it.write(2)


def test_seals_hold_and_what_is_behind_the_last_is_said(wrote: Wrote, verify: Run, tokens: FakeTokens) -> None:
    """Exit code 0. The MACs were made in a token, together."""
    wrote(a_day)
    code, out, err = verify()
    assert (code, err) == (0, "")
    assert "is whole: 11 records" in out
    assert "seals: 2, of which 2 hold, the last of position 8\n" in out
    assert "not sealed: 3 records, positions 9 to 11, 2.0 s since the seal\n" in out
    assert sum(len(token.batches) for token in tokens.tokens.values()) == 1


def test_without_a_configuration_seals_are_counted(wrote: Wrote, verify: Run) -> None:
    """And it is said that nobody checked them, beyond what the journal's own chain shows."""
    wrote(a_day)
    code, out, err = verify(config="")
    assert (code, err) == (0, "")
    assert "seals: 2, their MACs not checked" in out
    assert "not sealed: 3 records, positions 9 to 11" in out


def test_a_key_that_would_write_lines_of_ours_is_shown_as_what_it_is(wrote: Wrote, verify: Run) -> None:
    """The forger of a seal chooses the name of its key, which must not add lines or control the terminal."""
    label = "x\nseals: 9, of which 9 hold\x1b[2A"

    async def forged(it: Book) -> None:
        await it.write(3)
        await it.seal(key=label)

    wrote(forged)
    code, out, _ = verify()
    assert code == 3
    assert "\x1b" not in out
    assert out.count("\nseals: ") == 1
    assert r'sealed with the key "x\u000aseals: 9, of which 9 hold\u001b[2A", which is neither' in out


def test_a_journal_without_seals(wrote: Wrote, verify: Run) -> None:
    """Nobody vouches for it: who has no HSM can write one like that. An empty one has nothing to seal."""
    wrote(lambda it: it.write(0))
    code, out, _ = verify()
    assert code == 0
    assert out.endswith("seals: 0, of which 0 hold\n")
    wrote(lambda it: it.write(5))
    code, out, _ = verify()
    assert code == 3
    assert "seals: 0, of which 0 hold\nnot sealed: 5 records, positions 1 to 5\nno seal is known to hold" in out


@pytest.mark.parametrize(
    ("changes", "what", "without"),
    [
        ({"mac": b"\1" * 8}, 'it is not the MAC of the chain value of position 3 under the key "fps-seal"', 0),
        ({"mac": b""}, "its MAC has 0 bytes, not 8", 1),
        ({"mac": b"\1" * 9}, "its MAC has 9 bytes, not 8", 1),
        ({"chain": bytes(16)}, "it seals another chain value for position 3 than the record there has", 1),
        ({"position": 2}, "it seals another chain value for position 2 than the record there has", 1),
        ({"position": 4}, "it seals position 4, which is not before it", 1),
        ({"position": 0}, "it seals position 0, which is not before it", 1),
    ],
)
def test_a_wrong_seal_is_damage_with_its_place(
    wrote: Wrote, verify: Run, changes: dict[str, Any], what: str, without: int
) -> None:
    """Exit code 1. What the journal itself contradicts is found without a token, too."""

    async def story(it: Book) -> None:
        await it.write(3)
        await it.seal(**changes)
        await it.seal()

    wrote(story)
    code, out, err = verify()
    assert code == 1
    assert f"a wrong seal: segment {name_of(1)}, position 4: {what}" in err
    assert "seals: 2, of which 1 hold, the last of position 4" in out
    assert verify(config="")[0] == without


def test_a_body_that_is_no_seal_is_damage(wrote: Wrote, verify: Run) -> None:
    """As it is for a start of the gateway."""

    async def story(it: Book) -> None:
        await it.write(1)
        it.put(Kind.SEALED, b"no seal")

    wrote(story)
    code, _, err = verify()
    assert code == 1
    assert "position 2: it is of kind SEALED, and its body is none of that kind" in err


def test_many_wrong_seals_are_not_all_said(wrote: Wrote, verify: Run) -> None:
    """The first ones, and how many more."""

    async def story(it: Book) -> None:
        for _ in range(25):
            await it.write(1)
            await it.seal(mac=b"\1" * 8)

    wrote(story)
    code, _, err = verify()
    assert (code, err.count("a wrong seal")) == (1, 20)
    assert err.endswith("and 5 more\n")


def test_history_that_was_written_anew_is_found_out(
    wrote: Wrote, verify: Run, settings: JournalSettings, tmp_path: Path
) -> None:
    """Somebody who can write to the disk can make a whole chain without the HSM, but earlier seals do not fit it."""
    wrote(a_day)
    directory = RealDisk().directory(settings.dir)
    manifest = read_manifest(directory)
    assert manifest is not None
    records = [record for batch in Walk(directory, manifest) for record in batch]
    Path(settings.dir).rename(tmp_path / "before")

    async def forge(it: Book) -> None:
        for record in records:
            body = b"a bOdy" if record.position == 6 else record.body
            it.journal.append(record.kind, body, fpid=record.fpid, wall_ns=record.time_ns)
        await durable(it.journal)

    wrote(forge)
    code, out, err = verify()
    assert code == 1
    assert "is whole: 11 records" in out
    assert "which 1 hold, the last of position 3\n" in out
    assert "position 9: it seals another chain value for position 8 than the record there has" in err


def test_a_seal_that_is_written_once_more_covers_no_more_than_before(wrote: Wrote, verify: Run) -> None:
    """That takes no HSM: what came since the first time is not sealed, however late it seems to be."""

    async def story(it: Book) -> None:
        await it.write(3)
        position, chain = it.journal.durable, it.journal.durable_chain
        await it.seal()
        await it.write(4)
        await it.seal(position=position, chain=chain, mac=mac_of_seal(chain))

    wrote(story)
    code, out, _ = verify()
    assert code == 0
    assert "seals: 2, of which 2 hold, the last of position 3\n" in out
    assert "not sealed: 6 records, positions 4 to 9, 5.0 s since the seal\n" in out


def mac_of_seal(chain: bytes) -> bytes:
    """The MACs that the tokens make."""
    return reference.mac("aes-cmac", KEYS["fps-seal"], chain)


async def three_keys(it: Book) -> None:
    """Sealed with the key of before, of today, and one that must not seal."""
    for label in ("fps-older", "fps-seal", "fps-hub"):
        await it.write(2)
        await it.seal(label)


def test_a_key_from_before_is_believed_when_it_is_named(wrote: Wrote, verify: Run) -> None:
    """Only then does the seal hold; another key of the token vouches for nothing (exit code 3: unknown)."""
    wrote(three_keys)
    code, out, err = verify()
    assert (code, err) == (3, "")
    for label in ("fps-older", "fps-hub"):
        assert f'anything of: 1: sealed with the key "{label}", which is neither pair.mac.seal_key nor given' in out
    assert verify("--key", "fps-older")[0] == 3
    code, out, _ = verify("--key", "fps-older", "--key", "fps-hub")
    assert code == 0
    assert "seals: 3, of which 3 hold, the last of position 8" in out


def test_a_key_that_no_token_has_any_more_leaves_its_seals_not_known(
    wrote: Wrote, verify: Run, tokens: FakeTokens
) -> None:
    """The others are checked all the same."""
    wrote(three_keys)
    for token in tokens.tokens.values():
        del token.keys["fps-older"]
    code, out, _ = verify("--key", "fps-older", "--key", "fps-hub")
    assert code == 3
    assert "seals: 3, of which 2 hold" in out
    assert 'no token serves with the key "fps-older": t1: no secret key labelled "fps-older"' in out


def test_without_a_token_that_serves_nothing_is_known(wrote: Wrote, verify: Run, tokens: FakeTokens) -> None:
    """Each says why; what the journal itself shows counts."""
    wrote(a_day)
    for token in tokens.tokens.values():
        token.disappear()
    code, out, _ = verify()
    assert code == 3
    assert "seals: 2, of which 0 hold\n" in out
    assert 'of: 2: no token serves with the key "fps-seal": t1: no such token; t2: no such token; t3: no' in out
    assert "not sealed: 11 records, positions 1 to 11\n" in out


def test_a_wrong_seal_weighs_more_than_one_that_is_not_known(wrote: Wrote, verify: Run) -> None:
    """Exit code 1."""

    async def story(it: Book) -> None:
        await it.write(2)
        await it.seal("fps-older")
        await it.seal(mac=b"\1" * 8)

    wrote(story)
    assert verify()[0] == 1


def test_a_token_with_another_key_is_outvoted(wrote: Wrote, verify: Run, tokens: FakeTokens) -> None:
    """As it is when it should serve a gateway."""
    wrote(a_day)
    tokens["t1"].keys["fps-seal"] = bytes(16)
    assert verify()[0] == 0


def test_a_wrong_pin_is_tried_once_however_many_keys_there_are(wrote: Wrote, verify: Run, tokens: FakeTokens) -> None:
    """A few would lock the token."""
    wrote(three_keys)
    for name in TOKENS:
        tokens[name].fail("wrong-pin", "wrong PIN")
    assert verify("--key", "fps-older", "--key", "fps-hub")[0] == 3
    assert [tokens[name].starts for name in TOKENS] == [1, 1, 1]


def test_a_seal_that_came_late_is_compared_with_what_is_read_once_more(
    wrote: Wrote, verify: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A chain value that is not at hand any more is had from the disk, in whichever segment it is."""
    monkeypatch.setattr(seals, "WINDOW_RECORDS", 4)

    async def story(it: Book) -> None:
        await it.write(3)
        position, chain = it.journal.durable, it.journal.durable_chain
        await it.write(6, bytes(20_000))
        await it.seal(position=position, chain=chain, mac=mac_of_seal(chain))
        await it.write(2)
        await it.seal(position=position, mac=mac_of_seal(chain))
        await it.seal()

    wrote(story)
    code, out, err = verify()
    assert code == 1
    assert "seals: 3, of which 2 hold, the last of position 13" in out
    assert err.count("a wrong seal") == 1
    assert f"segment {name_of(2)}, position 13: it seals another chain value for position 3" in err


def test_a_seal_of_what_is_deleted_by_now_is_not_checked(wrote: Wrote, verify: Run, settings: JournalSettings) -> None:
    """Here is nothing to compare it with, and it says nothing of what is kept."""

    async def story(it: Book) -> None:
        await it.write(1)
        chain = it.journal.durable_chain
        await it.write(6, bytes(20_000))
        await it.seal(position=1, chain=chain, mac=mac_of_seal(chain))

    wrote(story)
    directory = RealDisk().directory(settings.dir)
    manifest = read_manifest(directory)
    assert manifest is not None
    write_manifest(directory, msgspec.structs.replace(manifest, oldest=2, turn=9))
    code, out, _ = verify()
    assert code == 3
    assert "seals: 1, of which 0 hold\n" in out
    assert "seals of records that are deleted by now, not checked: 1\n" in out
    assert "not sealed: 4 records, positions 5 to 8\n" in out


async def test_beside_a_gateway_that_writes(settings: JournalSettings, verify: Run) -> None:
    """It takes no lock, and sees what is durable."""
    async with book(settings) as it:
        await a_day(it)
        code, out, _ = await trio.to_thread.run_sync(verify)
    assert code == 0
    assert "of which 2 hold" in out


def test_what_makes_no_sense(wrote: Wrote, settings: JournalSettings, capsys: pytest.CaptureFixture[str]) -> None:
    """A key without tokens: exit code 2. A configuration with mistakes: 78, each with its place."""
    wrote(a_day)
    assert main(["journal", "verify", settings.dir, "--key", "fps-older"]) == 2
    assert "--key says which keys seals are checked with" in capsys.readouterr().err
    assert main(["journal", "verify", settings.dir, "--config", str(Path(settings.dir) / "none.toml")]) == 78
    assert "none.toml: cannot be read: FileNotFoundError" in capsys.readouterr().err


def test_a_configuration_may_lie_in_several_files_and_is_looked_at_first(
    wrote: Wrote, settings: JournalSettings, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Its mistakes are said before a long journal is read; without a seal no token is asked."""
    wrote(lambda it: it.write(0))
    pair, node = tmp_path / "pair.toml", tmp_path / "node.toml"
    tables = example().split("\n[pair]")
    node.write_text(tables[0], encoding="utf-8")
    pair.write_text("[pair]" + tables[1], encoding="utf-8")
    assert main(["journal", "verify", settings.dir, "--config", str(node), "--config", str(pair)]) == 0
    assert capsys.readouterr().out.endswith("seals: 0, of which 0 hold\n")
    pair.write_text("[pair]\nno = 1\n", encoding="utf-8")
    assert main(["journal", "verify", settings.dir, "--config", str(node), "--config", str(pair)]) == 78
    said = capsys.readouterr()
    assert (said.out, "pair.toml:2: pair.no" in said.err) == ("", True)
