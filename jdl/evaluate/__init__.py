"""Rank 5: running resamplings, and what comes of them."""

from jdl.evaluate.resample import resample as resample
from jdl.evaluate.results import ResampleResult as ResampleResult
