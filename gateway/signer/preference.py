"""The serving tokens, and which of them get work (`choice`), as of the last look."""

from gateway import log, metrics
from gateway.clock import Clock
from gateway.signer import choice
from gateway.signer.member import Member

_logger = log.get("signer")


class Preference:
    """The tokens that get work."""

    def __init__(self, members: list[Member], clock: Clock) -> None:
        self._members = members
        self._clock = clock
        self.used: list[Member] = []
        """Those that get work, as of the last `choose`."""
        self.remote_only = False
        """The tokens that got work last are remote."""
        self.free: list[Member] = []
        """Those that serve, without those that unwrap a key, which may take long."""

    def renew(self) -> None:
        """A token's state has changed, or it began or ended to try a key."""
        self.free = [m for m in self._members if m.state == "serving" and not m.learning]
        self.choose(self._clock().mono_s)

    def choose(self, now_s: float) -> list[Member]:
        """The tokens that get work now (`choice`), each with or without room for more."""
        free = self.free
        chosen = choice.choose([choice.Candidate(m.token.local, m.expected_s(now_s)) for m in free])
        used = [free[at] for at in chosen]
        if used != self.used:
            for member in self.used:
                member.used = False
            for member in used:
                member.used = True
            self.used = used
            self._note_side(now_s)
        return used

    def _note_side(self, now_s: float) -> None:
        """Log when work goes to remote tokens only, and when no longer; once each. Having none changes nothing."""
        remote_only = not self.used[0].token.local if self.used else self.remote_only
        if remote_only is self.remote_only:
            return
        self.remote_only = remote_only
        metrics.SIGNER_REMOTE_ONLY.set(remote_only)
        if remote_only:
            _logger.warning("only remote tokens are used", reason=self.local_trouble(now_s), count=len(self.used))
        else:
            _logger.info("local tokens are used again", count=len(self.used))

    def local_trouble(self, now_s: float) -> str:
        """Why no local token is used, in words."""
        said = []
        for member in self._members:
            if member.token.local:
                what = f"takes {member.expected_s(now_s):.1f} s" if member.state == "serving" else member.state
                said.append(f"{member.token.name} {'tries a new key' if member.learning else what}")
        return ", ".join(said) or "none is configured"
