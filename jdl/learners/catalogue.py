"""Learners by name."""

from typing import Any

from jdl.core.catalogue import Catalogue
from jdl.core.errors import ConfigTypeError
from jdl.core.graph import Graph
from jdl.learners.featureless import ClassifFeatureless, RegrFeatureless
from jdl.learners.ft_transformer import ClassifFTTransformer, RegrFTTransformer
from jdl.learners.graph import GraphLearner
from jdl.learners.learner import Learner
from jdl.learners.mlp import ClassifMLP, RegrMLP
from jdl.learners.module import ClassifModule, RegrModule
from jdl.learners.realmlp import ClassifRealMLP, RegrRealMLP
from jdl.learners.sklearn import (
    ClassifHistGradientBoosting,
    ClassifLogReg,
    ClassifRandomForest,
    ClassifSklearn,
    RegrHistGradientBoosting,
    RegrLm,
    RegrRandomForest,
    RegrSklearn,
)
from jdl.learners.tab_resnet import ClassifTabResNet, RegrTabResNet
from jdl.learners.tabm import ClassifTabM, RegrTabM

LEARNERS = Catalogue(
    "learner",
    {
        "classif.mlp": ClassifMLP,
        "classif.tab_resnet": ClassifTabResNet,
        "classif.ft_transformer": ClassifFTTransformer,
        "classif.tabm": ClassifTabM,
        "classif.realmlp": ClassifRealMLP,
        "classif.module": ClassifModule,
        "classif.featureless": ClassifFeatureless,
        "classif.log_reg": ClassifLogReg,
        "classif.random_forest": ClassifRandomForest,
        "classif.hist_gradient_boosting": ClassifHistGradientBoosting,
        "classif.sklearn": ClassifSklearn,
        "regr.mlp": RegrMLP,
        "regr.tab_resnet": RegrTabResNet,
        "regr.ft_transformer": RegrFTTransformer,
        "regr.tabm": RegrTabM,
        "regr.realmlp": RegrRealMLP,
        "regr.module": RegrModule,
        "regr.featureless": RegrFeatureless,
        "regr.lm": RegrLm,
        "regr.random_forest": RegrRandomForest,
        "regr.hist_gradient_boosting": RegrHistGradientBoosting,
        "regr.sklearn": RegrSklearn,
    },
)


def as_learner(learner: Any, **options: Any) -> Learner:
    """The learner of that name, the learner that a graph stands for, or the learner itself.

    Args:
      learner: A name, a graph that ends in a model node, or a learner.
      options: Further hyperparameters; `predict_type` and `id` too.

    Raises:
      ConfigTypeError: None of these.
      GraphError: The graph is no learner.
    """
    if isinstance(learner, str):
        return LEARNERS.make(learner, **options)
    if isinstance(learner, Graph):
        made = GraphLearner(learner)
        return made.set(options) if options else made
    if isinstance(learner, Learner):
        return learner.set(options) if options else learner
    raise ConfigTypeError(f"expected a learner, its name or a graph, got {learner!r}.\nHint: jdl.lrn('classif.mlp').")
