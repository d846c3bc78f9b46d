"""Resampling: how rows are divided into training and test sets. `splitter` holds the contract."""

from jdl.resampling.bootstrap import Bootstrap as Bootstrap
from jdl.resampling.catalogue import RESAMPLINGS as RESAMPLINGS
from jdl.resampling.catalogue import as_resampling as as_resampling
from jdl.resampling.custom import Custom as Custom
from jdl.resampling.custom import CustomCV as CustomCV
from jdl.resampling.cv import CV as CV
from jdl.resampling.cv import RepeatedCV as RepeatedCV
from jdl.resampling.holdout import Holdout as Holdout
from jdl.resampling.holdout import Subsampling as Subsampling
from jdl.resampling.partition import partition as partition
from jdl.resampling.partition import split_validation as split_validation
from jdl.resampling.splitter import Splitter as Splitter
from jdl.resampling.whole import Insample as Insample
from jdl.resampling.whole import LeaveOneOut as LeaveOneOut
