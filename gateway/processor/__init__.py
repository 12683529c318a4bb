"""The processor: the bank's system that decides on payments. HTTP/1.1 with JSON both ways.

    engine ── ask(batch) ──→ client ── http ── POST /payments  → the answer → on_answers(batch) ──→ engine
    journal ── follower ──→ forwarder ── tell ──→ client ── POST /notices until a 2xx → TOLD, or PARKED ──→ journal
    POST /payments of ours → http.visitor → door, by request → submit(batch) ──→ engine ── done ──→ door: 202, 200, …

* `messages`: the JSON both ways, and nothing else that knows its names; `openapi` makes the document of it.
* `notices`: a record of the journal as the notice that is told.
* `client`: the pool that asks, and what is asked again; `answers`: what counts for a decision; `calls`: a notice, a
  look or an inquiry.
* `forwarder`: tells what was done in the processor's absence, in order per payment, until it is acknowledged.
* `door`: the server where the processor submits payments; `request`: what is submitted as the 9200 that leaves, or what
  is wrong with it.

Connections, exchanges, statuses and breakers are in `http`, for all who speak it.

A question that gets no answer is no error here: the payment's stand-in timer decides, in the engine. A notice is never
dropped. Nothing but a body holds what is a customer's.
"""
