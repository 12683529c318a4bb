"""One PKCS#11 library for several HSMs, with a fault in one slot: a real SoftHSM below a library that fails on
order, at each call, with each error, once or for ever.
"""

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import trio

from gateway import config
from gateway.clock import system_clock
from gateway.signer import tokens
from gateway.signer.pool import Signer
from gateway.signer.survey import survey
from tests.signer.shim import MORE, Shim

pytestmark = pytest.mark.system

NAMES = {
    0x3: "SlotIDInvalid", 0x5: "GeneralError", 0x6: "FunctionFailed", 0x30: "DeviceError", 0x32: "DeviceRemoved",
    0x150: "PKCS11Error", 0x190: "PKCS11Error", 0x80000123: "CKR 0x80000123",
}  # fmt: skip
"""Errors that a slot may answer with, and what they are called."""
EMPTY = (0xE0, 0xE1)
"""No token there, or none that the slot knows: no error."""
LISTING = ("C_GetSlotList", "C_GetSlotList:list")


@pytest.fixture
def shim(provisioned: Callable[[str], Path], tmp_path: Path) -> Shim:
    return Shim(provisioned("aes-cmac"), tmp_path / "hsm")


def test_a_token_is_found_whatever_is_wrong_with_other_slots(shim: Shim) -> None:
    """Another token's slot, and one that has none: each call about it, each error, once and for ever."""
    table = [
        f"{call} {slot} {code:#x} {times}"
        for call in ("C_GetSlotInfo", "C_GetTokenInfo")
        for slot in ("<fps-2>", MORE)
        for code in (*NAMES, *EMPTY)
        for times in (1, -1)
    ]
    wrong = {orders: said for orders, said in zip(table, shim.tried(table), strict=True) if said[0] != "serving"}
    assert wrong == {}


def test_all_other_slots_at_once(shim: Shim) -> None:
    """Three dead HSMs of four, the list that fails once on top, and a slot whose words are no text."""
    orders = [
        "C_GetSlotInfo <fps-2> 0x30 -1\nC_GetSlotInfo <fps-3> 0x5 -1\nC_GetSlotList:list 0 0x150 1\n",
        "C_GetTokenInfo <fps-2> 0x30 -1\nC_GetTokenInfo <fps-3> 0x30 -1\nC_GetTokenInfo 9000 garbage -1\n",
    ]
    assert [said[0] for said in shim.tried(orders)] == ["serving"] * 2


def test_the_list_of_slots_may_change_or_fail_while_it_is_asked_for(shim: Shim) -> None:
    """Growing and shrinking between the two calls, and each error once; for ever it is said."""
    changes = [f"C_GetSlotList 0 {how} {times}" for how in ("grow", "shrink") for times in (1, -1)]
    once = [f"{call} 0 {code:#x} 1" for call in LISTING for code in NAMES]
    for orders, said in zip(changes + once, shim.tried(changes + once), strict=True):
        assert said[0] == "serving", orders
    for_ever = [(call, code) for call in LISTING for code in NAMES]
    said = shim.tried([f"{call} 0 {code:#x} -1" for call, code in for_ever])
    assert said == [["failing", f"the library does not list its slots: {NAMES[code]}"] for _, code in for_ever]


def test_a_token_that_cannot_be_asked_is_not_taken_for_one_that_is_not_there(shim: Shim) -> None:
    """Its own slot. An error that comes once is nothing; one that stays is named, with the slot's number."""
    once = [f"C_GetTokenInfo <fps-1> {code:#x} 1" for code in NAMES]
    assert [said[0] for said in shim.tried(once)] == ["serving"] * len(once)
    # C_GetSlotInfo tells nothing that we need
    assert shim.tried(["C_GetSlotInfo <fps-1> 0x30 -1"])[0][0] == "serving"
    for code, (state, why) in zip(NAMES, shim.tried([f"C_GetTokenInfo <fps-1> {c:#x} -1" for c in NAMES]), strict=True):
        assert state == "failing"
        assert why.startswith('no such token: label "fps-1"; slot ')
        assert why.endswith(f" cannot be asked: {NAMES[code]}")
    gone = shim.tried([f"C_GetTokenInfo <fps-1> {code:#x} -1" for code in EMPTY])
    assert gone == [["no-token", 'no such token: label "fps-1"']] * 2


