"""A small judged collection for tests, in BEIR's layout and as TREC's files; made up, nobody's data."""

from __future__ import annotations

import json
from pathlib import Path

__all__ = ["beir_folder", "flat_folder", "json_lines", "write_files"]

DOCUMENTS = {
    "d1": ("Berlin", "Berlin has about three and a half million inhabitants."),
    "d2": ("", "Berlin is well known for its museums."),
    "d3": ("Wine", "Red wine is made from dark grapes."),
    "d4": ("", "Grapes grow on vines in warm regions."),
    "d5": ("", "The river was frozen until March."),
}
QUERIES = {"q1": "how many people live in berlin", "q2": "what is red wine made from"}
QRELS = {"q1": {"d1": 2, "d2": 0, "d9": 1}, "q2": {"d3": 1, "d4": 1}}
RUN = {
    "q1": (("d2", 9.5), ("d5", 9.25), ("d1", 9.0)),
    "q2": (("d5", 3.0), ("d4", 2.0), ("d3", 1.0)),
}


def write_files(folder: Path, files: dict[str, str]) -> Path:
    """Write files below a folder, and give the folder."""
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content.encode("utf-8"))
    return folder


def json_lines(*records: dict[str, object]) -> str:
    """One object a line."""
    return "".join(json.dumps(record) + "\n" for record in records)


def beir_folder(folder: Path, **files: str) -> Path:
    """BEIR's layout, without a run."""
    qrels = "".join(
        f"{query}\t{document}\t{grade}\n"
        for query, grades in QRELS.items()
        for document, grade in grades.items()
    )
    made = {
        "corpus.jsonl": json_lines(
            *(
                {"_id": name, "title": title, "text": text}
                for name, (title, text) in DOCUMENTS.items()
            )
        ),
        "queries.jsonl": json_lines(
            *({"_id": name, "text": text} for name, text in QUERIES.items())
        ),
        "qrels/test.tsv": f"query-id\tcorpus-id\tscore\n{qrels}",
        "qrels/train.tsv": "query-id\tcorpus-id\tscore\nq7\td1\t1\n",
    }
    return write_files(folder, {**made, **files})


def flat_folder(folder: Path, **files: str) -> Path:
    """Tab-separated files in one folder, with BM25's run; names with an underscore for each dot but the last."""
    made = {
        "corpus.jsonl": json_lines(
            *(
                {"docid": name, "title": title, "text": text}
                for name, (title, text) in DOCUMENTS.items()
            )
        ),
        "queries.tsv": "".join(f"{name}\t{text}\n" for name, text in QUERIES.items()),
        "qrels.tsv": "".join(
            f"{query} 0 {document} {grade}\n"
            for query, grades in QRELS.items()
            for document, grade in grades.items()
        ),
        "run.bm25.tsv": "".join(
            f"{query}\t{document}\t{rank}\t{score}\n"
            for query, entries in RUN.items()
            for rank, (document, score) in enumerate(entries, start=1)
        ),
    }
    return write_files(folder, {**made, **files})
