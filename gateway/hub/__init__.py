"""The connections with the hub: which links are there, and which are signed on. Knows frames and management messages,
never a payment.

* `rules`: what a connection says to the hub about itself, in words and as tables. Start there.
* `session`: the state machine that obeys them, without I/O. Its parts: `exchanges` (requests and responses) and
  `echoes` (whether the hub is still there).
* `link`: one connection, as three small tasks around a session; and `Inbox`, to which it reports. Its parts:
  `incoming` (frames that were read) and `outgoing` (bodies to be sent).
* `pool`: a link to each hub site, dialled again for ever.
* `dial`: how a connection is made.

A frame goes link → engine (decode, verify the MAC) → payments to their story, the rest to `Link.manage` → session.
A message that a session sends goes `Inbox.transmit` → engine (make the MAC, record) → `Link.send`, `Link.flush` → hub.
"""