def test_of_two_tokens_with_one_label_none_is_used(shim: Shim) -> None:
    """Only people know which was meant; a token that was never initialised is none."""
    two, blank = shim.tried(["C_GetTokenInfo 9000 label -1", "C_GetTokenInfo 9000 blank -1"])
    assert two[0] == "no-token"
    assert two[1].startswith('more than one token has the label "fps-1" (slots ')
    assert two[1].endswith(", 9000): none is used")
    assert blank[0] == "serving"


def test_a_library_that_does_not_start_is_no_missing_module(shim: Shim) -> None:
    """Whatever error it starts with: the next worker tries again."""
    calls = [(call, code) for call in ("C_GetFunctionList", "C_Initialize", "C_GetInfo") for code in (0x30, 0x80000123)]
    said = shim.tried([f"{call} 0 {code:#x} -1" for call, code in calls])
    assert said == [["failing", f"the library does not start: {NAMES[code]}"] for _, code in calls]


def test_a_login_that_fails_by_a_vendors_error_may_be_a_wrong_pin(shim: Shim) -> None:
    """Where the token counts wrong ones, it is not tried again; where it does not, it is."""
    login = "C_Login 0 0x80000123 -1"
    counting, failing, session = shim.tried(
        [f"{login}\nC_GetTokenInfo <fps-1> counts -1", login, "C_OpenSession <fps-1> 0x80000123 -1"]
    )
    assert counting == ["wrong-pin", "the PIN may be wrong: CKR 0x80000123, and the token counts wrong PINs"]
    assert failing == session == ["failing", "the token cannot be opened: CKR 0x80000123"]


async def test_two_healthy_tokens_serve_beside_a_dead_one(shim: Shim, monkeypatch: pytest.MonkeyPatch) -> None:
    """As the gateway has them: real workers, whose restart does not need the dead one. `hsm check` says the same."""
    monkeypatch.setattr(tokens, "PROBE_EVERY_S", 0.2)
    shim.orders.write_text(f"C_GetTokenInfo {MORE} 0x30 -1\nC_GetSlotInfo {MORE} 0x30 -1\n")
    names = ("fps-1", "fps-2")
    settings = tuple(
        config.Token(
            name=name, label=name, module=shim.module, pin_file=str(shim.layout.pin_file(name)),
            environment=shim.environment,
        )
        for name in names
    )  # fmt: skip
    report = await survey(settings, config.Pair(group="sip"))
    assert report.serving == list(names)
    signer = Signer(settings, config.Mac(), system_clock, on_done=list.clear)
    async with trio.open_nursery() as nursery:
        await nursery.start(signer.run)
        member = signer._tokens.members[0]

        async def until(serving: bool) -> None:  # noqa: FBT001
            with trio.fail_after(30):
                while (member.state == "serving") is not serving:
                    await signer.wait_changed()

        await until(True)
        assert member.worker is not None
        os.kill(member.worker.pid, signal.SIGKILL)
        await until(False)
        await until(True)
        nursery.cancel_scope.cancel()


def test_the_orders_reach_the_library(shim: Shim) -> None:
    """python-pkcs11's own search fails by any other slot's error: the results above are no accident."""
    walk = "import sys, pkcs11; pkcs11.lib(sys.argv[1]).get_token(token_label='fps-1')"
    for orders in ("", f"C_GetTokenInfo {MORE} 0x30 -1", f"C_GetSlotInfo {MORE} 0x30 -1", "C_GetSlotList 0 grow 1"):
        shim.orders.write_text(orders + "\n")
        done = subprocess.run(
            [sys.executable, "-c", walk, shim.module], env={**os.environ, **shim.environment},
            capture_output=True, check=False,
        )  # fmt: skip
        assert done.returncode == (1 if orders else 0), orders
