"""How fast on a GPU: pairscore's torch backend and sentence-transformers on the same weights, in turn.

Both run in half precision in this process; a round asks each once. pairscore goes the whole road: threads
tokenize window after window while others feed the GPU. Beside it stand the model alone and the tokenization
alone, the distance to float32, and nDCG@10; `packs` in the record says whether rows ran without padding. Run it where torch and sentence-transformers are installed::

    python benchmarks/gpu.py --save gpu
    python benchmarks/gpu.py --only budgets
    python benchmarks/gpu.py --device cpu --num-pairs 8 --copies 1 --rounds 1    # try it without a GPU
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

import machine
import measuring
from evaluate import mean_ndcg, spearman
from pairscore.config import RoadConfig
from pairscore.road.planning import restore
from pairscore.road.road import BackendOptions, Road, open_road
from pairscore.values import Encoded, FloatArray, IntArray
from peers.worker import versions
from report import Target, finish, show_table, show_targets
from texts import DATA, load_pairs
from workers import WORK

Texts = list[tuple[str, str]]

_PARTS = ("peers", "budgets", "parity")
_BUDGETS = (8192, 16384, 32768, 65536, 131072)
_BATCH_SIZES = (64, 128, 256, 512, 1024)
_DTYPES = ("float16", "bfloat16")
_OURS, _MODEL, _TOKENS = "pairscore", "pairscore, the model alone", "pairscore, tokenization alone"
_THEIRS = "sentence-transformers, batch 32"
_BEST = "sentence-transformers, best batch"
_TIMES, _PAIRS_PER_S = 3.0, 20_000.0


@dataclass(slots=True)
class Entry:
    """One row: what is timed, and its seconds for each round."""

    name: str
    score: Callable[[], object]
    note: str = ""
    seconds: list[float] = field(default_factory=list)

    def measure(self) -> None:
        """Time it once more; every one of them ends with numbers on the CPU, so the GPU is done."""
        begin = time.perf_counter()
        self.score()
        self.seconds.append(time.perf_counter() - begin)

    def rate(self, num_pairs: int) -> float:
        """Median pairs a second."""
        return num_pairs / statistics.median(self.seconds)

    def record(self, base: Entry, num_pairs: int) -> dict[str, Any]:
        """As the JSON line has it; the base is that many times faster, by the ratios within a round."""
        both = zip(self.seconds, base.seconds, strict=True)
        return {
            "pairs_per_s": self.rate(num_pairs),
            "pairscore_is_times": statistics.median(mine / ours for mine, ours in both),
            "seconds": self.seconds,
            "note": self.note,
        }


@dataclass(frozen=True, slots=True)
class Subject:
    """What is measured, and how.

    Attributes:
        options: the command line.
        folder: float32 weights of the bundled model.
        texts: each pair once.
        many: the pairs as often as `--copies` says; no window of them holds a document twice.
    """

    options: argparse.Namespace
    folder: Path
    texts: Texts
    many: Texts

    def road(self, *, dtype: str, budget: int) -> Road:
        """The road with torch at its end; closed by whoever opened it."""
        return open_road(
            self.folder,
            config=RoadConfig(budget=budget),
            backend="torch",
            options=BackendOptions(device=self.options.device, dtype=dtype),
        )

    def reference(self, *, dtype: str) -> Any:
        """sentence-transformers' own class on the same weights."""
        import torch
        from sentence_transformers import CrossEncoder

        kwargs = {"dtype": getattr(torch, dtype)}
        return CrossEncoder(str(self.folder), device=self.options.device, model_kwargs=kwargs)


@contextmanager
def opened(subject: Subject, *, dtype: str, budget: int) -> Iterator[Road]:
    """A road that is closed again."""
    road = subject.road(dtype=dtype, budget=budget)
    try:
        yield road
    finally:
        road.close()


# ------------------------------------------------------------------------------------ ways to score


def whole_road(road: Road, texts: Texts, options: argparse.Namespace) -> FloatArray:
    """Tokenize on some threads, run on others; a window is run while the next ones are tokenized."""
    windows = [texts[i : i + options.window] for i in range(0, len(texts), options.window)]
    with (
        ThreadPoolExecutor(options.tokenizers) as tokenizers,
        ThreadPoolExecutor(options.workers) as workers,
    ):
        waiting = [tokenizers.submit(road.encode, window) for window in windows]
        running = [submit(road, tokens.result(), workers) for tokens in waiting]
        return np.concatenate([collect(batches) for batches in running])


def submit(
    road: Road, encoded: list[Encoded], workers: ThreadPoolExecutor
) -> list[tuple[IntArray, Future[FloatArray]]]:
    """Hand a window's micro-batches to the workers."""
    batches = road.plan(encoded).batches
    return [(batch, workers.submit(road.run, encoded, batch)) for batch in batches]


def collect(batches: list[tuple[IntArray, Future[FloatArray]]]) -> FloatArray:
    """A window's logits, in the order of its pairs."""
    done = [(positions, logits.result()) for positions, logits in batches]
    return restore(done, num_pairs=sum(len(positions) for positions, _ in done))


