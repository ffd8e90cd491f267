"""What is built is whole, and large files pass through in bounded memory."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent.parent
MODELS = [
    f"pairscore/models/bundled/{name}/"
    for name in ("ms-marco-minilm-l12", "sts-minilm", "all-minilm-l6")
]
MEBIBYTE = 1024


@pytest.mark.slow
def test_the_wheel_carries_the_models_and_their_licences(tmp_path: Path) -> None:
    """All models' files by their sha256, their pages, types, licence and notice; no tests."""
    command = [sys.executable, "-m", "pip", "wheel", "--no-deps", "--quiet", "-w", str(tmp_path)]
    subprocess.run([*command, str(ROOT)], check=True, timeout=300)
    (wheel,) = tmp_path.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
        for model in MODELS:
            wanted = json.loads(archive.read(model + "manifest.json"))["files"]
            digests = {n: hashlib.sha256(archive.read(model + n)).hexdigest() for n in wanted}
            assert digests == wanted
            assert model + "MODEL.md" in names
    assert {"pairscore/py.typed", "pairscore/cli/demo.json"} <= set(names)
    static = ROOT / "src/pairscore/service/page/static"
    page = {p.relative_to(ROOT / "src").as_posix() for p in static.rglob("*") if p.is_file()}
    assert "pairscore/service/page/static/index.html" in page
    assert page <= set(names)
    assert any(name.endswith("licenses/NOTICE") for name in names)
    assert any(name.endswith("licenses/LICENSE") for name in names)
    assert not any(name.startswith("tests") for name in names)


def _peak_kib(rows: int, folder: Path) -> int:
    """The highest resident memory of a run over a file of so many rows, in KiB."""
    source, target = folder / f"{rows}.csv", folder / f"{rows}.out.csv"
    with source.open("w", encoding="utf-8") as file:
        file.write("query,document\n")
        file.writelines(f"query {i},document {i} of many\n" for i in range(rows))
    command = [sys.executable, "-m", "pairscore", "score", "--backend", "fake", "--quiet"]
    process = subprocess.Popen([*command, "--input", str(source), "--output", str(target)])
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)

    assert process.returncode == 0
    assert target.read_text(encoding="utf-8").count("\n") == rows + 1
    return usage.ru_maxrss


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_memory_does_not_grow_with_the_file(tmp_path: Path) -> None:
    """Fifteen times the rows, the same memory: rows are read, scored and written chunk by chunk."""
    small, large = _peak_kib(4_000, tmp_path), _peak_kib(60_000, tmp_path)

    assert large - small < 12 * MEBIBYTE
