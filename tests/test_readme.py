"""What the README shows runs as it stands."""

import re
from pathlib import Path

README = Path(__file__).parents[1] / "README.md"


def test_python_blocks_run(monkeypatch, tmp_path, capsys):
    monkeypatch.chdir(tmp_path)
    blocks = re.findall(r"```python\n(.*?)```", README.read_text(encoding="utf-8"), re.S)
    runnable = [block for block in blocks if "over_seeds" not in block]
    assert len(runnable) >= 3
    exec(compile("\n".join(runnable), "README.md", "exec"), {})
    assert "classif.acc" in capsys.readouterr().out


def test_lists_every_name():
    import jdl

    text = README.read_text(encoding="utf-8")
    for names in (jdl.tsk(), jdl.po(), jdl.rsmp(), jdl.opt(), jdl.loss(), jdl.cb()):
        assert not [name for name in names if name not in text]
    for name in [*jdl.lrn(), *jdl.msr()]:
        assert name.split(".")[1] in text
