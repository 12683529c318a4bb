"""The tokens behind one PKCS#11 library, each slot asked by itself: a fault in one slot hides no other.

A library may stand for several HSMs, one of which is dead. python-pkcs11 walks over all slots in one go and gives up at
the first error. So here each token is asked for alone, and an error is kept beside the number of its slot. The list of
slots itself may fail, too: it grows between the two calls that PKCS#11 wants (CKR_BUFFER_TOO_SMALL), or one slot's
C_GetSlotInfo fails, and python-pkcs11 makes no slot by its number. Then python-pkcs11 is shown the library through our
own table of functions (CK_FUNCTION_LIST), in which one slot cannot make these two calls fail for all. Everything else
in the table is the library's.

A slot that hangs hangs the walk, and with it the worker, which the pool then ends: PKCS#11 has no call with a deadline.
Where a vendor's library can be told to show one HSM only, `node.token.environment` is the place for that.
"""

import ctypes
import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import pkcs11

LIST_TRIES = 5
"""Attempts to get the list of slots while it changes under our hands, or fails."""
SLOTS_MAX = 4096
"""A library that reports more has gone mad."""

_OK, _GENERAL_ERROR = 0x0, 0x5
_TOKEN_PRESENT = 0x1
_GET_SLOT_LIST, _GET_SLOT_INFO, _FUNCTIONS = 4, 5, 68
"""Places in CK_FUNCTION_LIST, whose order PKCS#11 2.x has fixed, and how many there are."""
_EMPTY = (pkcs11.TokenNotPresent, pkcs11.TokenNotRecognised)
"""An empty slot is in order."""


class Walk(NamedTuple):
    """The answers of the slots."""

    tokens: list[Any]
    """Those that answer, in the order of their slots."""
    troubles: dict[int, str]
    """By the number of the slot: why it cannot be asked, in words."""


def walk(library: Any, label: str) -> Walk:
    """Ask every slot. Those that fail are asked once more when no other slot has a token of this label: the error may
    be gone. Raises `pkcs11.PKCS11Error` when the list of slots cannot be had.
    """
    slots = {slot.slot_id: slot for slot in _slots(library)}
    found, troubles = _ask(slots)
    if troubles and all(token.label != label for token in found.values()):
        again, troubles = _ask({number: slots[number] for number in troubles})
        found |= again
    return Walk([found[number] for number in slots if number in found], troubles)


def named(error: pkcs11.PKCS11Error) -> str:
    """A PKCS#11 error in a word: its class, or its number where python-pkcs11 has no class for it (a vendor's)."""
    number = re.search(r"0x[0-9a-f]+", str(error)) if type(error) is pkcs11.PKCS11Error else None
    return f"CKR {number[0]}" if number else type(error).__name__


def _ask(slots: dict[int, Any]) -> tuple[dict[int, Any], dict[int, str]]:
    """The tokens in these slots, and why others cannot be asked."""
    found: dict[int, Any] = {}
    troubles: dict[int, str] = {}
    for number, slot in slots.items():
        try:
            found[number] = slot.get_token()
        except _EMPTY:
            continue
        except pkcs11.PKCS11Error as error:
            troubles[number] = named(error)
    return found, troubles


def _slots(library: Any) -> list[Any]:
    try:
        return list(library.get_slots())
    except pkcs11.PKCS11Error:
        with _through(library) as seen:
            if not seen:
                raise
            return list(library.get_slots())


# --- the library through a table of our own


class _Table(ctypes.Structure):
    """CK_FUNCTION_LIST."""

    _fields_ = [("version", ctypes.c_ubyte * 2), ("functions", ctypes.c_void_p * _FUNCTIONS)]


class _SlotInfo(ctypes.Structure):
    """CK_SLOT_INFO."""

    _fields_ = [
        ("description", ctypes.c_ubyte * 64), ("manufacturer", ctypes.c_ubyte * 32), ("flags", ctypes.c_ulong),
        ("hardware", ctypes.c_ubyte * 2), ("firmware", ctypes.c_ubyte * 2),
    ]  # fmt: skip


_Numbers = ctypes.POINTER(ctypes.c_ulong)
_ListCall = ctypes.CFUNCTYPE(ctypes.c_ulong, ctypes.c_ubyte, _Numbers, _Numbers)
_InfoCall = ctypes.CFUNCTYPE(ctypes.c_ulong, ctypes.c_ulong, ctypes.POINTER(_SlotInfo))

_kept: list[_Table] = []
"""Kept for ever: the slots that were made under a table hold its address. One table for each walk that failed, in a
process that makes one walk."""


@contextmanager
def _through(library: Any) -> Iterator[bool]:
    """Have python-pkcs11 see the library through our table. False: it cannot, because it is built otherwise."""
    given = ctypes.POINTER(_Table)()
    ctypes.CDLL(library.so).C_GetFunctionList(ctypes.byref(given))
    # `HasFuncList.funclist`, the first member of the object: verified before it is touched
    place = ctypes.c_void_p.from_address(id(library) + object.__basicsize__)
    real = ctypes.cast(given, ctypes.c_void_p).value
    if real is None or place.value != real:
        yield False
        return
    table = _Table.from_buffer_copy(given.contents)
    calls = _List(table), _info_call(table)
    table.functions[_GET_SLOT_LIST] = ctypes.cast(calls[0].call, ctypes.c_void_p).value
    table.functions[_GET_SLOT_INFO] = ctypes.cast(calls[1], ctypes.c_void_p).value
    _kept.append(table)
    place.value = ctypes.addressof(table)
    try:
        yield True
    finally:
        place.value = real
        # from now on the table holds the library's own functions
        ctypes.memmove(table.functions, given.contents.functions, ctypes.sizeof(table.functions))


class _List:
    """C_GetSlotList that asks for number and list at once, again when that fails, and then answers from its memory."""

    def __init__(self, table: _Table) -> None:
        self._real = _ListCall(table.functions[_GET_SLOT_LIST])
        self._numbers: list[int] = []
        self.call = _ListCall(self._answer)

    def _answer(self, present: int, into: Any, count: Any) -> int:
        if not into:
            status, self._numbers = self._ask(present)
            count[0] = len(self._numbers)
            return status
        for at, number in enumerate(self._numbers):
            into[at] = number
        return _OK

    def _ask(self, present: int) -> tuple[int, list[int]]:
        status = _GENERAL_ERROR
        for _ in range(LIST_TRIES):
            count = ctypes.c_ulong()
            status = self._real(present, None, ctypes.byref(count))
            if status == _OK and count.value <= SLOTS_MAX:
                room = count.value + 1  # a slot that appears between the calls has a place
                numbers = (ctypes.c_ulong * room)()
                count.value = room
                status = self._real(present, numbers, ctypes.byref(count))
                if status == _OK:
                    return _OK, list(numbers[: min(count.value, room)])
        return status or _GENERAL_ERROR, []


def _info_call(table: _Table) -> Any:
    """C_GetSlotInfo that says of every slot at least that it is there: its token then shows the error."""
    real = _InfoCall(table.functions[_GET_SLOT_INFO])

    def answer(number: int, info: Any) -> int:
        if real(number, info) != _OK:
            ctypes.memset(info, 0, ctypes.sizeof(_SlotInfo))
            info[0].flags = _TOKEN_PRESENT
        return _OK

    return _InfoCall(answer)
