"""Errors, by who is to blame. A message says where (field, position, code), never whose: no content of a payment.

The code that catches an error decides, once, what it leads to:

* `HubFault`: the hub sent something that it must be told about; carries the code to answer with.
* `Refusal`: we do not do what was asked (a wrong configuration, a second copy, a limit).
* `Unavailable`: something outside is away or too slow; stand-in, another link or a pause follows.
* `JournalFault`: the journal cannot store a record, or does not add up; the process ends.

A bug of ours is an `AssertionError` and ends the process too.
"""


class GatewayError(Exception):
    """The root of every error that this gateway raises on purpose."""


class HubFault(GatewayError):
    """The hub is to blame. `function_code` is what a 9624 about it says in DE24: 650 or 690 (docs/protocol.md
    section 2).
    """

    def __init__(self, message: str, function_code: str = "650") -> None:
        super().__init__(message)
        self.function_code = function_code


class Refusal(GatewayError):
    """We refuse to do this, and say why."""


class ConfigurationError(Refusal):
    """The configuration holds mistakes; `mistakes` lists them all, each with its place."""

    def __init__(self, mistakes: list[str]) -> None:
        super().__init__("\n".join(mistakes))
        self.mistakes = mistakes


class Unavailable(GatewayError):
    """Something that we depend on is away or too slow."""


class JournalFault(GatewayError):
    """The journal cannot be trusted to hold what we would promise."""


class JournalFull(JournalFault):
    """The journal has no room. Its records are sound, and with room it goes on."""
