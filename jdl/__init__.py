"""jdl: tasks, learners, measures and resampling for deep learning in JAX.

An experiment is a population of runs that share one compiled program: the folds of a cross-validation train
together, spread over the devices, with everything fitted inside each fold.
"""

import lazy_loader

from jdl.core.runtime import configure_runtime as _configure_runtime
from jdl.core.version import VERSION as __version__  # noqa: F401

# The names stand in __init__.pyi, where type checkers and editors read them too. What a program does not use is not
# loaded; the settings of the process must be made before JAX starts, so at once.
__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
_configure_runtime()
