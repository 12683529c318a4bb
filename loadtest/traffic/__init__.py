"""What is sent and how it is measured: when payments are due, what they say, their bytes, the times they take. Pure.

Framing, FPIDs and digests are restated here, by other code than the gateway's: one mistake cannot hide in both.
"""
