"""DRBD's status is read into one shape, whichever version reports it; any other text is refused.

The samples are laid out as drbdsetup and the kernel print them: 9.0 with what it had, 9.1 and 9.2 with what came later.
"""

from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.volume.status import Peer, Status, UnreadableError, major_of, of_json, of_proc

SAMPLES = Path(__file__).parent / "samples"
WELL = (Peer("fps-a2", "Connected", "UpToDate", 0), Peer("fps-a3", "Connected", "UpToDate", 0))


def status(role: str = "Primary", disk: str = "UpToDate", *, quorum: bool | None = True, suspended: bool = False,
           peers: tuple[Peer, ...] = WELL) -> Status:  # fmt: skip
    return Status(role, disk, quorum, suspended, failing=False, peers=peers)


@pytest.mark.parametrize(
    ("sample", "said", "copies"),
    [
        ("9.0-well.json", status(), 3),
        ("9.2-well-two-resources.json", status(), 3),
        ("9.2-standalone.json", status(peers=(Peer("fps-a2", "StandAlone", "Outdated", 0), WELL[1])), 2),
        (
            "9.2-no-quorum.json",
            status(quorum=False, peers=tuple(Peer(one.name, "Connecting", "DUnknown", 0) for one in WELL)),
            1,
        ),
        ("9.1-resync.json", status(peers=(Peer("fps-a2", "Connected", "Inconsistent", 2048 * 1024), WELL[1])), 2),
        (
            "9.2-diskless-primary.json",
            status(disk="Diskless", peers=(WELL[0], Peer("fps-a3", "Connected", "UpToDate", 16 * 1024))),
            2,
        ),
    ],
)
def test_the_status_of_drbd_9_is_read(sample: str, said: Status, copies: int) -> None:
    """Also with the shares of nothing that are no JSON (`-nan`), in a resync that has just begun."""
    found = of_json((SAMPLES / sample).read_bytes(), "fps-sip", 11)
    assert found == said
    assert found.copies == copies


@pytest.mark.parametrize(
    ("sample", "said", "copies"),
    [
        ("8.4-well.txt", status(quorum=None, peers=(Peer("peer", "Connected", "UpToDate", 0),)), 2),
        ("8.4-alone.txt", status(quorum=None, peers=(Peer("peer", "StandAlone", "DUnknown", 1024 * 1024),)), 1),
        (
            "8.4-syncing.txt",
            status(quorum=None, peers=(Peer("peer", "Connected", "Inconsistent", 102400 * 1024),)),
            1,
        ),
        (
            "8.4-suspended.txt",
            status(quorum=None, suspended=True, peers=(Peer("peer", "WFConnection", "Outdated", 4096),)),
            1,
        ),
    ],
)
def test_the_status_of_drbd_8_4_is_read(sample: str, said: Status, copies: int) -> None:
    """It has a row for each minor, no names and no quorum."""
    text = (SAMPLES / sample).read_text(encoding="ascii")
    assert major_of(text) == 8
    found = of_proc(text, 11)
    assert found == said
    assert found.copies == copies


def test_what_a_peer_had_before_it_went_counts_for_nothing() -> None:
    """DRBD 8.4 may remember `UpToDate` of a peer whose connection is gone."""
    text = (SAMPLES / "8.4-well.txt").read_text(encoding="ascii").replace("cs:Connected", "cs:NetworkFailure")
    assert of_proc(text, 11).copies == 1


@pytest.mark.parametrize(
    ("report", "why"),
    [
        (b"", "the status is no JSON of DRBD's"),
        (b"{}", "the status is no JSON of DRBD's"),
        (b'[{"name": "fps-sip"}]', "the status is no JSON of DRBD's"),
        (b"\xff", "the status is no JSON of DRBD's"),
        (b'[{"name": ' + b"[" * 20_000, "the status is no JSON of DRBD's"),
        (b'[{"deep": ' + b"[" * 20_000, "the status is no JSON of DRBD's"),
        (b"[]", "the status has no resource fps-sip"),
        (b'[{"name": "fps-sip", "role": "Primary"}]', "fps-sip has no minor 11"),
    ],
)
def test_what_is_no_status_of_this_volume_is_refused(report: bytes, why: str) -> None:
    with pytest.raises(UnreadableError, match=why):
        of_json(report, "fps-sip", 11)


@pytest.mark.parametrize("minor", [1, 2, 3, 110])
def test_a_minor_that_is_not_there_or_not_set_up_is_refused(minor: int) -> None:
    """`11` must not be found for `1`, nor `Unconfigured` be taken for a state."""
    with pytest.raises(UnreadableError, match=f"nothing of minor {minor}"):
        of_proc((SAMPLES / "8.4-alone.txt").read_text(encoding="ascii"), minor)


def test_what_has_no_version_is_refused() -> None:
    with pytest.raises(UnreadableError, match="does not begin with a version"):
        major_of("drbd")


def test_drbd_9_is_told_by_its_first_line() -> None:
    assert major_of("version: 9.2.12 (api:2/proto:86-122)\nGIT-hash: 2da6f528dc4ce3fb25c511d9bbb7bc57c4ca7f22\n") == 9


@given(st.binary(max_size=300), st.text(max_size=300))
def test_whatever_is_said_is_a_status_or_is_unreadable(report: bytes, proc: str) -> None:
    """Nothing else comes out of it: the watch must go on."""
    for read in (lambda: of_json(report, "fps-sip", 11), lambda: of_proc(proc, 11), lambda: major_of(proc)):
        with suppress(UnreadableError):
            read()


@given(st.sampled_from(sorted(SAMPLES.iterdir())), st.integers(0, 4000), st.integers(0, 40), st.binary(max_size=8))
def test_a_status_that_was_damaged_is_a_status_or_is_unreadable(sample: Path, at: int, gone: int, new: bytes) -> None:
    """Near what DRBD does say, too: cut short, or with other bytes in it."""
    whole = sample.read_bytes()
    damaged = whole[: at % len(whole)] + new + whole[at % len(whole) + gone :]
    for report in (damaged, damaged[:at]):
        with suppress(UnreadableError):
            assert 0 <= of_json(report, "fps-sip", 11).copies <= 3
    with suppress(UnreadableError):
        assert 0 <= of_proc(damaged.decode("latin-1"), 11).copies <= 2
