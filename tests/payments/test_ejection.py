"""Which link gets new submissions: the table of shares, and what links of every kind come to, at every rate."""

import heapq
import random
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import count, product
from math import comb, inf

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway import config
from gateway.payments.ejection import (
    AHEAD_MAX,
    CHANCE_MAX,
    OUT,
    SAMPLES_MAX,
    SHARES,
    SLOW_MIN,
    Change,
    Do,
    Ejection,
    LinkEvent,
    Share,
    chance_of,
    is_outlier,
)

ANSWER_S = 16.0
"""When the hub owes an answer."""
SLOW_S = config.Ejection().slow_after_s
QUICK_S = 0.02
Takes = Callable[[str, float, float, float], float]
"""How long an answer takes: by site, time, luck of the link, luck of the payment. inf: it never comes."""


@dataclass(eq=False)
class Wire:
    """A link as far as it is known here."""

    id: int
    site: str


@dataclass
class Stage:
    """Plays the story and the hub: payments at a rate, answers as `takes` says, repeats as the story makes them."""

    takes: Takes
    seed: int = 1
    links: list[Wire] = field(default_factory=lambda: [Wire(1, "a"), Wire(2, "b")])
    now_s: float = 0.0

    def __post_init__(self) -> None:
        self.luck = random.Random(self.seed)  # noqa: S311 - a seed that replays
        self.ejection = Ejection(config.Ejection(), ANSWER_S, self.luck.random)
        self.changes: list[tuple[float, Change]] = []
        self.made: dict[str, float] = {}
        self.nature: dict[str, float] = {}
        self.by: dict[str, Wire] = {}
        self.sent_s: dict[str, float] = {}
        self.done: dict[str, float] = {}
        self.dealt: list[tuple[float, str]] = []
        self.repeated: list[tuple[float, str, str]] = []
        self._due: list[tuple[float, int, str, str, Wire]] = []
        self._numbers = count()

    def on_change(self, change: Change) -> None:
        self.changes.append((self.now_s, change))
        if change.ejected:
            for fpid, link in self.by.items():
                if link.site == change.site and fpid not in self.done:
                    self._at(max(self.now_s, self.sent_s[fpid] + SLOW_S), "deadline", fpid, link)

    def _at(self, at_s: float, what: str, fpid: str, link: Wire) -> None:
        heapq.heappush(self._due, (at_s, next(self._numbers), what, fpid, link))

    def submit(self) -> str:
        """A payment leaves now."""
        fpid = f"payment {len(self.made)}"
        self.made[fpid], self.nature[fpid] = self.now_s, self.luck.random()
        link = self.ejection.deal(self.links, self.now_s)
        self.dealt.append((self.now_s, link.site))
        self._send(fpid, link, new=True)
        return fpid

    def _send(self, fpid: str, link: Wire, *, new: bool) -> None:
        self.ejection.sent(link, fpid, self.now_s, new=new)
        self.by[fpid], self.sent_s[fpid] = link, self.now_s
        took_s = self.takes(link.site, self.now_s, self.luck.random(), self.nature[fpid])
        if took_s < inf:
            self._at(self.now_s + took_s, "answer", fpid, link)
        self._at(self.now_s + self.ejection.patience_s(link), "deadline", fpid, link)

    def until(self, at_s: float) -> None:
        """Let time pass, and everything that is due by then happen."""
        while True:
            next_s = min(self._due[0][0] if self._due else inf, self.ejection.due_s)
            if next_s > at_s:
                break
            self.now_s = max(self.now_s, next_s)
            if self.ejection.due_s <= self.now_s:
                for change in self.ejection.judge(self.links, self.now_s):
                    self.on_change(change)
                continue
            _, _, what, fpid, link = heapq.heappop(self._due)
            if what == "answer":
                well = self.ejection.answered(link, fpid, self.now_s, useful=True)
                if well is not None:
                    self.on_change(well)
                self.done.setdefault(fpid, self.now_s)
            elif fpid not in self.done and self.by[fpid] is link:
                other = self.ejection.deal_again(self.links, link.id, silent=True)
                self.repeated.append((self.now_s, link.site, other.site))
                self._send(fpid, other, new=False)
        self.now_s = at_s

    def run(self, rate: float, lasts_s: float) -> None:
        """Payments come at this rate for so long; all of them get their answer."""
        end_s, at_s = self.now_s + lasts_s, self.now_s
        while (at_s := at_s + self.luck.expovariate(rate)) < end_s:
            self.until(at_s)
            self.submit()
        self.until(end_s)

    @property
    def ejections(self) -> list[tuple[float, str]]:
        return [(at_s, change.site) for at_s, change in self.changes if change.ejected]

    def waits_s(self) -> list[float]:
        """How long each payment waited."""
        self.until(self.now_s + 4 * ANSWER_S)
        return [self.done[fpid] - at_s for fpid, at_s in self.made.items()]


