"""The settings of this process at its start: what has changed since the start before is an act, too. Pure."""

import hashlib
from collections.abc import Iterator
from typing import Any

import msgspec
from msgspec import Struct

from gateway.clock import Now
from gateway.payments import steps
from gateway.payments.lasting import Lasting
from gateway.payments.links import RECORDER
from gateway.payments.steps import Kind

SECRET = ("environment", "pin", "password", "secret")
"""Parts of the names of settings whose values are not kept. Today none of them holds a secret but, perhaps, the
environment of a PKCS#11 library; the name alone decides, so that one that is added is safe."""
VALUE_MAX = 300
"""Characters of a value that are kept; of a longer one, its digest."""
NAMED_MAX = 12
"""Settings that one record of a change names, so that it stays short. Others follow in records of their own."""


def flat(configuration: Struct) -> dict[str, str]:
    """Every setting by its name (`node.hub[0].host`), as JSON; a secret or a long value by its digest."""
    return dict(_flat(configuration, ""))


def _flat(value: Any, name: str) -> Iterator[tuple[str, str]]:
    if isinstance(value, Struct):
        for field in msgspec.structs.fields(value):
            yield from _flat(getattr(value, field.name), f"{name}.{field.name}" if name else field.name)
    elif isinstance(value, tuple) and value and isinstance(value[0], Struct):
        for index, item in enumerate(value):
            yield from _flat(item, f"{name}[{index}]")
    else:
        text = msgspec.json.encode(value, order="deterministic").decode()
        secret = any(part in name.rpartition(".")[2] for part in SECRET)
        if secret or len(text) > VALUE_MAX:
            text = "digest " + hashlib.blake2b(text.encode(), digest_size=8).hexdigest()
        yield name, text


def difference(before: dict[str, str], after: dict[str, str]) -> dict[str, str]:
    """What is not the same: by name, `old → new`."""
    return {
        name: _words(before.get(name, "not set"), after.get(name, "not set"))
        for name in sorted({*before, *after})
        if before.get(name) != after.get(name)
    }


def _words(old: str, new: str) -> str:
    return "changed" if "digest " in old + new else f"{old} → {new}"


class Remembered:
    """Records the settings, and first what has changed."""

    def __init__(self, settings: dict[str, str], recorded: dict[str, str] | None, record: Any) -> None:
        """`recorded`: of the start before; None: there was none. `record`: see `engine.batch.Batch.record`."""
        self._settings = settings
        self._recorded = recorded
        self._record = record
        self._lasting = Lasting()

    def begin(self, now: Now) -> list[steps.Act]:
        """At a start. Returns the records of what has changed, which are the caller's to write."""
        changed = list(difference(self._recorded, self._settings).items()) if self._recorded is not None else []
        self._write(now)
        return [
            steps.Act("configuration", "done", "", "start", "", dict(changed[at : at + NAMED_MAX]))
            for at in range(0, len(changed), NAMED_MAX)
        ]

    @property
    def due_s(self) -> float:
        """When to call `handle_timer`, on the monotonic clock."""
        return self._lasting.due_s

    def handle_timer(self, now: Now) -> None:
        """Record the settings anew, if that is due."""
        if self._lasting.is_due(now):
            self._write(now)

    def _write(self, now: Now) -> None:
        self._lasting.written(now)
        self._record(Kind.CONFIGURED, steps.pack(steps.Configured(self._settings)), "", RECORDER)
