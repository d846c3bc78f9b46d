"""Settings of JAX and hypothesis for all tests; the environment is read when jdl is first imported."""

import gc
import importlib.util
import os
from pathlib import Path

os.environ["JDL_COMPILATION_CACHE"] = "off"
os.environ["JDL_CPU_DEVICES"] = "4"
os.environ.setdefault("JAX_PLATFORMS", "cpu")  # reference numbers and tolerances are those of a CPU

# Most of the time of these tests is compiling small programs, which takes a third of the time without optimising them.
# What says that two programs agree to the last bit holds for the compiler as users meet it: `make test` runs those
# (marker `bits`) by themselves, with JDL_TEST_COMPILER=default.
if os.environ.get("JDL_TEST_COMPILER", "quick") == "quick":
    QUICK = (
        "--xla_backend_optimization_level=0",
        "--xla_cpu_use_fusion_emitters=false",
        "--xla_cpu_parallel_codegen_split_count=2",
    )
    os.environ["XLA_FLAGS"] = " ".join([os.environ.get("XLA_FLAGS", ""), *QUICK]).strip()

import hypothesis
import jax
import pytest

import jdl  # noqa: F401  (before any test starts the JAX backend with one device)
from jdl.train.compile import EXECUTABLES

# Broadcasting between ranks hides swapped axes: (row,) minus (row, 1) is (row, row).
jax.config.update("jax_numpy_rank_promotion", "raise")

hypothesis.settings.register_profile("local", deadline=None)
hypothesis.settings.register_profile("ci", deadline=None, derandomize=True)
hypothesis.settings.load_profile("ci" if os.environ.get("CI") else "local")

# Each compiled program takes some memory mappings. Linux allows a process 65,530: one that compiles on crashes there.
MOST_MAPPINGS = 10_000


class CompiledProgramsForgotten:
    """Lets go of compiled programs between two files, for doctests too, once there are many."""

    def pytest_runtest_teardown(self, item: pytest.Item, nextitem: pytest.Item | None) -> None:
        """Looks after the last test of a file."""
        if nextitem is not None and nextitem.path == item.path:
            return
        mappings = Path("/proc/self/maps")
        if mappings.exists() and mappings.read_bytes().count(b"\n") > MOST_MAPPINGS:
            EXECUTABLES.clear()
            jax.clear_caches()
            gc.collect()


def pytest_configure(config: pytest.Config) -> None:
    """Registers what holds for doctests outside of this folder too."""
    config.pluginmanager.register(CompiledProgramsForgotten())


collect_ignore = [] if importlib.util.find_spec("torch") else ["reference"]


@pytest.fixture(scope="session")
def compilations() -> list[str]:
    """Grows by an entry for everything that XLA compiles, from the first test that asks for it."""
    seen: list[str] = []

    def listen(event: str, duration_secs: float, **kwargs: str | int) -> None:
        del duration_secs, kwargs
        if "backend_compile" in event:
            seen.append(event)

    jax.monitoring.register_event_duration_secs_listener(listen)
    return seen


@pytest.fixture
def nothing_compiles(compilations, monkeypatch):
    """From here on a test must not train a network, and must compile nothing."""

    def trained(*args: object, **kwargs: object) -> None:
        pytest.fail("a population was trained")

    monkeypatch.setattr("jdl.learners.population.run_population", trained)
    before = len(compilations)
    yield
    assert len(compilations) == before, "something was compiled"
