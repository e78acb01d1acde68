"""python -m bench [name …]: measures what is named, or everything, and ends with 1 when a number was missed."""

import platform
import sys
from importlib import import_module

from bench.figures import show

NAMES = ("recording", "cpu", "cold_start", "front", "deliveries", "jobs", "pooler", "faults")


def main(names: list[str]) -> int:
    """Measure; return the exit code."""
    if unknown := sorted(set(names) - set(NAMES)):
        print(f"there is no benchmark {', '.join(unknown)}: choose from {', '.join(NAMES)}", file=sys.stderr)
        return 2
    print(f"Python {platform.python_version()} on {platform.machine()}; compare ratios, not times, between machines")
    held = True
    for name in names or NAMES:
        print(f"\n{name}", flush=True)
        outcome = import_module(f"bench.{name}").run()
        held = (outcome == 0 if name == "faults" else show(outcome)) and held  # that one counts, it measures nothing
    return 0 if held else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
