"""The table of files: `docs/files.md`, one line for each file that is committed.

A Python file speaks for itself with the first sentence of its docstring, a script or a style sheet with that of its
first comment; the others have a line in `OTHERS`.
"""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from pathlib import Path
from typing import Final

__all__ = ["describe", "files_page"]

ROOT: Final = Path(__file__).resolve().parent.parent
ROOMS: Final = {
    "src": "The package",
    "tools": "Tools",
    "benchmarks": "Benchmarks",
    "deploy": "Deployment",
    "examples": "Examples",
    "tests": "Tests",
    "docs": "Documentation",
    ".": "The rest",
}
"""The folders, in the order in which they are shown, and their headings."""
# Shown as one line each.
_FOLDERS: Final = (
    "tests/golden/dialects",
    "src/pairscore/models/bundled/all-minilm-l6",
    "src/pairscore/models/bundled/ms-marco-minilm-l12",
    "src/pairscore/models/bundled/sts-minilm",
    "examples/recipes/sts-minilm",
    "benchmarks/results",
    "docs/cli",
    "docs/images",
    "tests/docs/stand_ins",
    "docs/img",
    *(
        f"deploy/{part}"
        for part in ("compose", "docker", "grafana", "kubernetes", "ray", "systemd")
    ),
)
# Files whose first line cannot speak for them.
OTHERS: Final = {
    ".ci/run": "what must pass before a change lands",
    ".dockerignore": "what the image's build may see",
    ".gitattributes": "which files are binary",
    ".gitignore": "what is never committed",
    "CHANGELOG.md": "what changed, for users",
    "CONTRIBUTING.md": "how to work on pairscore",
    "LICENSE": "Apache-2.0",
    "Makefile": "one command a verb",
    "NOTICE": "whose work is inside",
    "README.md": "what it is, three commands, and where to read on",
    "benchmarks/README.md": "how to run and read the benchmarks",
    "benchmarks/peers/infinity-requirements.txt": "the exact set of Infinity, the peer of the load bench",
    "benchmarks/peers/requirements.txt": "the exact set of the peers that are measured",
    "benchmarks/results": "what the benchmarks found, one JSON file a run",
    "constraints.txt": "the exact set that `make` installs",
    "deploy/compose": "two replicas, nginx and Redis on one machine",
    "deploy/docker": "the image",
    "deploy/grafana": "the dashboard",
    "deploy/kubernetes": "a kustomize base, and its monitoring",
    "deploy/ray": "Ray Serve's config file, and the same for KubeRay",
    "deploy/systemd": "the hardened unit, and its settings",
    "docs/architecture.md": "rooms, road and rules",
    "docs/batch.md": "folders of files, block by block: resume, broken rows, counts; on a cluster",
    "docs/backends.md": "what runs a model: ONNX Runtime, torch, OpenVINO; devices, numbers, auto",
    "docs/calibration.md": "probabilities that are right as often as they say",
    "docs/checks.md": "the card of a model, its scale, and what is checked when it is loaded",
    "docs/cli": "each verb's help, generated",
    "docs/cli.md": "the command line: its verbs, and exit codes; generated",
    "docs/clients.md": "every client: its base URL, and code that the tests run",
    "docs/comparing.md": "bi- and cross-encoder side by side on one's own data",
    "docs/converting.md": "other weights of the same model, and the report on how close they are",
    "docs/decisions.md": "what was decided, and why",
    "docs/deploy.md": "from a laptop to a cluster, and how to size it",
    "docs/dialects.md": "what each path speaks: bodies, defaults, scores, errors",
    "docs/distilling.md": "a smaller model that scores as a larger one does",
    "docs/doctor.md": "what `pairscore doctor` says of a machine and a model",
    "docs/duplicates.md": "texts that say the same: how they are found, thresholds, limits, clustering",
    "docs/encoding.md": "BiEncoder: vectors of texts, similarity, prompts, what is refused",
    "docs/evaluating.md": "judged collections, runs and labelled pairs, measured",
    "docs/experiments.md": "what was tried, with numbers; failures too",
    "docs/explaining.md": "which part of a document made its score",
    "docs/files.md": "this page",
    "docs/http.md": "the HTTP service: routes, limits, errors",
    "docs/images": "pictures of the page that the server has",
    "docs/img": "plots",
    "docs/keys.md": "API keys: make, serve, revoke, quotas, what is public",
    "docs/library.md": "the library: scores, rankings, vectors, the engine",
    "docs/long-documents.md": "documents that are longer than the model can read",
    "docs/models.md": "which model: names, folders, the hub, machines without network",
    "docs/negatives.md": "hard negatives, mined and filtered",
    "docs/observability.md": "what an operator sees: metrics, logs, traces, alerts",
    "docs/openapi.json": "the service's OpenAPI file, generated",
    "docs/operations.md": "running it: start, check, watch, renew, and what to do when something is wrong",
    "docs/playground.md": "the page that the server has at /",
    "docs/quickstart.md": "the first five minutes",
    "docs/ray-serving.md": "the service on Ray: start, scale, update, several models, config file, limits",
    "docs/reference/api.md": "the public names of the package, generated",
    "docs/reference/errors.md": "every error: status, exit code, meaning, remedy; generated",
    "docs/reference/metrics.md": "every metric, generated",
    "docs/reference/routes.md": "every route, generated",
    "docs/reference/settings.md": "every setting of the service, generated",
    "docs/results.md": "speed, memory and accuracy, with the commands that give them",
    "docs/retrievers.md": "Milvus, or one's own search engine, as the first stage",
    "docs/scaling.md": "from one process to many, the arithmetic of a fleet, and its simulator",
    "docs/scores.md": "logit, score, probability, scale; how to choose a threshold",
    "docs/search-index.md": "the index on disk: building, filters, upkeep, faults",
    "docs/search.md": "find, fuse and rerank: library, command line, HTTP",
    "docs/several-models.md": "several models in one server: names, memory, reload",
    "docs/shadow.md": "a second model on a share of the traffic, compared before the switch",
    "docs/training-data.md": "what training reads: pairs, triplets, lists; splits and leaks",
    "docs/training-evaluation.md": "how a training is judged: before and after, guard set, model card",
    "docs/training.md": "from labelled pairs to a served model: recipe, run folder, resume",
    "docs/which-model.md": "which model for what",
    "examples/documents.txt": "documents, one a line, for `pairscore rank`",
    "examples/recipes/duplicates.toml": "a recipe for training: questions that ask the same",
    "examples/recipes/relevance.toml": "a recipe for training: relevance, with mined negatives",
    "examples/recipes/similarity.toml": "a recipe for training: similarity in 0 to 1",
    "examples/recipes/sts-minilm": "how the bundled sts-minilm was trained: recipes, logs, reports, the form of its page",
    "mkdocs.yml": "the documentation's site: its pages, in order, and what is an error",
    "pyproject.toml": "packaging, extras, and the reason for each lint exception",
    "src/pairscore/cli/demo.json": "the queries and documents of `pairscore demo`, written for it",
    "src/pairscore/convert/texts.jsonl": "questions and passages for parity reports, written for it",
    "src/pairscore/evaluation/compare_report.html": "the page of `pairscore compare`",
    "src/pairscore/service/page/static/icon.svg": "the page's icon",
    "src/pairscore/service/page/static/index.html": "the page at /: its frame, which the scripts fill",
    "src/pairscore/models/bundled/all-minilm-l6": "the bundled bi-encoder, its facts and its MODEL.md",
    "src/pairscore/models/bundled/ms-marco-minilm-l12": "the bundled weights, their facts and their MODEL.md",
    "src/pairscore/models/bundled/sts-minilm": "the bundled similarity model, its facts and its MODEL.md",
    "src/pairscore/py.typed": "says that the package has types",
    "src/pairscore/training/guard/questions.jsonl": "questions with a right and a wrong answer, written for it: the guard set of relevance",
    "src/pairscore/training/guard/sentences.jsonl": "sentence pairs with grades, written for it: the guard set of similarity",
    "tests/clients/requirements-older.txt": "the exact set of clients that hold others back",
    "tests/clients/requirements.txt": "the exact set of the clients in their newest releases",
    "tests/docs/stand_ins": "what stands in for programs that the pages name and that must not really run",
    "tests/golden/dialects": "the bytes of each dialect: success and six ways to fail",
    "tests/golden/scores.json": "stored pairs and logits, and the one tolerance",
    "tests/golden/similarity.json": "the same for the similarity model",
}


