"""Training as pure functions: make a `Program`, `draw` a member, then `init`, `step`, `fit`, `predict`.

A JAX user can `jit`, `vmap`, `grad` and shard these by hand; learners and resampling are built from nothing else.
"""

from jdl.networks.spec import MLPSpec as MLPSpec
from jdl.networks.spec import NetworkSpec as NetworkSpec
from jdl.train.callback import Event as Event
from jdl.train.callbacks.catalogue import CALLBACKS as CALLBACKS
from jdl.train.fit import fit as fit
from jdl.train.fit import predict as predict
from jdl.train.loss import CrossEntropy as CrossEntropy
from jdl.train.loss import Focal as Focal
from jdl.train.loss import FunctionLoss as FunctionLoss
from jdl.train.loss import GaussianNLL as GaussianNLL
from jdl.train.loss import Hinge as Hinge
from jdl.train.loss import Huber as Huber
from jdl.train.loss import LogCosh as LogCosh
from jdl.train.loss import Loss as Loss
from jdl.train.loss import MeanAbsoluteError as MeanAbsoluteError
from jdl.train.loss import MeanSquaredError as MeanSquaredError
from jdl.train.loss import MultiLabel as MultiLabel
from jdl.train.loss import Poisson as Poisson
from jdl.train.loss import Quantile as Quantile
from jdl.train.loss import probabilities as probabilities
from jdl.train.member import Member as Member
from jdl.train.member import MemberRows as MemberRows
from jdl.train.member import draw as draw
from jdl.train.optimizer import Optimizer as Optimizer
from jdl.train.optimizer import adabelief as adabelief
from jdl.train.optimizer import adafactor as adafactor
from jdl.train.optimizer import adagrad as adagrad
from jdl.train.optimizer import adam as adam
from jdl.train.optimizer import adamw as adamw
from jdl.train.optimizer import lamb as lamb
from jdl.train.optimizer import lion as lion
from jdl.train.optimizer import muon as muon
from jdl.train.optimizer import nadamw as nadamw
from jdl.train.optimizer import radam as radam
from jdl.train.optimizer import rmsprop as rmsprop
from jdl.train.optimizer import schedule_free as schedule_free
from jdl.train.optimizer import sgd as sgd
from jdl.train.optimizers.groups import ParamGroup as ParamGroup
from jdl.train.optimizers.groups import no_decay as no_decay
from jdl.train.program import Program as Program
from jdl.train.program import numeric_spec as numeric_spec
from jdl.train.program import numeric_table as numeric_table
from jdl.train.program import program as program
from jdl.train.progress import Progress as Progress
from jdl.train.state import RunState as RunState
from jdl.train.state import Status as Status
from jdl.train.state import TrainState as TrainState
from jdl.train.state import init as init
from jdl.train.step import Batch as Batch
from jdl.train.step import step as step
