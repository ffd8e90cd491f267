"""Train the bundled model sts-minilm anew: similarity of two sentences, 0 to 1, from STS Benchmark's training part.

    python tools/train_sts_minilm.py --data STSB --mpnet all-mpnet-base-v2 --work WORK

    1. WORK/teacher-*      all-mpnet-base-v2 and the bundled cross-encoder, each trained on the training part
    2. WORK/pairs.jsonl    each training sentence beside a near and a farther neighbour, found by the bundled bi-encoder
    3. WORK/scored-*.jsonl what the teachers say of them and of the training part, the second in both orders
    4. WORK/rows           the student's rows: the teachers' mean, of the training part with people's grade
    5. WORK/student        the second teacher trained on them, converted, measured on dev and test

The dev part chooses the best step; of the test part nothing is trained on or chosen by, and a pair of either is in no row.
What is done is kept: started again after a kill, it goes on. Needs the extras `train` and `convert`, and the folder that
`--mpnet` names. Two cores need about two hours.
"""

from __future__ import annotations

import argparse
import csv
import json
import math
import subprocess
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np

from pairscore.bi_encoder import BiEncoder

_RECIPES: Final = Path(__file__).resolve().parent.parent / "examples/recipes/sts-minilm"
_SEED: Final = 1
_MAX_GRADE: Final = 5.0
_COLUMNS: Final = ("sentence1", "sentence2")
# Beside its nearest neighbour each sentence gets one of a rank up to this, drawn evenly on the scale of its logarithm, so
# that all grades are met.
_LAST_RANK: Final = 200
# A probability is kept so far from 0 and 1 that its logit stays one that a model gives.
_LEAST: Final = 1e-4


@dataclass(frozen=True, kw_only=True, slots=True)
class Pair:
    """Two sentences and how alike people found them, 0 to 1."""

    first: str
    second: str
    grade: float

    @property
    def key(self) -> frozenset[str]:
        """The pair without its order."""
        return frozenset((self.first, self.second))


