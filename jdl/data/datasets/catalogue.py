"""The names of ready-made tasks."""

from jdl.core.catalogue import Catalogue
from jdl.data.datasets import bundled, generated, openml

TASKS = Catalogue(
    "task",
    {
        "breast_cancer": bundled.breast_cancer,
        "iris": bundled.iris,
        "wine": bundled.wine,
        "digits": bundled.digits,
        "diabetes": bundled.diabetes,
        "moons": generated.moons,
        "circles": generated.circles,
        "spirals": generated.spirals,
        "xor": generated.xor,
        "friedman1": generated.friedman1,
        "mixed": generated.mixed,
        "sonar": openml.sonar,
        "german_credit": openml.german_credit,
        "penguins": openml.penguins,
        "spam": openml.spam,
        "zoo": openml.zoo,
        "california_housing": openml.california_housing,
        "mtcars": openml.mtcars,
    },
)
