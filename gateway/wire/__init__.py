"""Bytes to messages and back: no I/O, no clock, no log. Everything here is a function of its arguments.

```
chunks ── frame ──▶ bodies ── codec ──▶ messages     frame     where a message begins and ends in the stream
                               │                     fps.toml  the facts: fields, formats, who carries what
                      fields (fps.toml)              fields    the facts, checked and frozen
                      walk · plan · explain          message   one frozen type for each kind of message
                                                     walk      one field after the other, slowly; says what is bad
                                                     plan      the same for one bitmap as straight code, fast
                                                     explain   a message for a person, as far as it can be read
                                                     codec     the door to all of these; DE128, FPID, digest
                                                     keydata   DE125 of key messages, taken apart and put together
                                                     meanings  what values in a 9824 mean (usm.toml)
                                                     usm       a 9824 as an event, in these words
```

Two ways to be wrong, never mixed:

* The *structure* cannot be read (a length that is no number, an unknown field, bytes missing or left over):
  `Unparseable`, which names field and position and is answered with a 9624/650.
* The structure is fine, but a *value* is bad or a mandatory field is missing: the message is there, and its `fault`
  holds the number of the first such field, which a 9210 reports as 1930 and DE44.

Neither ever shows content. `walk` is the law; a `plan` is only a faster way to the same result, and hands every message
that is not flawless to `walk`, which finds the words. The tests hold the two against each other.
"""
