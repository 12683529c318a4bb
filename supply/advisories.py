"""Published vulnerabilities against locked versions. Pure: today is an argument, nothing is fetched.

The data are a file, not a service: CI gives the same answer each time and needs no network. The file has all that is
published about a package, not only about the version that is locked, so that a lock that goes back to an older version
is judged, too. Each package says when it was asked about, because silence means something only from then on.
"""

import datetime as dt
from pathlib import Path

import msgspec
from msgspec import Struct
from packaging.version import Version

from supply.locks import Locked

HERE = Path(__file__).parent
KNOWN, ACCEPTED = HERE / "advisories.json", HERE / "accepted.toml"
OLD_AFTER_DAYS = 14
"""Age from which what is known is called old. A warning, never a failure: time alone breaks no build."""


class Range(Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """Versions that are affected: from `introduced` on, until before `fixed`, or up to `last_affected`."""

    introduced: str = "0"
    fixed: str = ""
    last_affected: str = ""

    def has(self, version: Version) -> bool:
        """Whether a version is one of them."""
        if self.introduced != "0" and version < Version(self.introduced):
            return False
        if self.fixed:
            return version < Version(self.fixed)
        return not self.last_affected or version <= Version(self.last_affected)


class Advisory(Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True, kw_only=True):
    """One published vulnerability of one package."""

    id: str
    aliases: tuple[str, ...] = ()
    affected: tuple[Range, ...] = ()
    versions: tuple[str, ...] = ()
    """Versions that are affected, where no ranges say so."""
    source: str = ""
    """Where it was read."""

    def affects(self, version: str) -> bool:
        """Whether a version is vulnerable."""
        this = Version(version)
        return any(each.has(this) for each in self.affected) or this in map(Version, self.versions)

    @property
    def names(self) -> frozenset[str]:
        """Its identifier and the others that it has elsewhere."""
        return frozenset({self.id, *self.aliases})


class Package(Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """What is known about a package."""

    asked: dt.date | None = None
    """The day of which this is true. None: nobody has asked yet."""
    of: str = ""
    """Who was asked."""
    advisories: tuple[Advisory, ...] = ()


class Acceptance(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A vulnerability that we live with for a while."""

    package: str
    advisory: str
    """Its identifier, or one of its aliases."""
    reason: str
    until: dt.date
    """The last day on which it is accepted."""


class Judgement(Struct, frozen=True):
    """What is wrong, and what deserves a look."""

    failures: tuple[str, ...]
    warnings: tuple[str, ...]


Known = dict[str, Package]


def judge(locked: tuple[Locked, ...], known: Known, accepted: tuple[Acceptance, ...], today: dt.date) -> Judgement:
    """Hold each locked package against what is known of it."""
    failures, warnings, used = [], [], set[Acceptance]()
    for package in locked:
        if package.name not in known:
            failures.append(f"{package.name}: nobody has asked about it: make advisories")
            continue
        for advisory in known[package.name].advisories:
            if not advisory.affects(package.version):
                continue
            those = [each for each in accepted if each.package == package.name and each.advisory in advisory.names]
            used.update(those)
            if not any(each.until >= today for each in those):
                failures.append(_matched(package, advisory, those))
    failures += [
        f"{each.advisory} of {each.package} is accepted, and nothing locked has it: remove that"
        for each in accepted
        if each not in used
    ]
    failures += [
        f"{each.advisory} of {each.package} is accepted without a reason"
        for each in accepted
        if not each.reason.strip()
    ]
    warnings += _ages(locked, known, today)
    return Judgement(tuple(failures), tuple(warnings))


def _matched(package: Locked, advisory: Advisory, accepted: list[Acceptance]) -> str:
    fixed = sorted({each.fixed for each in advisory.affected if each.fixed and each.has(Version(package.version))})
    cure = f", mended in {', '.join(fixed)}" if fixed else ""
    also = f" ({', '.join(advisory.aliases)})" if advisory.aliases else ""
    was = f"; accepted until {max(each.until for each in accepted)}, which is over" if accepted else ""
    return f"{package.name} {package.version} has {advisory.id}{also}{cure}{was}"


def _ages(locked: tuple[Locked, ...], known: Known, today: dt.date) -> list[str]:
    """How old what we know is."""
    warnings = []
    dated = [known[package.name].asked for package in locked if package.name in known]
    never = sum(day is None for day in dated)
    if never:
        warnings.append(f"nobody has asked yet about {never} of {len(locked)} packages: make advisories")
    oldest = min((day for day in dated if day is not None), default=today)
    if (today - oldest).days > OLD_AFTER_DAYS:
        warnings.append(f"what is known is of {oldest}, {(today - oldest).days} days ago: make advisories")
    return warnings


# --- files


def known() -> Known:
    """What is published."""
    return msgspec.json.decode(KNOWN.read_bytes(), type=Known)


def accepted() -> tuple[Acceptance, ...]:
    """What we live with."""
    return msgspec.toml.decode(ACCEPTED.read_bytes(), type=dict[str, tuple[Acceptance, ...]]).get("accepted", ())


def as_text(known: Known) -> str:
    """What is published as its file has it: a change of one fact is a change of one line or two."""
    encoded = msgspec.json.encode(known, order="sorted")
    return msgspec.json.format(encoded, indent=1).decode() + "\n"
