"""HTTP/1.1 over TCP and TLS, for all who speak it: the processor's client and door, the neighbours, the SDK.

* `pipe`: bytes, over a socket, TLS or a stream; writing never waits.
* We ask: `directory` says which hosts, `reach` holds the connections to one and what its addresses prove, `connection`
  asks one question at a time, `exchange` reads its response, `statuses` says what a response's status means, and
  `breaker` when to leave a host alone.
* We are asked: `visitor` is one connection of a client.

What a body says is for whoever sends or gets it. The ops port is hypercorn's (`ops.server`).
"""
