"""What holds for every learner of the catalogue. A new one adds what makes it quick, or possible, to `QUICK`."""

import copy
import pickle
from functools import cache
from typing import Any

import numpy as np
import pandas as pd
import pytest
from flax import nnx
from sklearn.linear_model import Ridge
from sklearn.naive_bayes import GaussianNB

import jdl
from jdl.core.errors import ConfigError, ConfigTypeError, NotFittedError, TaskError, UnknownNameError
from jdl.core.random import as_key
from jdl.learners import LEARNERS, Learner
from jdl.learners.learner import ALL_TYPES


class Net(nnx.Module):
    """A module as others write them: with flax's own initialisers and dropout."""

    def __init__(self, d_in, d_out, width=64, *, rngs):
        self.first = nnx.Linear(d_in, width, rngs=rngs)
        self.dropout = nnx.Dropout(0.1, rngs=rngs)
        self.last = nnx.Linear(width, d_out, rngs=rngs)

    def __call__(self, x):
        return self.last(self.dropout(nnx.relu(self.first(x))))


REQUIRED: dict[str, dict[str, Any]] = {
    "classif.sklearn": {"estimator": GaussianNB()},
    "regr.sklearn": {"estimator": Ridge()},
    "classif.module": {"module": Net},
    "regr.module": {"module": Net},
}
QUICK = {
    "mlp": {"epochs": 3, "batch_size": 16, "neurons": (8,)},
    "tab_resnet": {"epochs": 3, "batch_size": 16, "n_blocks": 1, "d_block": 8},
    "ft_transformer": {
        "epochs": 3,
        "batch_size": 16,
        "n_blocks": 1,
        "d_block": 8,
        "attention_n_heads": 2,
        "attention_dropout": 0.1,
        "ffn_dropout": 0.1,
    },
    "tabm": {"epochs": 3, "batch_size": 16, "k": 3, "d_block": 8, "n_blocks": 1, "d_embedding": 4, "n_bins": 4},
    "realmlp": {"epochs": 3, "batch_size": 16, "hidden_sizes": (8,)},
    "module": {"epochs": 3, "batch_size": 16},
    "random_forest": {"n_estimators": 5},
    "hist_gradient_boosting": {"max_iter": 5, "min_samples_leaf": 5},
}
LONG = ("tab_resnet", "ft_transformer", "tabm", "realmlp")  # with no argument
DRAWS_NUMBERS = ("mlp", "tab_resnet", "ft_transformer", "tabm", "realmlp", "module", "random_forest")
NAMES = list(LEARNERS)
CLASSIF = [name for name in NAMES if name.startswith("classif.")]
every_learner = pytest.mark.parametrize("name", NAMES)
every_classifier = pytest.mark.parametrize("name", CLASSIF)
N = 60
FEATURES = ("a", "b", "c", "d")


def short(name: str) -> str:
    return name.partition(".")[2]


def frame() -> pd.DataFrame:
    """Four columns, of which the first two decide about the targets `yes`, `kind` and `price`."""
    x = np.random.default_rng(0).normal(size=(N, 4)).astype(np.float32)
    columns = pd.DataFrame(x, columns=list(FEATURES))
    signal = x[:, 0] + x[:, 1]
    columns["yes"] = np.where(signal > 0, "yes", "no")
    columns["kind"] = np.array(["low", "mid", "top"])[np.digitize(signal, [-0.7, 0.7])]
    columns["price"] = 1000.0 + 50.0 * signal
    return columns


def of_frame(data: pd.DataFrame, target: str) -> Any:
    kind = jdl.TaskRegr if target == "price" else jdl.TaskClassif
    return kind(data[[*FEATURES, target]], target)


@cache
def task(target: str) -> Any:
    return of_frame(frame(), target)


def targets(name: str) -> list[str]:
    return ["yes", "kind"] if name in CLASSIF else ["price"]


def target(name: str) -> str:
    return targets(name)[0]


def quick(name: str, **values) -> Any:
    return LEARNERS.make(name, **REQUIRED.get(name, {}), **QUICK.get(short(name), {}), **values)


def most(name: str) -> str:
    """The predict type that says most, of those that every loss gives."""
    return "prob" if "prob" in LEARNERS[name].predict_types else "response"  # pyright: ignore[reportFunctionMemberAccess]


@cache
def fitted(name: str, target: str) -> Any:
    return quick(name, predict_type=most(name)).train(task(target), key=1)


