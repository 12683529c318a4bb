"""Compares what a configuration can need of this process, part by part, with what the system allows.

Two resources are limited: open files (descriptors; RLIMIT_NOFILE) and tasks (threads and processes; `pids.max` of the
cgroup, which systemd sets by TasksMax and Compose by `pids`, and RLIMIT_NPROC). The largest need of each `vital` part
is reserved for it (`descriptors`), so that a crowd at the door costs neither a link nor the journal. All clients
together may need more than there is: then some are turned away, and the log says so.
"""

import os
import resource
from collections.abc import Iterator
from math import inf
from pathlib import Path
from typing import NamedTuple

from gateway import config, log
from gateway.errors import Unavailable
from gateway.journal.thread import READS_MAX
from gateway.machine import descriptors
from gateway.machine.descriptors import Kept
from gateway.network import strangers
from gateway.ops import server
from gateway.processor import calls

OTHERS_MIN = 8
"""Descriptors for a question or two, a notice and some clients: without these the gateway would do nothing."""
TASKS_MIN = 7
"""The main thread, one of the log, two of the journal, one to read, one to start a worker, and a worker."""

_log = log.get("allowance")


class Need(NamedTuple):
    """The most that one part can need at once."""

    who: str
    descriptors: int
    tasks: int
    vital: bool = True


def needs(node: config.Node) -> list[Need]:
    """The need of every part."""
    peers, sibling, volume = len(node.peers), node.sibling is not None, node.volume is not None
    processor, followers = node.processor, 1 + len(node.peers)
    asking = processor.connections_max + processor.tell_connections + calls.INQUIRIES_MAX
    clients = node.submissions.connections_max + strangers.CONNECTIONS_MAX if node.submissions is not None else 0
    return [
        # standard streams, five of the event loop, the supervisor, files read now and then: metrics, TLS files
        Need("the process", 16, 3),
        # lock, directory, manifest, three segments; for each follower a cursor, and a read
        Need("the journal", 6 + 2 * followers, 2 + min(READS_MAX, followers)),
        # for each site its link, a few addresses being tried, and a lookup, which takes three
        Need("links to the hub", 8 * len(node.hub), 2 * len(node.hub)),
        # a socket, its standard error and a handle; to start one takes six more. Libraries have threads of their own
        Need("tokens", 9 * len(node.token), 5 * len(node.token)),
        Need("the ops server", 2 + server.CONNECTIONS_MAX, 0),
        Need("the volume", 6 * volume, 3 * volume),
        Need("names of the processor, peers and sibling", 3 * (1 + peers + sibling), 1 + peers + sibling),
        Need("connections to the processor, peers and sibling", asking + 2 * peers + sibling, 0, vital=False),
        Need("the port for submissions", 2 + clients if clients else 0, 0, vital=False),
    ]


def vital(node: config.Node) -> int:
    """Descriptors that the vital parts can need together."""
    return sum(need.descriptors for need in needs(node) if need.vital)


def kept_of(node: config.Node, limit: float) -> Kept:
    """The descriptors reserved, of `limit`. The vital parts come first. Of the rest, connections to the processor get
    as many as they can need, half at most; clients get what remains.
    """
    kept = vital(node)
    questions = next(need.descriptors for need in needs(node) if not need.vital)
    left = max(0.0, min(limit, 1 << 30) - kept)
    return Kept(kept + int(min(questions, left // 2)), kept)


class Allowed(NamedTuple):
    """The limits that the system sets for this process."""

    descriptors: float
    tasks: float
    tasks_by: str
    """The name of the limit of tasks."""


def allowed() -> Allowed:
    """The limits that are in force now."""
    tasks, by = inf, ""
    soft, _ = resource.getrlimit(resource.RLIMIT_NPROC)
    if soft != resource.RLIM_INFINITY and os.geteuid():
        tasks, by = soft, "RLIMIT_NPROC, for all processes of this user"
    pids = pids_max(Path("/proc/self/cgroup"), Path("/sys/fs/cgroup"))
    if pids < tasks:
        tasks, by = pids, "pids.max, TasksMax in systemd"
    return Allowed(descriptors.limit(), tasks, by)


def pids_max(groups: Path, mount: Path) -> float:
    """The least `pids.max` of this process's cgroup and of those above it; inf when none can be read."""
    found = inf
    for line in _text(groups).splitlines():
        _, controllers, path = line.split(":", 2)
        if controllers not in {"", "pids"}:
            continue
        at = mount / controllers
        for part in ("", *path.strip("/").split("/")):
            at /= part
            said = _text(at / "pids.max").strip()
            found = min(found, int(said) if said.isdecimal() else inf)
    return found


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="ascii")
    except (OSError, ValueError):
        return ""


def faults(node: config.Node, has: Allowed) -> Iterator[str]:
    """Say which limit is too low for this configuration to work at all, with both numbers."""
    least = vital(node) + OTHERS_MIN
    if has.descriptors < least:
        yield f"{has.descriptors:g} open files are allowed (RLIMIT_NOFILE), and it needs {least} at least"
    if has.tasks < TASKS_MIN:
        yield f"{has.tasks:g} threads and processes are allowed ({has.tasks_by}), and it needs {TASKS_MIN} at least"


def remarks(node: config.Node, has: Allowed) -> Iterator[str]:
    """Say which limit may be reached under full load. Limits that `faults` names are left out."""
    most = sum(need.descriptors for need in needs(node))
    if vital(node) + OTHERS_MIN <= has.descriptors < most:
        what = f"{has.descriptors:g} open files are allowed (RLIMIT_NOFILE), and this configuration can need {most}"
        yield f"{what}: beyond it clients are turned away, and questions wait"
    tasks = sum(need.tasks for need in needs(node))
    if TASKS_MIN <= has.tasks < tasks:
        what = f"{has.tasks:g} threads and processes are allowed ({has.tasks_by})"
        yield f"{what}, and this configuration can need {tasks}: beyond it workers and names are tried again later"


def notes(node: config.Node) -> Iterator[str]:
    """For `config check`, which may run under other limits than the gateway will."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    has = allowed()._replace(descriptors=inf if resource.RLIM_INFINITY in {soft, hard} else hard)
    yield from (f"here {fault}: it would not start" for fault in faults(node, has))
    yield from (f"here {remark}" for remark in remarks(node, has))


def fit(node: config.Node) -> None:
    """Raise the limit of open files to what this configuration can need, as far as allowed; log what may be short.

    Raises `Unavailable` when the gateway cannot work within the limits.
    """
    most = sum(need.descriptors for need in needs(node))
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != resource.RLIM_INFINITY and soft < most:
        more = most if hard == resource.RLIM_INFINITY else min(most, hard)
        if more > soft:
            resource.setrlimit(resource.RLIMIT_NOFILE, (more, hard))
            _log.info("open file limit raised", limit=more)
    has = allowed()
    if short := "; ".join(faults(node, has)):
        raise Unavailable(short)
    for remark in remarks(node, has):
        _log.warning("limits of this process may be reached", reason=remark)
