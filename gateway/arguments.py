"""The command line of every command here, made in one place: what is typed is taken at its word.

argparse takes `--fpid` for `--fpid-hash` while there is no other option that begins so: a filter that nobody asked for,
and a new option changes what an old command line means. So no option may be shortened.
"""

import argparse
from typing import Any, TypeAlias


class Parser(argparse.ArgumentParser):
    """An `ArgumentParser` that takes no option by its beginning; its subcommands are made by it, and are likewise."""

    def __init__(self, **options: Any) -> None:
        super().__init__(allow_abbrev=False, **options)


Commands: TypeAlias = "argparse._SubParsersAction[Parser]"  # noqa: SLF001 - argparse has no other name for it
"""What `Parser.add_subparsers` makes, to which each command adds itself."""