def numbers(prediction) -> np.ndarray:
    return prediction.response if prediction.task_type == "regr" else prediction.prob


def assert_same(left, right):
    np.testing.assert_array_equal(left.response, right.response)
    np.testing.assert_array_equal(numbers(left), numbers(right))


CASES = [(name, kind) for name in NAMES for kind in targets(name)]
every_case = pytest.mark.parametrize(("name", "target"), CASES)


def test_quick_settings_are_of_learners_that_exist():
    assert set(QUICK) <= {short(name) for name in NAMES}
    assert set(REQUIRED) <= set(NAMES)


@every_learner
def test_is_found_by_its_name(name):
    learner = quick(name)
    assert learner.id == learner.name == name
    assert name == f"{learner.task_type}.{short(name)}"
    assert set(learner.feature_types) <= set(ALL_TYPES)
    assert learner.predict_type == learner.predict_types[0] == "response"


@pytest.mark.parametrize(
    ("name", "target"),
    [pytest.param(n, t, marks=[pytest.mark.slow] * (short(n) in LONG)) for n in NAMES for t in targets(n)],
)
def test_trains_with_no_argument_and_beats_or_is_the_featureless_one(name, target):
    learner = LEARNERS.make(name, **REQUIRED.get(name, {}), predict_type=most(name))
    measure = "regr.mse" if target == "price" else "classif.logloss"
    score = learner.train(task(target)).predict(task(target)).score(measure)
    baseline = LEARNERS.make(f"{learner.task_type}.featureless", predict_type=most(name)).train(task(target))
    limit = baseline.predict(task(target)).score(measure)
    assert score == limit if short(name) == "featureless" else score < 0.9 * limit


@every_case
def test_predicts_alike_from_a_task_a_frame_and_a_dict(name, target):
    model, of_task = fitted(name, target), fitted(name, target).predict(task(target))
    np.testing.assert_array_equal(of_task.rows, np.arange(N))
    np.testing.assert_array_equal(of_task.truth, task(target).truth())
    for data in (frame()[list(FEATURES)], {c: frame()[c].to_numpy() for c in FEATURES}):
        prediction = model.predict(data)
        assert prediction.truth is None
        assert_same(prediction, of_task)


@every_case
def test_finds_columns_by_name_and_ignores_others(name, target):
    data = frame()[["d", "b", "a", "c"]].assign(unknown="text", empty=None)
    data.insert(0, "first", np.inf)
    assert_same(fitted(name, target).predict(data), fitted(name, target).predict(task(target)))


@every_case
def test_predicts_each_row_by_itself(name, target):
    model, everything = fitted(name, target), fitted(name, target).predict(task(target))
    order = np.random.default_rng(5).permutation(N)
    for rows in (order, [7], [7, 7, 3], np.arange(N) % 3 == 0):
        positions = np.arange(N)[rows]
        some = model.predict(task(target), rows=rows)
        np.testing.assert_array_equal(some.rows, positions)
        np.testing.assert_array_equal(some.truth, everything.truth[positions])
        if target != "price":
            np.testing.assert_array_equal(some.response, everything.response[positions])
        np.testing.assert_allclose(numbers(some), numbers(everything)[positions], rtol=1e-5)
        again = model.predict(task(target).to_pandas().iloc[positions])
        np.testing.assert_allclose(numbers(again), numbers(some), rtol=1e-5)


@every_case
def test_predicts_no_row_at_all(name, target):
    for prediction in (fitted(name, target).predict(task(target), rows=[]), fitted(name, target).predict(frame()[:0])):
        assert len(prediction) == 0
        assert numbers(prediction).shape[1:] == numbers(fitted(name, target).predict(task(target))).shape[1:]


@every_classifier
@pytest.mark.parametrize("target", ["yes", "kind"])
def test_response_is_the_most_probable_class(name, target):
    classes = task(target).class_names
    prediction = fitted(name, target).predict(task(target))
    assert prediction.class_names == tuple(classes) and prediction.positive == task(target).positive
    assert prediction.prob.shape == (N, len(classes)) and prediction.prob.dtype.kind == "f"
    np.testing.assert_allclose(prediction.prob.sum(axis=1), 1, atol=1e-6)
    assert (prediction.prob >= 0).all()
    np.testing.assert_array_equal(prediction.response, np.array(classes)[prediction.prob.argmax(axis=1)])
    only = quick(name, predict_type="response").train(task(target), key=1).predict(task(target))
    assert only.prob is None and only.predict_types == ("response",)
    np.testing.assert_array_equal(only.response, prediction.response)


