"""Where the code says what is frozen: the one file of `tests.frozen` that knows where a thing stands.

When a module moves, its import here moves, and the lists stay as they are.
"""

from typing import Any, get_args

from msgspec import Struct

from gateway import daemon, metrics
from gateway.__main__ import command_line
from gateway.acts import book, table
from gateway.commands import drain as drain_command
from gateway.commands import ordering
from gateway.config import Configuration, StandInMode
from gateway.engine import STEPS
from gateway.exitcodes import ExitCode
from gateway.http.visitor import Request
from gateway.hub.rules import ReportName
from gateway.journal import manifest, record
from gateway.machine.console import INTERRUPTED, OUTPUT_FAILED, OUTPUT_GONE, WITHOUT_ASSERTIONS
from gateway.ops import drain
from gateway.ops import server as ops
from gateway.payments import steps
from gateway.payments.inbound_law import State
from gateway.processor.messages import Readiness
from gateway.processor.openapi import document
from gateway.scheme import news
from gateway.scheme.permits import THINGS, Permits
from gateway.scheme.ring import Ring
from gateway.signer.outage import TokenState
from gateway.volume.verdict import VolumeState

__all__ = ["Configuration", "Request", "command_line", "daemon", "document", "metrics", "ops", "steps"]

BODIES: dict[str, type[Struct]] = {
    **{kind.name: body for kind, body in steps.BODIES.items()},
    "PERMITS": Permits,
    "KEYS": Ring,
}
"""What the body of a record kind holds; a kind that is not here has a raw message or nothing."""
FILES: dict[str, type[Struct]] = {"manifest": manifest._Written}
"""What else is on disk, as it is read."""
FORMAT: dict[str, object] = {
    "version written": record.VERSION,
    "version read at most": record.VERSION_MAX,
    "magic": record.MAGIC,
    "mark": record.MARK,
    "record head": record.HEAD.format,
    "mark head": record._MARK_HEAD.format,
    "segment header": record._HEADER.format,
    "chain bytes": record.CHAIN_BYTES,
    "header bytes": record.HEADER_BYTES,
    "mark bytes": record.MARK_BYTES,
    "batch bytes at most": record.BATCH_BYTES_MAX,
    "cursor file": manifest.cursor_name("NAME"),
}
ON_DISK: dict[str, tuple[str, ...]] = {
    "state that a reversal found": tuple(state.name for state in State),
    "thing that news sets": THINGS,
    "stand-in mode": get_args(StandInMode),
}
"""Words that bodies hold."""

ORDERS: dict[str, type[Struct]] = {
    "POST /acts/* request": table.Order,
    **{f"POST /acts/{kind.name} request.what": kind.takes for kind in table.KINDS.values()},
    "GET /acts response.acts[]": book.Entry,
    "GET /drain response": drain.Progress,
    "POST /news request": news.HandedOn,
    "GET /ready at the door": Readiness,
}
"""JSON of the ops port whose members are declared."""
IN_PROSE = {"Notice.reason", "News.state", "News.what"}
"""Members whose words are in their description alone."""

LABELS: dict[str, tuple[str, ...]] = {
    "fps_name_lookups outcome": metrics.LOOKUP_OUTCOMES,
    "fps_peer_news outcome": metrics.NOTICE_OUTCOMES,
    "fps_signer_token_lost state": get_args(TokenState),
    "fps_link_reports report": get_args(ReportName),
    "fps_steps step": STEPS,
    "fps_usm function": news.COUNTED,
    "fps_usm outcome": news.OUTCOMES,
    "fps_stand_in_mode mode": get_args(StandInMode),
    "fps_volume_state state": get_args(VolumeState),
}
"""Closed sets of label values that are no children of a metric when the process starts."""

EXITS: dict[str, dict[str, int]] = {
    "run": {code.name: code.value for code in ExitCode},
    "drain": {code.name: code.value for code in drain_command.Code},
    "acts": {code.name: code.value for code in ordering.Code},
    "any command": {
        "OUTPUT_GONE": OUTPUT_GONE,
        "OUTPUT_FAILED": OUTPUT_FAILED,
        "INTERRUPTED": INTERRUPTED,
        "WITHOUT_ASSERTIONS": WITHOUT_ASSERTIONS,
    },
}


def shown_collectors() -> dict[str, Any]:
    """Metrics that are made when they are asked for, each with a value of everything that it may show."""
    volume = metrics.VolumeShown("ok", 2, 2, quorum=True, peers={"PEER": (False, 0)})
    return {
        "pair": metrics.PairInfo("GROUP", "FINGERPRINT", "VERSION"),
        "parts": metrics.Parts(lambda: {"PART": True}, get_args(StandInMode), lambda: "timer"),
        "news": metrics.SchemeNews({("FUNCTION", "OUTCOME"): 1}, lambda: {"WHAT": 1}),
        "volume": metrics.VolumeStates(get_args(VolumeState), lambda: volume),
        "steps": metrics.StepCounts({}, ("STEP",)),
    }
