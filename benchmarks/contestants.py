"""Who is measured: pairscore, sentence-transformers on torch and on ONNX, FlashRank; each on the same weights."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import machine
from measuring import Bench, Peer, run_or_fail, say
from texts import ROOT
from workers import WORK, PeerError, Worker

BASE = "pairscore"
TORCH = "sentence-transformers, torch float32, batch 32"
TORCH_BEST = "sentence-transformers, torch float32, best batch"
ONNX = "sentence-transformers, ONNX int8, batch 32"
ONNX_BEST = "sentence-transformers, ONNX int8, best batch"
_DOCUMENTS = 20
FLASH = f"FlashRank, int8, {_DOCUMENTS} documents a request"
_REQUESTS = f"pairscore, {_DOCUMENTS} documents a request"

_BUDGETS = (256, 512, 1024, 2048)
_BATCH_SIZES = (4, 8, 16)
_PROBE = 200
_FLASHRANK = "ms-marco-MiniLM-L-12-v2"
_FLASHRANK_FILE = "flashrank-MiniLM-L-12-v2_Q.onnx"


def own_peers(bench: Bench) -> list[Peer]:
    """pairscore, as a library on all pairs and as a ranker of small requests."""
    python = Path(sys.executable)
    load = {"kind": "pairscore", "model": bench.options.model, "budget": bench.options.budget}
    worker = bench.start("pairscore", python=python, **load)
    # Peak memory is promised for predict; rank runs in a process of its own and leaves it alone.
    ranker = bench.start("pairscore-requests", python=python, **load)
    return [
        Peer(BASE, worker, note="CrossEncoder().predict(pairs)"),
        Peer(_REQUESTS, ranker, {"documents_a_request": _DOCUMENTS}, note="rank(query, documents)"),
    ]


def torch_peers(bench: Bench) -> list[Peer]:
    """sentence-transformers on torch: its default batch, and the best of some smaller ones."""
    worker = bench.start(
        "sentence-transformers-torch",
        python=bench.python("oracle"),
        kind="sentence-transformers",
        model=str(bench.reference()),
    )
    best = best_batch_size(worker, bench.num_pairs)
    return [
        Peer(TORCH, worker, {"batch_size": 32}, note="its default"),
        Peer(TORCH_BEST, worker, {"batch_size": best}, note=f"best of {_BATCH_SIZES}: {best}"),
    ]


def onnx_peers(bench: Bench) -> list[Peer]:
    """sentence-transformers on its int8 ONNX backend: the faster file for this CPU, as above."""
    folder, files = int8_files(bench)
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
    best = best_batch_size(worker, bench.num_pairs)
    name = Path(file).name
    return [
        Peer(ONNX, worker, {"batch_size": 32}, note=f"its default; {name}"),
        Peer(ONNX_BEST, worker, {"batch_size": best}, note=f"best of {_BATCH_SIZES}: {best}"),
    ]


def flashrank_peers(bench: Bench) -> list[Peer]:
    """FlashRank on the same weights, on the faster of the int8 files at hand."""
    folder, files = int8_files(bench)
    sources = [folder / file for file in files]
    if bench.options.int8_source is not None:
        sources.append(Path(bench.options.int8_source).resolve())
    workers = {}
    for number, source in enumerate(sources):
        cache = flashrank_folder(source, tokenizer=folder, name=f"flashrank-{number}")
        workers[source.name] = bench.start(
            f"flashrank-{number}",
            python=bench.python("peers"),
            kind="flashrank",
            model=str(cache),
        )
    name, worker = fastest(workers, bench.num_pairs)
    return [Peer(FLASH, worker, {"documents_a_request": _DOCUMENTS}, note=f"rerank(); {name}")]


def int8_files(bench: Bench) -> tuple[Path, list[str]]:
    """The reference folder exported to ONNX, with an int8 file for each kind that suits this CPU."""
    flags = machine.cpu_flags()
    if flags["asimddp"]:
        kinds = ["arm64"]
    else:
        kinds = ["avx512_vnni", "avx2"] if flags["avx512_vnni"] else ["avx2"]
    folder = WORK / "sentence-transformers-onnx"
    stamp = folder / "made-from.json"
    reference = bench.reference()
    origin = json.dumps([str(reference), (reference / "model.safetensors").stat().st_mtime, kinds])
    if not (stamp.is_file() and stamp.read_text(encoding="utf-8") == origin):
        say("exporting the reference to int8 ONNX for sentence-transformers and FlashRank")
        script = ROOT / "benchmarks" / "peers" / "export_onnx.py"
        run_or_fail([str(bench.python("peers")), str(script), str(reference), str(folder), *kinds])
        stamp.write_text(origin, encoding="utf-8")
    files = [str(path.relative_to(folder)) for path in sorted(folder.rglob("*int8*.onnx"))]
    if not files:
        raise PeerError(f"sentence-transformers' export wrote no int8 file into {folder}")
    return folder, files


def flashrank_folder(weights: Path, *, tokenizer: Path, name: str) -> Path:
    """Lay files out as FlashRank expects a model that it has already fetched."""
    cache = WORK / name
    model = cache / _FLASHRANK
    shutil.rmtree(cache, ignore_errors=True)
    model.mkdir(parents=True)
    shutil.copyfile(weights, model / _FLASHRANK_FILE)
    shutil.copyfile(tokenizer / "tokenizer.json", model / "tokenizer.json")
    special = {"cls_token": "[CLS]", "mask_token": "[MASK]", "pad_token": "[PAD]"}
    special |= {"sep_token": "[SEP]", "unk_token": "[UNK]"}
    _write(model / "special_tokens_map.json", special)
    _write(model / "config.json", {"pad_token_id": 0})
    _write(model / "tokenizer_config.json", {"model_max_length": 512, "pad_token": "[PAD]"})
    return cache


def _write(path: Path, record: dict[str, Any]) -> None:
    path.write_text(json.dumps(record), encoding="utf-8")


def best_batch_size(worker: Worker, num_pairs: int) -> int:
    """The fastest of a few batch sizes, found on the first pairs."""
    count = min(_PROBE, num_pairs)
    took = {
        size: min(worker.ask({"num_pairs": count, "batch_size": size})["seconds"] for _ in "ab")
        for size in _BATCH_SIZES
    }
    return min(took, key=lambda size: took[size])


def fastest(workers: dict[str, Worker], num_pairs: int) -> tuple[str, Worker]:
    """The fastest worker on the first pairs; the others are ended."""
    count = min(_PROBE, num_pairs)
    took = dict.fromkeys(workers, float("inf"))
    for _ in range(2):
        for name, worker in workers.items():
            took[name] = min(took[name], worker.ask({"num_pairs": count})["seconds"])
    best = min(took, key=lambda name: took[name])
    for name, worker in workers.items():
        if name != best:
            worker.close()
    return best, workers[best]


GROUPS: dict[str, tuple[Callable[[Bench], list[Peer]], tuple[str, ...]]] = {
    "torch": (torch_peers, (TORCH, TORCH_BEST)),
    "onnx": (onnx_peers, (ONNX, ONNX_BEST)),
    "flashrank": (flashrank_peers, (FLASH,)),
}


def all_peers(bench: Bench) -> list[Peer]:
    """Every peer, those that cannot be set up with the reason."""
    peers = own_peers(bench)
    for group, (make, names) in GROUPS.items():
        if group in bench.options.skip:
            peers += [Peer(name, None, note="not measured: skipped") for name in names]
            continue
        try:
            peers += make(bench)
        except (PeerError, OSError) as error:
            say(f"{names[0]}: {error}")
            peers += [Peer(name, None, note=f"not measured: {error}") for name in names]
    return peers


def budget_peers(bench: Bench) -> list[Peer]:
    """The library with different budgets."""
    return [
        Peer(
            f"pairscore, budget {budget}",
            bench.start(
                f"pairscore-{budget}",
                python=Path(sys.executable),
                kind="pairscore",
                model=bench.options.model,
                budget=budget,
            ),
        )
        for budget in _BUDGETS
    ]