def files_page() -> str:
    """One line for each file that is committed, a table for each room."""
    names = sorted({_shown(name) for name in _committed() if (ROOT / name).exists()})
    parts = [
        "# Every file\n\nGenerated by `make docs`: each file's own first sentence, where it has one."
    ]
    for room, title in ROOMS.items():
        rows = [f"| `{name}` | {describe(name)} |" for name in names if _room(name) == room]
        parts.append("\n".join([f"## {title}\n", "| file | what it is |", "|---|---|", *rows]))
    return "\n\n".join(parts) + "\n"


def describe(name: str) -> str:
    """What a file is, in a line: its own first line where it has a docstring."""
    if name in OTHERS:
        return OTHERS[name]
    line = re.split(r"\n\n|\.\s|\s@", _comment(ROOT / name).strip())[0]
    if line:
        return " ".join(line.split()).rstrip(".:").replace("|", "or")
    sys.exit(
        f"{name} has no line of its own: give it a docstring, or a line in {Path(__file__).name}"
    )


def _comment(path: Path) -> str:
    """What a file says of itself at its head; empty if it says nothing."""
    if path.suffix == ".py":
        return ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""
    if path.suffix in (".js", ".css"):
        head = re.match(
            r"\s*(/\*.*?\*/|(//[^\n]*\n)+)", path.read_text(encoding="utf-8"), re.DOTALL
        )
        return re.sub(r"(?m)^\s*(/\*+|\*(?!/)|//)|\*/", "", head[1]) if head else ""
    return ""


def _committed() -> list[str]:
    return subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    ).stdout.split()


def _shown(name: str) -> str:
    """Folders of data are one line."""
    for folder in _FOLDERS:
        if name.startswith(folder + "/"):
            return folder
    return name


def _room(name: str) -> str:
    room = name.split("/", maxsplit=1)[0]
    return room if "/" in name and room in ROOMS else "."
