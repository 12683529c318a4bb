"""Every input that is kept, and every finding, is run as a test: what was mended stays mended, without the fuzzer."""

import pytest

from tests.fuzz import corpus, runner
from tests.fuzz.target import MODULES, target_of


@pytest.mark.parametrize("name", MODULES)
def test_what_is_kept_finds_nothing(name: str) -> None:
    """The corpus of a target, what was ever found, and where its fuzzing begins hold every property of it."""
    target = target_of(name)
    kept = corpus.files(name)
    assert 0 < len(kept) <= corpus.FILES_MAX
    for file in [*kept, *corpus.files(name, corpus.FINDINGS)]:
        data = file.read_bytes()
        assert len(data) <= corpus.BYTES_MAX
        assert file.name == corpus.name_of(data), f"{file} was changed"
        try:
            target.run(data)
        except BaseException as error:
            error.add_note(f".venv/bin/python -m tests.fuzz --target {name} --replay {file.relative_to(runner.TOP)}")
            raise
    for data in target.samples():
        target.run(data)


def test_there_is_no_corpus_of_nothing() -> None:
    """Each folder belongs to a target."""
    folders = [path for top in (corpus.CORPUS, corpus.FINDINGS) for path in top.glob("*")]
    assert {path.name for path in folders} <= set(MODULES)
