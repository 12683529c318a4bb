"""Compact containers: what is remembered of millions of payments, in little memory. Pure; none knows a payment.

* `table`: rows by key, packed; `pages`: bytes of many lengths; `days`: which day something goes by and is forgotten.
* `positions`: a set of places in a journal.
"""
