"""Controls of the ops port for operators: `POST /stand-in`, `POST /keys/request` and `POST /keys/allow`."""

from collections.abc import Awaitable, Callable
from typing import Any

import msgspec

from gateway.config import StandInMode
from gateway.ops.news import done
from gateway.payments.standin import order_of
from gateway.scheme.keywork import Done
from gateway.scheme.ring import Allow, Use, wanted_of
from gateway.strict_json import Reader

_read_allow = Reader(Allow)


class StandInControl:
    """The ops server's control for `/stand-in`."""

    def __init__(self, switch: Callable[[StandInMode], Awaitable[None]]) -> None:
        """`switch` returns when the mode is on disk."""
        self._switch = switch

    async def __call__(self, body: bytes) -> tuple[int, dict[str, Any]]:
        """200: the mode is on disk and counts. 400: the body is no order."""
        try:
            mode = order_of(body)
        except ValueError as error:
            return 400, {"error": str(error)}
        await self._switch(mode)
        return 200, {"mode": mode}


class KeyControl:
    """The ops server's control for `/keys/request`."""

    def __init__(self, ask: Callable[[Use], str]) -> None:
        """`ask` asks the hub for a new key, and returns why it cannot, or nothing."""
        self._ask = ask

    async def __call__(self, body: bytes) -> tuple[int, dict[str, Any]]:
        """202: the hub is asked. 400: the body is no order. 409: it cannot be asked now."""
        try:
            use = wanted_of(body)
        except ValueError as error:
            return 400, {"error": str(error)}
        why = self._ask(use)
        return (409, {"error": why}) if why else (202, {"use": use.value})


class AllowControl:
    """The ops server's control for `/keys/allow`."""

    def __init__(self, order: Callable[[Allow, Done], None]) -> None:
        """`order` has a superseded key come back, once, and calls back when that is durable or refused."""
        self._order = order

    async def __call__(self, body: bytes) -> tuple[int, dict[str, Any]]:
        """200: it is on disk and counts. 400: it is no order. 409: no such key was superseded. Cancelled, it may
        count.
        """
        try:
            allow = _read_allow(body)
        except msgspec.DecodeError as error:  # a validation error is one, too
            return 400, {"error": str(error)}
        refused = await done(lambda over: self._order(allow, over))
        return (409, {"error": refused}) if refused else (200, {"allowed": allow.check.upper(), "use": allow.use})
