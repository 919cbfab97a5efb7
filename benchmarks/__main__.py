"""`python -m benchmarks [steps] [end_to_end] [polish] [fleets] [memory] [report]`

Without a name: the quick ones, then the page. The others, and how long each takes, are listed in docs/performance.md.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable

from benchmarks import end_to_end, memory, polish, report, scaling, steps

_QUICK: dict[str, Callable[[], None]] = {
    "steps": steps.main,
    "end_to_end": end_to_end.main,
    "polish": polish.main,
    "fleets": lambda: scaling.main(["fleet"]),
}
_MEASURES: dict[str, Callable[[], None]] = {**_QUICK, "memory": memory.main}


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("names", nargs="*", choices=[[], *_MEASURES, "report"], default=[], metavar="name")
    names = parser.parse_args().names or [*_QUICK]
    for name in names:
        if name in _MEASURES:
            print(f"\n{name}\n")
            _MEASURES[name]()
    print(f"\nwrote {report.main()}")


if __name__ == "__main__":
    main()
