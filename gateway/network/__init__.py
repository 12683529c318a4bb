"""How this process comes to a connection, and whom it trusts on it; nothing that is said on one.

* `names`: how names become addresses and addresses become connections; `turns`: which address has its turn; `dialler`:
  dials one party at it.
* `listening`: the port that others dial; `papers`: TLS, from files that are renewed while we run.

Everybody whom this process dials (a hub site, the processor, the sibling, each peer, whoever drains it) has a `Dialler`
of its own, with one place for looking its name up. Nothing here is shared: whose name hangs delays only itself.

A lookup
  none under way → due                    on a dial, when nothing is known or the last answer is old (`OLD_S`); and at
                                          any failure, of a dial or an exchange, at most every `AGAIN_S`
  due            → under way              in a thread of its own, one at most. It cannot be cancelled. Whoever dials
                                          waits for `PATIENCE_S`, and then goes by what was known last; where nothing
                                          is, it waits on within its own limit
  under way      → overdue                said once, and counted. Nobody waits for it who knows an address
                 → found                  these are the addresses now, however late it came
                 → failed                 what was known last stays good; said once. Nothing known: the dial fails
  failed, overdue → found                 said: the episode is over

The resolver's time to live does not show through getaddrinfo: hence `OLD_S`.

An address: `turns.LAW` says what becomes of it by what a connection to it proved. Accepting one proves nothing.
A hub proves itself by answering a sign-on, a processor by a whole response other than 502, 503 and 504. Until then, and
whenever it proves nothing, the next address has its turn. One that proved itself is kept to: there is no way back to
the first of the list as long as it does.

A connection to an address that the name does not have any more is used while it answers; it ends when it does not, or
by its age.
"""
