"""Write the pages that can be generated, or check that they are up to date.

    python tools/build_docs.py            # write
    python tools/build_docs.py --check    # exit 1 and name what is stale

`docs/cli.md` from the command line's own help, `docs/openapi.json` from the service's routes, the settings in
`docs/http.md` from their one model, and README's table of files from the first line of each file's own docstring.
"""

from __future__ import annotations

import ast
import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
ROOMS = ("src", "tools", "benchmarks", "deploy", "examples", "tests", "docs", ".")
# Shown as one line each.
_FOLDERS = (
    "tests/golden/dialects",
    "src/pairscore/models/bundled/all-minilm-l6",
    "src/pairscore/models/bundled/ms-marco-minilm-l12",
    "src/pairscore/models/bundled/sts-minilm",
    "examples/recipes/sts-minilm",
    "benchmarks/results",
    "docs/img",
    *(f"deploy/{part}" for part in ("compose", "docker", "grafana", "kubernetes", "systemd")),
)
# Files whose first line cannot speak for them.
OTHERS = {
    ".ci/run": "what must pass before a change lands",
    ".gitattributes": "which files are binary",
    ".gitignore": "what is never committed",
    "CHANGELOG.md": "what changed, for users",
    "CONTRIBUTING.md": "how to work on pairscore",
    "LICENSE": "Apache-2.0",
    "Makefile": "one command a verb",
    "NOTICE": "whose work is inside",
    "README.md": "this page",
    "benchmarks/README.md": "how to run and read the benchmarks",
    "benchmarks/peers/requirements.txt": "the exact set of the peers that are measured",
    "benchmarks/results": "what the benchmarks found, one JSON file a run",
    "constraints.txt": "the exact set that `make` installs",
    "docs/architecture.md": "rooms, road and rules",
    "docs/comparing.md": "bi- and cross-encoder side by side on one's own data",
    "docs/duplicates.md": "texts that say the same: how they are found, thresholds, limits, clustering",
    "docs/encoding.md": "BiEncoder: vectors of texts, similarity, prompts, what is refused",
    "docs/evaluating.md": "judged collections, runs and labelled pairs, measured",
    "docs/retrievers.md": "Milvus, or one's own search engine, as the first stage",
    "docs/search-index.md": "the index on disk: building, filters, upkeep, faults",
    "docs/search.md": "find, fuse and rerank: library, command line, HTTP",
    "src/pairscore/evaluation/compare_report.html": "the page of `pairscore compare`",
    "src/pairscore/models/bundled/all-minilm-l6": "the bundled bi-encoder, its facts and its MODEL.md",
    "docs/backends.md": "what runs a model: ONNX Runtime, torch, OpenVINO; devices, numbers, auto",
    "docs/calibration.md": "probabilities that are right as often as they say",
    "docs/checks.md": "the card of a model, its scale, and what is checked when it is loaded",
    "docs/converting.md": "other weights of the same model, and the report on how close they are",
    "docs/doctor.md": "what `pairscore doctor` says of a machine and a model",
    "docs/long-documents.md": "documents that are longer than the model can read",
    "docs/models.md": "which model: names, folders, the hub, machines without network",
    "docs/shadow.md": "a second model on a share of the traffic, compared before the switch",
    "docs/training.md": "from labelled pairs to a served model: recipe, run folder, resume",
    "docs/training-data.md": "what training reads: pairs, triplets, lists; splits and leaks",
    "docs/training-evaluation.md": "how a training is judged: before and after, guard set, model card",
    "docs/negatives.md": "hard negatives, mined and filtered",
    "docs/distilling.md": "a smaller model that scores as a larger one does",
    "docs/several-models.md": "several models in one server: names, memory, reload",
    "src/pairscore/training/guard/questions.jsonl": "questions with a right and a wrong answer, written for it: the guard set of relevance",
    "src/pairscore/training/guard/sentences.jsonl": "sentence pairs with grades, written for it: the guard set of similarity",
    "examples/recipes/duplicates.toml": "a recipe for training: questions that ask the same",
    "examples/recipes/relevance.toml": "a recipe for training: relevance, with mined negatives",
    "examples/recipes/sts-minilm": "how the bundled sts-minilm was trained: recipes, logs, reports, the form of its page",
    "examples/recipes/similarity.toml": "a recipe for training: similarity in 0 to 1",
    "src/pairscore/convert/texts.jsonl": "questions and passages for parity reports, written for it",
    "docs/clients.md": "every client: its base URL, and code that the tests run",
    "docs/dialects.md": "what each path speaks: bodies, defaults, scores, errors",
    "docs/cli.md": "the command line's help, generated",
    "docs/decisions.md": "what was decided, and why",
    "docs/experiments.md": "what was tried, with numbers; failures too",
    "docs/http.md": "the HTTP service: routes, limits, errors",
    "docs/keys.md": "API keys: make, serve, revoke, quotas, what is public",
    "docs/observability.md": "what an operator sees: metrics, logs, traces, alerts",
    "docs/deploy.md": "from a laptop to a cluster, and how to size it",
    ".dockerignore": "what the image's build may see",
    "deploy/compose": "two replicas, nginx and Redis on one machine",
    "deploy/docker": "the image",
    "deploy/grafana": "the dashboard",
    "deploy/kubernetes": "a kustomize base, and its monitoring",
    "deploy/systemd": "the hardened unit, and its settings",
    "benchmarks/peers/infinity-requirements.txt": "the exact set of Infinity, the peer of the load bench",
    "docs/img": "plots",
    "docs/openapi.json": "the service's OpenAPI file, generated",
    "docs/results.md": "speed, memory and accuracy, with the commands that give them",
    "examples/documents.txt": "the documents that `make demo` ranks",
    "pyproject.toml": "packaging, extras, and the reason for each lint exception",
    "src/pairscore/models/bundled/ms-marco-minilm-l12": "the bundled weights, their facts and their MODEL.md",
    "src/pairscore/models/bundled/sts-minilm": "the bundled similarity model, its facts and its MODEL.md",
    "src/pairscore/py.typed": "says that the package has types",
    "tests/clients/requirements.txt": "the exact set of the clients in their newest releases",
    "tests/clients/requirements-older.txt": "the exact set of clients that hold others back",
    "tests/golden/dialects": "the bytes of each dialect: success and six ways to fail",
    "tests/golden/similarity.json": "the same for the similarity model",
    "tests/golden/scores.json": "stored pairs and logits, and the one tolerance",
}


