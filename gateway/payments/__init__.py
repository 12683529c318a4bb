"""The stories of a payment and their laws. Pure: no I/O, no clock, no log; `now` is an argument.

Start reading with `inbound`, the story of a payment that arrives; `outbound` is that of one that leaves.
* `law`: the machinery of a law; `inbound_law` and `outbound_law`: state and event → act, for each direction its own;
  `fates`: every fate of a payment, from playbooks that run.
* `arrival`, `departure`: a payment in flight, and what its story commands; `departures`: memory of those that leave.
* Chapters of `inbound`: `deciding`, `replying`. Chapters of `outbound`: `taking`, `attempting`, `awaiting`, `settling`,
  `reporting`, `stopping`.
* `links`: a link as the stories know it; `lasting`: when a record that lasts is written anew.
* `steps`: the records of a payment; `work`: the work that stories have shells do, and its results.
* Judgement: `verify` (its fields), `dates` (its date), `standin` (whether we may answer for the processor; `mode`
  switches it), `ejection` (which link it leaves by), `submitting` (whether any may leave).
* Memory of what is at rest: `outcomes` of what arrived, `submissions` of what the processor gave us.
"""