def one_is(bad: Takes, from_s: float = 10.0) -> Takes:
    """Site a is so from then on, all others are quick."""
    return lambda site, at_s, luck, nature: bad(site, at_s, luck, nature) if site == "a" and at_s >= from_s else QUICK_S


def silent(_site: str, _at_s: float, _luck: float, _nature: float) -> float:
    return inf


def slow(_site: str, _at_s: float, _luck: float, _nature: float) -> float:
    return 3.0


def lossy(_site: str, _at_s: float, luck: float, _nature: float) -> float:
    return inf if luck < 0.5 else QUICK_S


# --- the table


def test_every_pair_of_the_table_is_there_and_leads_where_its_words_say() -> None:
    """Only EJECT takes a share away, only RETURN gives one back, and whoever is out stays so until ANSWERED."""
    assert set(SHARES) == set(product(Share, LinkEvent))
    for (before, event), (after, do) in SHARES.items():
        assert (do is Do.EJECT) is (before not in OUT and after in OUT), (before, event)
        assert (do is Do.RETURN) is (before in OUT and after not in OUT), (before, event)
        assert before not in OUT or after in OUT or event is LinkEvent.ANSWERED
        assert do is not Do.LENGTHEN or before is Share.TRIED, "a pause grows by a trial that failed"


def test_fishers_test_is_right_in_cases_that_can_be_counted_by_hand() -> None:
    assert chance_of(3, 3, 0, 3) == 1 / comb(6, 3)
    assert chance_of(4, 4, 0, 10) == 1 / comb(14, 4)
    assert chance_of(0, 4, 4, 4) == 1.0
    assert chance_of(2, 4, 2, 4) == pytest.approx(1 - (comb(4, 1) * comb(4, 3) + 1) / comb(8, 4))


@given(st.integers(0, 12), st.integers(1, 12), st.integers(0, 12), st.integers(0, 12))
def test_an_outlier_is_worse_than_the_others_with_enough_evidence(
    slow: int, of: int, others_slow: int, others_of: int
) -> None:
    slow, others_slow = min(slow, of), min(others_slow, others_of)
    if is_outlier(slow, of, others_slow, others_of):
        assert slow >= SLOW_MIN
        assert slow / of > others_slow / others_of
        assert not is_outlier(others_slow, others_of, slow, of), "never both of two"
        assert chance_of(slow, of, others_slow, others_of) <= CHANCE_MAX


# --- links of every kind

WAITED = {1 / 60: 17.1, 0.2: 17.1, 1.0: 17.1, 5.0: 6.0, 50.0: 3.0, 250.0: 2.0}
"""By rate: how long a payment waits at the most when a link falls silent."""


