"""Brings in what happened before Gatehouse was there: payments from files, merchants from a list."""
