"""Why a token does not serve: one name and one class for it, from the worker to `/ready`. Pure."""

from typing import Literal

import msgspec

TokenState = Literal[
    "starting", "serving", "hung", "crashed", "failing", "different-keys", "same-keys",
    "wrong-pin", "no-pin", "no-key", "no-token", "no-module",
]  # fmt: skip
"""`starting` and `serving`; every other one says why the token does not serve. `failing` is the token's own report.
`different-keys`: other tokens have others. `same-keys`: two that must differ are one."""


class Outage(msgspec.Struct, frozen=True):
    """Why a token does not serve, also in words."""

    state: TokenState
    why: str


class TokenOutage(Exception):
    """The token does not serve; `outage` says why."""

    def __init__(self, state: TokenState, why: str) -> None:
        super().__init__(why)
        self.outage = Outage(state, why)
