"""SoftHSM behind a library of our own (`shim.c`), which fails on order, slot by slot and call by call."""

import json
import os
import shutil
import subprocess
import sys
import tempfile
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from gateway.config import Mac
from hsm.layout import Layout, find_module

SOURCE = Path(__file__).with_name("shim.c")
MORE = 9000
"""The number of the first slot that is none of SoftHSM's."""

_TRY = """
import json, os, sys
from gateway.signer import slots
from gateway.signer.messages import Start, held
from gateway.signer.outage import TokenOutage
from gateway.signer.token import OpenToken
import pkcs11
module, pin_file, orders = sys.argv[1:]
def aside(work):
    read, write = os.pipe()
    if not os.fork():
        try:
            said = work()
        except BaseException as error:
            said = f"raised {type(error).__name__}: {error}"
        os.write(write, json.dumps(said).encode())
        os._exit(0)
    os.close(write)
    with os.fdopen(read) as file:
        text = file.read()
    os.wait()
    return json.loads(text)
def numbers():
    return {token.label: token.slot.slot_id for token in slots.walk(pkcs11.lib(module), "").tokens}
def attempt(label):
    start = Start(module, label, pin_file, "aes-cmac", 0, held("fps-own"), 1.0, 1.0)
    try:
        token = OpenToken(start)
    except TokenOutage as error:
        return [error.outage.state, error.outage.why]
    shown = token.show().values
    token.close()
    return ["serving", shown["fps-own"]]
open(orders, "w").close()
known = aside(numbers)
for line in sys.stdin:
    label, wanted = json.loads(line)
    for name, number in known.items():
        wanted = wanted.replace(f"<{name}>", str(number))
    with open(orders, "w") as file:
        file.write(wanted)
    print(json.dumps(aside(lambda: attempt(label))))
"""


class Shim:
    """The library, with a directory of tokens below it."""

    def __init__(self, template: Path, folder: Path, *, more: int = 1, label: str = "fps-1") -> None:
        """`more`: slots beside SoftHSM's; `label`: what such a slot's token is labelled on order."""
        self.module = str(_built())
        shutil.copytree(template, folder)
        self.layout = Layout(folder, find_module(), 3, 0, "fps", Mac())
        self.layout.conf.write_text(self.layout.conf_text())
        self.orders = folder / "orders"
        self.orders.write_text("")
        self.environment = {
            "SOFTHSM2_CONF": str(self.layout.conf),
            "FPS_SHIM_REAL": find_module(),
            "FPS_SHIM_ORDERS": str(self.orders),
            "FPS_SHIM_MORE": str(more),
            "FPS_SHIM_LABEL": label,
        }

    def tried(self, orders: list[str], label: str = "fps-1") -> list[Any]:
        """For each of these orders, in a process of its own: the state of the token with this label, and why.

        `<fps-2>` in an order stands for the number of that token's slot.
        """
        pin_file = str(self.layout.pin_file(label))
        done = subprocess.run(
            [sys.executable, "-c", _TRY, self.module, pin_file, str(self.orders)],
            input="".join(json.dumps([label, each]) + "\n" for each in orders),
            env={**os.environ, **self.environment},
            capture_output=True, text=True, check=True, timeout=120,
        )  # fmt: skip
        return [json.loads(line) for line in done.stdout.splitlines()]


@cache
def _built() -> Path:
    """The library; skips the test where no compiler builds it."""
    compiler = shutil.which("gcc") or shutil.which("cc")
    if compiler is None:
        pytest.skip("no C compiler here: gcc builds the PKCS#11 library that fails on order")
    library = Path(tempfile.mkdtemp(prefix="fps-shim-")) / "libshim.so"
    command = [compiler, "-shared", "-fPIC", "-O1", "-o", str(library), str(SOURCE), "-ldl"]
    made = subprocess.run(command, capture_output=True, text=True, check=False)
    if made.returncode:
        pytest.skip(f"{compiler} cannot build a library here (libc6-dev is missing?)")
    return library