@pytest.mark.parametrize("rate", WAITED)
def test_a_link_that_falls_silent_is_ejected_and_costs_a_few_payments_a_wait(rate: float) -> None:
    """One a minute or 250 a second: none waits twice, few wait at all, and all go by the other link."""
    stage = Stage(one_is(silent))
    stage.run(rate, max(40.0, 20 / rate))
    assert [site for _, site in stage.ejections] == ["a"]
    waits_s = stage.waits_s()
    assert max(waits_s) < WAITED[rate]
    assert sum(wait_s > 2 * SLOW_S for wait_s in waits_s) <= 6 * AHEAD_MAX
    assert not [one for one in stage.repeated if one[2] == "a"], "no repeat goes to the one that failed"
    assert sum(wait_s >= ANSWER_S for wait_s in waits_s) <= AHEAD_MAX


@pytest.mark.parametrize("rate", [0.2, 5.0, 250.0])
@pytest.mark.parametrize("bad", [slow, lossy])
def test_one_that_is_slow_or_loses_payments_is_ejected(rate: float, bad: Takes) -> None:
    stage = Stage(one_is(bad))
    stage.run(rate, max(60.0, 60 / rate))
    assert stage.ejections
    assert {site for _, site in stage.ejections} == {"a"}


@pytest.mark.parametrize("rate", [1 / 60, 1.0, 50.0])
@pytest.mark.parametrize(
    "receivers",
    [
        lambda nature, _at_s: 14.0,
        lambda nature, _at_s: 14.9 if nature < 0.2 else QUICK_S,
        lambda nature, _at_s: 5.0 if nature < 0.02 else QUICK_S,
        lambda nature, at_s: 8.0 if at_s // 60 % 2 else QUICK_S,
    ],
    ids=["all slow", "a bank times out", "a few slow", "waves"],
)
def test_where_receivers_are_slow_no_link_is_ejected(rate: float, receivers: Callable[[float, float], float]) -> None:
    """The scheme gives an answer 15 s: its links have the same share of slow ones."""
    for seed in range(3):
        stage = Stage(lambda _site, at_s, _luck, nature: receivers(nature, at_s), seed)
        stage.run(rate, min(max(120.0, 150 / rate), 7200.0))
        assert not stage.ejections


def test_a_client_that_submits_to_a_slow_bank_and_a_quick_one_in_turn_makes_no_link_look_sick() -> None:
    """Dealt in turn, each link would have had one bank's payments alone."""
    stage = Stage(lambda _site, _at_s, _luck, nature: nature)
    for number in range(300):
        fpid = f"payment {len(stage.made)}"
        stage.submit()
        stage.nature[fpid] = 0.0
        stage._due = [one for one in stage._due if one[3] != fpid or one[2] != "answer"]
        stage._at(stage.now_s + (5.0 if number % 2 else QUICK_S), "answer", fpid, stage.by[fpid])
        stage.until(stage.now_s + 0.2)
    assert not stage.ejections


@pytest.mark.parametrize("bad", [silent, slow])
def test_when_every_link_is_bad_none_or_all_but_one_goes(bad: Takes) -> None:
    """Equal links are equal; the last is never ejected."""
    stage = Stage(bad, links=[Wire(1, "a"), Wire(2, "b"), Wire(3, "c")])
    stage.takes = lambda site, at_s, luck, nature: bad(site, at_s, luck, nature) if at_s < 60 else QUICK_S
    stage.run(5.0, 60.0)
    assert not stage.ejections
    stage.takes = lambda site, at_s, luck, nature: QUICK_S if site == "c" else bad(site, at_s, luck, nature)
    stage.run(5.0, 60.0)
    assert {site for _, site in stage.ejections} == {"a", "b"}
    stage.takes = bad
    stage.run(5.0, 60.0)
    assert {site for _, site in stage.ejections} == {"a", "b"}


