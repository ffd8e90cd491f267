"""What the machine could do at best, and how long a start takes."""

from __future__ import annotations

import json
import statistics
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import machine
from measuring import Bench, run_or_fail, say
from texts import ROOT
from workers import PeerError

_IMPORT_TURNS, _COLD_TURNS = 7, 5
# What a layer of the model multiplies; 12 of them, hidden size 384, inner size 1536.
_LAYERS, _HIDDEN, _INNER = 12, 384, 1536


@dataclass(slots=True)
class Limit:
    """Pairs a second if the machine did nothing but the model's int8 products, at its own best rate.

    Attributes:
        operations_per_pair: what a pair needs, on average.
        looks: operations a second, one entry for each time that the machine was asked.
        note: why it could not be measured.
    """

    operations_per_pair: float
    looks: list[float] = field(default_factory=list)
    note: str = ""

    @property
    def pairs_per_s(self) -> float | None:
        """The limit, from the best look; None if not measured."""
        return max(self.looks) / self.operations_per_pair if self.looks else None

    def look(self, bench: Bench) -> None:
        """Measure once; several looks over a run see the machine in a quiet moment."""
        if self.note:
            return
        say("this machine's int8 rate")
        script = ROOT / "benchmarks" / "peers" / "int8_rate.py"
        try:
            python = str(bench.python("oracle"))
            answer = run_or_fail([python, str(script), "--cores", str(machine.num_cores())])
        except (PeerError, OSError) as error:
            self.note = f"not measured: {error}"
            return
        self.looks.append(float(json.loads(answer.splitlines()[-1])["best"]))

    def record(self) -> dict[str, Any]:
        """As the JSON line has it."""
        return {
            "int8_operations_per_s": max(self.looks, default=None),
            "looks": self.looks,
            "operations_per_pair": self.operations_per_pair,
            "pairs_per_s": self.pairs_per_s,
            "note": self.note,
        }

    def sentence(self) -> str:
        """For people."""
        if not self.looks:
            return f"limit: {self.note or 'not asked for'}"
        return (
            f"limit: {max(self.looks) / 1e9:.0f} int8 GOP/s, the best of {len(self.looks)} looks, over "
            f"{self.operations_per_pair / 1e9:.2f} GOP a pair = {self.pairs_per_s:.0f} pairs/s"
        )


def operations(length: int) -> float:
    """Multiplications and additions that a pair of so many tokens costs."""
    products = 2 * length * (4 * _HIDDEN * _HIDDEN + 2 * _HIDDEN * _INNER)
    attention = 4 * length * length * _HIDDEN
    return _LAYERS * (products + attention)


def count_tokens(pairs: Sequence[tuple[str, str]], model: str | None) -> list[int]:
    """Tokens of each pair, as the model reads them."""
    from tokenizers import Tokenizer

    from pairscore.models.resolve import resolve

    tokenizer = Tokenizer.from_file(str(resolve(model).folder / "tokenizer.json"))
    tokenizer.no_padding()
    tokenizer.enable_truncation(512, strategy="only_second")
    return [len(encoding.ids) for encoding in tokenizer.encode_batch(list(pairs))]


def import_seconds(statement: str) -> float:
    """Median seconds of an import in a fresh process."""
    code = f"import time; t = time.perf_counter(); {statement}; print(time.perf_counter() - t)"
    command = [sys.executable, "-c", code]
    return statistics.median(float(run_or_fail(command)) for _ in range(_IMPORT_TURNS))


def cold_seconds(num_turns: int) -> float:
    """Median wall seconds of the whole command that scores one pair."""
    command = [sys.executable, "-m", "pairscore", "score"]
    command += ["How many people live in Berlin?", "Berlin has 3.5 million inhabitants."]
    took = []
    for _ in range(num_turns):
        begin = time.perf_counter()
        run_or_fail(command)
        took.append(time.perf_counter() - begin)
    return statistics.median(took)


def start_up() -> dict[str, Any]:
    """Seconds to import, and to score one pair from a cold process."""
    say("start-up")
    record: dict[str, Any] = {
        "import_s": import_seconds("import pairscore"),
        "import_cross_encoder_s": import_seconds("from pairscore import CrossEncoder"),
    }
    try:
        record["cold_score_s"] = cold_seconds(_COLD_TURNS)
    except PeerError as error:
        record["cold_score_s"] = None
        record["cold_score_note"] = f"not measured: {error}"
    return record
