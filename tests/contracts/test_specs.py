"""What holds for every entry of every catalogue: it can be saved, and comes back equal, without trust in anything."""

import json
from typing import Any

import pytest

import jdl
from jdl.core.fields import REQUIRED
from jdl.io.names import Trust
from jdl.learners.saving import CODEC
from jdl.measures.catalogue import MEASURES
from jdl.networks.activation import ACTIVATIONS
from jdl.networks.layers import LAYERS
from jdl.pipeline.catalogue import STAGES
from jdl.train.loss import LOSSES
from jdl.train.optimizer import OPTIMIZERS

# What a new entry needs beside the values by kind.
NEEDED: dict[str, dict[str, Any]] = {"select": {"selector": "a"}, "reshape": {"shape": (2,)}}
OF_KIND: dict[str, Any] = {"int": 2, "float": 0.5, "bool": True, "ints": (2,), "floats": (0.5, 0.5), "str": "sum"}
ENTRIES = [(catalogue, name) for catalogue in (MEASURES, STAGES, LOSSES, OPTIMIZERS, LAYERS) for name in catalogue]


def made(catalogue: Any, name: str) -> Any:
    if catalogue is OPTIMIZERS:
        return jdl.opt(name, lr=0.1)
    fields = getattr(catalogue[name], "fields", {})
    needed = {n: f.choices[0] if f.choices else OF_KIND.get(f.kind) for n, f in fields.items() if f.default is REQUIRED}
    return catalogue.make(name, **needed | NEEDED.get(name, {}))


@pytest.mark.parametrize(("catalogue", "name"), ENTRIES, ids=lambda part: part if isinstance(part, str) else part.kind)
def test_an_entry_comes_back_equal(catalogue, name):
    entry = made(catalogue, name)
    spec, arrays = CODEC.encode(entry)
    again = CODEC.decode(json.loads(json.dumps(spec, allow_nan=False)), arrays, Trust())
    assert again == entry and repr(again) == repr(entry)
    assert type(again) is type(entry) and hash(again) == hash(entry)


@pytest.mark.parametrize("name", [name for name in ACTIVATIONS if name != "identity"])
def test_the_function_of_an_activation_is_known(name):
    function = ACTIVATIONS[name]
    assert CODEC.decode(*CODEC.encode(function), Trust()) is function
