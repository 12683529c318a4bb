"""The journal's seals: the HSM signs the chain now and then, so that what was written cannot be rewritten unseen."""

import trio

from gateway.engine import Engine
from gateway.journal.writer import Journal

SEAL_WITHIN_S = 1.0
"""Time that the last seal may take. Without an HSM there is none."""
LOOK_S = 0.01
"""Pause between two looks whether the journal is durable to its end."""


class Sealing:
    """Seals what has been written since the last seal."""

    def __init__(self, journal: Journal, engine: Engine, every_s: float) -> None:
        self._journal = journal
        self._engine = engine
        self._every_s = every_s
        self._sealed = 0
        """Position up to which this process has sealed the journal."""

    async def run(self) -> None:
        """Seal now and then, for ever."""
        while True:
            await trio.sleep(self._every_s)
            await self._seal()

    async def seal_all(self) -> None:
        """At the end: seal the whole journal, if that can be done in `SEAL_WITHIN_S`.

        The journal may go to another server, or to the archive: nothing follows this seal but what the processor is
        told meanwhile.
        """
        with trio.move_on_after(SEAL_WITHIN_S):
            last = self._journal.position - 1
            with trio.move_on_after(SEAL_WITHIN_S / 2):
                while self._journal.durable < last:  # noqa: ASYNC110 - once in a life
                    await trio.sleep(LOOK_S)
            await self._seal()

    async def _seal(self) -> None:
        position = self._journal.durable
        if position > self._sealed and await self._engine.control.seal(position, self._journal.durable_chain):
            self._sealed = position + 1  # the seal itself is no reason for the next one
