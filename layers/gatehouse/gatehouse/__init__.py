"""Gatehouse: the shared package of all functions."""
