"""The books and their judge: `oracle` takes those of the hub, the processors and the journals, and gives a verdict.

Pure but for `books`, which reads the books from disk.
"""
