"""The public names of jdl: `jdl/__init__.py` reads them here, and loads each when it is first used."""

from . import io as io
from . import networks as networks
from . import train as train
from .core.errors import CallbackError as CallbackError
from .core.errors import CheckpointError as CheckpointError
from .core.errors import ConfigError as ConfigError
from .core.errors import DivergedError as DivergedError
from .core.errors import GraphError as GraphError
from .core.errors import JdlError as JdlError
from .core.errors import JdlWarning as JdlWarning
from .core.errors import NotFittedError as NotFittedError
from .core.errors import ShapeError as ShapeError
from .core.errors import TaskError as TaskError
from .core.errors import UnknownNameError as UnknownNameError
from .core.graph import Graph as Graph
from .core.runtime import config as config
from .data import selectors as selectors
from .data.task import Task as Task
from .data.task_classif import TaskClassif as TaskClassif
from .data.task_regr import TaskRegr as TaskRegr
from .evaluate.resample import resample as resample
from .evaluate.results import ResampleResult as ResampleResult
from .learners.catalogue import as_learner as as_learner
from .learners.learner import FittedLearner as FittedLearner
from .learners.learner import Learner as Learner
from .learners.saving import load as load
from .networks.own_layer import layer as layer
from .resampling.partition import partition as partition
from .sugar import cb as cb
from .sugar import cbs as cbs
from .sugar import loss as loss
from .sugar import lrn as lrn
from .sugar import msr as msr
from .sugar import msrs as msrs
from .sugar import nn as nn
from .sugar import opt as opt
from .sugar import po as po
from .sugar import rsmp as rsmp
from .sugar import sampler as sampler
from .sugar import tsk as tsk
from .train.callback import HostCallback as HostCallback
from .train.callback import InScanCallback as InScanCallback
from .train.callbacks.functions import callback as callback

__version__: str
