"""Rank 4: learners. `learner` holds the contract, `neural` what networks share, `catalogue` the names."""

from jdl.learners.catalogue import LEARNERS as LEARNERS
from jdl.learners.catalogue import as_learner as as_learner
from jdl.learners.featureless import ClassifFeatureless as ClassifFeatureless
from jdl.learners.featureless import RegrFeatureless as RegrFeatureless
from jdl.learners.host import HostLearner as HostLearner
from jdl.learners.learner import FittedLearner as FittedLearner
from jdl.learners.learner import Learner as Learner
from jdl.learners.mlp import ClassifMLP as ClassifMLP
from jdl.learners.mlp import RegrMLP as RegrMLP
from jdl.learners.neural import NeuralLearner as NeuralLearner
from jdl.learners.sklearn import ClassifSklearn as ClassifSklearn
from jdl.learners.sklearn import RegrSklearn as RegrSklearn
