"""What readers have at hand: files and models of the names that the pages use, small and made up."""

from __future__ import annotations

import csv
import json
import shutil
from collections.abc import Iterable, Sequence
from pathlib import Path

from tests.docs.pages import ROOT
from tests.judged import beir_folder, flat_folder

from pairscore import BiEncoder
from pairscore.models.resolve import resolve
from pairscore.retrieval.base import Document
from pairscore.retrieval.index import SearchIndex

_GUARD = ROOT / "src" / "pairscore" / "training" / "guard"
_NUM_QUESTIONS = 16
_TOPICS = 4
_SAME = 0.7
_TICKETS = (
    ("How do I reset my password?", "I cannot log in any more."),
    ("How can I reset my password?", "The password is lost."),
    ("The invoice has a wrong address", "Please send it again."),
    ("Wrong address on my invoice", "We have moved."),
    ("The export to csv is empty", "Since yesterday."),
    ("A parcel did not arrive", "It was sent a week ago."),
)


def _lines(name: str) -> list[dict[str, str]]:
    text = (_GUARD / name).read_text(encoding="utf-8")
    return [json.loads(line) for line in text.splitlines()]


def _questions() -> list[tuple[str, str]]:
    """Questions and their answers, of different topics in turn."""
    found = [(entry["query"], entry["answer"]) for entry in _lines("questions.jsonl")]
    step = len(found) // _NUM_QUESTIONS
    return found[::step][:_NUM_QUESTIONS]


def _write(path: Path, head: Sequence[str], rows: Iterable[Sequence[object]]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    delimiter = "\t" if path.suffix == ".tsv" else ","
    with path.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file, delimiter=delimiter, lineterminator="\n").writerows([head, *rows])
    return path


def labelled_pairs(*paths: Path, first: int = 0) -> None:
    """Questions, each with its answer (1) and with the answers of two others (0), from a question on."""
    known = _questions()
    rows = [
        (query, known[(place + step) % len(known)][1], int(step == 0))
        for place, (query, _) in enumerate(known)
        for step in (0, _TOPICS, 2 * _TOPICS)
    ][3 * first :]
    for path in paths:
        _write(path, ("query", "document", "label"), rows)


def pair_files(folder: Path) -> None:
    """Two Parquet files of questions with answers."""
    import pyarrow as pa
    from pyarrow import parquet

    folder.mkdir()
    for name in ("one", "two"):
        queries, documents = zip(*_questions() * 2, strict=True)
        table = pa.table({"query": queries, "document": documents})
        parquet.write_table(table, folder / f"{name}.parquet")


def candidate_files(folder: Path) -> None:
    """Questions, each with four answers, one of which is its own."""
    known = _questions()
    folder.mkdir()
    lines = [
        {"query": query, "documents": [known[(i + step) % len(known)][1] for step in range(4)]}
        for i, (query, _) in enumerate(known)
    ]
    text = "".join(f"{json.dumps(line)}\n" for line in lines)
    (folder / "queries.jsonl").write_text(text, encoding="utf-8")


def positives(path: Path) -> None:
    """Questions with their answers."""
    _write(path, ("query", "document"), _questions())


def scored_sentences(*paths: Path) -> None:
    """STS Benchmark's shape: two sentences, and a grade of 0 to 5."""
    rows = [(e["first"], e["second"], 5 * float(e["grade"])) for e in _lines("sentences.jsonl")]
    for number, path in enumerate(paths):
        _write(path, ("sentence1", "sentence2", "score"), rows[number :: len(paths)])


def alike(path: Path) -> None:
    """Pairs of sentences, and whether they say the same."""
    entries = _lines("sentences.jsonl")
    rows = [(e["first"], e["second"], int(float(e["grade"]) > _SAME)) for e in entries]
    _write(path, ("sentence1", "sentence2", "label"), rows)


