"""Fit and predict of every network learner of the catalogue lower for CPUs, NVIDIA GPUs and TPUs."""

from typing import Any

import jax
import numpy as np
import pandas as pd
import pytest
from flax import nnx

import jdl
from jdl import train
from jdl.core.random import as_key
from jdl.learners import LEARNERS
from jdl.learners.learner import Job
from jdl.learners.neural import NeuralLearner, Schedule
from jdl.learners.population import Data, dynamic_values, make_program, padded_rows
from jdl.pipeline.compose import fit_chain
from jdl.train.member import MemberRows, draw

PLATFORMS = ("cpu", "cuda", "tpu")
N = 24
BATCH = 8


class Net(nnx.Module):
    """A module as others write them."""

    def __init__(self, d_in, d_out, *, rngs):
        self.dropout = nnx.Dropout(0.1, rngs=rngs)
        self.last = nnx.Linear(d_in, d_out, rngs=rngs)

    def __call__(self, x):
        return self.last(self.dropout(x))


def catalogued(name, **options):
    return lambda task_type: jdl.lrn(f"{task_type}.{name}", **options)


def encoded(make):
    return lambda task_type: jdl.po("encode") >> make(task_type)


def convolution(task_type):
    layers = jdl.nn("unsqueeze", axis=2) >> jdl.nn("conv1d", out_channels=2, kernel_size=2) >> jdl.nn("batch_norm1d")
    network = jdl.po("ingress_num") >> layers >> jdl.nn("relu") >> jdl.nn("max_pool1d", kernel_size=2)
    network = network >> jdl.nn("flatten") >> jdl.nn("dropout") >> jdl.nn("head")
    loss = jdl.po("loss", loss="cross_entropy" if task_type == "classif" else "mse")
    graph = jdl.po("encode") >> network >> loss >> jdl.po("optimizer") >> jdl.po(f"model_{task_type}", epochs=2)
    return jdl.as_learner(graph)


EMBEDDED: dict[str, Any] = {"preprocess": True, "cat_embeddings": "embedding", "num_embeddings": "piecewise_linear"}
LEARNERS_OF: dict[str, Any] = {
    "mlp": encoded(catalogued("mlp", neurons=(4,))),
    "mlp embedded": catalogued("mlp", neurons=(4,), norm="batch", n_bins=4, **EMBEDDED),
    "tab_resnet": catalogued("tab_resnet", n_blocks=1, d_block=4, num_embeddings="periodic"),
    "ft_transformer": catalogued("ft_transformer", n_blocks=1, d_token=8, attention_n_heads=2),
    "tabm": catalogued("tabm", k=2, d_block=4, n_blocks=1, d_embedding=2, n_bins=4),
    "realmlp": catalogued("realmlp", hidden_sizes=(4,)),
    "module": encoded(catalogued("module", module=Net)),
    "graph": convolution,
}


def task(task_type) -> Any:
    rng = np.random.default_rng(0)
    frame = pd.DataFrame({"a": rng.normal(size=N), "b": rng.normal(size=N), "c": rng.choice(["u", "v", "w"], N)})
    if task_type == "classif":
        return jdl.TaskClassif(frame.assign(y=np.where(frame["a"] > 0, "p", "q")), target="y")
    return jdl.TaskRegr(frame.assign(y=frame["a"]), target="y")


def test_every_network_learner_is_tried():
    networks = {name.partition(".")[2] for name, kind in LEARNERS.items() if issubclass(kind, NeuralLearner)}
    assert networks <= set(LEARNERS_OF)


@pytest.mark.parametrize("task_type", ["classif", "regr"])
@pytest.mark.parametrize("name", LEARNERS_OF)
def test_fit_and_predict_lower_for_all_platforms(name, task_type):
    data_task, learner = task(task_type), LEARNERS_OF[name](task_type)
    data = Data.of(data_task, with_validation=False).seen_by([Job(rows=np.arange(N), key=as_key(0))])
    schedule = Schedule(2, BATCH * learner.copies, None, 0, False)
    rows = padded_rows([MemberRows(train=np.arange(N, dtype=np.int32))], schedule, learner)
    program = make_program(learner, data, schedule, rows)
    member = draw(
        program,
        0,
        data.target.values.astype(np.int32 if task_type == "classif" else np.float32),
        rows=rows[0],
        epochs=2,
        hyper=dynamic_values(learner),
        stage_states=fit_chain(learner.all_stages, program.spec, data.table, np.ones(N), as_key(0)),
        table=data.table,
    )

    def fit(table, member):
        run, history = train.fit(program, table, member)
        return train.predict(program, run, table, member.stage_states), history["train.loss"]

    exported = jax.export.export(jax.jit(fit), platforms=PLATFORMS)(data.table, member)
    assert exported.platforms == PLATFORMS
