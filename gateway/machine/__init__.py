"""This process, as its machine runs it: its command line and streams, its shortages, and its standstills.

* `arguments`: the command line, taken literally; `console`: the terminal, pipes or files that it was started from;
  `harmless`: what came from elsewhere, so that it steers neither a terminal nor a spreadsheet.
* `shortage`: tells a shortage (no descriptor, no thread, no memory) from a fault; `descriptors`: keeps some for
  the parts that need them most; `aside`: runs blocking calls in a thread.
* `standstill`: whether it ran all the time.

Nothing here knows a payment, a configuration or the log.
"""