def documents(path: Path) -> None:
    """Answers as documents, with a year and a language; in a csv, tsv or jsonl file."""
    rows = [
        {"id": f"d{number}", "title": "", "text": answer, "year": 2010 + number, "lang": "en"}
        for number, (_, answer) in enumerate(_questions())
    ]
    if path.suffix == ".jsonl":
        path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    else:
        _write(path, list(rows[0]), [list(row.values()) for row in rows])


def index(folder: Path) -> None:
    """A search index of the answers, built with the bundled bi-encoder."""
    found = [Document(id=f"d{number}", text=text) for number, (_, text) in enumerate(_questions())]
    with BiEncoder() as encoder, SearchIndex.create(folder, encoder=encoder) as made:
        made.add(found)


def queries(path: Path) -> None:
    """Three queries, as BEIR has them."""
    rows = [{"_id": f"q{n}", "text": query} for n, (query, _) in enumerate(_questions()[:3])]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")


def tickets(folder: Path) -> None:
    """Tickets, lines and sentences, some of which say the same."""
    _write(folder / "tickets.csv", ("title", "text"), _TICKETS)
    (folder / "lines.txt").write_text("".join(f"{title}\n" for title, _ in _TICKETS), "utf-8")
    _write(folder / "sentences.csv", ("text",), [(title,) for title, _ in _TICKETS])


def evaluation_files(folder: Path) -> None:
    """A judged collection as single files, under the usual names."""
    made = flat_folder(folder / "parts")
    names = {"run.bm25.tsv": "run.txt", "qrels.tsv": "qrels.txt"}
    for path in made.iterdir():
        path.rename(folder / names.get(path.name, path.name))


def collection(*folders: Path) -> None:
    """Judged collections: BEIR's layout for those called scifact, one folder of files for the others."""
    for folder in folders:
        (beir_folder if folder.name == "scifact" else flat_folder)(folder)


def judged_for_training(folder: Path) -> None:
    """BEIR's layout, with judgements in its training part."""
    beir_folder(folder)
    shutil.copy(folder / "qrels" / "test.tsv", folder / "qrels" / "train.tsv")


def train_part(folder: Path) -> None:
    """What a collection's training part is called where its files lie side by side."""
    flat_folder(folder)
    for name in ("queries", "qrels"):
        shutil.copy(folder / f"{name}.tsv", folder / f"{name}.train.tsv")


def linked_model(*folders: Path, name: str = "ms-marco-minilm-l12") -> None:
    """A bundled model, to be read only."""
    for folder in folders:
        folder.parent.mkdir(parents=True, exist_ok=True)
        folder.symlink_to(resolve(name).folder, target_is_directory=True)


def model_copy(folder: Path, *, name: str = "ms-marco-minilm-l12", **files: object) -> None:
    """A bundled model in a folder of one's own, with further JSON files."""
    shutil.copytree(resolve(name).folder, folder)
    for stem, content in files.items():
        (folder / f"{stem}.json").write_text(json.dumps(content), encoding="utf-8")


def run_folder(folder: Path) -> None:
    """A run as `pairscore train` leaves it, of which only the served model is there."""
    linked_model(folder / "model")
    (folder / "run.json").write_text('{"format": 1, "steps": {}}', encoding="utf-8")


def student(folder: Path, *layers: int) -> None:
    """Some of the bundled model's layers, in float32 safetensors."""
    from pairscore.training.students import make_student

    make_student(resolve(), layers=layers, output=folder)


def a_log(folder: Path) -> None:
    """The service's log of two requests, as JSON and as text."""
    entries = [("6f1c", 200, "INFO"), ("70a2", 500, "ERROR")]
    as_json = [
        json.dumps({"message": f"POST /rerank {status}", "request_id": name, "status": status})
        for name, status, _ in entries
    ]
    as_text = [
        f"2026-01-31T12:00:00.123Z {level} pairscore.access: POST /rerank {status} request_id={name}"
        for name, status, level in entries
    ]
    (folder / "pairscore.log").write_text("\n".join(as_json) + "\n", encoding="utf-8")
    (folder / "pairscore.txt").write_text("\n".join(as_text) + "\n", encoding="utf-8")
