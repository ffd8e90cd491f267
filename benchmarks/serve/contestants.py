"""Which servers are measured, and how each is set up: pairscore, a plain FastAPI app, Infinity on ONNX and torch."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from contestants import fastest, int8_files
from measuring import Bench, run_or_fail, say
from serve.client import HOST
from serve.servers import Spec
from serve.traffic import Wire
from workers import OFFLINE, WORK, PeerError

__all__ = [
    "ARTICLE",
    "GROUPS",
    "INFINITY_ONNX",
    "INFINITY_TORCH",
    "OWN",
    "own",
    "peer_specs",
    "versions",
]

OWN = "pairscore"
ARTICLE = "FastAPI app, torch"
INFINITY_ONNX = "Infinity, ONNX int8"
INFINITY_TORCH = "Infinity, torch"

_MODEL = "reranker"
_CACHE_FLAG = "--cache-bytes"
# It tells nobody anything; and it is told where to keep its caches, or it would do so in the folder it runs in.
_INFINITY = {
    "INFINITY_ANONYMOUS_USAGE_STATS": "0",
    "DO_NOT_TRACK": "1",
    "HF_HOME": str(WORK / "infinity-home"),
}
_TOKENIZER = (
    "config.json",
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "vocab.txt",
)


def own(bench: Bench) -> Spec:
    """Our own server as it comes, its score cache switched off where it has one."""
    command = [sys.executable, "-m", "pairscore", "serve", "--host", HOST]
    if bench.options.model:
        command += ["--model", bench.options.model]
    has_cache = _has_flag(_CACHE_FLAG)
    if has_cache:
        command += [_CACHE_FLAG, "0"]
    return Spec(
        name=OWN,
        python=Path(sys.executable),
        command=lambda port: [*command, "--port", str(port)],
        wire=lambda _: Wire("rerank"),
        scores_wire=Wire("batch"),
        health=("/livez", "/health"),
        packages=("pairscore", "onnxruntime", "tokenizers", "fastapi", "uvicorn"),
        note="pairscore serve" + (f" {_CACHE_FLAG} 0" if has_cache else ""),
    )


def article(bench: Bench) -> Spec:
    """The plain app; a request of more pairs than it takes is not sent."""
    python, script = bench.python("oracle"), Path(__file__).parents[1] / "peers/article_app.py"
    model = str(bench.reference())
    return Spec(
        name=ARTICLE,
        python=python,
        command=lambda port: [str(python), str(script), "--model", model, "--port", str(port)],
        wire=lambda num_documents: Wire("score" if num_documents == 1 else "batch"),
        scores_wire=Wire("batch"),
        packages=("sentence-transformers", "transformers", "torch", "fastapi", "uvicorn"),
        note="peers/article_app.py",
    )


def infinity_onnx(bench: Bench) -> Spec:
    """Infinity on the int8 file that is the fastest for this CPU."""
    folder, file = infinity_folder(bench)
    return _infinity(bench, INFINITY_ONNX, folder, engine="optimum", note=file)


def infinity_torch(bench: Bench) -> Spec:
    """Infinity on the float32 weights."""
    return _infinity(bench, INFINITY_TORCH, bench.reference(), engine="torch", note="")


def _infinity(bench: Bench, name: str, folder: Path, *, engine: str, note: str) -> Spec:
    python = bench.python("infinity")
    command = [str(python.with_name("infinity_emb")), "v2", "--model-id", "."]
    # Its own options but for these: its warm-up takes long and the bench warms everybody; it must not remember.
    command += ["--served-model-name", _MODEL, "--engine", engine, "--device", "cpu"]
    command += ["--no-model-warmup", "--no-vector-disk-cache", "--no-compile", "--host", HOST]
    wire = Wire("rerank", model=_MODEL)
    return Spec(
        name=name,
        python=python,
        command=lambda port: [*command, "--port", str(port)],
        wire=lambda _: wire,
        scores_wire=wire,
        # It finds a local ONNX file only by a path that is relative to the folder it runs in.
        folder=folder,
        environment=_INFINITY,
        packages=(
            "infinity-emb",
            "transformers",
            "torch",
            "optimum-onnx",
            "onnxruntime",
            "uvicorn",
        ),
        note=f"infinity_emb v2 --engine {engine}" + (f", {note}" if note else ""),
    )


def infinity_folder(bench: Bench) -> tuple[Path, str]:
    """A folder as Infinity expects it, with one int8 file; and which of the exported files that is."""
    exported, files = int8_files(bench)
    folder = WORK / "infinity-onnx"
    stamp = folder / "made-from.json"
    origin = {file: (exported / file).stat().st_mtime for file in files}
    if stamp.is_file():
        made = json.loads(stamp.read_text(encoding="utf-8"))
        if made["origin"] == origin:
            return folder, made["file"]
    file = files[0] if len(files) == 1 else _fastest_file(bench, exported, files)
    say(f"laying {file} out for Infinity")
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    for name in _TOKENIZER:
        shutil.copyfile(exported / name, folder / name)
    shutil.copyfile(exported / file, folder / "model_quantized.onnx")
    made = {"origin": origin, "file": Path(file).name}
    stamp.write_text(json.dumps(made), encoding="utf-8")
    return folder, made["file"]


def _fastest_file(bench: Bench, folder: Path, files: Sequence[str]) -> str:
    """As the bench of the library chooses: the faster one in sentence-transformers."""
    workers = {
        file: bench.start(
            f"sentence-transformers-{Path(file).stem}",
            python=bench.python("peers"),
            kind="sentence-transformers",
            model=str(folder),
            file_name=file,
        )
        for file in files
    }
    file, worker = fastest(workers, bench.num_pairs)
    worker.close()
    return file


GROUPS: dict[str, tuple[str, Callable[[Bench], Spec]]] = {
    "article": (ARTICLE, article),
    "infinity-onnx": (INFINITY_ONNX, infinity_onnx),
    "infinity-torch": (INFINITY_TORCH, infinity_torch),
}


def peer_specs(bench: Bench) -> tuple[list[Spec], dict[str, str]]:
    """Every other server that can be set up; and why the rest cannot."""
    specs, missing = [], {}
    for group, (name, make) in GROUPS.items():
        if group in bench.options.skip:
            missing[name] = "skipped"
            continue
        try:
            specs.append(make(bench))
        except (PeerError, OSError) as error:
            say(f"{name}: {error}")
            missing[name] = str(error)
    return specs, missing


def versions(spec: Spec) -> dict[str, str]:
    """The versions of the packages that matter to a server."""
    code = (
        "import importlib.metadata as m, json, sys; "
        "print(json.dumps({name: m.version(name) for name in sys.argv[1:]}))"
    )
    found: dict[str, str] = json.loads(run_or_fail([str(spec.python), "-c", code, *spec.packages]))
    return found


def _has_flag(flag: str) -> bool:
    # Wide, or the help cuts the names of options.
    environment = {**os.environ, **OFFLINE, "COLUMNS": "200", "TERM": "dumb"}
    command = [sys.executable, "-m", "pairscore", "serve", "--help"]
    shown = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    return flag in shown.stdout