def test_one_that_is_well_again_gets_its_share_again() -> None:
    """Found by a trial, which cost one payment a second; what it is judged by begins anew."""
    stage = Stage(lambda site, at_s, _luck, _nature: inf if site == "a" and 10 <= at_s < 40 else QUICK_S)
    stage.run(5.0, 120.0)
    assert [change.ejected for _, change in stage.changes] == [True, False]
    (_, out), (back_s, back) = stage.changes
    assert "had no answer within" in out.why
    assert back.after_s > 25
    late = [site for at_s, site in stage.dealt if at_s > back_s]
    assert 0.4 < late.count("a") / len(late) < 0.6


def test_one_on_trial_is_judged_by_the_race_and_not_by_the_receiver() -> None:
    """It is well, and every receiving bank takes five seconds: no later than its rival is well enough."""
    stage = Stage(lambda site, at_s, _luck, _nature: inf if site == "a" and 10 <= at_s < 30 else QUICK_S)
    stage.run(5.0, 30.0)
    assert stage.ejections
    well: dict[str, float] = {}

    def takes(_site: str, at_s: float, _luck: float, nature: float) -> float:
        # the hub answers all requests of a payment when its bank has
        return well.setdefault(str(nature), at_s + 5.0) - at_s

    stage.takes = takes
    stage.run(5.0, 30.0)
    assert not stage.ejection.ejected()


def test_pauses_grow_and_are_spread_and_a_trial_is_one_payment() -> None:
    stage = Stage(one_is(silent, 0.0))
    stage.run(20.0, 300.0)
    (out_s, _), *others = stage.ejections
    assert not others
    trials = [at_s for at_s, site in stage.dealt if site == "a" and at_s > out_s]
    between = [after - before for before, after in zip([out_s, *trials], trials, strict=False)]
    assert all(5.0 * 2**n / 2 <= pause < 5.0 * 2**n + 5 for n, pause in enumerate(between[:4]))
    assert len(trials) < 12
    assert max(stage.waits_s()[-200:]) < 2 * SLOW_S


def test_a_new_connection_of_an_ejected_site_is_tried_at_once() -> None:
    """What was known is the site's; but a new connection may be the cure."""
    stage = Stage(one_is(silent, 0.0))
    stage.run(20.0, 60.0)
    assert "a" in stage.ejection.ejected()
    stage.ejection.link_down(stage.links[0], stage.now_s)
    stage.links[0] = Wire(3, "a")
    stage.takes = lambda *_: QUICK_S
    before = len(stage.dealt)
    stage.run(20.0, 1.0)
    assert not stage.ejection.ejected()
    assert "a" in {site for _, site in stage.dealt[before:]}


def test_ejected_ones_are_used_when_no_other_is_left_and_return_when_they_answer() -> None:
    stage = Stage(one_is(silent, 0.0))
    stage.run(20.0, 30.0)
    a, b = stage.links
    stage.links = [a]
    assert stage.ejection.deal(stage.links, stage.now_s) is a
    assert stage.ejection.deal_again(stage.links, b.id, silent=True) is a
    stage.takes = lambda *_: QUICK_S
    stage.run(20.0, 2.0)
    assert not stage.ejection.ejected()


def test_a_process_that_stood_still_blames_no_link() -> None:
    """Everything that waited looks late then: it says nothing of anybody."""
    stage = Stage(lambda *_: QUICK_S)
    stage.run(20.0, 10.0)
    for _ in range(12):
        stage.submit()
    stage._due.clear()  # the answers lie in the sockets
    owed = [(fpid, link) for fpid, link in stage.by.items() if fpid not in stage.done]
    stage.now_s += 12.0
    stage.ejection.judge(stage.links, stage.now_s)
    for fpid, link in owed[3:]:
        stage.ejection.answered(link, fpid, stage.now_s, useful=True)
    stage.until(stage.now_s + 10.0)
    assert not stage.ejections


