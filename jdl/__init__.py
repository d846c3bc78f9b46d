"""jdl: tasks, learners, measures and resampling for deep learning in JAX.

An experiment is a population of runs that share one compiled program: the folds of a cross-validation train
together, spread over the devices, with everything fitted inside each fold.
"""

from jdl import networks as networks
from jdl import train as train
from jdl.core.errors import CallbackError as CallbackError
from jdl.core.errors import CheckpointError as CheckpointError
from jdl.core.errors import ConfigError as ConfigError
from jdl.core.errors import DivergedError as DivergedError
from jdl.core.errors import GraphError as GraphError
from jdl.core.errors import JdlError as JdlError
from jdl.core.errors import JdlWarning as JdlWarning
from jdl.core.errors import NotFittedError as NotFittedError
from jdl.core.errors import ShapeError as ShapeError
from jdl.core.errors import TaskError as TaskError
from jdl.core.errors import UnknownNameError as UnknownNameError
from jdl.core.graph import Graph as Graph
from jdl.core.runtime import config as config
from jdl.core.runtime import configure_runtime as _configure_runtime
from jdl.core.version import VERSION as __version__  # noqa: F401
from jdl.data import selectors as selectors
from jdl.data.task import Task as Task
from jdl.data.task_classif import TaskClassif as TaskClassif
from jdl.data.task_regr import TaskRegr as TaskRegr
from jdl.evaluate.resample import resample as resample
from jdl.evaluate.results import ResampleResult as ResampleResult
from jdl.learners.catalogue import as_learner as as_learner
from jdl.learners.learner import FittedLearner as FittedLearner
from jdl.learners.learner import Learner as Learner
from jdl.learners.saving import load as load
from jdl.networks.own_layer import layer as layer
from jdl.resampling.partition import partition as partition
from jdl.sugar import cb as cb
from jdl.sugar import cbs as cbs
from jdl.sugar import loss as loss
from jdl.sugar import lrn as lrn
from jdl.sugar import msr as msr
from jdl.sugar import msrs as msrs
from jdl.sugar import nn as nn
from jdl.sugar import opt as opt
from jdl.sugar import po as po
from jdl.sugar import rsmp as rsmp
from jdl.sugar import sampler as sampler
from jdl.sugar import tsk as tsk
from jdl.train.callback import HostCallback as HostCallback
from jdl.train.callback import InScanCallback as InScanCallback
from jdl.train.callbacks.functions import callback as callback

_configure_runtime()
