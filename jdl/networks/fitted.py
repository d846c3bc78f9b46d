"""Constants of a network that come from its training rows and are not learned by gradients."""

from flax import nnx


class Fitted(nnx.Variable):
    """Bins, medians, ranges: set by `prepare` on the rows of a fold, left alone by optimizers.

    A variable, and no static attribute, so that the folds of a cross-validation share one program.

    >>> import numpy as np
    >>> Fitted(np.zeros(3)).shape
    (3,)
    """