def model_alone(road: Road, encoded: list[Encoded], options: argparse.Namespace) -> FloatArray:
    """Run what is tokenized already."""
    with ThreadPoolExecutor(options.workers) as workers:
        return collect(submit(road, encoded, workers))


def tokens_alone(road: Road, texts: Texts, options: argparse.Namespace) -> None:
    """Tokenize and run nothing."""
    windows = [texts[i : i + options.window] for i in range(0, len(texts), options.window)]
    with ThreadPoolExecutor(options.tokenizers) as tokenizers:
        list(tokenizers.map(road.encode, windows))


def theirs(model: Any, texts: Texts, batch_size: int) -> FloatArray:
    """sentence-transformers' `predict`, logits."""
    from torch.nn import Identity

    scores = model.predict(
        texts, batch_size=batch_size, activation_fn=Identity(), show_progress_bar=False
    )
    return np.asarray(scores, dtype=np.float32)


def run_rounds(entries: Sequence[Entry], *, rounds: int, num_pairs: int) -> None:
    """Ask each once so that nothing is cold, then each in turn, and so on."""
    for entry in entries:
        entry.score()
    for number in range(rounds):
        for entry in entries:
            entry.measure()
            rate = num_pairs / entry.seconds[-1]
            measuring.say(f"round {number + 1}/{rounds}: {entry.name}: {rate:,.0f} pairs/s")


def peers(subject: Subject) -> dict[str, Any]:
    """Ours and theirs in turn."""
    options, many = subject.options, subject.many
    model = subject.reference(dtype=options.dtype)
    best = best_batch_size(model, subject.texts)
    with opened(subject, dtype=options.dtype, budget=options.budget) as road:
        encoded = road.encode(many)
        entries = [
            Entry(_OURS, lambda: whole_road(road, many, options), f"budget {options.budget:,}"),
            Entry(_MODEL, lambda: model_alone(road, encoded, options), "tokenized before"),
            Entry(_TOKENS, lambda: tokens_alone(road, many, options), "nothing is run"),
            Entry(_THEIRS, lambda: theirs(model, many, 32), "its default"),
            Entry(_BEST, lambda: theirs(model, many, best), f"best of {_BATCH_SIZES}: {best}"),
        ]
        run_rounds(entries, rounds=options.rounds, num_pairs=len(many))
    found = {entry.name: entry.record(entries[0], len(many)) for entry in entries}
    rows = [
        [name, f"{row['pairs_per_s']:,.0f}", f"{row['pairscore_is_times']:.2f}x", row["note"]]
        for name, row in found.items()
    ]
    title = f"{len(many):,} pairs, {options.dtype}, {options.rounds} rounds"
    show_table(title, ("", "pairs/s", f"{_OURS} is", "how"), rows)
    return found


def best_batch_size(model: Any, texts: Texts) -> int:
    """The size at which sentence-transformers is fastest here."""
    seconds = {}
    for size in _BATCH_SIZES:
        theirs(model, texts, size)
        begin = time.perf_counter()
        theirs(model, texts, size)
        seconds[size] = time.perf_counter() - begin
        measuring.say(f"sentence-transformers at {size}: {len(texts) / seconds[size]:,.0f} pairs/s")
    return min(seconds, key=seconds.__getitem__)


def budgets(subject: Subject) -> list[dict[str, Any]]:
    """The model alone at each type and budget, and what padding and memory each takes."""
    options, found = subject.options, []
    for dtype in _DTYPES:
        for budget in _BUDGETS:
            with opened(subject, dtype=dtype, budget=budget) as road:
                encoded = road.encode(subject.many)
                packs = getattr(road.backend, "packs", False)
                plan = road.plan(encoded)
                entry = Entry(
                    f"{dtype}, {budget:,}", lambda r=road, e=encoded: model_alone(r, e, options)
                )
                run_rounds([entry], rounds=options.rounds, num_pairs=len(subject.many))
            found.append(
                {
                    "dtype": dtype,
                    "budget": budget,
                    "packs": packs,
                    "pairs_per_s": entry.rate(len(subject.many)),
                    "padded_over_real": plan.num_padded_tokens / plan.num_tokens,
                    "num_batches": len(plan.batches),
                    "peak_gpu_mib": peak_gpu_mib(),
                }
            )
    show_table(
        "The model alone, by type and padded tokens a micro-batch",
        ("", "budget", "pairs/s", "padding", "micro-batches", "peak GPU MiB"),
        [
            [
                row["dtype"],
                f"{row['budget']:,}",
                f"{row['pairs_per_s']:,.0f}",
                f"{row['padded_over_real'] - 1:.1%}",
                str(row["num_batches"]),
                f"{row['peak_gpu_mib']:.0f}" if row["peak_gpu_mib"] else "-",
            ]
            for row in found
        ],
    )
    return found


