"""`device`: where a learner trains, and what it says of devices that there are not."""

import jax
import pytest

import jdl


def learner(**values):
    return jdl.lrn("classif.mlp", neurons=(4,), epochs=1, **values)


@pytest.mark.parametrize("device", ["cpu", "cpu:0", "auto", None])
def test_trains_where_it_is_told(device):
    rr = jdl.resample(jdl.tsk("iris"), learner(device=device), jdl.rsmp("cv", folds=2))
    n_devices = 1 if device == "cpu:0" else min(2, len(jax.local_devices()))
    assert f"on {n_devices} cpu device" in rr.plan


def test_takes_a_device_of_jax():
    last = jax.local_devices()[-1]
    fitted = learner(device=last).train(jdl.tsk("iris"))
    assert fitted.learner.get("device") is last


@pytest.mark.parametrize(
    "device, message",
    [
        ("tpu", "this machine has no device 'tpu'; JAX sees cpu:0"),
        ("cpu:99", "this machine has no device 'cpu:99'"),
        ("gpus", "must be one of 'cpu'"),
        ("cpu:x", "must be one of 'cpu'"),
        (3, "must be a platform, a JAX device or None"),
    ],
)
def test_devices_that_there_are_not(device, message):
    with pytest.raises(jdl.ConfigError if device != 3 else jdl.JdlError, match=message):
        learner(device=device)
