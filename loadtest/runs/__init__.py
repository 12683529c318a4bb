"""Whole worlds of real processes on this machine, and what one does with them: each ends in the ledger's verdict."""
