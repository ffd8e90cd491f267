"""What training costs: padding with and without rows of like length in a batch, and bf16 beside float32 on this machine.

    python benchmarks/training.py                                # STS-B's training part, the bundled cross-encoder
    python benchmarks/training.py --base FOLDER --batch-size 32

Needs the extra `train`. Prints tables for people and, as the last line, everything as one JSON line.
"""

from __future__ import annotations

import argparse
import csv
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from sentence_transformers import CrossEncoder

from pairscore.training.recipe import DataRecipe, Recipe
from pairscore.training.run_base import lay_down_base
from pairscore.training.trainer_order import batches_of
from texts import DATA

_SEED = 1
_NUM_ROUNDS = 4
_STEPS_A_ROUND = 6


def read(path: Path) -> list[tuple[str, str, float]]:
    """The pairs of STS-B, their grades in 0 to 1."""
    with path.open(encoding="utf-8", newline="") as file:
        rows = csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE)
        return [(row["sentence1"], row["sentence2"], float(row["score"]) / 5) for row in rows]


def padding(lengths: Sequence[int], texts: Sequence[int], batch_size: int) -> dict[str, float]:
    """Tokens that are computed for each token that is there, by the way batches are made."""
    ways = {"by chance": None, "like length": texts}
    return {
        name: sum(
            len(batch) * max(lengths[row] for row in batch)
            for batch in batches_of(
                len(lengths), batch_size=batch_size, seed=_SEED, epoch=0, lengths=way
            )
        )
        / sum(lengths)
        for name, way in ways.items()
    }


def speeds(
    model: CrossEncoder, rows: Sequence[tuple[str, str, float]], batches: Sequence[list[int]]
) -> dict[str, list[float]]:
    """Pairs a second of forward, backward and step, both precisions in turn on the same batches."""
    model.train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-5)
    found: dict[str, list[float]] = {"float32": [], "bf16": []}
    for number in range(_NUM_ROUNDS + 1):
        turn = batches[number * _STEPS_A_ROUND : (number + 1) * _STEPS_A_ROUND]
        for name, speed in found.items():
            started = time.perf_counter()
            for batch in turn:
                _step(model, [rows[row] for row in batch], optimizer, is_half=name == "bf16")
            # The first round warms up.
            if number:
                speed.append(sum(map(len, turn)) / (time.perf_counter() - started))
    return found


def _step(
    model: CrossEncoder,
    rows: Sequence[tuple[str, str, float]],
    optimizer: torch.optim.Optimizer,
    *,
    is_half: bool,
) -> None:
    texts = [[first, second] for first, second, _ in rows]
    tokens = model.tokenizer(texts, padding=True, truncation=True, return_tensors="pt")
    with torch.autocast("cpu", torch.bfloat16, enabled=is_half):
        logits = model.model(**tokens).logits[:, 0]
    grades = torch.tensor([grade for _, _, grade in rows])
    loss = torch.nn.functional.binary_cross_entropy_with_logits(logits.float(), grades)
    loss.backward()
    optimizer.step()
    optimizer.zero_grad()


def measure(base: str, rows: Sequence[tuple[str, str, float]], batch_size: int) -> dict[str, Any]:
    """Both measurements of one base model."""
    with tempfile.TemporaryDirectory() as scratch:
        recipe = Recipe(base=base, data=DataRecipe(train="-"))
        folder = lay_down_base(recipe, Path(scratch) / "base").folder
        model = CrossEncoder(folder, device="cpu", num_labels=1, local_files_only=True)
    lengths = [len(ids) for ids in model.tokenizer([[a, b] for a, b, _ in rows])["input_ids"]]
    texts = [len(first) + len(second) for first, second, _ in rows]
    batches = batches_of(len(rows), batch_size=batch_size, seed=_SEED, epoch=0, lengths=texts)
    found = speeds(model, rows, batches)
    ratios = [half / whole for half, whole in zip(found["bf16"], found["float32"], strict=True)]
    return {
        "base": Path(base).name,
        "batch_size": batch_size,
        "padding": padding(lengths, texts, batch_size),
        "pairs_per_s": {name: statistics.median(speed) for name, speed in found.items()},
        "bf16_over_float32": statistics.median(ratios),
    }


def main() -> None:
    """Read the options, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--base", default="ms-marco-minilm-l12")
    parser.add_argument("--batch-size", type=int, default=16)
    parser.add_argument("--data", type=Path, default=DATA)
    given = parser.parse_args()
    found = measure(given.base, read(given.data / "stsb/train.tsv"), given.batch_size)
    for name, value in found["padding"].items():
        print(f"batches {name}: {value:.2f} tokens computed for each", file=sys.stderr)
    print(f"bf16 over float32: {found['bf16_over_float32']:.2f}", file=sys.stderr)
    print(json.dumps(found))


if __name__ == "__main__":
    main()
