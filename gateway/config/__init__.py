"""The configuration: one frozen value. `config.file` reads it from TOML, `config.checking` checks it as a whole.

    kinds      the kinds of value, with their limits
    pair       the settings that both sites must share
    node       the settings of one process
    written    where in the file a setting stands
    rules      settings that do not fit each other, or that may be a mistake
    checking   every mistake, field by field and between fields
    file       reads the files and checks them as one

Each setting has its unit and meaning beside its declaration; `fps-gateway config example` and the reference in docs/
are made from these. A fact that the notes on the protocol call likely or unknown is a setting or stands in the field
table, never in code.
"""

import hashlib
from pathlib import Path

import msgspec
from msgspec import Struct

from gateway.config.kinds import (
    Group,
    InClear,
    Name,
    Role,
    StandInMode,
    choices_in,
    described,
    is_many,
    struct_in,
)
from gateway.config.node import (
    Actor,
    Acts,
    Ejection,
    HubSite,
    JournalSettings,
    Log,
    Node,
    Ops,
    OpsTls,
    Processor,
    ServerTls,
    Sibling,
    Submissions,
    Tls,
    Token,
    Unproved,
    Volume,
)
from gateway.config.pair import (
    Dates,
    Deadlines,
    Keys,
    Mac,
    News,
    Pair,
    Session,
    StandIn,
    Submit,
    Wire,
    days_spanned,
)

__all__ = [
    "Actor", "Acts", "Configuration", "Dates", "Deadlines", "Ejection", "Group", "HubSite", "InClear",
    "JournalSettings", "Keys", "Log", "Mac", "Name", "News", "Node", "Ops", "OpsTls", "Pair", "Processor", "Role",
    "ServerTls", "Session", "Sibling", "StandIn", "StandInMode", "Submissions", "Submit", "Tls", "Token", "Unproved",
    "Volume", "Wire", "choices_in", "days_spanned", "described", "is_many", "struct_in",
]  # fmt: skip


class Configuration(Struct, frozen=True, forbid_unknown_fields=True):
    """The whole configuration."""

    node: Node
    pair: Pair

    def fingerprint(self) -> str:
        """Sixteen hex digits over what the pair shares: equal on both sites, or something is wrong.

        A table counts by what it holds, not by where it lies. Raises `OSError` when it cannot be read any more.
        """
        wire = self.pair.wire
        wire_alone = msgspec.structs.replace(wire, field_table="", usm_table="", code_table="")
        shared = msgspec.structs.replace(self.pair, wire=wire_alone)
        digest = hashlib.blake2b(msgspec.json.encode(shared, order="deterministic"), digest_size=8)
        if wire.field_table:
            digest.update(Path(wire.field_table).read_bytes())
        if wire.usm_table:
            digest.update(b"\0usm\0" + Path(wire.usm_table).read_bytes())
        if wire.code_table:
            digest.update(b"\0codes\0" + Path(wire.code_table).read_bytes())
        return digest.hexdigest()