def main() -> None:
    """Write or check."""
    check = "--check" in sys.argv[1:]
    pages = {
        "docs/cli.md": cli_page(),
        "docs/openapi.json": openapi(),
        "docs/http.md": http_page(),
        "README.md": readme(),
    }
    stale = [name for name, text in pages.items() if _read(name) != text]
    if check and stale:
        sys.exit(f"not up to date: {', '.join(stale)}; run: make docs")
    for name in stale:
        (ROOT / name).write_text(pages[name], encoding="utf-8")
        print(f"wrote {name}")


def cli_page() -> str:
    """Every verb's help, as a terminal of 100 columns without colours shows it."""
    parts = ["# The command line\n\nGenerated from `--help` by `make docs`.\n"]
    verbs = list(_verbs())
    with ThreadPoolExecutor() as pool:
        for verb, shown in zip(verbs, pool.map(_help, verbs), strict=True):
            title = f"pairscore {verb}".strip()
            parts.append(f"## {title}\n\n```text\n{shown}\n```\n")
    return "\n".join(parts)


def _verbs() -> Iterator[str]:
    """Every verb of the command line, each group before what is in it."""
    from typer.main import get_command

    from pairscore.cli.main import app

    def below(command: Any, words: tuple[str, ...]) -> Iterator[str]:
        yield " ".join(words)
        for name, inner in sorted(getattr(command, "commands", {}).items()):
            yield from below(inner, (*words, name))

    return below(get_command(app), ())


def _help(verb: str) -> str:
    command = [sys.executable, "-m", "pairscore", *verb.split(), "--help"]
    plain = {"COLUMNS": "100", "TERM": "dumb", "NO_COLOR": "1", "TERMINAL_WIDTH": "100"}
    kept = {name: value for name, value in os.environ.items() if name in ("PATH", "HOME", "LANG")}
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=kept | plain)
    return "\n".join(line.rstrip() for line in done.stdout.strip().splitlines())


def openapi() -> str:
    """The service's OpenAPI document."""
    from pairscore.service.app import create_app

    return json.dumps(create_app().openapi(), indent=1, ensure_ascii=False, sort_keys=True) + "\n"


def http_page() -> str:
    """The page of the service with its tables of settings."""
    from pairscore.service.settings import settings_table

    return _between("docs/http.md", "settings", "\n" + settings_table() + "\n")


def readme() -> str:
    """README with its table of files."""
    return _between("README.md", "files", file_table())


def _between(name: str, part: str, content: str) -> str:
    """A page with the generated part between its two marks."""
    begin, end = f"<!-- {part}: begin -->", f"<!-- {part}: end -->"
    head, rest = _read(name).split(begin)
    return f"{head}{begin}\n{content}{end}{rest.split(end)[1]}"


def file_table() -> str:
    """One line for each file that is committed."""
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    ).stdout.split()
    names = sorted({_shown(name) for name in listed if (ROOT / name).exists()}, key=_place)
    rows = [f"| `{name}` | {describe(name)} |" for name in names]
    return "\n".join(["| file | what it is |", "|---|---|", *rows]) + "\n"


def describe(name: str) -> str:
    """What a file is, in a line: its own first line where it has a docstring."""
    if name in OTHERS:
        return OTHERS[name]
    path = ROOT / name
    if path.suffix == ".py":
        docstring = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""
        line = re.split(r"\n\n|\.\s", docstring.strip())[0].replace("\n", " ").rstrip(".:")
        if line:
            return line.replace("|", "or")
    sys.exit(
        f"{name} has no line of its own: give it a docstring, or a line in {Path(__file__).name}"
    )


def _shown(name: str) -> str:
    """Folders of data are one line."""
    for folder in _FOLDERS:
        if name.startswith(folder + "/"):
            return folder
    return name


def _place(name: str) -> tuple[int, str]:
    room = name.split("/", maxsplit=1)[0] if "/" in name else "."
    return ROOMS.index(room) if room in ROOMS else len(ROOMS), name


def _read(name: str) -> str:
    path = ROOT / name
    return path.read_text(encoding="utf-8") if path.is_file() else ""


if __name__ == "__main__":
    main()
