"""The signer: MACs made and verified in HSM tokens, in worker processes of their own.

python-pkcs11 initialises a PKCS#11 library without OS locking, so that two threads in it crash the process; and a call
into a token may hang for ever. Hence one process per token, with one thread and one session; batches go in and results
come out over a socket pair. The parts, each importing only those above it:

* `outage`: why a token does not serve. Pure.
* `messages`: the frames between pool and worker, as bytes. Pure.
* `breaker`: how long a sick token is kept out. Pure.
* `choice`: which of the serving tokens get work: quick ones, and those of our own site first. Pure.
* `apart`: which keys must differ. Pure.
* `wanted`: which keys the tokens shall have, and what they say of a new one. Pure.
* `pin`: the PIN of a PIN file, or why there is none.
* `slots`: the tokens behind a library, each slot asked by itself.
* `login`: a session in one token. `mechanisms`: MACs and check values under one key. `keys`: the keys of a token, by
  label. `unwrapping`: keys that come in band. `token`: all of that for one worker. Only these and `slots` know pkcs11.
* `worker`: the process around a token. Knows nothing of payments.
* `said`: what a worker writes to standard error. Bounded, and without the PIN.
* `process`: starts, feeds and ends a worker process, on trio.
* `member`: a token as the pool sees it. Data.
* `preference`: the serving tokens, and those that get work.
* `tokens`: has a worker for each token, watches over it, judges its keys, gives it new ones.
* `queues`: the jobs that wait for a token.
* `survey`: looks at every token once, through such workers, and says how a pool would use them.
* `pool`: `Signer`. Spreads jobs over tokens, watches deadlines, hands on the jobs that a lost token left undone.

Trust: at its start, and every `tokens.PROBE_EVERY_S` seconds, each worker computes the MAC of a known text under each
key, and the pool compares these values. The largest group of agreeing tokens serves; in a tie, the group with the token
that stands first in the configuration. The other tokens are kept out, each with an error in the log.

A key that comes in band is unwrapped in every serving token, one after the other. It is taken when more of them proved
its check value than failed; from then on a token that cannot have it does not serve. A token that was away gets every
present key before it serves. Keys are never removed from a token, because another gateway may share it, and be behind.
Their custodians remove them (hsm/README.md).

The hub's key, ours, the one for seals and the transport key must differ. A token in which two of them are one does not
serve, and no token takes a new key that is one of them.

A wrong PIN is never tried twice, because a few wrong ones lock a token: the token stays out until its PIN file changes
or the gateway is restarted.
"""
