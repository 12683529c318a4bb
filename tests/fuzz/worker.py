"""One fuzzing process: a target under atheris, which sees which lines of the gateway each input reaches. `runner`
starts it: `.venv/bin/python -m tests.fuzz.worker TARGET [libFuzzer's options and folders]`.
"""

import random
import sys

import atheris


def main() -> None:
    """Fuzz until libFuzzer ends the process."""
    name, *options = sys.argv[1:]
    with atheris.instrument_imports(include=["gateway"]):
        from tests.fuzz.quiet import hush
        from tests.fuzz.target import target_of

        target = target_of(name)
    hush()
    spoil = target.spoil

    def mutate(data: bytes, bytes_max: int, seed: int) -> bytes:
        luck = random.Random(seed)  # noqa: S311  a seed that replays
        if spoil is not None and luck.random() < 0.6:
            data = spoil(bytes(data), luck)[:bytes_max]
            if luck.random() < 0.7:
                return data
        mutated: bytes = atheris.Mutate(data, bytes_max)
        return mutated

    atheris.Setup([sys.argv[0], *options], target.run, custom_mutator=mutate)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
