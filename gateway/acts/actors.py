"""Who comes, by which way, and what that one may do."""

from collections.abc import Callable, Iterable
from typing import NamedTuple

from gateway import config
from gateway.config import Role
from gateway.errors import ConfigurationError

INCLUDED: dict[Role, frozenset[Role]] = {
    "look": frozenset({"look"}),
    "operate": frozenset({"operate", "look"}),
    "approve": frozenset({"approve", "look"}),
    "peer": frozenset({"peer"}),
}
"""Whoever may act may look: nobody should act blindly."""


ELSEWHERE = 65534
"""The number by which the kernel names each user of another user namespace: anybody, and so nobody."""


class Caller(NamedTuple):
    """Who sent a request, as far as that was proved."""

    name: str
    """The actor's; empty: nobody that the configuration names."""
    roles: frozenset[Role]
    origin: str
    """The way and what it proved, in words, for the record: `uid 1000 by socket`, `anna.bank.example by TLS`."""

    def may(self, *roles: Role) -> bool:
        """Whether the caller has one of these roles."""
        return not self.roles.isdisjoint(roles)


class Actors:
    """The actors of the configuration."""

    def __init__(self, actors: Iterable[config.Actor], uid_of: Callable[[str], int | None]) -> None:
        """`uid_of`: the number of a user of this machine; None: there is no such user. Raises `ConfigurationError`."""
        self._by_uid: dict[int, config.Actor] = {}
        self._by_certificate: dict[str, config.Actor] = {}
        mistakes = []
        for index, actor in enumerate(actors):
            if actor.certificate:
                self._by_certificate[actor.certificate] = actor
            if not actor.user:
                continue
            uid = int(actor.user) if actor.user.isascii() and actor.user.isdigit() else uid_of(actor.user)
            place = f"node.actors[{index}].user"
            if uid is None:
                mistakes.append(f"{place}: this machine has no user of this name")
            elif uid == ELSEWHERE:
                mistakes.append(f"{place}: is {ELSEWHERE}, which stands for everybody of another user namespace")
            elif uid in self._by_uid:
                mistakes.append(f"{place}: is the user of another actor: a user acts under one name")
            else:
                self._by_uid[uid] = actor
        if mistakes:
            raise ConfigurationError(mistakes)

    def by_user(self, uid: int) -> Caller:
        """The caller behind the Unix socket."""
        return _caller(self._by_uid.get(uid), f"uid {uid} by socket")

    def by_certificate(self, names: Iterable[str]) -> Caller:
        """The caller with a certificate that holds these DNS names. Names of two actors in one certificate are
        nobody's.
        """
        found = {name: self._by_certificate[name] for name in names if name in self._by_certificate}
        if len(found) != 1:
            return _caller(None, "by TLS")
        [(name, actor)] = found.items()
        return _caller(actor, f"{name} by TLS")


ANYBODY = Caller("", frozenset({"look"}), "by loopback")
"""On loopback without TLS: whoever is on this machine may look."""


def _caller(actor: config.Actor | None, origin: str) -> Caller:
    if actor is None:
        return Caller("", frozenset(), origin)
    roles: frozenset[Role] = frozenset().union(*(INCLUDED[role] for role in actor.roles))
    return Caller(actor.name, roles, origin)
