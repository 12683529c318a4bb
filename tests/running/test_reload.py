"""SIGHUP: which settings a running process takes, and what it does with them."""

from pathlib import Path

from msgspec.structs import replace

from gateway import config
from gateway.running.reload import Reload
from tests.conftest import Logged

WAIT = "changed settings wait for a restart"
TLS = config.ServerTls("own.pem", "own.key", "ca.pem", "processor.bank")
RUNNING = config.Configuration(
    config.Node(
        "sip-a", (config.HubSite("a", "127.0.0.1", 1),), (config.Token("t", "t", "none", "none"),),
        config.JournalSettings("journal"), config.Processor("http://127.0.0.1:1"),
        submissions=config.Submissions(tls=TLS),
    ),
    config.Pair(group="sip"),
)  # fmt: skip


def with_tls(tls: config.ServerTls | None, port: int = 9300) -> config.Configuration:
    """What stands in the files now."""
    return replace(RUNNING, node=replace(RUNNING.node, submissions=config.Submissions(tls=tls, port=port)))


def test_the_name_of_those_who_may_submit_is_taken(logged: Logged) -> None:
    """And nothing else of the port for submissions, which is named as waiting."""
    heard: list[str] = []
    wanted = with_tls(replace(TLS, client_name="other.bank", ca_file="other.pem"), port=1)
    reload = Reload(RUNNING, lambda: wanted)
    reload.on_client_name = heard.append
    reload()
    reload()
    assert heard == ["other.bank", "other.bank"]
    details = [line["detail"] for line in logged(WAIT)]
    assert details == ["node.submissions.port, node.submissions.tls.ca_file"] * 2


def test_where_nobody_submits_there_is_no_name_to_take(logged: Logged, tmp_path: Path) -> None:
    """Nor where TLS itself comes or goes: that waits for a restart."""
    for running, wanted in ((RUNNING, with_tls(None)), (with_tls(None), RUNNING)):
        heard: list[str] = []
        reload = Reload(running, lambda wanted=wanted: wanted)  # type: ignore[misc]
        reload.on_client_name = heard.append
        reload()
        assert [name for name in heard if name != TLS.client_name] == []
    assert [line["detail"] for line in logged(WAIT)] == ["node.submissions.tls"] * 2
    bare = Reload(RUNNING, lambda: with_tls(replace(TLS, client_name="other.bank")))
    bare()
    assert len(logged(WAIT)) == 2
