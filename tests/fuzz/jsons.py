"""JSON, spoilt: what a member says, that it is there, that it is there once."""

import json
import random
from typing import Any

VALUES: list[Any] = [
    None, True, 0, -1, 1e308, 10**30, "", "0", "é", "\0", "\ud800", " x ", "x" * 300, [], [[]], {}, {"": 1}, "12.34",
    "GBP", "826", "2025-02-30", "2025-11-22", "pacs.004", "pacs.008", "100000", "GBDSC", "1114", "RJCT", "ACTC", "ACSP",
    "0083", "004", "00000014", "TEST000000000000011020251122826200000     ", "001003SHA",
]  # fmt: skip
NAMES = [
    "MsgTp", "TxId", "PrcgCd", "IntrBkSttlmAmt", "Amt", "Ccy", "Dbtr", "Nm", "RmtInf", "Ustrd", "RtrRsnInf",
    "OrgnlFPID", "FPID", "ClrSysId", "LclInstrm", "InstdAmt", "RjctdAmt", "XchgRate", "NbRef", "CdtItms", "ChrgsInf",
    "TxSts", "StsRsnInf", "Rsn", "Prtry", "FldInErr", "mode", "use", "source", "message", "", "a/b", "x" * 50,
]  # fmt: skip
WORDS = [json.dumps(name).encode() + b":" for name in NAMES] + [json.dumps(value).encode() for value in VALUES[:20]]


class _Pairs(list[tuple[str, Any]]):
    """An object that may hold a member twice."""


def spoil(text: bytes, luck: random.Random) -> bytes:
    """Change it as a tree, when it is one, and write it in one of many ways."""
    try:
        tree = json.loads(text, object_pairs_hook=_Pairs)
    except (ValueError, RecursionError):
        at = luck.randrange(len(text) + 1)
        return text[:at] + luck.choice(WORDS) + text[at:]
    for _ in range(luck.choice((1, 1, 2, 3))):
        objects = list(_objects(tree))
        if not objects:
            break
        one = luck.choice(objects)
        what = luck.randrange(5)
        if what == 0 and one:
            del one[luck.randrange(len(one))]
        elif what == 1 or not one:
            one.insert(luck.randrange(len(one) + 1), (luck.choice(NAMES), luck.choice(VALUES)))
        elif what == 2:
            one.append(luck.choice(one))
        else:
            at = luck.randrange(len(one))
            one[at] = (one[at][0], luck.choice(VALUES))
    return _written(tree, luck.random() < 0.2, luck.choice(("", "", " ", "\n\t"))).encode("utf-8", "surrogatepass")


def _objects(value: Any) -> Any:
    if isinstance(value, _Pairs):
        yield value
        for _, inner in value:
            yield from _objects(inner)


def _written(value: Any, ascii_only: bool, space: str) -> str:  # noqa: FBT001  handed down
    if isinstance(value, _Pairs):
        members = (
            f"{json.dumps(name, ensure_ascii=ascii_only)}{space}:{space}{_written(inner, ascii_only, space)}"
            for name, inner in value
        )
        return "{" + f"{space},".join(members) + space + "}"
    return json.dumps(value, ensure_ascii=ascii_only)
