"""Outlier ejection: the link that a payment of ours leaves by, and links that get no new ones for a while. Pure.

A link may stand, answer echoes, and bring no answers to payments, or bring them late. The scheme gives an answer up to
15 s, because the receiving bank may need them, so no single wait says anything about the link. Two comparisons do:

* **Its siblings, over the same time.** New submissions are dealt to the links at random, so all links should have the
  same share of slow ones. A share that is larger by far, and by more than chance makes of equal links, is an OUTLIER.
  Where all links are slow, none is an outlier.
* **The same payment by another link.** A repeat that another link answers, while this one, which had the request
  before, still owes its answer, shows that neither the payment nor its receiver was slow: this link is BEATEN.

The states of a link (`Share`) and what leads from one to another are the table `SHARES`. An ejected link stays signed
on: payments that come by it and answers that it brings are as good as ever. It is tried again after a pause, with one
payment at a time. That one does not wait for it long (`patience_s`): it is repeated by another link, and the two race.
A link that answers in time, or no later than its rival, is well again, however long the receiving bank took.

The last link is never ejected, and where only ejected ones are left these are used.

What is known of a link belongs to the hub's site, not to the connection: a site that swallows payments does so on its
next connection, too. There an ejected one is tried at once.

Repeats are no samples, and do not move the turn. They would charge the sick link's slowness to the link that takes its
place.
"""

from bisect import bisect_left
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from enum import Enum, auto
from itertools import accumulate
from math import comb, inf
from typing import Final, NamedTuple, TypeVar

from gateway import config
from gateway.backoff import backoff_s, jittered_s
from gateway.payments.links import Link

AHEAD_MAX = 4
"""Answers that a link may owe beyond twice those of the link that owes the fewest. Beyond that the others are
dealt to. So only few payments wait for a link that has just fallen silent, whatever the rate."""
SAMPLES_MAX = 256
"""Submissions that a link is judged by, at most."""
SAMPLES_A_SLOT = 8
"""Samples at most within half of `slow_after_s`. So even the samples of a busy link reach back half a minute."""
LAST: Final = (4, 8, 16, 32, 64, 128, SAMPLES_MAX)
"""How many of a link's latest samples are looked at together. The fewest find a link that has just fallen silent; the
most find a link that loses some payments and not others."""
SLOW_MIN = 3
"""Slow samples at least that make a link an outlier: a minimum of evidence."""
WORSE_BY = 0.5
"""A link is an outlier when its share of slow ones is larger than its siblings' by this."""
CHANCE_MAX = 0.001
"""The probability, at most, that equal links come out so unequal by chance."""
RACE = 0.25
"""How much later than its rival's a link's answer may come and still be as good, as a fraction of `slow_after_s`. The
hub sends two answers to one payment together."""
STEADY_S = 120.0
"""How long a link must have had its share to be well again: its next pause is then a first one."""
JUDGED_EVERY = 0.25
"""How often links are judged while answers are owed, as a fraction of `slow_after_s`."""


class Share(Enum):
    """A link's share of the new submissions."""

    FULL = "full"
    """Its turn."""
    DOUBTED = "one at a time"
    """It was beaten once: one at a time, and that one does not wait for it long."""
    EJECTED = "none"
    """None until its pause is over."""
    TRIED = "on trial"
    """Ejected, and a submission is under way by it."""


class LinkEvent(Enum):
    """What can happen to a link."""

    ANSWERED = auto()
    """It answered what it was given since its share last changed: in time, or no later than a rival."""
    BEATEN = auto()
    """A rival answered a repeat of what it was given before, and still it owes a useful answer."""
    OUTLIER = auto()
    """Its share of slow ones is too large; there is another link."""
    GIVEN = auto()
    """It is given a submission."""
    SILENT = auto()
    """Nobody ever answered what it was given on trial."""
    CUT = auto()
    """The connection ended."""


class Do(Enum):
    """The deed that goes with a change."""

    NOTHING = auto()
    EJECT = auto()
    """Begin a pause, and say so."""
    LENGTHEN = auto()
    """Begin a pause twice as long."""
    HASTEN = auto()
    """End the pause: what comes next on this site is another connection."""
    RETURN = auto()
    """Say that it is well again."""


