"""One act at several gateways: each says how it went, and one that is away keeps nobody from acting at the others."""

from functools import partial
from pathlib import Path

import pytest
import trio

from gateway import config
from gateway.__main__ import main
from gateway.commands.ordering import Code
from tests.attacks.test_acts_of_strangers import ME, folder, scene

__all__ = ["folder"]


@pytest.mark.parametrize("order", [0, 1])
async def test_a_site_that_cannot_be_reached_is_named(
    folder: Path, capsys: pytest.CaptureFixture[str], order: int
) -> None:
    """The other one stops, whichever is asked first. A script sees by the exit code that not all did."""
    async with scene(folder, (config.Actor("me", ("operate",), user=ME),)) as it:
        sockets = [it.socket, str(folder / "away.sock")]
        targets = [word for path in (sockets[order], sockets[1 - order]) for word in ("--socket", path)]
        arguments = ["stop-submitting", "--yes", "--why", "fraud", *targets]
        code = await trio.to_thread.run_sync(partial(main, arguments))
        assert it.done == ["stop-submitting"]
    said = capsys.readouterr()
    assert code == Code.UNAVAILABLE
    assert said.out == f"{sockets[0]}: stop-submitting: done (act 1)\n"
    assert said.err.startswith(f"{sockets[1]}: stop-submitting: ")
    assert said.err.count("\n") == 1
