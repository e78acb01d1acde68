"""Hints for the planner, which go in front of what they are for, in the same flush.

A report walks through hundreds of short ranges, each of which is taken for hundreds of rows: at such a cost a server
that has JIT compiles it, for a second where the answer takes a tenth. Starting a helper takes longer than it saves.
"""

from pathlib import Path

from gatehouse.database.sql import load_statements

sql = load_statements(Path(__file__).with_name("planning.sql"))