@pytest.mark.parametrize(("silent_", "ejected", "last", "expected"), [
    (True, [], 1, "b"), (True, [], 2, "a"),
    (True, ["a"], 1, "b"), (True, ["a"], 2, "a"),
    (False, ["a"], 1, "b"), (False, ["a"], 2, "b"), (False, [], 2, "a"), (False, [], 0, "a"),
])  # fmt: skip
def test_where_a_repeat_goes(silent_: bool, ejected: list[str], last: int, expected: str) -> None:  # noqa: FBT001
    """Never to the link that just failed when another is left; to an ejected one only when the other one failed."""
    stage = Stage(lambda *_: QUICK_S)
    for name in ("a", "b"):
        site = stage.ejection._site(name)
        site.share = Share.EJECTED if name in ejected else Share.FULL
    assert stage.ejection.deal_again(stage.links, last, silent=silent_).site == expected


@given(st.lists(st.integers(0, 3), min_size=20, max_size=20), st.integers(0, 1 << 30))
def test_repeats_take_nobodys_turn(repeats: list[int], seed: int) -> None:
    """Each link has one new payment in each round, however many repeats leave between."""
    stage = Stage(lambda *_: QUICK_S, seed)
    dealt = []
    for number, how_many in enumerate(repeats):
        link = stage.ejection.deal(stage.links, 0.0)
        dealt.append(link.site)
        stage.ejection.sent(link, f"payment {number}", 0.0, new=True)
        for _ in range(how_many):
            link = stage.ejection.deal_again(stage.links, link.id, silent=True)
            stage.ejection.sent(link, f"payment {number}", 0.0, new=False)
        for each in stage.links:
            stage.ejection.answered(each, f"payment {number}", 0.0, useful=True)
    assert all({*dealt[at : at + 2]} == {"a", "b"} for at in range(0, len(dealt), 2))


def test_answers_that_settle_nothing_count_as_none() -> None:
    """A site of the hub that says 9909 to everything is as useless as a silent one, and quicker at it."""
    stage = Stage(lambda *_: QUICK_S)
    ejection, (a, b) = stage.ejection, stage.links
    for number in range(40):
        fpid, at_s = f"payment {number}", number * 0.2
        ejection.judge(stage.links, at_s)
        link = ejection.deal(stage.links, at_s)
        ejection.sent(link, fpid, at_s, new=True)
        ejection.answered(link, fpid, at_s, useful=link is b)
        if link is a:
            ejection.sent(b, fpid, at_s + 0.01, new=False)
            ejection.answered(b, fpid, at_s + 0.02, useful=True)
    assert "a" in ejection.ejected()


@settings(max_examples=60, deadline=None)
@given(
    st.integers(0, 1 << 30),
    st.sampled_from([0.1, 2.0, 40.0]),
    st.lists(st.sampled_from(["silent", "slow", "well", "late"]), min_size=2, max_size=4),
)
def test_whatever_links_do_all_is_dealt_one_is_always_in_and_nothing_grows(
    seed: int, rate: float, kinds: list[str]
) -> None:
    """Any links, any rate, any seed: the law of the table, one link that is not ejected, bounded memory."""
    how = {"silent": inf, "slow": 3.0, "well": QUICK_S, "late": 20.0}
    links = [Wire(number, f"site {number}") for number in range(1, len(kinds) + 1)]
    takes = {link.site: how[kind] for link, kind in zip(links, kinds, strict=True)}
    stage = Stage(lambda site, *_: takes[site], seed, links)
    for _ in range(20):
        stage.run(rate, 40 / rate / 20)
        assert len(stage.ejection.ejected()) < len(links)
    assert len(stage.dealt) == len(stage.made)
    if "well" in kinds:
        well = {link.site for link, kind in zip(links, kinds, strict=True) if kind == "well"}
        assert well - set(stage.ejection.ejected()), "of those that are well one is always in"
    stage.until(stage.now_s + 10 * ANSWER_S)
    for site in stage.ejection._sites.values():
        assert len(site.samples) <= SAMPLES_MAX
        assert not site.owed or "well" not in kinds
