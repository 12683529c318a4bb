"""Attacker: anybody on the path between the gateway and the processor, a peer or the other site's gateway.

Attack: reads what passes by, and answers in the processor's place. A gateway whose configuration said `http://` where
`https://` was meant sent everything in clear, to any host.

Gain before: names, accounts and amounts of all payments; and an "accepted" for each. Nothing said that this was so.
"""

import pytest

from gateway import config
from gateway.config.rules import remarks_on
from tests.config.conftest import load  # noqa: F401 - a fixture
from tests.config.good import GOOD, Load, mistakes_of

WORDS = "anyone on the path may read and change it"
BEYOND = ("http://10.0.0.2:8080", "http://processor:8080", "http://[2001:db8::1]:8080/x", "http://127.0.0.1.bank:1")
HERE = ("http://localhost:8080", "http://127.1.2.3:8080/x", "http://[::1]:8080", "https://processor:8080")
USES = {
    "processor": ("node.processor.url", "node.processor.in_clear"),
    "peer": ("node.peers.sop", "node.peers_in_clear"),
    "sibling": ("node.sibling.url", "node.sibling.in_clear"),
}


def text(use: str, url: str, words: str = "") -> str:
    """A configuration with this URL there, and these words beside it."""
    accepted = f'in_clear = "{words}"\n' if words else ""
    if use == "processor":
        return GOOD.replace('url = "http://127.0.0.1:8080"\n', f'url = "{url}"\n{accepted}')
    if use == "sibling":
        return f'{GOOD}[node.sibling]\nurl = "{url}"\n{accepted}'
    top = GOOD.replace("[node]\n", f"[node]\npeers_{accepted}", 1) if words else GOOD
    return f'{top}[node.peers]\nsop = "{url}"\n'


@pytest.mark.parametrize("url", BEYOND)
@pytest.mark.parametrize("use", USES)
def test_plain_http_leaves_the_machine_unseen(load: Load, use: str, url: str) -> None:  # noqa: F811
    """It is a mistake, at a start and in `config check`, which names the words that would allow it."""
    place, setting = USES[use]
    (mistake,) = mistakes_of(load, text(use, url))
    assert f'{place}: leaves this machine in clear: give https://, or accept that, by {setting} = "{WORDS}"' in mistake


@pytest.mark.parametrize("url", BEYOND)
@pytest.mark.parametrize("use", USES)
def test_where_it_is_accepted_in_words_it_is_remarked_on(load: Load, use: str, url: str) -> None:  # noqa: F811
    """`config check` goes on saying it. Other words accept nothing."""
    loaded = load(text(use, url, WORDS))
    assert isinstance(loaded, config.Configuration)
    said = f"is accepted: plain HTTP leaves this machine, and {WORDS}"
    assert (USES[use][1], said) in list(remarks_on(loaded))
    for words in ("yes", "true", WORDS.upper()):
        assert any(USES[use][1] in mistake for mistake in mistakes_of(load, text(use, url, words)))


@pytest.mark.parametrize("url", HERE)
@pytest.mark.parametrize("use", USES)
def test_on_the_machine_itself_nothing_need_be_said_nor_may_it(load: Load, use: str, url: str) -> None:  # noqa: F811
    """Words that accept nothing now would accept it unseen when a URL is changed one day."""
    load(text(use, url))
    (mistake,) = mistakes_of(load, text(use, url, WORDS))
    assert f"{USES[use][1]}: is given, but nothing leaves this machine in clear" in mistake
