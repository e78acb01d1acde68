"""Migrations: numbered SQL files, applied once, in order, by one runner at a time.

files.py reads and checks the files, statements.py cuts them into statements, plan.py compares them with the ledger,
sessions.py opens direct sessions and takes the lock, engine.py does the work, schema.py describes the outcome.
"""