def main() -> None:
    """Do what is not done yet."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="train.tsv, dev.tsv and test.tsv")
    parser.add_argument("--mpnet", required=True, help="folder or hub id of all-mpnet-base-v2")
    parser.add_argument("--work", type=Path, required=True, help="where everything is kept")
    given = parser.parse_args()
    work = given.work
    work.mkdir(parents=True, exist_ok=True)
    parts = {part: given.data / f"{part}.tsv" for part in ("train", "dev", "test")}
    _train("teacher-mpnet", work, parts, "--base", given.mpnet)
    _train("teacher-minilm", work, parts)
    train, dev, test = (read(path) for path in parts.values())
    pairs = work / "pairs.jsonl"
    if not pairs.exists():
        made = recombined(train, held_out={pair.key for pair in (*dev, *test)})
        _write(pairs, [{"sentence1": a, "sentence2": b} for a, b in made])
    scored = [
        _score("teacher-mpnet", work, pairs, "--backend", "torch", "--dtype", "bfloat16"),
        _score("teacher-minilm", work, pairs),
        _score("teacher-minilm", work, pairs, is_turned=True),
    ]
    rows = {part: work / "rows" / f"{part}.jsonl" for part in parts}
    rows["train"].parent.mkdir(exist_ok=True)
    _write(rows["train"], taught(scored, train))
    _write(rows["dev"], (_row(pair, pair.grade) for pair in dev))
    _write(rows["test"], (_row(pair, pair.grade) for pair in test))
    _train("student", work, rows, "--base", str(work / "teacher-minilm"))


def read(path: Path) -> list[Pair]:
    """The pairs of a part of STS Benchmark."""
    with path.open(encoding="utf-8", newline="") as file:
        rows = csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE)
        return [
            Pair(
                first=row["sentence1"],
                second=row["sentence2"],
                grade=float(row["score"]) / _MAX_GRADE,
            )
            for row in rows
        ]


def recombined(train: list[Pair], *, held_out: set[frozenset[str]]) -> list[tuple[str, str]]:
    """The training pairs, and each training sentence beside others; no pair that is held out, and none twice."""
    kept = [pair for pair in train if pair.key not in held_out]
    texts = sorted({text for pair in kept for text in (pair.first, pair.second)})
    rng = np.random.default_rng(_SEED)
    with BiEncoder() as encoder:
        vectors = encoder.encode(texts)
    seen = {pair.key for pair in kept} | held_out
    made = [(pair.first, pair.second) for pair in kept]
    for place, text in enumerate(texts):
        near = np.argsort(-(vectors @ vectors[place]), kind="stable")
        near = near[near != place]
        for rank in (0, int(_LAST_RANK ** rng.random())):
            other = texts[near[rank]]
            if frozenset((text, other)) not in seen:
                seen.add(frozenset((text, other)))
                made.append((text, other) if rng.random() < 1 / 2 else (other, text))
    return made


def taught(scored: Sequence[Path], train: list[Pair]) -> Iterator[dict[str, Any]]:
    """What the student learns: the teachers' mean as a probability; where people graded the pair, halfway to their grade.

    Args:
        scored: of the first teacher, then of the second; both weigh the same.
        train: what people said.
    """
    grades = {pair.key: pair.grade for pair in train}
    for rows in zip(*map(_lines, scored), strict=True):
        first, *second = (_logit(float(row["probability"])) for row in rows)
        mean = (first + sum(second) / len(second)) / 2
        told = 1.0 / (1.0 + math.exp(-mean))
        pair = Pair(first=rows[0]["sentence1"], second=rows[0]["sentence2"], grade=told)
        grade = grades.get(pair.key)
        yield _row(pair, told if grade is None else (told + grade) / 2)


def _logit(probability: float) -> float:
    inside = min(max(probability, _LEAST), 1.0 - _LEAST)
    return math.log(inside / (1.0 - inside))


def _lines(path: Path) -> Iterator[Mapping[str, Any]]:
    with path.open(encoding="utf-8") as file:
        yield from map(json.loads, file)


def _row(pair: Pair, label: float) -> dict[str, Any]:
    return {"sentence1": pair.first, "sentence2": pair.second, "label": round(label, 5)}


def _write(path: Path, rows: Iterable[Mapping[str, Any]]) -> None:
    """The whole file or none."""
    half = path.with_suffix(".half")
    with half.open("w", encoding="utf-8") as file:
        file.writelines(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
    half.replace(path)


def _train(recipe: str, work: Path, parts: Mapping[str, Path], *more: str) -> None:
    """Train, or go on with it, or leave it alone if it is done."""
    output = work / recipe
    record = output / "run.json"
    if record.exists() and json.loads(record.read_text(encoding="utf-8")).get("status") == "done":
        return
    data = [word for part, path in parts.items() for word in (f"--{part}", str(path))]
    resume = ["--resume"] if record.exists() else []
    _run("train", str(_RECIPES / f"{recipe}.toml"), "--output", str(output), *data, *more, *resume)


def _score(teacher: str, work: Path, pairs: Path, *more: str, is_turned: bool = False) -> Path:
    """What a teacher says of the pairs, or of each with its sentences changed round."""
    output = work / f"scored-{teacher}{'-turned' if is_turned else ''}.jsonl"
    first, second = _COLUMNS[::-1] if is_turned else _COLUMNS
    if not output.exists():
        read_and_write = ("--input", str(pairs), "--output", str(output))
        columns = ("--query-column", first, "--document-column", second)
        _run("score", *read_and_write, *columns, "--model", str(work / teacher), *more)
    return output


def _run(*arguments: str) -> None:
    subprocess.run([sys.executable, "-m", "pairscore", *arguments], check=True)


if __name__ == "__main__":
    main()
