"""What an app's answer means for a delivery."""

from typing import Literal

# delivered: the app has it.  final: the app says no, and would say so again.  retry: perhaps later.
# gone: the app wants nothing more (410); whoever asked for the delivery pauses it.
type What = Literal["delivered", "final", "retry", "gone"]

GONE = 410
RETRYABLE = (408, 425, 429)  # and everything from 500 up


def of_status(status: int) -> What:
    """Return what a final HTTP status (200 to 599) means."""
    if 200 <= status < 300:
        return "delivered"
    if status == GONE:
        return "gone"
    return "retry" if status in RETRYABLE or status >= 500 else "final"