_SAME = Do.NOTHING
SHARES: Final[dict[tuple[Share, LinkEvent], tuple[Share, Do]]] = {
    (Share.FULL, LinkEvent.ANSWERED): (Share.FULL, _SAME),
    (Share.FULL, LinkEvent.BEATEN): (Share.DOUBTED, _SAME),
    (Share.FULL, LinkEvent.OUTLIER): (Share.EJECTED, Do.EJECT),
    (Share.FULL, LinkEvent.GIVEN): (Share.FULL, _SAME),
    (Share.FULL, LinkEvent.SILENT): (Share.FULL, _SAME),
    (Share.FULL, LinkEvent.CUT): (Share.FULL, _SAME),
    (Share.DOUBTED, LinkEvent.ANSWERED): (Share.FULL, _SAME),
    (Share.DOUBTED, LinkEvent.BEATEN): (Share.EJECTED, Do.EJECT),
    (Share.DOUBTED, LinkEvent.OUTLIER): (Share.EJECTED, Do.EJECT),
    (Share.DOUBTED, LinkEvent.GIVEN): (Share.DOUBTED, _SAME),
    (Share.DOUBTED, LinkEvent.SILENT): (Share.DOUBTED, _SAME),
    (Share.DOUBTED, LinkEvent.CUT): (Share.FULL, _SAME),
    (Share.EJECTED, LinkEvent.ANSWERED): (Share.FULL, Do.RETURN),
    (Share.EJECTED, LinkEvent.BEATEN): (Share.EJECTED, _SAME),
    (Share.EJECTED, LinkEvent.OUTLIER): (Share.EJECTED, _SAME),
    (Share.EJECTED, LinkEvent.GIVEN): (Share.TRIED, _SAME),
    (Share.EJECTED, LinkEvent.SILENT): (Share.EJECTED, _SAME),
    (Share.EJECTED, LinkEvent.CUT): (Share.EJECTED, Do.HASTEN),
    (Share.TRIED, LinkEvent.ANSWERED): (Share.FULL, Do.RETURN),
    (Share.TRIED, LinkEvent.BEATEN): (Share.EJECTED, Do.LENGTHEN),
    (Share.TRIED, LinkEvent.OUTLIER): (Share.TRIED, _SAME),
    (Share.TRIED, LinkEvent.GIVEN): (Share.TRIED, _SAME),
    (Share.TRIED, LinkEvent.SILENT): (Share.EJECTED, Do.LENGTHEN),
    (Share.TRIED, LinkEvent.CUT): (Share.EJECTED, Do.HASTEN),
}
"""Every pair. BEATEN and OUTLIER never happen to the only link that is not ejected."""
OUT: Final = frozenset({Share.EJECTED, Share.TRIED})


AnyLink = TypeVar("AnyLink", bound=Link)


class Change(NamedTuple):
    """A change of a link's share that people want to hear of."""

    site: str
    ejected: bool
    """Or it is well again."""
    why: str
    after_s: float
    """How long it was ejected."""


class _Sent:
    """A submission that went by a link."""

    __slots__ = ("answered_s", "beaten_s", "link", "sent_s", "useless", "void")

    def __init__(self, link: int, sent_s: float) -> None:
        self.link = link
        """The connection."""
        self.sent_s = sent_s
        self.answered_s = inf
        """When a useful answer came."""
        self.beaten_s = inf
        """When a rival, which had it later, answered."""
        self.useless = False
        """The hub answered that it cannot say."""
        self.void = False
        """Says nothing of the link: the connection ended, or this process stood still."""


