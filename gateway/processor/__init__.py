"""The processor: the bank's system that decides on payments. HTTP/1.1 with JSON both ways.

    engine ── ask(batch) ──→ client ── http ── POST /payments  → the answer → on_answers(batch) ──→ engine
    journal ── follower ──→ forwarder ── tell ──→ client ── POST /notices until a 2xx → TOLD, or PARKED ──→ journal
    POST /payments of ours → http.visitor → door, by request → submit(batch) ──→ engine ── done ──→ door: 202, 200, …

* `messages`: the JSON of both directions, and the only module that knows its names; `writing` fills in what we send;
  `openapi` makes the document of it.
* `client`: the processor as the gateway's parts know it. It joins `asking` and `calls`.
* `asking`: questions about payments, and what is asked again. `questions` holds those that wait, `pool` the connections
  that they go over, `answers` reads what counts for a decision.
* `calls`: a notice, a look or an inquiry.
* `notices`: a record of the journal as the notice that tells it; `addressees`: the receivers of notices; `forwarder`:
  tells one of them, in order per payment, until it acknowledges; `backlog`: what it had not been told at a restart.
* `door`: the server where the processor submits payments; `request`: a submission as the 9200 that leaves, or what is
  wrong with it.

Connections, exchanges, statuses and breakers are in `http`, for all who speak it.

A question that gets no answer is no error here: the payment's stand-in timer decides, in the engine. A notice is never
dropped. Customers' data is in bodies, and nowhere else.
"""
