"""The hyperparameter `device`: where a learner trains."""

from typing import Any

import jax

from jdl.core.errors import ConfigError, ConfigTypeError, shown

PLATFORMS = ("cpu", "gpu", "cuda", "rocm", "tpu")


def checked_device(who: str, device: Any) -> Any:
    """A platform, a platform with a number ("cuda:1"), a JAX device, or None.

    Raises:
      ConfigError: No such platform, or this machine has no such device.
      ConfigTypeError: It is none of these.
    """
    if device is None or isinstance(device, jax.Device):
        return device
    if not isinstance(device, str):
        raise ConfigTypeError(
            f"{who}: 'device' must be a platform, a JAX device or None, got {shown(device)}.\nHint: device='cpu'."
        )
    platform, _, number = device.partition(":")
    if platform == "auto":
        return None
    if platform not in PLATFORMS or (":" in device and not number.isdigit()):
        raise ConfigError(
            f"{who}: 'device' must be one of {', '.join(map(repr, PLATFORMS))}, perhaps with a number as in 'cuda:0', "
            f"got {device!r}."
        )
    found = _devices(platform)
    if not found or (number and int(number) >= len(found)):
        there = ", ".join(f"{d.platform}:{d.id}" for d in jax.local_devices())
        raise ConfigError(f"{who}: this machine has no device {device!r}; JAX sees {there}.")
    return device


def devices_of(device: Any) -> tuple[Any, ...] | None:
    """The devices that a checked `device` stands for; None for all there are."""
    if device is None:
        return None
    if isinstance(device, jax.Device):
        return (device,)
    platform, _, number = device.partition(":")
    found = _devices(platform)
    return (found[int(number)],) if number else found


def _devices(platform: str) -> tuple[Any, ...]:
    try:
        return tuple(jax.local_devices(backend=platform))
    except RuntimeError:  # what JAX says of a platform that it does not have
        return ()
