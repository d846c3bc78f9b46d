"""Run benchmarks one after the other: all, or those named; options such as `--quick` are handed on."""

import subprocess
import sys

NAMES = (
    "imports",
    "cross_validation",
    "folds",
    "memory",
    "paper_grid",
    "callbacks",
    "models",
    "precision",
    "quality",
    "saving",
)


def main() -> None:
    """Run each in a process of its own; stop at the first that fails."""
    arguments = sys.argv[1:]
    options = [a for a in arguments if a not in NAMES]
    named = [a for a in arguments if a in NAMES]
    for name in named or NAMES:
        subprocess.run([sys.executable, "-m", f"benchmarks.{name}", *options], check=True)


if __name__ == "__main__":
    main()
