"""The backends side by side: the bundled model and its float32 weights through each that is installed, in turn.

Every backend gets the micro-batches and workers that it prefers, and goes the whole road from texts to scores; a round
asks each once. Beside the speed stand the largest distance to torch in float32 and the seconds to load. Run it where
torch is installed, which writes the float32 ONNX file too::

    .venv-oracle/bin/python benchmarks/backends.py --num-pairs 300 --rounds 3
    python benchmarks/backends.py --device cuda --num-pairs 4300 --save backends-gpu
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
import warnings
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

import machine
import measuring
from pairscore import CrossEncoder, RoadConfig
from pairscore.errors import PairscoreError
from pairscore.road.backends.installed import installed
from pairscore.values import FloatArray
from report import finish, show_table
from texts import DATA, load_pairs
from workers import WORK

Texts = list[tuple[str, str]]

_EXACT = "torch, float32"


@dataclass(slots=True)
class Row:
    """One backend with one file: how it is opened, and what was measured.

    Attributes:
        name: of the row.
        options: of `CrossEncoder`.
        load_s: seconds to open it and score one pair.
        seconds: of each round.
        logits: of the last one.
        why_not: the error, if it could not be opened.
    """

    name: str
    options: dict[str, Any]
    load_s: float = 0.0
    seconds: list[float] = field(default_factory=list)
    logits: FloatArray | None = None
    why_not: str = ""

    def record(self, exact: FloatArray | None) -> dict[str, Any]:
        """As the JSON line has it."""
        gap = None
        if exact is not None and self.logits is not None:
            gap = float(np.abs(self.logits - exact).max())
        return {
            "name": self.name,
            "pairs_per_s": len(self.logits) / statistics.median(self.seconds)
            if self.logits is not None
            else None,
            "largest_difference": gap,
            "load_s": round(self.load_s, 2),
            "seconds": self.seconds,
            "why_not": self.why_not,
        }


def rows_of(reference: Path, *, device: str, budget: int | None) -> list[Row]:
    """What is compared; on a GPU onnx and torch run there, torch in half precision too."""
    exported = float32_onnx(reference)
    gpu: dict[str, Any] = {} if device == "cpu" else {"device": device}
    every: dict[str, Any] = {} if budget is None else {"config": RoadConfig(budget=budget)}
    rows = [
        Row("onnx, int8, bundled", {"backend": "onnx"}),
        Row("onnx, float32", {"name_or_path": exported, "backend": "onnx", **gpu}),
        Row("openvino, float32", {"name_or_path": exported, "backend": "openvino"}),
        Row(
            _EXACT,
            {"name_or_path": reference, "backend": "torch", "device": device, "dtype": "float32"},
        ),
    ]
    if gpu:
        half = {"name_or_path": reference, "backend": "torch", **gpu}
        rows += [
            Row(f"torch, {dtype}", {**half, "dtype": dtype}) for dtype in ("float16", "bfloat16")
        ]
    return [Row(row.name, {**row.options, **every}) for row in rows]


def float32_onnx(reference: Path) -> Path:
    """The reference folder with an ONNX file, as torch's own exporter writes it; made once."""
    folder = WORK / "reference-onnx"
    made, source = folder / "model.onnx", reference / "model.safetensors"
    if made.is_file() and made.stat().st_mtime > source.stat().st_mtime:
        return folder
    import torch
    from transformers import AutoModelForSequenceClassification

    measuring.say("exporting the float32 weights to ONNX")
    folder.mkdir(parents=True, exist_ok=True)
    for path in reference.glob("*.json"):
        (folder / path.name).write_bytes(path.read_bytes())
    model = AutoModelForSequenceClassification.from_pretrained(
        reference, attn_implementation="eager"
    )
    names = ["input_ids", "attention_mask", "token_type_ids"]
    example = torch.ones((2, 16), dtype=torch.int64)
    axes = {name: {0: "pairs", 1: "tokens"} for name in names}
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            model.eval(),
            (example, example, example - 1),
            str(made),
            input_names=names,
            output_names=["logits"],
            dynamic_axes={**axes, "logits": {0: "pairs"}},
            opset_version=17,
            dynamo=False,
        )
    return folder


@contextmanager
def opened(rows: Sequence[Row], pair: tuple[str, str]) -> Iterator[list[tuple[Row, CrossEncoder]]]:
    """Each that can be opened, warm; the others know why not."""
    with ExitStack() as stack:
        found = []
        for row in rows:
            measuring.say(f"loading {row.name}")
            begin = time.perf_counter()
            try:
                model = stack.enter_context(CrossEncoder(**row.options))
            except PairscoreError as error:
                row.why_not = str(error)
                continue
            model.predict(pair)
            row.load_s = time.perf_counter() - begin
            found.append((row, model))
        yield found


def measure(rows: Sequence[Row], texts: Texts, *, rounds: int) -> None:
    """Ask each once, then each again, and so on."""
    with opened(rows, texts[0]) as ready:
        for number in range(rounds):
            for row, model in ready:
                begin = time.perf_counter()
                row.logits = model.score(texts).logits
                row.seconds.append(time.perf_counter() - begin)
                rate = len(texts) / row.seconds[-1]
                measuring.say(f"round {number + 1}/{rounds}: {row.name}: {rate:,.1f} pairs/s")


def run(options: argparse.Namespace) -> dict[str, Any]:
    """Measure, show, return."""
    collection = load_pairs(options.num_pairs, data=options.data)
    texts = [(pair.query, pair.document) for pair in collection.pairs]
    with ExitStack() as stack:
        reference = measuring.Bench(options, WORK / "pairs.json", len(texts), stack).reference()
    rows = rows_of(reference, device=options.device, budget=options.budget)
    measure(rows, texts, rounds=options.rounds)
    exact = next((row.logits for row in rows if row.name == _EXACT), None)
    records = [row.record(exact) for row in rows]
    show_table(
        f"{len(texts):,} pairs, {options.rounds} rounds",
        ("", "pairs/s", "largest difference", "load, s", "why not"),
        [
            [
                found["name"],
                f"{found['pairs_per_s']:,.1f}" if found["pairs_per_s"] else "-",
                f"{found['largest_difference']:.1e}" if found["pairs_per_s"] else "-",
                f"{found['load_s']:.1f}",
                found["why_not"][:40],
            ]
            for found in records
        ],
    )
    return {
        "benchmark": "backends",
        "machine": machine.facts(),
        "device": options.device,
        "data": collection.name,
        "num_pairs": len(texts),
        "rounds": options.rounds,
        "budget": options.budget,
        "versions": {facts.name: facts.version for facts in installed()},
        "backends": records,
    }


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--device", default="cpu", help="of onnx and torch (cpu)")
    add("--budget", type=int, help="padded tokens a micro-batch (what each backend prefers)")
    add("--rounds", type=int, default=3, help="turns of each (3)")
    add("--num-pairs", type=int, default=300, help="distinct pairs (300)")
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
