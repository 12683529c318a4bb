"""Compact containers, which remember something of millions of payments in little memory. Pure; none knows a payment.

* `table`: rows by key, packed. `pages`: texts of any length. `days`: which day an entry belongs to, and when it goes.
* `positions`: a set of journal positions.
"""
