"""Fixtures of the local stack's tests."""

from tests.support.stack import running_stack as running_stack
