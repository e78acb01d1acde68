"""Knows our own requests: an app whose address is one of our webhooks would be told of what it was told, for ever."""

from collections.abc import Mapping

HOP_HEADER = "x-gatehouse-hop"
HOP = "1"


def is_our_own(headers: Mapping[str, str]) -> bool:
    """Tell from the headers of a request, whatever their case, that a Gatehouse has forwarded it."""
    return any(name.lower() == HOP_HEADER for name in headers)
