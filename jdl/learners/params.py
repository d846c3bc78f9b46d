"""The table of a learner's hyperparameters."""

from typing import Any

import pandas as pd

from jdl.core.errors import shown

COLUMNS = ("name", "type", "range", "default", "value", "tags", "dynamic", "description")
_PRINTED = ("name", "value", "default", "range", "dynamic", "description")


class Params(pd.DataFrame):
    """A frame with a row per hyperparameter that prints whole, small numbers with their digits.

    What is made of it is a plain frame.

    >>> row = ("opt.eps", "float", "[0, inf)", 1e-8, 1e-8, "train", True, "Added to the root.")
    >>> print(Params([row], columns=COLUMNS))
    name     value  default  range     dynamic  description
    opt.eps  1e-08  1e-08    [0, inf)  yes      Added to the root.
    """

    @property
    def _constructor(self) -> Any:
        return pd.DataFrame

    def __repr__(self) -> str:
        if not set(_PRINTED) <= set(self.columns):
            return super().__repr__()
        texts = [list(_PRINTED)] + [
            [_text(name, row[name]) for name in _PRINTED] for row in self.to_dict(orient="records")
        ]
        widths = [max(map(len, column)) for column in zip(*texts, strict=True)]
        return "\n".join(
            "  ".join(f"{text:<{width}}" for text, width in zip(line, widths, strict=True)).rstrip() for line in texts
        )


def _text(column: str, value: Any) -> str:
    if column == "dynamic":
        return "yes" if value else ""
    return value if isinstance(value, str) else shown(value, most=30)
