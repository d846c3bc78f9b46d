"""What all benchmarks share: fresh processes, medians with their spread, claims, tables, result files."""

import argparse
import contextlib
import datetime
import gc
import importlib.metadata
import json
import os
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).parent / "results"
PACKAGES = (
    "jdl",
    "jax",
    "jaxlib",
    "flax",
    "optax",
    "numpy",
    "pandas",
    "scikit-learn",
    "torch",
    "skorch",
    "tabm",
    "rtdl_revisiting_models",
    "pytabkit",
)


# --- numbers ---


@dataclass(frozen=True)
class Summary:
    """Median of repeated measurements, and the quartiles as their spread."""

    median: float
    low: float
    high: float
    n: int


def summary(values: Iterable[float]) -> Summary:
    """Median and quartiles of `values`."""
    sample = sorted(values)
    if len(sample) < 2:
        return Summary(sample[0], sample[0], sample[0], len(sample))
    low, median, high = statistics.quantiles(sample, n=4, method="inclusive")
    return Summary(median, low, high, len(sample))


def ratios(ours: Sequence[float], theirs: Sequence[float]) -> Summary:
    """Ratio of two measurements made in turns: pairs of one turn met the same state of the machine."""
    return summary(a / b for a, b in zip(ours, theirs, strict=True))


@dataclass(frozen=True)
class Claim:
    """A figure to reach, and what was measured; smaller is better."""

    text: str
    value: float
    low: float
    reach: float

    @property
    def verdict(self) -> str:
        """Whether the reach holds: for the median, at least for the better quartile, or not."""
        if self.value <= self.reach:
            return "met"
        return "met within the spread" if self.low <= self.reach else f"missed by {self.value / self.reach - 1:.0%}"


def claim(text: str, measured: Summary, reach: float) -> Claim:
    """A claim about repeated measurements."""
    return Claim(text, measured.median, measured.low, reach)


# --- processes ---


def environment(**settings: str) -> dict[str, str]:
    """This process's environment with `settings`, without what changes threads or keeps bytecode from being cached."""
    dropped = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "XLA_FLAGS", "PYTHONDONTWRITEBYTECODE")
    kept = {k: v for k, v in os.environ.items() if k not in dropped}
    return kept | {"JDL_COMPILATION_CACHE": "off"} | settings


def fresh(module: str, *args: str, env: dict[str, str] | None = None, core: int | None = None) -> Any:
    """What `python -m module *args` prints as JSON on its last line, run in a fresh process.

    Args:
      module: Dotted name of the module.
      args: Its arguments.
      env: Environment; None is `environment()`.
      core: The one CPU core that all threads of the process share; None leaves it all cores.
    """
    pin = None if core is None or not can_pin() else (lambda: os.sched_setaffinity(0, {core}))
    done = subprocess.run(
        [sys.executable, "-m", module, *args],
        env=environment() if env is None else env,
        cwd=Path(__file__).parent.parent,
        preexec_fn=pin,
        stdout=subprocess.PIPE,
        text=True,
    )
    if done.returncode:
        raise SystemExit(f"'python -m {module} {' '.join(args)}' failed with exit code {done.returncode}.")
    return json.loads(done.stdout.splitlines()[-1])


def reply(value: Any) -> None:
    """Hand `value` back to the process that called `fresh`."""
    print(json.dumps(value, default=float), flush=True)


def can_pin() -> bool:
    """Whether this system lets a process choose its cores (Linux does)."""
    return hasattr(os, "sched_setaffinity")


def cores() -> list[int]:
    """The cores this process may use."""
    return sorted(os.sched_getaffinity(0)) if can_pin() else list(range(os.cpu_count() or 1))


@contextlib.contextmanager
def pinned(core: int) -> Iterator[None]:
    """All threads of this process on one core, threads that libraries started earlier included."""
    if not can_pin():
        yield
        return
    before = cores()
    _pin_threads({core})
    try:
        yield
    finally:
        _pin_threads(set(before))


def _pin_threads(to: set[int]) -> None:
    for thread in os.listdir("/proc/self/task"):
        with contextlib.suppress(ProcessLookupError):
            os.sched_setaffinity(int(thread), to)


# --- clocks ---


def timed(work: Callable[[], Any]) -> tuple[float, Any]:
    """Seconds that `work` took, and what it returned."""
    gc.collect()
    start = time.perf_counter()
    result = work()
    return time.perf_counter() - start, result


def run_seconds(result: Any, wall: float) -> float:
    """Seconds of running without compiling, as a fitted learner or a resampling of jdl says; else `wall`."""
    if hasattr(result, "run_seconds"):
        return float(result.run_seconds)
    timings = getattr(result, "timings", {})
    return float(timings.get("run", wall))


# --- reports ---


def arguments(doc: str | None, repetitions: int) -> argparse.Namespace:
    """Command line of a benchmark: `quick`, `repetitions`, and `child`, the arguments of a fresh process."""
    parser = argparse.ArgumentParser(description=(doc or "").split("\n")[0])
    parser.add_argument("--quick", action="store_true", help="few points and repetitions; writes no result file")
    parser.add_argument("--repetitions", type=int, default=None, help=f"default {repetitions}, quick 2")
    parser.add_argument("--child", nargs="+", default=None, help=argparse.SUPPRESS)
    parsed = parser.parse_args()
    parsed.repetitions = parsed.repetitions or (2 if parsed.quick else repetitions)
    return parsed


def machine() -> dict[str, Any]:
    """What the figures were measured on and with."""
    return {
        "cpu": _cpu_model(),
        "cores": len(cores()),
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        "packages": {name: _version(name) for name in PACKAGES},
        "date": datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%d"),
    }


def _cpu_model() -> str:
    with contextlib.suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    return platform.processor() or "unknown"


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def table(header: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """Plain text in aligned columns; floats with three significant digits."""
    cells = [list(header), *([_cell(value) for value in row] for row in rows)]
    widths = [max(len(row[i]) for row in cells) for i in range(len(header))]
    lines = ["  ".join(text.rjust(w) for text, w in zip(row, widths, strict=True)) for row in cells]
    return "\n".join([lines[0], "  ".join("-" * w for w in widths), *lines[1:]])


def _cell(value: object) -> str:
    return f"{value:.3g}" if isinstance(value, float) else str(value)


def report(name: str, text: str, claims: Sequence[Claim], data: Any, *, quick: bool) -> None:
    """Print a benchmark's table and claims; a full run writes `benchmarks/results/<name>.json` too."""
    rows = [(c.text, c.value, c.reach, c.verdict) for c in claims]
    print(f"\n{name}\n\n{text}\n")
    if rows:
        print(table(("claim", "measured", "reach", "verdict"), rows) + "\n")
    if quick:
        print("A quick run: nothing was written.")
        return
    found = [asdict(c) | {"verdict": c.verdict} for c in claims]
    RESULTS.mkdir(exist_ok=True)
    path = RESULTS / f"{name}.json"
    path.write_text(json.dumps({"machine": machine(), "claims": found, "data": data}, indent=1) + "\n")
    print(f"Written to benchmarks/results/{path.name}.")
