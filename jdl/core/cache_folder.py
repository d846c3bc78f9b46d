"""Where jdl keeps what it can make or fetch again: compiled programs and downloaded data."""

import os
import sys
from pathlib import Path


def cache_folder(*parts: str) -> Path:
    """The path of jdl's cache folder, or of something in it; nothing is created.

    It is `$JDL_CACHE` if that is set, else `jdl` in the platform's folder for caches.

    >>> cache_folder("datasets").name
    'datasets'
    """
    own = os.environ.get("JDL_CACHE")
    root = Path(own).expanduser() if own else _platform_folder() / "jdl"
    return root.joinpath(*parts)


def _platform_folder() -> Path:
    if sys.platform == "win32":
        return Path(os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local")
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Caches"
    given = os.environ.get("XDG_CACHE_HOME", "")
    # The XDG rules say that a relative path there is to be ignored.
    return Path(given) if os.path.isabs(given) else Path.home() / ".cache"
