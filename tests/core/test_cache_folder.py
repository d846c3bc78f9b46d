import sys
from pathlib import Path

import pytest

from jdl.core.cache_folder import cache_folder


def test_own_variable_comes_first(monkeypatch, tmp_path):
    monkeypatch.setenv("JDL_CACHE", str(tmp_path / "own"))
    assert cache_folder("datasets", "a.csv") == tmp_path / "own" / "datasets" / "a.csv"


def test_nothing_is_created(monkeypatch, tmp_path):
    monkeypatch.setenv("JDL_CACHE", str(tmp_path / "own"))
    cache_folder("datasets")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("platform", "variables", "expected"),
    [
        ("linux", {"XDG_CACHE_HOME": "/xdg"}, Path("/xdg/jdl")),
        ("linux", {"XDG_CACHE_HOME": "relative"}, Path.home() / ".cache" / "jdl"),
        ("linux", {}, Path.home() / ".cache" / "jdl"),
        ("darwin", {}, Path.home() / "Library" / "Caches" / "jdl"),
        ("win32", {"LOCALAPPDATA": "/local"}, Path("/local/jdl")),
    ],
)
def test_platform_folders(monkeypatch, platform, variables, expected):
    for name in ("JDL_CACHE", "XDG_CACHE_HOME", "LOCALAPPDATA"):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(sys, "platform", platform)
    assert cache_folder() == expected
