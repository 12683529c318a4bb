"""Bytes to messages and back: no I/O, no clock, no log. Everything here is a function of its arguments.

```
chunks ── frame ──▶ bodies ── codec ──▶ messages     frame     where a message begins and ends in the stream
                               │                     fps.toml  the facts: fields, formats, who carries what
                      fields (fps.toml)              fields    the facts, checked and frozen
                      walk · plan · explain          message   one frozen type for each kind of message
                                                     values    the rules for values, such as dates
                                                     walk      field by field: slow, and names each fault
                                                     plan      one shape of message as straight code: fast
                                                     explain   a message for a person, as far as it can be read
                                                     codec     the door to all of these; DE128, FPID, digest
                                                     keydata   DE125 of key messages, split and joined
                                                     codes     what action codes say (codes.toml)
                                                     meanings  what values in a 9824 mean (usm.toml)
                                                     usm       a 9824 as an event, in these words
                                                     tables    reads these files, or a bank's own
```

A message can be wrong in two ways, which are never mixed:

* Its *structure* cannot be read: a length is not a number, a field is unknown, bytes are missing or left over.
  `Unparseable` names the field and the position, and the gateway answers with a 9624/650.
* Its structure is sound, but a *value* is bad or a mandatory field is missing. The message is decoded. Its `fault` is
  the number of the first such field, which a 9210 reports as 1930 and DE44.

Neither ever shows content. `walk` is the law. A `plan` is a faster way to the same result: it hands every message that
is not flawless to `walk`, which finds the words. The tests compare the two.
"""
