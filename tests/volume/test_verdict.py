"""The policy, case by case: which findings make a gateway unready, and which are only reported."""

import pytest

from gateway.config import Volume
from gateway.volume.status import Peer, Status
from gateway.volume.verdict import Verdict, judge, standalone
from tests.fakes.volume import well, without

THREE = Volume("fps-sip")
TWO = Volume("fps-sip", copies=2)
ONE = Volume("fps-sip", copies_min=1)
DIFFERING = (Peer("server-2", "Connected", "UpToDate", 4096), Peer("server-3", "Connected", "UpToDate", 0))
SYNCING = (Peer("server-2", "Connected", "Inconsistent", 4096), Peer("server-3", "Connected", "UpToDate", 0))


@pytest.mark.parametrize(
    ("status", "settings", "verdict"),
    [
        (well(), THREE, Verdict("ok", "")),
        (well(quorum=None), THREE, Verdict("ok", "")),
        (without("server-2"), THREE, Verdict("degraded", "2 up-to-date copies of the volume of 3")),
        (without("server-2"), TWO, Verdict("ok", "")),
        (
            without("server-3", connection="StandAlone"),
            THREE,
            Verdict("degraded", "2 up-to-date copies of the volume of 3; StandAlone towards server-3"),
        ),
        (without("server-3", connection="StandAlone"), TWO, Verdict("degraded", "StandAlone towards server-3")),
        (well(disk="Diskless"), THREE, Verdict("degraded", "2 up-to-date copies of the volume of 3")),
        (well(peers=DIFFERING), THREE, Verdict("degraded", "blocks differ from server-2")),
        (well(peers=SYNCING), THREE, Verdict("degraded", "2 up-to-date copies of the volume of 3")),
        (
            without("server-2", "server-3"),
            THREE,
            Verdict("unready", "1 up-to-date copy of the volume, and 2 is the least"),
        ),
        (without("server-2", "server-3"), ONE, Verdict("degraded", "1 up-to-date copy of the volume of 3")),
        (
            without("server-2", "server-3")._replace(disk="Failed"),
            ONE,
            Verdict("unready", "0 up-to-date copies of the volume, and 1 is the least"),
        ),
        (well(quorum=False), THREE, Verdict("unready", "the volume has lost quorum")),
        (well(suspended=True), THREE, Verdict("unready", "the volume's I/O is suspended")),
        (well(failing=True), THREE, Verdict("unready", "the volume fails all I/O")),
        (well(role="Secondary"), THREE, Verdict("unready", "the volume is Secondary here, not Primary")),
        (
            without("server-2", connection="StandAlone")._replace(quorum=False),
            THREE,
            Verdict(
                "unready",
                "the volume has lost quorum; 2 up-to-date copies of the volume of 3; StandAlone towards server-2",
            ),
        ),
    ],
)
def test_the_policy(status: Status, settings: Volume, verdict: Verdict) -> None:
    """The worst finding counts; the lesser ones are in the reason, too."""
    assert judge(status, settings) == verdict


def test_who_is_standalone_is_named() -> None:
    assert standalone(without("server-2", "server-3", connection="StandAlone")) == ["server-2", "server-3"]
    assert standalone(without("server-2", "server-3")) == []
