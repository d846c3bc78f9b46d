import pytest

import jdl
from jdl.core.errors import UnknownNameError
from jdl.data.datasets.catalogue import TASKS
from jdl.learners.catalogue import LEARNERS
from jdl.measures.catalogue import MEASURES
from jdl.resampling.catalogue import RESAMPLINGS
from jdl.sugar import NODES, OPERATORS
from jdl.train.callback import HostCallback
from jdl.train.callbacks import CALLBACKS
from jdl.train.loss import LOSSES
from jdl.train.optimizer import OPTIMIZERS
from jdl.train.samplers import SAMPLERS

SHORT_NAMES = [
    (jdl.tsk, TASKS),
    (jdl.lrn, LEARNERS),
    (jdl.po, OPERATORS),
    (jdl.nn, NODES),
    (jdl.msr, MEASURES),
    (jdl.rsmp, RESAMPLINGS),
    (jdl.opt, OPTIMIZERS),
    (jdl.loss, LOSSES),
    (jdl.cb, CALLBACKS),
    (jdl.sampler, SAMPLERS),
]
every_short_name = pytest.mark.parametrize(
    ("short", "catalogue"), SHORT_NAMES, ids=lambda v: getattr(v, "__name__", "")
)
# What an entry cannot be made without.
NEEDED = {
    "classif.sklearn": {"estimator": None},
    "regr.sklearn": {"estimator": None},
    "select": {"selector": "a"},
    "sgd": {"lr": 0.1},
    "branch": {"options": ["a", "b"]},
    "ingress_tensor": {"shape": (2, 2)},
    "loss": {"loss": "mse"},
    "callbacks": {"callbacks": ()},
    "checkpoint": {"path": "checkpoints"},
    "tensorboard": {"path": "runs"},
    "csv_log": {"path": "log.csv"},
    "unfreeze": {"starting_weights": len},
    "grad_clip": {"max_norm": 1.0},
    "lr_lambda": {"lr_lambda": len},
    "lr_multiplicative": {"lr_lambda": len},
    "lr_step": {"step_size": 3},
    "lr_warmup": {"steps": 3},
    "lr_cosine_restarts": {"T_0": 3},
    "lr_exponential": {"gamma": 0.9},
    "schedule": {"schedule": len},
    "weighted": {"weights": [1.0, 2.0]},
    "custom": {"train_sets": [[0]], "test_sets": [[1]]},
}


@every_short_name
def test_without_a_name_it_lists_all_names(short, catalogue):
    names = short()
    assert names == list(catalogue)
    shown = repr(names).splitlines()
    assert len(shown) == len(names) + 1
    for name, line in zip(names, shown[1:], strict=True):
        assert line.startswith(name) and len(line.removeprefix(name).strip()) >= 10, "every entry says what it is"


@every_short_name
def test_an_unknown_name_comes_with_the_nearest(short, catalogue):
    name = next(iter(catalogue))
    with pytest.raises(UnknownNameError, match=f"Unknown {catalogue.kind} '{name}x'. Did you mean .*'{name}'"):
        short(name + "x")


@pytest.mark.parametrize(
    ("short", "name"),
    [
        (s, n)
        for s, c in SHORT_NAMES[1:]
        for n in c
        if s is not jdl.nn and n.split(".")[-1] not in ("sklearn", "module")
    ],
)
def test_every_name_makes_what_its_constructor_makes(short, name):
    needed = NEEDED.get(name, {})
    made, plain = short(name, **needed), dict(SHORT_NAMES)[short][name](**needed)
    assert type(made) is type(plain)
    if isinstance(made, HostCallback):
        assert vars(made).keys() == vars(plain).keys()
    elif short is jdl.lrn:
        assert made.params().equals(plain.params())
    else:
        assert made == plain
    if short is jdl.msr:
        assert made.id == name


def test_parameters_are_passed_on():
    assert jdl.lrn("classif.mlp", epochs=3).get("epochs") == 3
    assert jdl.po("scale", center=False) == jdl.po("scale").set(center=False)
    assert jdl.po("scale", ["a"]) == jdl.po("scale", columns=["a"])
    assert jdl.msr("classif.fbeta", beta=2).beta == 2  # pyright: ignore
    assert len(jdl.rsmp("cv", folds=3).split(jdl.tsk("iris"))) == 3
    assert jdl.opt("sgd", lr=0.3).get("lr") == 0.3
    assert jdl.tsk("moons", n=20).n_rows == 20


def test_msrs_makes_several():
    assert jdl.msrs() == []
    assert [m.id for m in jdl.msrs("classif.acc", "classif.auc")] == ["classif.acc", "classif.auc"]
    assert jdl.msrs("regr.mse") == [jdl.msr("regr.mse")]


def test_names_stand_for_objects_wherever_one_is_taken():
    task = jdl.tsk("moons", n=30)
    rr = jdl.resample(task, "classif.featureless", "holdout")
    assert rr.aggregate("classif.acc") == rr.aggregate(jdl.msr("classif.acc"))
    by_name = jdl.resample("iris", "classif.featureless", "holdout")
    assert by_name.task.id == "iris" and by_name.task.n_rows == 150
    fitted = jdl.lrn("classif.featureless").train("iris", progress=False)
    assert fitted.predict("iris").truth.tolist() == jdl.tsk("iris").truth().tolist()
    learner = jdl.lrn("classif.mlp", loss="cross_entropy", optimizer="adamw", measures_train="classif.acc")
    same = jdl.lrn(
        "classif.mlp",
        loss=jdl.loss("cross_entropy"),
        optimizer=jdl.opt("adamw"),
        measures_train=[jdl.msr("classif.acc")],
    )
    assert learner.params().equals(same.params())


def test_layers_and_operators_are_told_apart():
    with pytest.raises(
        UnknownNameError, match=r"Unknown layer 'branch_1': it is a pipeline op.*\n.*jdl.po\('branch_1'"
    ):
        jdl.nn("branch_1", ["a", "b"])
    with pytest.raises(UnknownNameError, match=r"Unknown pipeline operator 'linear': it is a layer.*\n.*jdl.nn"):
        jdl.po("linear", out_features=3)
