"""HTTP/1.1 over TCP and TLS, for all who speak it: the processor's client and door, the neighbours, the SDK.

* `pipe`: bytes, over a socket, TLS or a stream; writing never waits.
* We ask: `directory` names the hosts, `hosts` makes connections to them and notes what these prove of addresses,
  `connection` sends one request at a time, `exchange` reads its response, `statuses` says what a response's status
  means, and `breaker` when to leave a host alone.
* We are asked: `entrance` lets clients in over TLS, and `visitor` is one connection of a client.

The meaning of a body is the sender's and the receiver's.
"""
