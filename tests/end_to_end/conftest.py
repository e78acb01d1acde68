"""The running stack, for tests that send what a gateway sends and look at what became of it."""

from tests.support.stack import running_stack

__all__ = ["running_stack"]
