"""`python -m benchmarks [steps] [end_to_end] [memory] [report]`: all of them without a name."""

from __future__ import annotations

import argparse
from collections.abc import Callable

from benchmarks import end_to_end, memory, report, steps

_MEASURES: dict[str, Callable[[], None]] = {
    "steps": steps.main,
    "end_to_end": end_to_end.main,
    "memory": memory.main,
}


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("names", nargs="*", choices=[*_MEASURES, "report"], metavar="name")
    names = parser.parse_args().names or [*_MEASURES]
    for name in names:
        if name in _MEASURES:
            print(f"\n{name}\n")
            _MEASURES[name]()
    print(f"\nwrote {report.main()}")


if __name__ == "__main__":
    main()
