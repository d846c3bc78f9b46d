"""Settings of JAX and hypothesis for all tests; the environment is read when jdl is first imported."""

import importlib.util
import os

os.environ["JDL_COMPILATION_CACHE"] = "off"
os.environ["JDL_CPU_DEVICES"] = "4"
os.environ.setdefault("JAX_PLATFORMS", "cpu")  # reference numbers and tolerances are those of a CPU

import hypothesis
import jax
import pytest

import jdl  # noqa: F401  (before any test starts the JAX backend with one device)

# Broadcasting between ranks hides swapped axes: (row,) minus (row, 1) is (row, row).
jax.config.update("jax_numpy_rank_promotion", "raise")

hypothesis.settings.register_profile("local", deadline=None)
hypothesis.settings.register_profile("ci", deadline=None, derandomize=True)
hypothesis.settings.load_profile("ci" if os.environ.get("CI") else "local")

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
