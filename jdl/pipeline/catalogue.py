"""The names of the pipeline operators."""

from jdl.core.catalogue import Catalogue
from jdl.pipeline.encode import Encode
from jdl.pipeline.impute import ImputeMean, ImputeMedian, ImputeMode
from jdl.pipeline.missing_indicator import MissingIndicator
from jdl.pipeline.quantile_normal import QuantileNormal
from jdl.pipeline.remove_constants import RemoveConstants
from jdl.pipeline.scale import Scale, ScaleRange
from jdl.pipeline.select import Select

STAGES = Catalogue(
    "pipeline operator",
    {
        "encode": Encode,
        "imputemean": ImputeMean,
        "imputemedian": ImputeMedian,
        "imputemode": ImputeMode,
        "missind": MissingIndicator,
        "quantilenormal": QuantileNormal,
        "removeconstants": RemoveConstants,
        "scale": Scale,
        "scalerange": ScaleRange,
        "select": Select,
    },
)
