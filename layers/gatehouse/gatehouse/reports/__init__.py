"""Answers about money: each with its definition, the time until which it is complete, and one currency a row."""
