"""What stand-in answers. Pure: a rule of the configuration and a payment in, an action code out.

The scheme lets the receiver answer with a qualified accept (0080 to 0085: will be credited, later) and process the
payment afterwards; 1909 is allowed only when even that cannot be done (fps-protocol section 5).
"""

from gateway import config


class StandIn:
    """Decides in the processor's stead."""

    def __init__(self, settings: config.StandIn) -> None:
        self._code = settings.code

    def decide(self) -> str:
        """DE26 of the qualified accept."""
        return self._code
