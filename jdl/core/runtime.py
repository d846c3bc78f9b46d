"""The two process-wide settings that jdl makes: the compilation cache and the number of CPU devices.

Each applies only if the user set none and JAX has not started; each can be turned off.
"""

import hashlib
import os
import platform
from pathlib import Path
from typing import Any

import jax

from jdl.core.cache_folder import cache_folder

CACHE_VARIABLE = "JDL_COMPILATION_CACHE"
DEVICES_VARIABLE = "JDL_CPU_DEVICES"
STARTED = "off: JAX had started before jdl was imported"
_made: dict[str, str] = {"compilation_cache": "not set up", "cpu_devices": "not set up"}


def configure_runtime() -> None:
    """Turns the compilation cache on and makes each CPU core a device, as far as nobody else decided it."""
    _made["compilation_cache"] = _set_cache(os.environ.get(CACHE_VARIABLE, ""))
    _made["cpu_devices"] = _set_devices(os.environ.get(DEVICES_VARIABLE, ""))


def config() -> dict[str, Any]:
    """What jdl set up for the whole process, and how to change it.

    >>> sorted(config())
    ['compilation_cache', 'cpu_devices', 'jax', 'variables']
    """
    return {
        **_made,
        "jax": jax.__version__,
        "variables": f"{CACHE_VARIABLE}=<folder> | off, {DEVICES_VARIABLE}=<number> | off (set before the import)",
    }


def _setting(name: str) -> Any:
    return jax.config.values[name]


def _set_cache(wanted: str) -> str:
    if wanted.lower() == "off":
        return "off"
    if _setting("jax_compilation_cache_dir") is not None:
        return f"{_setting('jax_compilation_cache_dir')} (set by you)"
    if _has_started():
        return STARTED
    folder = Path(wanted).expanduser() if wanted else cache_folder("compiled")
    folder = folder / f"jax-{jax.__version__}-{_machine()}"
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        if not os.access(folder, os.W_OK):
            raise PermissionError(folder)
    except OSError as error:
        return f"off: {error}"
    jax.config.update("jax_compilation_cache_dir", str(folder))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
    jax.config.update("jax_persistent_cache_min_entry_size_bytes", -1)
    return str(folder)


def _set_devices(wanted: str) -> str:
    if wanted.lower() == "off":
        return "off"
    if "xla_force_host_platform_device_count" in os.environ.get("XLA_FLAGS", ""):
        return "set by you (XLA_FLAGS)"
    if _setting("jax_num_cpu_devices") > 0:
        return f"{_setting('jax_num_cpu_devices')} (set by you)"
    try:
        number = int(wanted) if wanted else _cores()
        if number < 1:
            raise ValueError
        jax.config.update("jax_num_cpu_devices", number)
    except ValueError:
        return f"off: {DEVICES_VARIABLE} must be a number above 0 or 'off', got {wanted!r}"
    except RuntimeError:
        return STARTED
    return str(number)


def _has_started() -> bool:
    """Whether JAX has devices already: it then refuses another number of them."""
    before = _setting("jax_num_cpu_devices")
    try:
        jax.config.update("jax_num_cpu_devices", max(before, 0) + 1)
    except RuntimeError:
        return True
    jax.config.update("jax_num_cpu_devices", before)
    return False


def _cores() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _machine() -> str:
    """Short name of this kind of CPU: compiled code of one may not run on another."""
    described = platform.machine() + platform.processor()
    info = Path("/proc/cpuinfo")
    if info.exists():
        lines = info.read_text(errors="replace").splitlines()
        described += "".join(line for line in lines if line.startswith(("model name", "flags", "Features")))[:8192]
    return hashlib.sha256(described.encode()).hexdigest()[:12]
