"""What each plan allows. A tenant's row keeps its own limits: these are what it gets with a plan."""

from typing import NamedTuple


class Limits(NamedTuple):
    """How much of everything a tenant may have."""

    max_databases: int  # its own and its branches
    max_storage_mb: int
    max_requests_per_minute: int
    max_requests_per_hour: int
    max_requests_per_day: int


PLANS = {
    "free": Limits(1, 100, 100, 1_000, 10_000),
    "pro": Limits(5, 8_192, 600, 12_000, 150_000),
    "team": Limits(10, 51_200, 1_200, 36_000, 500_000),
    "enterprise": Limits(50, 512_000, 6_000, 180_000, 3_000_000),
}
