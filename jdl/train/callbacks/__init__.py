"""Ready-made callbacks: schedules, clipping, averages of weights, freezing, loggers; and callbacks from functions."""

from jdl.train.callbacks.catalogue import CALLBACKS as CALLBACKS
from jdl.train.callbacks.functions import callback as callback