@every_classifier
@pytest.mark.parametrize("labels", [(False, True), (3, 7), (-1, 0, 1)], ids=str)
def test_answers_in_the_labels_of_the_task(name, labels):
    codes = np.arange(N) % len(labels)
    other = jdl.TaskClassif(frame()[list(FEATURES)].assign(y=np.array(labels)[codes]), "y")
    prediction: Any = quick(name).train(other).predict(other)
    assert set(prediction.response.tolist()) <= set(labels)
    assert type(prediction.response.tolist()[0]) is type(labels[0])
    assert prediction.truth.tolist() == [labels[code] for code in codes]


@every_learner
def test_training_leaves_learner_and_task_as_they_were(name):
    learner, data = quick(name), task(target(name)).to_pandas()
    before, shown = learner.params(), repr(learner)
    model = learner.train(task(target(name)))
    assert model is not learner and model.learner.id == learner.id
    pd.testing.assert_frame_equal(learner.params(), before)
    assert repr(learner) == shown
    pd.testing.assert_frame_equal(task(target(name)).to_pandas(), data)
    with pytest.raises(NotFittedError, match="train returns a fitted learner"):
        learner.predict(task(target(name)))


@every_case
def test_the_same_key_gives_the_same_result(name, target):
    again = quick(name, predict_type=most(name)).train(task(target), key=1).predict(task(target))
    assert_same(again, fitted(name, target).predict(task(target)))
    other = quick(name, predict_type=most(name)).train(task(target), key=2).predict(task(target))
    differs = bool((numbers(other) != numbers(again)).any())
    assert differs == (short(name) in DRAWS_NUMBERS)


@every_learner
def test_set_and_params_round_trip(name):
    learner = quick(name, predict_type=most(name))
    params = learner.params()
    assert list(params.columns)[:7] == ["name", "type", "range", "default", "value", "tags", "dynamic"]
    assert params["name"].is_unique
    values = dict(zip(params["name"], params["value"], strict=True))
    assert values == {n: learner.get(n) for n in values}
    plain = LEARNERS.make(name, **REQUIRED.get(name, {}))
    again = plain.set(values).set(predict_type=most(name), id="other")
    pd.testing.assert_frame_equal(again.params(), params)
    assert again.id == "other" and again.predict_type == most(name)
    assert plain.id == name and plain.predict_type == "response"
    for given, expected in QUICK.get(short(name), {}).items():
        assert again.get(given) == expected


@every_learner
def test_an_unknown_hyperparameter_is_named_with_the_nearest(name):
    learner = quick(name)
    known = learner.params()["name"]
    for wrong in ["zzz", *(f"{n}x" for n in known[:1])]:
        hint = f"Did you mean .*'{wrong[:-1]}'" if wrong != "zzz" else "Valid: "
        for attempt in (lambda w=wrong: quick(name, **{w: 1}), lambda w=wrong: learner.set({w: 1})):
            with pytest.raises(UnknownNameError, match=f"Unknown hyperparameter '{wrong}' of learner '{name}'. {hint}"):
                attempt()
    with pytest.raises(UnknownNameError, match=f"hyperparameter 'zzz' of learner '{name}'"):
        learner.get("zzz")


@every_learner
def test_an_unknown_predict_type_raises(name):
    for attempt in (lambda: quick(name, predict_type="probs"), lambda: quick(name).set(predict_type="probs")):
        with pytest.raises(ConfigError, match=rf"'{name}': 'predict_type' must be one of .*'response'.*, got 'probs'"):
            attempt()


@every_learner
def test_a_task_of_the_other_type_raises(name, nothing_compiles):
    other = task("price" if name in CLASSIF else "yes")
    for attempt in (quick(name).train, lambda t: jdl.resample(t, quick(name), "cv")):
        with pytest.raises(ConfigError, match=rf"'{name}' is for {quick(name).task_type} tasks, but task 'task' is a"):
            attempt(other)
    with pytest.raises(ConfigTypeError, match=rf"'{name}': expected a task, got DataFrame[\s\S]*jdl.Task"):
        quick(name).train(frame())  # pyright: ignore[reportArgumentType]


