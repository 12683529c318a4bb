"""How this process gets its connections, and which certificates it trusts; nothing about the bytes on them.

* `names`: how names become addresses and addresses become connections; `turns`: which address has its turn; `dialler`:
  dials one party at it.
* `listening`: the port that others dial; `strangers`: places there for those who have proved nothing yet; `papers`:
  TLS, from files that are renewed while we run.

Each party that this process dials (a hub site, the processor, the sibling, each peer, a node to drain) has a `Dialler`
of its own, which looks its name up. Nothing here is shared: a name that hangs delays only its own party.

A lookup
  none under way → due                    on a dial, when nothing is known or the last answer is old (`OLD_S`); and at
                                          any failure, of a dial or an exchange, at most every `AGAIN_S`
  due            → under way              in a thread of its own, one at most. It cannot be cancelled. A dial waits for
                                          `PATIENCE_S`, and then uses the addresses that were known last; when there
                                          are none, it waits on within its own limit
  under way      → overdue                logged once, and counted. A dial that knows an address does not wait
                 → found                  these are the addresses now, however late they came
                 → failed                 the last addresses stay good; logged once. Without any the dial fails
  failed, overdue → found                 logged: the episode is over

The resolver's time to live does not show through getaddrinfo: hence `OLD_S`.

An address is judged by `turns.LAW`, from the proofs that connections to it gave. Accepting a connection proves nothing.
A hub proves itself by answering a sign-on, a processor by a whole response other than 502, 503 and 504. Until then, and
whenever it proves nothing, the next address has its turn. An address that goes on proving itself is kept: the first of
the list gets no preference.

A connection to an address that the name no longer has is used while it answers; it ends when it does not, or by its
age.
"""
