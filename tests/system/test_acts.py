"""Acts on a real gateway: by the command, over its socket; over restarts; and what the journal says of them."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import trio

from loadtest.parts.processes import order
from loadtest.runs.world import Plan, World, http
from tests.system.worlds import Worlds, end, load, until

pytestmark = pytest.mark.system
PLAN = Plan(stand_in_after_s=1.0, patience_s=4.0, outbound=True)


async def fps_gateway(*arguments: str) -> "subprocess.CompletedProcess[bytes]":
    """A command, as a person types it."""
    command = [sys.executable, "-P", "-m", "gateway", *arguments]
    return await trio.run_process(command, check=False, capture_stdout=True, capture_stderr=True)


async def acts_of(it: World) -> list[dict[str, object]]:
    """The records of acts in the journal: what was done, how it stands, whence, what."""
    shown = await fps_gateway("journal", "show", str(it.the_gateway.journal), "--kind", "ACT", "--json")
    return [json.loads(line)["body"] for line in shown.stdout.splitlines()]


async def test_payments_of_ours_stop_at_once_and_over_a_restart(worlds: Worlds) -> None:
    """By the command; those that arrive go on meanwhile; after the start they leave again. Each act is listed."""
    async with worlds(PLAN) as it:
        stopped = await fps_gateway(
            "stop-submitting", "--socket", str(it.socket), "--yes", "--why", "a fraud is under way"
        )
        assert (stopped.returncode, stopped.stderr) == (0, b"")
        await it.submit(20, 1)
        await load(it, 20, 1)
        await it.kill_gateway()
        await it.start_gateway()
        assert not (await it.hub("statistics"))["counts"].get("9200")
        assert (await it.statistics())["engine"]["outbound"]["stopped"]
        started = await fps_gateway(
            "start-submitting", "--config", str(it.configuration), "--yes", "--why", "it is over", "--json"
        )
        assert json.loads(started.stdout)["state"] == "done"
        await it.submit(20, 1)

        async def left() -> bool:
            return bool((await it.statistics())["engine"]["counts"].get("outbound_settled", 0) >= 10)

        await until(left)
        listed = await fps_gateway("acts", "list", "--socket", str(it.socket))
        assert [word in listed.stdout.decode() for word in ("stop-submitting", "a fraud is under way", "tester")] == [
            True
        ] * 3
        await end(it, may={"unsent", "unknown", "invalid", "unreached"})


async def test_what_nobody_ordered_here_is_an_act_too(worlds: Worlds) -> None:
    """A signal; a look at customers' data while no gateway ran; another configuration at the next start."""
    async with worlds() as it:
        await load(it, 20, 0.5)
        await it.settled()
        assert await it.stop_gateway() == 0
        journal = str(it.the_gateway.journal)
        assert (await fps_gateway("journal", "show", journal, "--reveal", "--why", "a complaint")).returncode == 0
        text = it.configuration.read_text(encoding="utf-8")
        it.configuration.write_text(text.replace("tell_per_s = 2000.0", "tell_per_s = 1999.0"), encoding="utf-8")
        await it.start_gateway()

        async def taken_in() -> bool:
            return not Path(journal, "acts").read_bytes().strip(b"\0")

        await until(taken_in)
        acts = await acts_of(it)
        found = [(act["act"], str(act["origin"]).split(" ")[0]) for act in acts]
        assert found == [("drain", "signal"), ("configuration", "start"), ("reveal", "uid")]
        assert acts[1]["what"] == {"node.processor.tell_per_s": "2000.0 → 1999.0"}
        assert acts[2]["why"] == "a complaint"
        await end(it)


@pytest.mark.parametrize("act", ["drain", "stop-submitting", "stand-in"])
async def test_on_loopback_nobody_acts(worlds: Worlds, act: str) -> None:
    """Looking is all that the port is for; on the socket, another user's process may do nothing."""
    async with worlds() as it:
        status, _ = await http(it.ops_port, "POST", f"/acts/{act}", b'{"why":"x","what":{}}')
        assert status == 403
        for path in ("/acts", "/drain", "/notices"):
            assert (await http(it.ops_port, "GET", path))[0] == 403, "reasons, and waiting, are for those who act"
            assert (await http(it.socket, "GET", path))[0] in {200, 202}
        assert await order(it.socket, "no-such-act") == 404
        await load(it, 20, 0.5)
        await end(it)
