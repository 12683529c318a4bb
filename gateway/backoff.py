"""Backoff: a pause that doubles with each failure in a row, up to a limit. Pure: chance is an argument."""


def backoff_s(failures: int, first_s: float, max_s: float) -> float:
    """The pause after this many earlier ones in a row."""
    return float(min(first_s * 2.0 ** min(failures, 60), max_s))


def jittered_s(pause_s: float, luck: float) -> float:
    """The pause moved into its upper half: `luck` in 0..1. What failed together is not tried again together."""
    return pause_s * (0.5 + luck / 2)
