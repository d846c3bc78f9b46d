"""Bad input gets an error that says who complains, what was expected, what came, what to do: before anything runs."""

import re
from typing import Any

import numpy as np
import pandas as pd
import pytest

import jdl
from jdl.core.errors import ConfigError, ConfigTypeError, JdlError, NotFittedError, TaskError, UnknownNameError

N = 30
QUICK = {"epochs": 2, "batch_size": 8, "neurons": (4,)}


def frame(**columns) -> pd.DataFrame:
    x = np.random.default_rng(0).normal(size=(N, 2))
    data = pd.DataFrame({"a": x[:, 0], "b": x[:, 1]}).assign(**columns)
    return data.assign(y=np.where(np.arange(N) % 2, "yes", "no"))


def task(**columns):
    return jdl.TaskClassif(frame(**columns), "y")


def mlp(**values) -> Any:
    return jdl.lrn("classif.mlp", **{**QUICK, **values})


@pytest.fixture(scope="module")
def fitted():
    model = mlp().train(task(flag=[True, False] * (N // 2), n=range(N)))
    model.predict(frame(flag=True, n=1))
    return model


@pytest.fixture(scope="module")
def fitted_with_categories():
    model = (jdl.po("encode") >> mlp()).train(task(city=["Rome", "Oslo"] * (N // 2)))
    model.predict(frame(city="Rome"))
    return model


def refused(error: type[JdlError], *parts: str):
    """Expects the error, with these parts in its message, in this order."""
    return pytest.raises(error, match=r"[\s\S]*".join(parts))


# -- the data


@pytest.mark.parametrize("kind", [jdl.TaskClassif, jdl.TaskRegr])
def test_a_target_column_that_is_missing(kind):
    with refused(TaskError, kind.__name__, "no target column 'yy'", r"Did you mean 'y'\?", "Hint"):
        kind(frame(), "yy")


def test_a_target_with_one_class():
    with refused(TaskError, "TaskClassif", "target 'y' must have at least two classes, got only 'no'", "Hint"):
        jdl.TaskClassif(frame().query("y == 'no'"), "y")


@pytest.mark.parametrize("kind", [jdl.TaskClassif, jdl.TaskRegr])
def test_a_target_with_missing_values(kind):
    column = "y" if kind is jdl.TaskClassif else "a"
    data = frame()
    data.loc[[2, 5], column] = None
    with refused(TaskError, kind.__name__, f"target '{column}' must have no missing values, got 2 in {N}", "dropna"):
        kind(data, column)


@pytest.mark.parametrize(
    ("columns", "stages", "parts"),
    [
        ({"c": "u"}, [], ["takes bool, int, float columns", "column 'c' is of type category", r"po\('encode'\)"]),
        ({"c": "u", "d": "v"}, ["scale"], ["columns 'c', 'd' are of type category", r"po\('encode'\)"]),
        ({"a": np.nan}, ["scale"], ["takes no missing values", "column 'a' has some", r"po\('imputemedian'\)"]),
        ({"a": np.nan}, ["removeconstants"], ["column 'a' has some", r"po\('imputemedian'\)", r"task\.select"]),
        ({"a": [np.nan, *range(1, N)]}, [], ["takes no missing values", "column 'a' has some"]),
        ({"a": [np.inf, *range(1, N)]}, [], ["column 'a' holds infinite values", "1 row", "Hint: replace them"]),
        ({"a": [1e39, *range(1, N)]}, ["scale"], ["column 'a' holds infinite values", "above 3.4e38"]),
        ({"a": np.inf}, [], ["column 'a' holds infinite values", r"task\.select", "also those that a stage drops"]),
    ],
)
def test_features_that_the_learner_does_not_take(columns, stages, parts, nothing_compiles):
    learner = mlp()
    for name in reversed(stages):
        learner = jdl.po(name) >> learner
    for attempt in (learner.train, lambda t: jdl.resample(t, learner, "cv")):
        with refused(TaskError, f"learner '{learner.id}'", *parts):
            attempt(task(**columns))


def test_the_stage_that_the_hint_names_helps():
    data = task(a=[np.nan, *range(1, N)], c=["u", None] * (N // 2))
    for stage in ("imputemedian", "encode"):
        with pytest.raises(TaskError, match="Hint"):
            (jdl.po(stage) >> mlp()).train(data)
    (jdl.po("imputemedian") >> jdl.po("encode") >> mlp()).train(data)


def test_no_feature_left(nothing_compiles):
    with refused(TaskError, "learner 'select.classif.mlp'", "at least one feature, but none reaches it"):
        (jdl.po("select", selector=jdl.selectors.none()) >> mlp()).train(task())


@pytest.mark.parametrize("url", ["https://example.org/data.csv", "s3://bucket/data.csv"])
def test_a_url_where_a_path_is_meant(url):
    with refused(TaskError, "local files only", f"got the URL '{url}'", "Hint: download"):
        jdl.TaskClassif(url, "y")


def by_missing(learner):
    return jdl.po("imputemedian", columns=jdl.selectors.missing()) >> learner


GAPS = {"a": [np.nan, *range(1, N)], "b": [*range(1, N), np.nan]}


@pytest.mark.parametrize("name", ["classif.mlp", "classif.log_reg"])
def test_missing_values_in_columns_that_the_training_rows_gave_no_reason_to_fill(name):
    learner = by_missing(mlp() if name == "classif.mlp" else jdl.lrn(name))
    fitted = learner.train(task(a=GAPS["a"]))
    assert len(fitted.predict(frame(a=GAPS["a"]))) == N
    with refused(TaskError, f"'imputemedian.{name}' takes no missing values, but column 'b' has", "chose columns by"):
        fitted.predict(frame(**GAPS))
    with refused(TaskError, "column 'b' has some in the data to predict"):
        fitted.predict(task(**GAPS))
    assert len(fitted.predict(task(**GAPS), rows=range(N - 1))) == N - 1
    # Row 29 is held out, and a gap of its own does not make the stage fill the column.
    splits = jdl.rsmp("custom", train_sets=[range(20)], test_sets=[range(20, N)])
    with refused(TaskError, "takes no missing values, but column 'b' has some", "chose columns by the rows that train"):
        jdl.resample(task(**GAPS), learner, splits)
    chosen = jdl.rsmp("custom", train_sets=[range(20)], test_sets=[range(20, N - 1)])
    assert jdl.resample(task(**GAPS), learner, chosen).outcomes[0].ok


def test_where_the_training_rows_have_gaps_too_the_hint_is_to_fill_them(nothing_compiles):
    learner = jdl.po("imputemedian", columns=jdl.selectors.missing() & ["a"]) >> mlp()
    with refused(TaskError, "column 'b' has some", r"Hint: put jdl.po\('imputemedian'\) before the learner"):
        learner.train(task(**GAPS))


def test_the_choice_of_columns_is_kept_through_the_stages():
    complete = jdl.po("select", selector=~jdl.selectors.missing()) >> jdl.po("scale") >> mlp()
    fitted = complete.train(task(a=GAPS["a"]))
    assert fitted.program.network_spec.names == ("b",)
    assert len(fitted.predict(frame(a=GAPS["a"]))) == N
    with refused(TaskError, "column 'b' has some"):
        fitted.predict(frame(**GAPS))


# -- data to predict


@pytest.mark.parametrize(
    ("change", "parts"),
    [
        ({"a": None}, ["all 4 feature columns", "1 is absent: 'a'", "Hint"]),
        ({"a": None, "n": None}, ["2 are absent: 'a', 'n'"]),
        ({"a": "text"}, ["column 'a' must be float", "got category", "Hint: convert it", r"\['a'\]"]),
        ({"n": "text"}, ["column 'n' must be int", "got category"]),
        ({"flag": "yes"}, ["column 'flag' must be bool", "got category"]),
        ({"a": pd.Timestamp("2020-01-01")}, ["'a'", "datetime"]),
        ({"b": np.nan}, ["no missing values", "column 'b' has some in the data to predict", r"po\('imputemedian'\)"]),
        ({"b": -np.inf}, ["column 'b' holds infinite values"]),
    ],
)
def test_columns_to_predict_from(fitted, change, parts, nothing_compiles):
    data = frame(flag=True, n=1).assign(**{c: v for c, v in change.items() if v is not None})
    data = data.drop(columns=[c for c, v in change.items() if v is None])
    with refused(TaskError, "classif.mlp'", *parts):
        fitted.predict(data)
    with refused(TaskError, *parts):
        fitted.predict(jdl.TaskClassif(data, "y"))


def test_bool_int_and_float_stand_for_one_another(fitted):
    data = frame(flag=[0, 1] * (N // 2), n=range(N))
    expected = fitted.predict(data).response
    for change in ({"flag": data["flag"].astype(float)}, {"n": data["n"].astype("Int64")}, {"flag": data["flag"] > 0}):
        np.testing.assert_array_equal(fitted.predict(data.assign(**change)).response, expected)


def test_numbers_do_not_stand_for_categories(fitted_with_categories, nothing_compiles):
    with refused(TaskError, "column 'city' must be category with levels such as 'Oslo'", "got int", "such as 7"):
        fitted_with_categories.predict(frame(city=7))


def test_categories_that_are_missing_or_were_never_seen_are_none_of_the_known(fitted_with_categories):
    cities = [None, "Paris", np.nan, pd.NA]
    responses = [fitted_with_categories.predict(frame(city=city)).response for city in cities]
    for response in responses[1:]:
        np.testing.assert_array_equal(response, responses[0])


@pytest.mark.parametrize("data", [3, None, "frame", [1, 2]], ids=repr)
def test_what_is_no_data_at_all(fitted, data, nothing_compiles):
    with refused(TaskError, "learner 'classif.mlp'", "Hint"):
        fitted.predict(data)


def test_a_task_with_a_class_that_training_had_not(fitted, nothing_compiles):
    data = frame(flag=True, n=1)
    data.loc[3, "y"] = "maybe"
    other = jdl.TaskClassif(data, "y")
    with refused(
        TaskError, "knows the classes 'no', 'yes'", "task 'task' has 'maybe' too", "Hint: drop the column 'y'"
    ):
        fitted.predict(other)


def test_known_classes_suffice_in_the_rows_that_are_predicted(fitted):
    data = frame(flag=True, n=1)
    data.loc[3, "y"] = "maybe"
    other = jdl.TaskClassif(data, "y")
    for given in (other, data, dict(data)):
        assert fitted.predict(given, rows=[0, 1]).truth.tolist() == ["no", "yes"]
    assert fitted.predict(data.drop(columns="y")).truth is None


@pytest.mark.parametrize(
    ("change", "parts"),
    [
        ({3: "maybe"}, ["knows the classes 'no', 'yes'", "the data to predict has 'maybe' too", "drop the column 'y'"]),
        ({3: None, 5: None}, ["target 'y' is missing in 2 rows to predict", "Hint: without the column 'y'"]),
    ],
)
def test_a_target_in_data_to_predict_that_cannot_be_used(fitted, change, parts, nothing_compiles):
    data = frame(flag=True, n=1)
    for row, label in change.items():
        data.loc[row, "y"] = label
    with refused(TaskError, "learner 'classif.mlp'", *parts):
        fitted.predict(data)


@pytest.mark.parametrize("values", [["text"] * N, [np.inf] * N])
def test_a_target_in_data_to_predict_that_is_no_number(values):
    model = jdl.lrn("regr.featureless").train(jdl.TaskRegr(frame()[["a", "b"]], "b"))
    assert model.predict(frame()[["a", "b"]]).truth.tolist() == frame()["b"].tolist()
    with refused(
        TaskError, "learner 'regr.featureless'", "target 'b' of rows to predict must be finite numbers", "Hint"
    ):
        model.predict(frame(b=values))


def test_an_untrained_learner_predicts_nothing(nothing_compiles):
    with refused(
        NotFittedError, "learner 'classif.mlp' is not fitted: train returns a fitted learner", "Hint: fitted ="
    ):
        mlp().predict(task())
    assert not hasattr(mlp(), "history")


# -- resampling


def test_more_folds_than_rows(nothing_compiles):
    with refused(ConfigError, "'cv': folds=31 needs at least 31 rows, got 30", "Hint: folds=30 or fewer"):
        jdl.resample(task(), mlp(), jdl.rsmp("cv", folds=N + 1))


@pytest.mark.parametrize(
    ("change", "error", "parts"),
    [
        ({"task": frame()}, ConfigTypeError, ["expected a task, got DataFrame", r"jdl.TaskClassif\("]),
        ({"task": "irsi"}, UnknownNameError, ["Unknown task 'irsi'", "'iris'"]),
        ({"learner": "classif.mpl"}, UnknownNameError, ["Unknown learner 'classif.mpl'", "'classif.mlp'"]),
        ({"learner": 3}, ConfigTypeError, ["expected a learner", "got 3", "Hint"]),
        ({"learner": jdl.po("scale")}, ConfigTypeError, ["expected a learner", "got Scale"]),
        ({"resampling": "cvv"}, UnknownNameError, ["Unknown resampling 'cvv'", "'cv'"]),
        ({"resampling": 10}, ConfigTypeError, ["resampling or its name is needed, got 10", "Hint"]),
        ({"key": "a"}, ConfigTypeError, ["key: expected a non-negative integer or one JAX key, got 'a'", "Hint"]),
        ({"strategy": "vmpa"}, UnknownNameError, ["Unknown strategy 'vmpa'", "'vmap'"]),
        ({"devices": "cpu"}, ConfigTypeError, ["expected JAX devices, got 'cpu'", "jax.local_devices"]),
        ({"devices": []}, ConfigTypeError, [r"expected JAX devices, got \[\]"]),
        ({"memory_budget": 0}, ConfigError, ["'memory_budget' must be an integer in", "got 0"]),
        ({"memory_budget": "1GB"}, ConfigTypeError, ["'memory_budget' must be an integer", "got '1GB'"]),
    ],
)
@pytest.mark.parametrize("name", ["classif.mlp", "classif.featureless"])
def test_arguments_of_resample(name, change, error, parts, nothing_compiles):
    given = {"task": task(), "learner": name, "resampling": "cv"} | change
    with refused(error, *parts):
        jdl.resample(**given)


def test_a_measure_that_needs_probabilities_of_a_learner_that_gives_none(nothing_compiles):
    rr = jdl.resample(task(), "classif.featureless", jdl.rsmp("cv", folds=3))
    for attempt in (rr.score, rr.aggregate, rr.prediction.score):
        for measures in ("classif.auc", ["classif.acc", "classif.logloss"]):
            with refused(ConfigError, "needs class probabilities, got predict type 'response'", "predict_type='prob'"):
                attempt(measures)


@pytest.mark.parametrize(
    ("measure", "error", "parts"),
    [
        ("regr.mse", ConfigError, ["'regr.mse' is for regr tasks, got a classif task", "Hint"]),
        ("classif.ac", UnknownNameError, ["Unknown measure 'classif.ac'", "'classif.acc'"]),
        ("acc", UnknownNameError, [r"Did you mean 'classif.acc'\?"]),
        (3, ConfigTypeError, ["measure or its name is needed, got 3"]),
        (["classif.acc", "classif.acc"], ConfigError, ["'classif.acc' more than once"]),
    ],
)
def test_measures_that_do_not_fit(measure, error, parts, nothing_compiles):
    rr = jdl.resample(task(), "classif.featureless", jdl.rsmp("cv", folds=3))
    with refused(error, *parts):
        rr.score(measure)
    with refused(error, *parts):
        rr.aggregate(measure)


def test_a_binary_measure_of_three_classes_is_refused_before_training(nothing_compiles):
    learner = mlp(validate=0.2, measures_valid="classif.auc")
    with refused(ConfigError, "'classif.auc' needs a binary task, got one with 3 classes", "Hint"):
        learner.train(jdl.tsk("iris"))


def test_an_unknown_average():
    rr = jdl.resample(task(), "classif.featureless", jdl.rsmp("cv", folds=3))
    with refused(ConfigError, "'average' must be 'macro' or 'micro', got 'mean'"):
        rr.aggregate("classif.acc", average="mean")  # pyright: ignore


# -- names and values


@pytest.mark.parametrize(
    ("make", "wrong", "near"),
    [
        (jdl.lrn, "classif.mpl", "classif.mlp"),
        (jdl.lrn, "mlp", "'classif.mlp' or 'regr.mlp'"),
        (jdl.po, "scael", "scale"),
        (jdl.msr, "classif.aac", "classif.acc"),
        (jdl.rsmp, "hold_out", "holdout"),
        (jdl.opt, "adma", "adam"),
        (jdl.loss, "crossentropy", "cross_entropy"),
        (jdl.tsk, "pengins", "penguins"),
        (jdl.msrs, "classif.aac", "classif.acc"),
    ],
)
def test_an_unknown_name_comes_with_the_nearest(make, wrong, near):
    with refused(UnknownNameError, f"Unknown .* '{wrong}'", "Did you mean .*", near):
        make(wrong)


@pytest.mark.parametrize(
    ("attempt", "wrong", "near"),
    [
        (lambda: jdl.lrn("classif.mlp", epoch=3), "epoch", "epochs"),
        (lambda: mlp().set(dropot=0.1), "dropot", "dropout"),
        (lambda: mlp().set({"opt.lrr": 0.1}), "lrr", "lr"),
        (lambda: jdl.lrn("classif.mlp", lr=0.1), "lr", "opt.lr"),
        (lambda: (jdl.po("scale") >> mlp()).set({"scale.centre": True}), "centre", "center"),
        (lambda: jdl.lrn("classif.random_forest", n_estimator=3), "n_estimator", "n_estimators"),
        (lambda: jdl.po("scale", centre=True), "centre", "center"),
        (lambda: jdl.opt("adam", beta=0.9), "beta", "betas"),
        (lambda: jdl.rsmp("cv", fold=3), "fold", "folds"),
        (lambda: jdl.msr("classif.fbeta", bta=2), "bta", "beta"),
        (lambda: jdl.tsk("moons", nois=3), "nois", "noise"),
        (lambda: (jdl.po("select", selector=["aa"]) >> mlp()).train(task()), "aa", "a"),
    ],
)
def test_an_unknown_hyperparameter_comes_with_the_nearest(attempt, wrong, near, nothing_compiles):
    with refused(UnknownNameError, f"Unknown .* '{wrong}' of ", "(Did you mean|Valid:) .*", near):
        attempt()


@pytest.mark.parametrize(
    ("values", "error", "parts"),
    [
        ({"epochs": -1}, ConfigError, [r"'epochs' must be an integer in \[0, inf\) or None, got -1"]),
        ({"epochs": "ten"}, ConfigTypeError, ["'epochs' must be an integer", "got 'ten'"]),
        ({"batch_size": 0}, ConfigError, [r"'batch_size' must be an integer in \[1, inf\)", "got 0"]),
        ({"neurons": (8, 0)}, ConfigError, ["'neurons' must be a sequence of integers", r"got \(8, 0\)"]),
        ({"neurons": "8"}, ConfigTypeError, ["'neurons' must be a sequence of integers", "got '8'"]),
        ({"dropout": 1.5}, ConfigError, [r"'dropout' must be a number in \[0, 1\], got 1.5"]),
        ({"norm": "bach"}, ConfigError, ["'norm' must be one of 'none', 'batch', 'layer', got 'bach'"]),
        ({"shuffle": "no"}, ConfigTypeError, ["'shuffle' must be True or False, got 'no'"]),
        ({"activation": "rellu"}, UnknownNameError, ["Unknown activation 'rellu'", "'relu'"]),
        ({"activation": 3}, ConfigTypeError, ["activation: expected a name or a function, got 3"]),
        ({"activation": lambda x: x.sum()}, JdlError, ["must keep the shape"]),
        ({"activation_args": 3}, ConfigTypeError, ["'activation_args' must be a dict, got 3", "Hint"]),
        ({"activation_args": {"negative_slope": [0.1]}}, ConfigTypeError, ["must hold numbers and texts", "Hint"]),
        ({"activation_args": {"slope": 1}}, ConfigError, ["activation 'relu' fails with {'slope': 1}"]),
        ({"neurons": (8, 8), "n_layers": 2}, ConfigError, ["'n_layers' repeats a single width", r"\(8, 8\)", "Hint"]),
        ({"validate": 1.5}, ConfigError, [r"'validate' must be None, a ratio in \(0, 1\), 'test'", "got 1.5"]),
        ({"validate": "tests"}, ConfigError, ["'validate' must be", "got 'tests'"]),
        ({"validate": np.zeros(2)}, ConfigError, ["'validate' must be", "got array"]),
        ({"loss": "mse"}, ConfigError, ["loss 'mse' is for regr tasks", "Hint: take 'cross_entropy'"]),
        ({"loss": 3}, ConfigTypeError, ["'loss' must be a loss, its name or a function", "got 3"]),
        (
            {"optimizer": 3},
            ConfigTypeError,
            ["'optimizer' must be an optimizer, its name or an Optax transformation, got 3", "Hint"],
        ),
        ({"optimizer": "sgd"}, ConfigError, ["'sgd': 'lr' is required"]),
        ({"opt.lr": -1}, ConfigError, [r"'lr' must be a number in \[0, inf\), got -1"]),
        ({"opt.betas": (0.9,)}, ConfigError, ["'betas' must be 2 numbers"]),
        ({"callbacks": 3}, ConfigTypeError, ["'callbacks' must hold callbacks or their names, got 3"]),
        ({"predict_type": "probs"}, ConfigError, ["'predict_type' must be one of 'response', 'prob', got 'probs'"]),
        ({"patience": 3}, ConfigError, ["'patience' needs validation rows", "Hint: validate=0.2"]),
        ({"restore_best": True}, ConfigError, ["'restore_best' needs validation rows", "Hint: validate=0.2"]),
        ({"measures_valid": "classif.acc"}, ConfigError, ["'measures_valid' needs validation rows", "validate=0.2"]),
        ({"measures_train": "regr.mse"}, ConfigError, ["'regr.mse' in 'measures_train' is for regr", "Hint"]),
        ({"measures_train": "classif.ac"}, UnknownNameError, ["Unknown measure 'classif.ac'"]),
    ],
    ids=lambda value: re.sub(r" at 0x[0-9a-f]+", "", str(value)),  # workers must collect equal names
)
def test_values_that_the_mlp_does_not_take(values, error, parts, nothing_compiles):
    with refused(error, *parts):
        jdl.lrn("classif.mlp", **{**QUICK, **values})
    with refused(error, *parts):
        mlp().set(values)


@pytest.mark.parametrize(
    ("attempt", "error", "parts"),
    [
        (lambda: jdl.opt("adamw", lr=-1), ConfigError, ["optimizer 'adamw'", "'lr' must be", "got -1"]),
        (lambda: jdl.rsmp("cv", folds=1), ConfigError, ["'cv'", r"'folds' must be an integer in \[2, inf\), got 1"]),
        (lambda: jdl.rsmp("holdout", ratio=0), ConfigError, ["'holdout'", "'ratio' must be", "got 0"]),
        (lambda: jdl.po("scale", center="yes"), ConfigTypeError, ["'scale'", "'center' must be True or False"]),
        (lambda: jdl.msr("classif.fbeta", beta=-1), ConfigError, ["'classif.fbeta'", "'beta' must be", "got -1"]),
        (lambda: jdl.tsk("moons", n=-3), ConfigError, ["moons", "-3"]),
        (lambda: jdl.lrn("classif.sklearn"), ConfigError, ["'classif.sklearn': 'estimator' is required, got none"]),
        (lambda: jdl.lrn("classif.sklearn", estimator=3), ConfigTypeError, ["must be a scikit-learn estimator, got 3"]),
        (lambda: jdl.lrn("classif.random_forest", n_estimators=-1), ConfigError, ["'n_estimators'", "Got -1"]),
        (lambda: jdl.partition(task(), ratio=1.5), ConfigError, ["partition", "1.5"]),
        (lambda: mlp().set(3), ConfigTypeError, ["set takes a dict or named values, got 3"]),
        (lambda: mlp() >> jdl.po("scale"), jdl.GraphError, ["learner 'classif.mlp' must come last", "Hint"]),
        (lambda: 3 >> mlp(), jdl.GraphError, ["expected a pipeline operator before '>>', got 3"]),
    ],
)
def test_values_that_others_do_not_take(attempt, error, parts, nothing_compiles):
    with refused(error, *parts):
        attempt()


# -- batches and validation


def test_a_batch_above_the_rows_is_one_short_batch():
    short = mlp(batch_size=1000, shuffle=False).train(task())
    exact = mlp(batch_size=N, shuffle=False).train(task())
    np.testing.assert_allclose(short.history["train.loss"], exact.history["train.loss"], rtol=1e-6)
    assert len(short.history) == 2


def test_a_batch_above_the_rows_that_is_to_be_dropped(nothing_compiles):
    learner = mlp(batch_size=1000, drop_last=True)
    with refused(ConfigError, "drop_last=True leaves no batch", "1000 is above the 30 training rows", "Hint"):
        learner.train(task())
    with refused(ConfigError, "above the 27 training rows"):
        jdl.resample(task(), learner, "cv")


def test_validation_that_there_is_nothing_for(nothing_compiles):
    with refused(ConfigError, "validate='test' needs a test set, which only resampling has", "Hint: validate=0.2"):
        mlp(validate="test").train(task())
    with refused(ConfigError, "validate='predefined'", "task 'task' has none", "Hint: task.with_validation"):
        mlp(validate="predefined").train(task())
    with refused(ConfigError, "at least 2 different rows", "got 1", "Hint"):
        mlp(validate=0.5).train(task(), rows=[3, 3])


def test_infinities_in_validation_rows_of_their_own(nothing_compiles):
    other = jdl.TaskClassif(frame(a=[np.inf, *range(1, N)]), "y")
    with refused(TaskError, "column 'a' holds infinite values"):
        mlp(validate="predefined").train(task().with_validation(other))
