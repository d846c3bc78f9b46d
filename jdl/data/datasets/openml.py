"""Tasks from OpenML, by fixed data ids, through scikit-learn's client.

The client keeps what it fetched in jdl's cache folder, and compares the MD5 sum of the data file with the one that
OpenML states for it, each time the file is read. What comes is compared with what is expected of the id: the name,
the target, the number of rows.
"""

import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field
from http.client import HTTPException
from pathlib import Path
from typing import Any
from urllib.error import HTTPError

import numpy as np
import pandas as pd

from jdl.core.cache_folder import cache_folder
from jdl.core.errors import TaskError
from jdl.data.column_type import plain
from jdl.data.source import read_csv
from jdl.data.task import Task
from jdl.data.task_classif import TaskClassif
from jdl.data.task_regr import TaskRegr


@dataclass(frozen=True)
class OpenmlData:
    """A data set of OpenML, and what it must look like.

    Args:
      name: Name of the task.
      data_id: OpenML's number of the data set, which stands for one version of it.
      title: OpenML's name of the data set.
      target: The target column.
      n_rows: Number of rows.
      regression: Whether the target is a number.
      drop: Columns that only name the rows.
      positive: The positive class, where it is not the last.
      labels: Readable names for the labels.
    """

    name: str
    data_id: int
    title: str
    target: str
    n_rows: int
    regression: bool = False
    drop: tuple[str, ...] = ()
    positive: str | None = None
    labels: Mapping[str, str] = field(default_factory=dict)

    def load(self) -> Any:
        """The task: from the file that the user put in the cache folder if there is one, else from OpenML.

        Raises:
          TaskError: The data cannot be had, or are not what they should be.
        """
        file = self._file()
        frame = read_csv(file, who=self._who) if file.is_file() else self._fetch()
        if self.target not in frame.columns:
            raise TaskError(
                f"{self._who}: '{file}' must have the target column '{self.target}', "
                f"got {', '.join(map(repr, frame.columns[:10]))}.\nHint: rename its column, or remove the file."
            )
        frame = frame.drop(columns=[name for name in self.drop if name in frame.columns])
        return self._task(frame)

    @property
    def _who(self) -> str:
        return f"Task '{self.name}'"

    def _file(self) -> Path:
        return cache_folder("datasets", f"{self.name}.csv")

    def _task(self, frame: pd.DataFrame) -> Task:
        if self.regression:
            return TaskRegr(frame, target=self.target, id=self.name)
        labels = {plain(label) for label in frame[self.target].dropna().unique()}
        if self.labels and {str(label) for label in labels} <= set(self.labels):
            renamed = [self.labels[str(plain(label))] for label in frame[self.target]]
            frame = frame.assign(**{self.target: renamed})
            labels = set(renamed)
        positive = self.positive if self.positive in labels else None
        return TaskClassif(frame, target=self.target, id=self.name, positive=positive)

    def _fetch(self) -> pd.DataFrame:
        from sklearn.datasets import fetch_openml

        try:
            with warnings.catch_warnings():
                # It warns of each retry; what counts is how it ends. Its pandas parser is faster, but fails on
                # categories that are numbers (scikit-learn 1.9 with pandas 3).
                warnings.simplefilter("ignore")
                found: Any = fetch_openml(
                    data_id=self.data_id, data_home=cache_folder(), as_frame=True, parser="liac-arff"
                )
        except (OSError, HTTPException, ValueError, KeyError) as err:
            if isinstance(err, HTTPError):
                err.close()
            raise TaskError(self._not_fetched(err)) from err
        self._check(found)
        return _with_integers(found.frame)

    def _check(self, found: Any) -> None:
        got = (found.details["name"], list(found.target_names), len(found.frame))
        if got != (self.title, [self.target], self.n_rows):
            raise TaskError(
                f"{self._who}: OpenML's data set {self.data_id} must be '{self.title}' with target "
                f"'{self.target}' and {self.n_rows} rows, got '{got[0]}' with target {got[1]} and {got[2]} rows.\n"
                f"Hint: {self._own_file()}."
            )

    def _not_fetched(self, err: Exception) -> str:
        checksum = "md5 checksum" in str(err)
        problem = "fails OpenML's checksum, twice" if checksum else "could not be fetched"
        return (
            f"{self._who}: OpenML's data set {self.data_id} ('{self.title}') {problem}: {err}\n"
            f"Tried https://www.openml.org/d/{self.data_id}, after the copies in '{cache_folder('openml')}' "
            f"and the file '{self._file()}'.\n"
            f"Hint: try again with a network, or {self._own_file()}."
        )

    def _own_file(self) -> str:
        return f"put a CSV file with the column '{self.target}' at '{self._file()}'"


def _with_integers(frame: pd.DataFrame) -> pd.DataFrame:
    """The frame with whole numbers as integers, which ARFF files do not tell from others."""
    floats = frame.select_dtypes("floating")
    whole = [name for name in floats if np.array_equal(floats[name], np.rint(floats[name]))]
    return frame.astype({name: "int64" for name in whole})


def sonar() -> TaskClassif:
    """Does a sonar echo come from a mine or a rock? 208 rows, 60 numeric features."""
    return OpenmlData("sonar", 40, "sonar", "Class", 208, positive="Mine").load()


def german_credit() -> TaskClassif:
    """Is a credit risk good or bad? 1000 rows, 20 features, numeric and categorical."""
    return OpenmlData("german_credit", 31, "credit-g", "class", 1000, positive="good").load()


def penguins() -> TaskClassif:
    """Which of three species is a penguin? 344 rows, six features, some values missing."""
    return OpenmlData("penguins", 42585, "penguins", "species", 344).load()


def spam() -> TaskClassif:
    """Is an e-mail spam? 4601 rows, 57 frequencies of words and signs."""
    labels = {"0": "nonspam", "1": "spam"}
    return OpenmlData("spam", 44, "spambase", "class", 4601, positive="spam", labels=labels).load()


def zoo() -> TaskClassif:
    """To which of seven kinds does an animal belong? 101 rows, 16 features, nearly all yes or no."""
    return OpenmlData("zoo", 62, "zoo", "type", 101, drop=("animal",)).load()


def california_housing() -> TaskRegr:
    """What is the median house worth in a district of California? 20640 rows, eight numeric features.

    Data set 44977 holds the original columns of the census and the target in dollars. (44025 has a transformed
    target, and 43939 adds a text column with missing values.)
    """
    return OpenmlData(
        "california_housing", 44977, "california_housing", "medianHouseValue", 20640, regression=True
    ).load()


def mtcars() -> TaskRegr:
    """How many miles per gallon does a car go? 32 cars of 1974, ten numeric features."""
    return OpenmlData("mtcars", 43452, "mtcars", "mpg", 32, regression=True, drop=("model",)).load()