class _Site:
    """What is known of a hub site's link."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.share = Share.FULL
        self.since_s = -inf
        """When its share last changed."""
        self.ejected_s = -inf
        """When it was ejected."""
        self.why = ""
        self.owed: dict[str, _Sent] = {}
        """By FPID, the oldest first: what it has not answered."""
        self.samples: deque[_Sent] = deque(maxlen=SAMPLES_MAX)
        self.slot = -1
        self.in_slot = 0
        self.pauses = 0
        """In a row: each is twice the one before."""
        self.until_s = -inf
        """While ejected: when it is tried."""


class Ejection:
    """Deals submissions to links, and judges these."""

    def __init__(self, settings: config.Ejection, answer_within_s: float, luck: Callable[[], float]) -> None:
        """`luck` in 0..1 deals, and spreads the pauses. `answer_within_s`: by then the hub owes an answer."""
        self._slow_after_s = min(settings.slow_after_s, answer_within_s / 2)
        self._pause_s, self._pause_max_s = settings.pause_s, settings.pause_max_s
        self._answer_within_s = answer_within_s
        self._luck = luck
        self._sites: dict[str, _Site] = {}
        self._dealt: set[str] = set()
        """Sites that had their turn in this round."""
        self._rungs = tuple(_rungs(self._slow_after_s, answer_within_s))
        self._slot_s = self._slow_after_s / 2
        self._beaten: deque[tuple[float, _Site, str]] = deque()
        """When a link that a rival was quicker than has lost the race, by payment."""
        self.due_s = inf
        """When `judge` is wanted; inf: nothing is owed."""

    # --- which link

    def deal(self, links: Sequence[AnyLink], now_s: float) -> AnyLink:
        """The link that a new submission leaves by. `links`: those that are signed on to submit, at least one."""
        if len(links) == 1:
            return links[0]
        open_ = [link for link in links if self._takes(self._site(link.site), now_s)] or links
        # what is tried gets one at a time, whatever it owes from before
        sites = [self._site(link.site) for link in open_]
        owed = [len(site.owed) if site.share is Share.FULL else 0 for site in sites]
        most = AHEAD_MAX + 2 * min(owed)
        open_ = [link for link, count in zip(open_, owed, strict=True) if count <= most]
        # each once, in an order that nobody can foresee: a client that submits to two banks in turn would otherwise
        # have each bank's payments on a link of their own, and the slow bank's link would look sick
        left = [link for link in open_ if link.site not in self._dealt]
        if not left:
            self._dealt.clear()
            left = open_
        link = left[int(self._luck() * len(left)) % len(left)]
        self._dealt.add(link.site)
        return link

    def deal_again(self, links: Sequence[AnyLink], last: int, *, silent: bool) -> AnyLink:
        """The link that a repeat leaves by. `last`: the connection that had the payment last; silent: it did not
        answer, so any other is better, also one that is ejected; else the hub spoke there, and another is only better
        while it is not ejected.
        """

        def worse(link: AnyLink) -> tuple[bool, bool, int]:
            site = self._site(link.site)
            out, again = site.share in OUT, link.id == last
            return (*((again, out) if silent else (out, again)), len(site.owed))

        return min(links, key=worse)

    def another(self, links: Sequence[Link], link: Link) -> bool:
        """Whether there is one, and it is not ejected."""
        return any(one.id != link.id and self._site(one.site).share not in OUT for one in links)

    def patience_s(self, link: Link) -> float:
        """How long a payment waits for this link before it is repeated by another one."""
        return self._answer_within_s if self._site(link.site).share is Share.FULL else self._slow_after_s

    def _takes(self, site: _Site, now_s: float) -> bool:
        if site.share is Share.FULL:
            return True
        if site.share is Share.TRIED or (site.share is Share.EJECTED and now_s < site.until_s):
            return False
        return not any(sent.sent_s >= site.since_s for sent in site.owed.values())

    # --- what happens

    def sent(self, link: Link, fpid: str, now_s: float, *, new: bool) -> None:
        """A payment left by this link: for the first time, or as a repeat."""
        site = self._site(link.site)
        site.owed.pop(fpid, None)
        one = site.owed[fpid] = _Sent(link.id, now_s)
        if new:
            slot = int(now_s / self._slot_s)
            if slot != site.slot:
                site.slot, site.in_slot = slot, 0
            if site.in_slot < SAMPLES_A_SLOT:
                site.in_slot += 1
                site.samples.append(one)
        if site.share is Share.EJECTED:
            self._step(site, LinkEvent.GIVEN, now_s)
            site.since_s = now_s
        if self.due_s == inf:
            self.due_s = now_s + JUDGED_EVERY * self._slow_after_s

    def answered(self, link: Link, fpid: str, now_s: float, *, useful: bool) -> Change | None:
        """The hub said something about a payment by this link; useful: what became of it. Returns that the link is well
        again, when it is.
        """
        site = self._site(link.site)
        one = site.owed.get(fpid)
        if one is None:
            return None
        if not useful:
            one.useless = True
            return None
        del site.owed[fpid]
        one.answered_s = now_s
        if len(self._sites) > 1:
            for rival in self._sites.values():
                theirs = rival.owed.get(fpid)
                if theirs is not None and theirs.sent_s < one.sent_s and theirs.beaten_s == inf:
                    theirs.beaten_s = now_s
                    wait_s = 0.0 if theirs.useless else self._slow_after_s
                    self._beaten.append((now_s + wait_s, rival, fpid))
        # in time; or not beaten, or only just
        passed = now_s - one.sent_s <= self._slow_after_s or now_s - one.beaten_s <= RACE * self._slow_after_s
        if passed and one.sent_s >= site.since_s and site.share is not Share.FULL:
            return self._step(site, LinkEvent.ANSWERED, now_s)
        return None

    def unsent(self, link: Link, fpid: str, now_s: float) -> None:
        """A payment certainly did not leave by this link after all: no answer to it is owed, and it was no trial."""
        site = self._sites.get(link.site)
        if site is None or fpid not in site.owed or site.owed[fpid].link != link.id:
            return
        site.owed.pop(fpid).void = True
        if site.share is Share.TRIED:
            self._step(site, LinkEvent.CUT, now_s)

    def link_down(self, link: Link, now_s: float) -> None:
        """The connection is gone: what it owes says nothing of it any more."""
        site = self._sites.get(link.site)
        if site is None:
            return
        for fpid in [fpid for fpid, sent in site.owed.items() if sent.link == link.id]:
            site.owed.pop(fpid).void = True
        self._step(site, LinkEvent.CUT, now_s)

    def judge(self, links: Sequence[Link], now_s: float) -> list[Change]:
        """Do what is due, and return who was ejected; early calls do nothing. `links`: those that are signed on to
        submit.
        """
        if now_s < self.due_s:
            return []
        stood_still = now_s - self.due_s > self._slow_after_s / 2
        live = [self._site(name) for name in dict.fromkeys(link.site for link in links)]
        for site in self._sites.values():
            self._forget(site, now_s)
            if stood_still:
                for sent in site.owed.values():
                    sent.void = True
        changes = self._judge_races(live, now_s)
        for site in live:
            if site.share is Share.TRIED:
                trial = next((one for one in site.owed.values() if one.sent_s >= site.since_s), None)
                if trial is None or now_s - trial.sent_s >= self._answer_within_s:
                    self._step(site, LinkEvent.SILENT, now_s)
            elif site.share not in OUT and (why := self._outlier(site, self._others(site, live), now_s)):
                changes.append(self._step(site, LinkEvent.OUTLIER, now_s, why))
        owed = any(site.owed for site in self._sites.values())
        self.due_s = now_s + JUDGED_EVERY * self._slow_after_s if owed else inf
        return [change for change in changes if change is not None]

    def _judge_races(self, live: list[_Site], now_s: float) -> list[Change | None]:
        """A link whose rival was quicker, and that still owes its answer, has lost."""
        changes: list[Change | None] = []
        while self._beaten and self._beaten[0][0] <= now_s:
            _, site, fpid = self._beaten.popleft()
            sent = site.owed.get(fpid)
            lost = sent is not None and sent.beaten_s < inf and not sent.void and sent.sent_s >= site.since_s
            if lost and self._others(site, live):
                why = "payments were answered by another link, where they came later"
                changes.append(self._step(site, LinkEvent.BEATEN, now_s, why))
        return changes

    @staticmethod
    def _others(site: _Site, live: list[_Site]) -> list[_Site]:
        return [one for one in live if one is not site and one.share not in OUT]

    def _forget(self, site: _Site, now_s: float) -> None:
        """Forget payments that the hub has not answered in twice its time: it never will."""
        limit_s = now_s - 2 * self._answer_within_s
        while site.owed and (fpid := next(iter(site.owed))) and site.owed[fpid].sent_s <= limit_s:
            del site.owed[fpid]

    # --- the judgement

    def _outlier(self, site: _Site, others: list[_Site], now_s: float) -> str:
        """Whether it is one, in words; empty: it is not. Looked at closely only when something is slow."""
        if not others or not any(_slow(one, self._slow_after_s, now_s) for one in site.samples):
            return ""
        for limit_s in self._rungs:
            mine = _classified([site], limit_s, now_s)
            theirs = _classified(others, limit_s, now_s)
            slow_in = [0, *accumulate(slow for _, slow in reversed(mine))]
            slow_beside_in = [0, *accumulate(slow for _, slow in reversed(theirs))]
            for count in LAST:
                of = min(count, len(mine))
                if of < SLOW_MIN:
                    break
                others_of = len(theirs) - bisect_left(theirs, (mine[-of][0], False))
                slow, slow_beside = slow_in[of], slow_beside_in[others_of]
                if is_outlier(slow, of, slow_beside, others_of):
                    told = f"{slow} of {of} submissions had no answer within {limit_s:g} s"
                    return f"{told}, of the other links' {slow_beside} of {others_of}"
                if count >= len(mine):
                    break
        return ""

    def _step(self, site: _Site, event: LinkEvent, now_s: float, why: str = "") -> Change | None:
        """Take one row of `SHARES`; returns a change that people want to hear of."""
        before = site.share
        site.share, do = SHARES[before, event]
        if site.share is not before:
            site.since_s = now_s
        if do is Do.EJECT:
            if now_s - site.ejected_s > STEADY_S + self._pause_max_s:
                site.pauses = 0
            site.ejected_s, site.why = now_s, why
            self._pause(site, now_s)
            return Change(site.name, ejected=True, why=why, after_s=0.0)
        if do is Do.LENGTHEN:
            self._pause(site, now_s)
        elif do is Do.HASTEN:
            site.until_s = now_s
        elif do is Do.RETURN:
            site.samples.clear()
            after_s, site.ejected_s = now_s - site.ejected_s, now_s
            return Change(site.name, ejected=False, why="", after_s=after_s)
        return None

    def _pause(self, site: _Site, now_s: float) -> None:
        pause_s = jittered_s(backoff_s(site.pauses, self._pause_s, self._pause_max_s), self._luck())
        site.pauses += 1
        site.until_s = now_s + pause_s

    def _site(self, name: str) -> _Site:
        site = self._sites.get(name)
        if site is None:
            site = self._sites[name] = _Site(name)
        return site

    # --- for people

    def ejected(self) -> dict[str, str]:
        """The sites that get no new submissions, and why."""
        return {site.name: site.why for site in self._sites.values() if site.share in OUT}

    def statistics(self) -> dict[str, dict[str, object]]:
        """The share of each site, and what it owes."""
        return {
            site.name: {"share": site.share.value, "owed": len(site.owed), "why": site.why if site.share in OUT else ""}
            for site in self._sites.values()
        }


def is_outlier(slow: int, of: int, others_slow: int, others_of: int) -> bool:
    """Whether `slow` of `of` samples are too many beside the other links' `others_slow` of `others_of`."""
    if slow < SLOW_MIN or not others_of or slow / of - others_slow / others_of < WORSE_BY:
        return False
    return chance_of(slow, of, others_slow, others_of) <= CHANCE_MAX


def chance_of(slow: int, of: int, others_slow: int, others_of: int) -> float:
    """The probability that so many or more of all slow ones are this link's if links are equal: Fisher's exact test."""
    all_slow, everything = slow + others_slow, of + others_of
    ways = sum(comb(of, mine) * comb(others_of, all_slow - mine) for mine in range(slow, min(of, all_slow) + 1))
    return ways / comb(everything, all_slow)


def _classified(sites: list[_Site], limit_s: float, now_s: float) -> list[tuple[float, bool]]:
    """When each sample was sent that is old enough to be called slow or not, in order, and whether it is."""
    return sorted(
        (one.sent_s, _slow(one, limit_s, now_s))
        for site in sites
        for one in site.samples
        if not one.void and one.sent_s <= now_s - limit_s
    )


def _slow(sent: _Sent, limit_s: float, now_s: float) -> bool:
    """Whether it was not answered in that time."""
    return not sent.void and min(sent.answered_s, now_s) - sent.sent_s > limit_s


def _rungs(first_s: float, last_s: float) -> Iterator[float]:
    """The limits of slowness, each twice the one before. So slow receiving banks hide no link that is slower yet."""
    yield first_s
    while (first_s := 2 * first_s) < last_s:
        yield first_s
