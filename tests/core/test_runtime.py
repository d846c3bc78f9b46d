"""Process-wide settings; each case needs a process of its own, since JAX reads them once."""

import json
import os
import stat
import subprocess
import sys
from pathlib import Path

import jax
import pytest

import jdl

REPORT = """
import json
print(json.dumps({
    "devices": jax.local_device_count(),
    "folder": jax.config.jax_compilation_cache_dir,
    "config": {name: str(value) for name, value in jdl.config().items()},
}))
"""


def in_new_process(code: str = "import jax, jdl", **variables: str) -> dict:
    """What jdl set up in a process with these variables."""
    inherited = {n: v for n, v in os.environ.items() if not n.startswith(("JDL_", "JAX_COMPILATION", "XLA_FLAGS"))}
    done = subprocess.run(
        [sys.executable, "-c", code + "\n" + REPORT],
        capture_output=True,
        text=True,
        check=True,
        env=inherited | {"JAX_PLATFORMS": "cpu"} | variables,
    )
    return json.loads(done.stdout.splitlines()[-1])


def test_defaults_are_a_private_cache_folder_and_a_device_per_core(tmp_path):
    report = in_new_process(JDL_CACHE=str(tmp_path))
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    assert report["devices"] == cores
    assert report["config"]["cpu_devices"] == str(cores)
    folder = Path(report["folder"])
    assert folder.parent == tmp_path / "compiled"
    assert folder.name.startswith(f"jax-{jax.__version__}-")
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert report["config"]["compilation_cache"] == str(folder)


def test_both_can_be_turned_off(tmp_path):
    report = in_new_process(JDL_CACHE=str(tmp_path), JDL_COMPILATION_CACHE="off", JDL_CPU_DEVICES="off")
    assert report["folder"] is None
    assert report["devices"] == 1
    assert report["config"]["compilation_cache"] == report["config"]["cpu_devices"] == "off"
    assert list(tmp_path.iterdir()) == []


def test_both_take_a_value(tmp_path):
    report = in_new_process(JDL_COMPILATION_CACHE=str(tmp_path / "mine"), JDL_CPU_DEVICES="3")
    assert report["devices"] == 3
    assert Path(report["folder"]).parent == tmp_path / "mine"


def test_what_the_user_set_stays(tmp_path):
    report = in_new_process(
        JDL_CACHE=str(tmp_path / "jdl"),
        JAX_COMPILATION_CACHE_DIR=str(tmp_path / "own"),
        XLA_FLAGS="--xla_force_host_platform_device_count=2",
    )
    assert report["folder"] == str(tmp_path / "own")
    assert report["devices"] == 2
    assert "set by you" in report["config"]["compilation_cache"]
    assert "set by you" in report["config"]["cpu_devices"]


def test_a_backend_that_has_started_is_left_alone():
    report = in_new_process(
        "import jax\njax.local_devices()\nimport jdl", JDL_COMPILATION_CACHE="off", JDL_CPU_DEVICES="4"
    )
    assert report["devices"] == 1
    assert report["config"]["cpu_devices"] == "off: JAX had started before jdl was imported"


def test_no_cache_is_set_where_jax_has_started(tmp_path):
    started = "import jax\njax.local_devices()\nimport jdl"
    report = in_new_process(started, JDL_CACHE=str(tmp_path), JDL_CPU_DEVICES="off")
    assert report["folder"] is None
    assert report["config"]["compilation_cache"] == "off: JAX had started before jdl was imported"
    assert list(tmp_path.iterdir()) == []


def test_values_that_cannot_be_used_are_said_and_do_no_harm(tmp_path):
    file = tmp_path / "file"
    file.write_text("")
    report = in_new_process(JDL_COMPILATION_CACHE=str(file), JDL_CPU_DEVICES="many")
    assert report["config"]["compilation_cache"].startswith("off: ")
    assert "must be a number above 0 or 'off', got 'many'" in report["config"]["cpu_devices"]
    assert report["devices"] == 1


def test_config_says_how_to_change_it():
    config = jdl.config()
    assert set(config) == {"compilation_cache", "cpu_devices", "jax", "variables"}
    assert "JDL_COMPILATION_CACHE" in config["variables"] and "JDL_CPU_DEVICES" in config["variables"]
    assert config["jax"] == jax.__version__
    config["jax"] = "changed"
    assert jdl.config()["jax"] == jax.__version__


@pytest.mark.parametrize("number", ["0", "-2"])
def test_a_number_of_devices_below_one_does_no_harm(number):
    report = in_new_process(JDL_COMPILATION_CACHE="off", JDL_CPU_DEVICES=number)
    assert report["devices"] >= 1
    assert "must be" in report["config"]["cpu_devices"]