def parity(subject: Subject) -> dict[str, Any]:
    """Each type's logits against sentence-transformers' in float32, and the order each gives."""
    options = subject.options
    collection = load_pairs(len(subject.texts), data=options.data)
    measuring.say("float32, sentence-transformers")
    exact = theirs(subject.reference(dtype="float32"), subject.texts, 32).astype(np.float64)
    found: dict[str, Any] = {"num_pairs": len(subject.texts)}
    found["sentence-transformers, float32"] = {"ndcg_at_10": mean_ndcg(collection, exact)}
    for dtype in ("float32", *_DTYPES):
        with opened(subject, dtype=dtype, budget=options.budget) as road:
            ours = whole_road(road, subject.texts, options).astype(np.float64)
        gaps = np.abs(ours - exact)
        found[dtype] = {
            "mean_difference": float(gaps.mean()),
            "largest_difference": float(gaps.max()),
            "spearman": spearman(ours, exact),
            "num_distinct": len(np.unique(ours)),
            "ndcg_at_10": mean_ndcg(collection, ours),
        }
    columns = ("mean_difference", "largest_difference", "spearman", "ndcg_at_10")
    show_table(
        f"Against sentence-transformers in float32, {len(exact):,} pairs",
        ("", *(column.replace("_", " ") for column in columns)),
        [
            [dtype, *(f"{found[dtype][column]:.5f}" for column in columns)]
            for dtype in ("float32", *_DTYPES)
        ],
    )
    return found


def peak_gpu_mib() -> float | None:
    """The most GPU memory since it was last asked; None without a GPU."""
    import torch

    if not torch.cuda.is_available():
        return None
    peak = torch.cuda.max_memory_allocated() / 1024**2
    torch.cuda.reset_peak_memory_stats()
    return float(peak)


def gpu_facts(device: str) -> dict[str, Any]:
    """The machine, the GPU that runs if one does, and the versions that matter."""
    import torch

    if device != "cpu" and not torch.cuda.is_available():
        sys.exit(f"torch {torch.__version__} sees no GPU here; try it with --device cpu")
    gpu = None if device == "cpu" else torch.cuda.get_device_name(device)
    return {**machine.facts(), "gpu": gpu, "cuda": torch.version.cuda, "versions": versions()}


def targets_of(found: dict[str, Any], *, gpu: str | None) -> list[Target]:
    """What is promised of a GPU, beside what was measured; a run without one measures neither."""
    rate = times = None
    note = "not measured: no GPU" if gpu is None else "not asked for"
    if found and gpu is not None:
        rate, times = found[_OURS]["pairs_per_s"], found[_THEIRS]["pairscore_is_times"]
        note = f"at its best batch size {found[_BEST]['pairscore_is_times']:.2f}x"
    return [
        Target(f"times {_THEIRS}", _TIMES, times, at_least=True, unit="x", note=note),
        Target("pairs/s, texts to scores", _PAIRS_PER_S, rate, at_least=True),
    ]


def run(options: argparse.Namespace) -> dict[str, Any]:
    """Everything that was asked for, shown and returned."""
    about = gpu_facts(options.device)
    collection = load_pairs(options.num_pairs, data=options.data)
    texts = [(pair.query, pair.document) for pair in collection.pairs]
    with ExitStack() as stack:
        bench = measuring.Bench(options, WORK / "pairs.json", len(texts), stack)
        subject = Subject(options, bench.reference(), texts, texts * options.copies)
    record: dict[str, Any] = {
        "benchmark": "gpu",
        "machine": about,
        "device": options.device,
        "data": collection.name,
        "num_pairs": len(subject.many),
        "rounds": options.rounds,
        "dtype": options.dtype,
    }
    for part, function in (("budgets", budgets), ("parity", parity), ("peers", peers)):
        if part in (options.only or _PARTS):
            record[part] = function(subject)
    targets = targets_of(record.get("peers", {}), gpu=about["gpu"])
    show_targets(targets)
    return {**record, "targets": [target.record() for target in targets]}


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--device", default="cuda", help="as torch names it (cuda)")
    add("--dtype", default="float16", choices=_DTYPES, help="of both contestants (float16)")
    add("--budget", type=int, default=65536, help="padded tokens a micro-batch (65536)")
    add("--window", type=int, default=4096, help="pairs tokenized and sorted together (4096)")
    add("--tokenizers", type=int, default=2, help="threads that tokenize windows (2)")
    add("--workers", type=int, default=2, help="threads that feed the GPU (2)")
    add("--rounds", type=int, default=5, help="turns of each (5)")
    add("--num-pairs", type=int, default=4300, help="distinct pairs (4300)")
    add("--copies", type=int, default=8, help="how often the speed is measured over them (8)")
    add("--only", action="append", choices=_PARTS, help="just this part; repeatable")
    add("--save", metavar="NAME", help="keep it as benchmarks/results/NAME.json")
    add("--data", type=Path, default=DATA, help="folder of the test collections")
    add("--reference", type=Path, help="float32 folder of the bundled weights")
    add("--oracle-python", type=Path, help=argparse.SUPPRESS)
    return parser.parse_args(arguments)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run, show, keep."""
    options = parse(arguments)
    finish(run(options), save=options.save)
    return 0


if __name__ == "__main__":
    sys.exit(main())
