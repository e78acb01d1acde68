"""Measures Gatehouse against floors that are taken in the same run: `python -m bench`; see docs/benchmarks.md."""
