"""This process, as its machine runs it: what it was started with, what it may have, and when it stood still.

* `arguments`: the command line, taken at its word; `console`: the terminal, pipes or files that it was started from.
* `shortage`: tells a shortage (no descriptor, no thread, no memory) from a fault; `descriptors`: keeps some for
  those who need them most; `aside`: does what blocks in a thread.
* `standstill`: whether it ran all the time.

Nothing here knows a payment, a configuration or the log.
"""
