"""python -m bench [name …]: measures what is named, or everything, and says which numbers were missed.

It ends with 1 only when the long storm of faults lost or doubled something: a number that is missed is no defect, and
docs/benchmarks.md says why each of them is.
"""

import platform
import sys
from importlib import import_module

from bench.figures import show

NAMES = (
    "recording",
    "gateways",
    "cpu",
    "cold_start",
    "front",
    "deliveries",
    "jobs",
    "forwarding",
    "pooler",
    "store",
    "clinics",
    "importing",
    "clinic_load",
    "reports",
    "console",
    "backup",
    "tenants",
    "faults",
)


def main(names: list[str]) -> int:
    """Measure; return the exit code."""
    if unknown := sorted(set(names) - set(NAMES)):
        print(f"there is no benchmark {', '.join(unknown)}: choose from {', '.join(NAMES)}", file=sys.stderr)
        return 2
    print(f"Python {platform.python_version()} on {platform.machine()}; compare ratios, not times, between machines")
    missed: list[str] = []
    is_right = True
    for name in names or NAMES:
        print(f"\n{name}", flush=True)
        outcome = import_module(f"bench.{name}").run()
        if name == "faults":  # it counts and measures nothing
            is_right = outcome == 0
        else:
            missed += show(outcome)
    print(f"\nmissed: {', '.join(missed) or 'nothing'}")
    return 0 if is_right else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
