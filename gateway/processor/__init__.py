"""The processor: the bank's system that decides on payments. HTTP/1.1 with JSON both ways.

    engine ── ask(batch) ──→ client ── link ── pipe ── POST /payments  → the answer → on_answers(batch) ──→ engine
    journal ── follower ──→ forwarder ── tell ──→ client ── POST /notices until a 2xx → TOLD, or PARKED ──→ journal
    POST /payments of ours → visitor → door, by request → submit(batch) ──→ engine ── done ──→ door: 202, 200, 503 …

* `messages`: the JSON both ways, and nothing else that knows its names; `openapi` makes the document of it.
* `notices`: a record of the journal as the notice that is told.
* `pipe`: bytes over TCP or TLS; `exchange`: one request's response, and what counts for one; `link`: one HTTP
  connection over a pipe; `reach`: a host, and what its addresses prove; `statuses`: what a response's status says;
  `client`: the pool that asks, and what is asked again; `calls`: a notice, a look or an inquiry.
* `forwarder`: tells what was done in the processor's absence, in order per payment, until it is acknowledged.
* `peers`: tells our other processes the scheme's news, by forwarders of the same kind.
* `sibling`: looks at the other site's gateway, whether both share what a pair must share.
* `door`: the server where the processor submits payments; `visitor`: one connection to it; `request`: what is submitted
  as the 9200 that leaves, or what is wrong with it.
* `breaker`: when to leave the processor alone; `directory`: which host it is; `positions`: a set of millions in
  little memory.

A question that gets no answer is no error here: the payment's stand-in timer decides, in the engine. A notice is never
dropped. Nothing but a body holds what is a customer's.
"""
