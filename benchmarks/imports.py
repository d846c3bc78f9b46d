"""Time of `import jdl` over the time of importing what it stands on, in fresh processes by turns.

The import defers what it can: "all names" is the import with every public name loaded, which no program needs whole.
"""

import time
from importlib import import_module

from benchmarks import measure

WAYS = {"jdl": ["jdl"], "all names": ["jdl"], "base": ["jax", "flax.nnx", "optax", "numpy", "pandas"]}


def child(way: str) -> float:
    """Seconds of the imports in this process."""
    start = time.perf_counter()
    for name in WAYS[way]:
        module = import_module(name)
        if way == "all names":
            for public in module.__all__:
                getattr(module, public)
    return time.perf_counter() - start


def main() -> None:
    """Measure."""
    args = measure.arguments(__doc__, repetitions=11)
    if args.child:
        measure.reply(child(args.child[0]))
        return
    seconds: dict[str, list[float]] = {way: [] for way in WAYS}
    for turn in range(1 + args.repetitions):
        for way in WAYS:
            value = measure.fresh("benchmarks.imports", "--child", way)
            if turn:  # the first one reads the files from disk, or writes their bytecode
                seconds[way].append(value)
    rows = [(way, s.median, s.low, s.high) for way in WAYS for s in [measure.summary(seconds[way])]]
    text = measure.table(("import", "median s", "lower quartile", "upper quartile"), rows)
    everything = measure.ratios(seconds["all names"], seconds["base"])
    text += f"\n\nAll public names of jdl take {everything.median:.3g} of the base's time."
    claims = [measure.claim("import jdl / its base", measure.ratios(seconds["jdl"], seconds["base"]), 1.1)]
    measure.report("imports", text, claims, seconds, quick=args.quick)


if __name__ == "__main__":
    main()
