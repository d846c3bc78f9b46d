"""Measures: how well predictions fit the truth. `measure` holds the contract, `catalogue` the names."""

from jdl.data.prediction import Prediction
from jdl.measures.auc import AreaUnderRoc as AreaUnderRoc
from jdl.measures.catalogue import MEASURES as MEASURES
from jdl.measures.catalogue import as_measure as as_measure
from jdl.measures.catalogue import as_measures as as_measures
from jdl.measures.label import Accuracy as Accuracy
from jdl.measures.label import BalancedAccuracy as BalancedAccuracy
from jdl.measures.label import ClassificationError as ClassificationError
from jdl.measures.label import FBeta as FBeta
from jdl.measures.label import MatthewsCorrelation as MatthewsCorrelation
from jdl.measures.measure import Measure as Measure
from jdl.measures.number import MeanAbsoluteError as MeanAbsoluteError
from jdl.measures.number import MeanSquaredError as MeanSquaredError
from jdl.measures.number import RootMeanSquaredError as RootMeanSquaredError
from jdl.measures.number import RSquared as RSquared
from jdl.measures.prob import BinaryBrier as BinaryBrier
from jdl.measures.prob import LogLoss as LogLoss
from jdl.measures.prob import MulticlassBrier as MulticlassBrier

# Predictions lie a rank below and may not import measures, yet pred.score("classif.acc") must know names.
Prediction.resolve_measure = as_measure