@every_learner
def test_predicting_a_task_of_the_other_type_raises(name):
    with pytest.raises(ConfigError, match=rf"'{name}' is for .* tasks"):
        fitted(name, target(name)).predict(task("price" if name in CLASSIF else "yes"))


@every_learner
def test_resampling_is_training_and_predicting_by_hand(name):
    learner, key = quick(name, predict_type=most(name)), as_key(4)
    rr: Any = jdl.resample(task(target(name)), learner, jdl.rsmp("cv", folds=3), key=key)
    assert rr.n_iterations == 3 and rr.to_pandas()["status"].tolist() == ["complete"] * 3
    for i, (train, test) in enumerate(rr.splits):
        by_hand = learner.train(task(target(name)), rows=train, key=key.fold("iteration", i))
        for model in (by_hand, rr.fitted[i]):
            prediction = model.predict(task(target(name)), rows=test)
            np.testing.assert_allclose(numbers(prediction), numbers(rr.predictions[i]), rtol=1e-3, atol=1e-3)
    assert np.isfinite(rr.aggregate("regr.rmse" if target(name) == "price" else "classif.acc"))


@every_learner
def test_rows_that_do_not_take_part_have_no_influence(name):
    kind, rows = target(name), np.arange(10, N)
    expected = quick(name, predict_type=most(name)).train(task(kind), rows=rows, key=3)
    for value in (np.nan, np.inf, -1e30):
        spoilt = frame()
        spoilt.loc[:9, ["a", "c"]] = value
        other = of_frame(spoilt, kind)
        model = quick(name, predict_type=most(name)).train(other, rows=rows, key=3)
        assert_same(model.predict(other, rows=rows), expected.predict(task(kind), rows=rows))


@every_learner
def test_missing_values_are_taken_or_refused_with_a_hint(name, request):
    data = frame()
    data.loc[3, "b"] = np.nan
    other, learner = of_frame(data, target(name)), quick(name)
    if name in REQUIRED:
        pytest.skip("up to the estimator")
    if learner.takes_missing:
        assert len(learner.train(other).predict(other)) == N
        return
    model = fitted(name, target(name))
    request.getfixturevalue("nothing_compiles")
    message = rf"'{name}' takes no missing values, but column 'b' has some[\s\S]*jdl.po\('imputemedian'\)"
    for attempt in (learner.train, lambda t: jdl.resample(t, learner, "cv"), model.predict):
        with pytest.raises(TaskError, match=message):
            attempt(other)
    with pytest.raises(TaskError, match="some in the data to predict"):
        model.predict(other)


@every_learner
def test_categories_are_taken_or_refused_with_a_hint(name, request):
    data = frame()
    data["c"] = np.where(data["c"] > 0, "u", "v")
    other, learner = of_frame(data, target(name)), quick(name)
    if name in REQUIRED:
        pytest.skip("up to the estimator")
    if "category" in learner.feature_types:
        assert len(learner.train(other).predict(other)) == N
        return
    request.getfixturevalue("nothing_compiles")
    message = rf"'{name}' takes .*, but column 'c' is of type category[\s\S]*jdl.po\('encode'\)"
    for attempt in (learner.train, lambda t: jdl.resample(t, learner, "cv")):
        with pytest.raises(TaskError, match=message):
            attempt(other)


@every_learner
def test_infinities_are_refused_in_all_rows_that_are_used(name, request):
    data = frame()
    data.loc[57, "b"] = np.inf
    data.loc[58, "d"] = -np.inf
    other, model = of_frame(data, target(name)), fitted(name, target(name))
    request.getfixturevalue("nothing_compiles")
    learner = quick(name)
    message = rf"'{name}': columns 'b', 'd' hold infinite values[\s\S]*Hint: replace them"
    only_last = jdl.rsmp("custom", train_sets=[range(9)] * 5, test_sets=[range(9, 20)] * 4 + [range(50, N)])
    for attempt in (
        learner.train,
        lambda t: jdl.resample(t, learner, "cv"),
        lambda t: jdl.resample(t, learner, only_last),
        model.predict,
        lambda t: model.predict(t.to_pandas()),
    ):
        with pytest.raises(TaskError, match=message):
            attempt(other)
    assert len(model.predict(other, rows=range(50))) == 50


@every_learner
def test_history_is_a_frame_by_epochs(name):
    history = fitted(name, target(name)).history
    assert history.columns[0] == "epoch"
    assert history["epoch"].tolist() == list(range(1, len(history) + 1))


