"""Frames between pool and worker: whatever goes in comes out, in whatever pieces."""

from hypothesis import given
from hypothesis import strategies as st

from gateway.signer import messages

MACS = st.binary(min_size=8, max_size=8)
OPERATIONS = st.lists(st.tuples(st.integers(0, 255), st.just(b"") | MACS, st.binary(max_size=50)))


@given(st.integers(0, 2**32 - 1), OPERATIONS)
def test_a_batch_is_read_as_it_was_written(number: int, operations: list[tuple[int, bytes, bytes]]) -> None:
    """Keys, data and what to verify."""
    ((kind, body),) = messages.Splitter().feed(messages.batch_frame(number, operations))
    assert kind == messages.BATCH
    assert messages.operations(body) == (number, operations)


@given(st.integers(0, 2**32 - 1), st.lists(st.tuples(st.integers(0, 2), MACS)))
def test_results_are_read_as_they_were_written(number: int, results: list[tuple[int, bytes]]) -> None:
    """Statuses and MACs."""
    ((kind, body),) = messages.Splitter().feed(messages.result_frame(number, results))
    assert kind == messages.RESULT
    assert messages.results(body) == (number, results)


@given(st.lists(st.tuples(st.integers(0, 255), st.binary(max_size=30))), st.integers(1, 40))
def test_frames_in_any_pieces_are_the_same_frames(frames: list[tuple[int, bytes]], size: int) -> None:
    """Sockets cut where they like."""
    stream = b"".join(messages.frame(kind, body) for kind, body in frames)
    splitter = messages.Splitter()
    found = [frame for at in range(0, len(stream), size) for frame in splitter.feed(stream[at : at + size])]
    assert found == frames


@given(st.binary(max_size=200))
def test_any_bytes_are_frames_or_a_value_error(chunk: bytes) -> None:
    """A worker that went mad cannot surprise the pool."""
    try:
        for _, body in messages.Splitter().feed(chunk):
            messages.results(body)
    except ValueError:
        pass
