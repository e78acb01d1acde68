"""Postgres, safe behind a transaction pooler: connection.py is where to begin."""
