"""The processor: the bank's system that decides on payments. HTTP/1.1 with JSON both ways.

    engine ── ask(batch) ──→ client ── link ── pipe ── POST /payments  → the answer → on_answers(batch) ──→ engine
    journal ── follower ──→ forwarder ── tell ──→ client ── POST /notices until a 2xx → TOLD, or PARKED ──→ journal

* `messages`: the JSON both ways, and nothing else that knows its names; `openapi` makes the document of it.
* `notices`: a record of the journal as the notice that is told.
* `pipe`: bytes over TCP or TLS; `link`: one HTTP connection over a pipe; `client`: the pool, and what is repeated.
* `forwarder`: tells what was done in the processor's absence, in order per payment, until it is acknowledged.
* `breaker`: when to leave the processor alone; `directory`: which host it is; `positions`: a set of millions in
  little memory.

A question that gets no answer is no error here: the payment's stand-in timer decides, in the engine. A notice is never
dropped. Nothing but a body holds what is a customer's.
"""
