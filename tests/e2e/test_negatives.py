"""`pairscore negatives` as a process, with the bundled models: killed without warning it ends with the same bytes."""

from __future__ import annotations

import json
import signal
import subprocess
from pathlib import Path

import pytest
from tests.e2e.processes import TIMEOUT_S, ended, started, wait_until

from pairscore import CrossEncoder
from pairscore.training.data import Triplet
from pairscore.training.data_files import read_training

pytest.importorskip("lancedb")
pytestmark = pytest.mark.slow

CITIES = (
    "Berlin",
    "Paris",
    "Rome",
    "Madrid",
    "Vienna",
    "Lisbon",
    "Oslo",
    "Dublin",
    "Athens",
    "Prague",
)
FACTS = (
    "{} has {} thousand inhabitants.",
    "The population of {} is {} thousand people.",
    "The river that flows through {} is {} kilometres long.",
    "{} hosts {} theatres and concert halls.",
    "A train from {} to the coast takes {} minutes.",
    "Rents in {} rose by {} percent last year.",
)
OPTIONS = ("--rank-to", "20", "-n", "3", "--sampling", "random", "--seed", "5")


@pytest.fixture(scope="module")
def beir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Questions about cities, of which the first sentence is judged, and the second says the same unjudged."""
    folder = tmp_path_factory.mktemp("negatives") / "beir"
    (folder / "qrels").mkdir(parents=True)
    documents = [
        {"_id": f"{city}-{fact}", "text": FACTS[fact].format(city, 100 + 7 * place + fact)}
        for place, city in enumerate(CITIES)
        for fact in range(len(FACTS))
    ]
    queries = [
        {"_id": city, "text": f"how many people live in {city.lower()}"} for city in CITIES
    ] + [
        {"_id": f"river-{city}", "text": f"how long is the river in {city.lower()}"}
        for city in CITIES
    ]
    judged = [f"{city}\t{city}-0\t1" for city in CITIES] + [
        f"river-{city}\t{city}-2\t1" for city in CITIES
    ]
    for name, rows in (("corpus", documents), ("queries", queries)):
        lines = "".join(f"{json.dumps(row)}\n" for row in rows)
        (folder / f"{name}.jsonl").write_text(lines, encoding="utf-8")
    head = "query-id\tcorpus-id\tscore\n"
    (folder / "qrels" / "train.tsv").write_text(head + "\n".join(judged), encoding="utf-8")
    return folder


@pytest.fixture(scope="module")
def whole(beir: Path) -> Path:
    """The output of a run in one go."""
    target = beir.with_name("whole.jsonl")
    ended(_started(beir, "-o", target))
    return target


def _started(*args: object) -> subprocess.Popen[str]:
    return started("negatives", *args, *OPTIONS)


@pytest.mark.parametrize(
    ("there", "number"),
    [
        ("index", signal.SIGKILL),
        ("scored.json", signal.SIGKILL),
        ("scored.json", signal.SIGTERM),
    ],
)
def test_an_ended_run_goes_on_and_writes_the_same_bytes(
    beir: Path, whole: Path, tmp_path: Path, there: str, number: signal.Signals
) -> None:
    """While it indexes or scores: only the output is there at the end."""
    target = tmp_path / "out.jsonl"
    stopped = _started(beir, "-o", target)
    work = tmp_path / "out.jsonl.work"
    wait_until((work / there).exists, stopped)
    stopped.send_signal(number)
    _, said = stopped.communicate(timeout=TIMEOUT_S)

    assert stopped.returncode == (143 if number is signal.SIGTERM else -number), said
    assert not target.exists()
    ended(_started(beir, "-o", target))
    assert target.read_bytes() == whole.read_bytes()
    assert [path.name for path in tmp_path.iterdir()] == ["out.jsonl"]


def test_what_says_the_same_unjudged_is_suspected(
    beir: Path, whole: Path, tmp_path: Path, encoder: CrossEncoder
) -> None:
    """It is counted and never a negative, and the margins are the teacher's."""
    target = tmp_path / "out.jsonl"
    process = _started(beir, "-o", target, "--json", "--examples", "20")
    told, _ = process.communicate(timeout=TIMEOUT_S)
    facts = json.loads(told)
    rows = [json.loads(line) for line in target.read_text("utf-8").splitlines()]
    triplets = [row for row in read_training(target).rows if isinstance(row, Triplet)]
    margins = [
        encoder.predict([(one.query, one.positive), (one.query, one.negative)])
        for one in triplets[:9]
    ]

    assert target.read_bytes() == whole.read_bytes()
    suspects = {(one["query"], one["document"]) for one in facts["suspects"]}
    assert {(city, f"{city}-1") for city in CITIES} <= suspects
    people = [row for row in rows if row["query"].startswith("how many people")]
    assert people
    assert not [
        row for row in people if row["negative_id"].removesuffix("-1") in row["positive_id"]
    ]
    assert facts["num_written"] == 2 * len(CITIES)
    assert facts["positive_logit"] > facts["negative_logit"] + 2.0
    for one, (positive, negative) in zip(triplets, margins, strict=False):
        assert one.margin == pytest.approx(float(positive - negative), abs=0.02)
