"""The books and who judges them: `oracle` takes the hub's, the processors' and the journals', and gives a verdict.

Pure but for `books`, which reads them from where they lie.
"""
