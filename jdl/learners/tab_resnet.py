"""Residual networks for tables as learners."""

from typing import Any, ClassVar

from jdl.core.fields import Field
from jdl.learners.embedding_fields import cat_embedding_fields, cat_width, embedding_fields, embedding_of
from jdl.learners.neural import COMMON
from jdl.learners.tabular import PREPROCESS, FlatLearner, optimizer_field, rate, refuse_both
from jdl.learners.task_type import ForClassif, ForRegrByLoss
from jdl.networks.tabular_specs import TabResNetSpec
from jdl.train.optimizer import Optimizer


class TabResNetLearner(FlatLearner):
    """What the classification and the regression network share."""

    recipe: ClassVar[Any] = Optimizer.named("adamw", lr=3e-4, weight_decay=1e-5)
    fields: ClassVar[dict[str, Field]] = {
        "n_blocks": Field("int", 2, low=1, doc="Residual blocks."),
        "d_block": Field("int", 192, low=1, doc="Width between the blocks."),
        "d_hidden": Field("int", None, low=1, optional=True, doc="Width inside a block."),
        "d_hidden_multiplier": Field(
            "float", None, low=0.0, open_low=True, optional=True,
            doc="Width inside a block as a multiple of d_block; 2 where neither is given.",
        ),
        "dropout1": rate(0.3, "Dropout inside a block."),
        "dropout2": rate(0.0, "Dropout at the end of a block."),
        "final_norm": Field("bool", True, doc="Whether a batch norm stands before the last layer."),
        "preprocess": PREPROCESS,
    } | embedding_fields(None) | cat_embedding_fields() | COMMON | optimizer_field(recipe)  # fmt: skip

    def _check(self) -> None:
        super()._check()
        refuse_both(f"learner '{self.name}'", self.values, "d_hidden", "d_hidden_multiplier")

    def network(self) -> TabResNetSpec:
        """The network's spec."""
        values = self.values
        sizes = ("n_blocks", "d_block", "d_hidden", "d_hidden_multiplier", "final_norm")
        return TabResNetSpec(
            **{name: values[name] for name in sizes},
            dropout1=values["dropout1"] > 0,
            dropout2=values["dropout2"] > 0,
            embedding=embedding_of(values),
            d_cat_embedding=cat_width(values),
        )


class ClassifTabResNet(ForClassif, TabResNetLearner):
    """Residual network with batch norm for tables (Gorishniy et al., 2021).

    >>> ClassifTabResNet(n_blocks=3).get("n_blocks")
    3
    """

    name: ClassVar[str] = "classif.tab_resnet"


class RegrTabResNet(ForRegrByLoss, TabResNetLearner):
    """Residual network with batch norm for tables (Gorishniy et al., 2021).

    >>> RegrTabResNet().get("opt.lr")
    0.0003
    """

    name: ClassVar[str] = "regr.tab_resnet"
