"""Where events meet stories. In one wake-up the engine takes everything that has happened, lets the stories decide, and
hands each shell its batch: one write to the disk, one message to the token, one flush per link.

    turn       the wake-up: what happened, in a fixed order, to the stories        ← start reading
    inbox      what happened since the last one, as shells bring it
    intake     what links read: decoded, verified
    dispatch   which story an authentic message goes to
    control    what operators, our other processes and the daemon want beside payments
    batch      what a wake-up collects for the shells
    arriving   how the commands of `inbound` are done
    leaving    how the commands of `outbound` are done
    keying     how the commands of `keyring` are done
    hearing    how the commands of `news` are done
    past       what the journal says, read before the first wake-up
    jobs       MACs under way between wake-ups
    notes      how each event is logged
    shells     what the engine asks of the shells
"""

from gateway.engine.batch import COMMIT_WITHIN_S
from gateway.engine.turn import STEPS, Engine

__all__ = ["COMMIT_WITHIN_S", "STEPS", "Engine"]
