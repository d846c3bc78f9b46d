"""Rank 2: preprocessing stages and chains of them."""

from jdl.pipeline.catalogue import STAGES as STAGES
from jdl.pipeline.compose import apply_chain as apply_chain
from jdl.pipeline.compose import fit_chain as fit_chain
from jdl.pipeline.compose import out_specs as out_specs
from jdl.pipeline.encode import Encode as Encode
from jdl.pipeline.impute import ImputeMean as ImputeMean
from jdl.pipeline.impute import ImputeMedian as ImputeMedian
from jdl.pipeline.impute import ImputeMode as ImputeMode
from jdl.pipeline.missing_indicator import MissingIndicator as MissingIndicator
from jdl.pipeline.quantile_normal import QuantileNormal as QuantileNormal
from jdl.pipeline.remove_constants import RemoveConstants as RemoveConstants
from jdl.pipeline.scale import Scale as Scale
from jdl.pipeline.scale import ScaleRange as ScaleRange
from jdl.pipeline.select import Select as Select
from jdl.pipeline.stage import Stage as Stage
from jdl.pipeline.stage import StageChain as StageChain