@every_learner
def test_repr_is_one_line_with_what_differs_from_the_defaults(name):
    plain = LEARNERS.make(name, **REQUIRED.get(name, {}))
    extra = ", estimator=" in repr(plain) or ", module=" in repr(plain)
    assert repr(plain).startswith(f"<{name}> predict_type='response'")
    assert extra == (name in REQUIRED) and (extra or repr(plain) == f"<{name}> predict_type='response'")
    for given, value in QUICK.get(short(name), {}).items():
        assert f"{given}={value!r}" in repr(quick(name))
    assert repr(fitted(name, target(name))).startswith(f"fitted <{name}>")
    for shown in (repr(quick(name)), repr(fitted(name, target(name)))):
        assert len(shown) < 200 and "\n" not in shown and " at 0x" not in shown


@every_learner
def test_works_behind_stages(name):
    data = frame()
    data.loc[::7, "a"] = np.nan
    data["c"] = np.where(data["c"] > 0, "u", "v")
    other = of_frame(data, target(name))
    pipe = jdl.po("imputemedian") >> jdl.po("encode") >> jdl.po("scale") >> quick(name)
    assert isinstance(pipe, Learner) and pipe.id == f"imputemedian.encode.scale.{name}"
    model = pipe.set({"scale.center": False}).train(other)
    new = data[list(FEATURES)].copy()
    new["a"], new["c"] = np.nan, ["never seen", None] * (N // 2)
    assert len(model.predict(new)) == N
    assert not model.learner.get("scale.center") and pipe.get("scale.center")


@every_learner
@pytest.mark.parametrize("rows", [[], [N], [-1], [0.5], "all", [True], [[0], [1]]], ids=str)
def test_rows_that_are_none_raise(name, rows, nothing_compiles):
    with pytest.raises(TaskError, match=rf"'{name}': [\s\S]*Hint"):
        quick(name).train(task(target(name)), rows=rows)


@every_learner
def test_a_key_that_is_none_raises(name, nothing_compiles):
    for key in ("a", -1, 0.5, None):
        with pytest.raises(ConfigTypeError, match="key: expected"):
            quick(name).train(task(target(name)), key=key)  # pyright: ignore[reportArgumentType]


# -- leaving the process


def same_predictions(one: Any, other: Any, data: Any) -> None:
    one, other = one.predict(data), other.predict(data)
    for values in ("response", "prob"):
        if getattr(one, values, None) is not None:
            np.testing.assert_array_equal(getattr(one, values), getattr(other, values))


@every_learner
def test_a_saved_learner_comes_back_with_all_that_it_knows(name, tmp_path):
    for where in targets(name):
        model = fitted(name, where)
        model.save(tmp_path / where)
        again = jdl.load(tmp_path / where, trust={Net.__module__})
        assert type(again) is type(model) and repr(again) == repr(model)
        same_predictions(again, model, task(where))
        same_predictions(again, model, frame()[list(FEATURES)].head(3))
        pd.testing.assert_frame_equal(again.history, model.history)
        assert repr(again.learner.params()) == repr(model.learner.params())
        kept = again.to_numpy()
        assert kept.keys() == model.to_numpy().keys()
        assert all(np.array_equal(kept[path], array) for path, array in model.to_numpy().items())
        if hasattr(model, "timings"):
            assert (again.timings, again.status, again.epochs) == (model.timings, model.status, model.epochs)
        assert (tmp_path / where / "jdl.json").stat().st_size < 32 << 10


@every_learner
def test_a_loaded_learner_trains_as_the_first_one_did(name, tmp_path):
    model = fitted(name, target(name))
    model.save(tmp_path / "model")
    again = jdl.load(tmp_path / "model", trust={Net.__module__})
    same_predictions(again.learner.train(task(target(name)), key=1), model, task(target(name)))


@every_learner
def test_copies_and_pickled_learners_are_the_same(name):
    model = fitted(name, target(name))
    for again in (copy.copy(model), copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
        same_predictions(again, model, task(target(name)))
        assert repr(again.learner) == repr(model.learner)
    for learner in (copy.copy(model.learner), copy.deepcopy(model.learner), pickle.loads(pickle.dumps(model.learner))):
        assert repr(learner) == repr(model.learner)
        with pytest.raises(ConfigError, match="never change"):
            learner.predict_type = "response"
