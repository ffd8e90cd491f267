"""What each page's reader has before the first block: files, variables, a service, a hub.

A page that is not named here gets an empty folder. What its blocks make is there for those below them.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import Final

from tests.docs import kit
from tests.unit.hub_server import serving

from pairscore.models.resolve import resolve

__all__ = ["FAST", "OTHERWISE", "STAGES", "Stage", "hub"]

KEY: Final = "ops-ops-ops-ops-ops"
HUB_ID: Final = "cross-encoder/ms-marco-MiniLM-L6-v2"


@dataclass(frozen=True, kw_only=True, slots=True)
class Stage:
    """One page's.

    Attributes:
        prepare: writes the files into the folder.
        serve: how the service is started before the first block; None where a block does it, or none is asked.
        environment: variables.
        replacements: what stands for something of the reader's own, and what it is here.
        needs: a module without which the page is not run.
        has_hub: whether a model hub can be reached.
        strict: whether a warning in Python is an error.
    """

    prepare: Callable[[Path], None] = lambda folder: None
    serve: str | None = None
    environment: Mapping[str, str] = field(default_factory=dict)
    replacements: Mapping[str, str] = field(default_factory=dict)
    needs: str | None = None
    has_hub: bool = False
    strict: bool = True


def _batch(folder: Path) -> None:
    kit.pair_files(folder / "pairs")
    kit.candidate_files(folder / "queries")


def _calibration(folder: Path) -> None:
    kit.model_copy(folder / "my-model")
    kit.labelled_pairs(folder / "labelled.csv")
    kit.scored_sentences(folder / "stsb" / "train.tsv")


def _checks(folder: Path) -> None:
    prompts = {"model_type": "CrossEncoder", "prompts": {"web": "web: ", "other": "do this: "}}
    kit.model_copy(
        folder / "my-model",
        config_sentence_transformers={**prompts, "default_prompt_name": "other"},
    )


def _comparing(folder: Path) -> None:
    kit.labelled_pairs(folder / "labelled.csv")
    kit.collection(folder / "beir" / "scifact", folder / "trec_dl19")
    kit.scored_sentences(folder / "stsb" / "test.tsv")


def _converting(folder: Path) -> None:
    kit.student(folder / "my-model", *range(12))
    kit.linked_model(folder / "my-encoder", name="all-minilm-l6")
    (folder / "float32").symlink_to("my-model")
    kit.collection(folder / "my-collection", folder / "trec_dl19")


def _duplicates(folder: Path) -> None:
    kit.tickets(folder)
    kit.alike(folder / "pairs.csv")


def _evaluating(folder: Path) -> None:
    kit.evaluation_files(folder)
    kit.labelled_pairs(folder / "labelled.csv")
    kit.collection(folder / "beir" / "scifact")
    (folder / "beir" / "scifact" / "run.tsv").write_text("q1\td1\nq1\td2\nq2\td4\nq2\td3\n")


def _experiments(folder: Path) -> None:
    kit.collection(folder / "DATA")
    kit.train_part(folder / "DATA" / "scifact")


def _negatives(folder: Path) -> None:
    kit.positives(folder / "positives.csv")
    kit.index(folder / "my-index")
    kit.documents(folder / "documents.csv")
    kit.labelled_pairs(folder / "pairs.csv")
    kit.judged_for_training(folder / "beir" / "scifact")


def _results(folder: Path) -> None:
    data = folder / "DATA"
    kit.collection(data / "trec_dl19", data / "scifact")
    shutil.copy(data / "trec_dl19" / "run.bm25.tsv", data / "trec_dl19" / "run.rm3.tsv")
    (data / "scifact" / "run.tsv").write_text("q1\td1\nq1\td2\nq2\td4\nq2\td3\n")
    kit.scored_sentences(data / "stsb" / "test.tsv")


def _search(folder: Path) -> None:
    kit.collection(folder / "DATA")
    kit.queries(folder / "queries.jsonl")


def _shadow(folder: Path) -> None:
    kit.run_folder(folder / "runs" / "first")
    kit.run_folder(folder / "runs" / "x")
    (folder / "models").mkdir()
    (folder / "models" / "live").symlink_to("../runs/first")


def _training_data(folder: Path) -> None:
    kit.labelled_pairs(folder / "train.tsv")
    kit.labelled_pairs(folder / "test.tsv", first=12)
    parts = ("train", "dev", "test")
    kit.scored_sentences(*(folder / "stsb" / f"{part}.tsv" for part in parts))


def _training_evaluation(folder: Path) -> None:
    kit.linked_model(folder / "base")
    kit.run_folder(folder / "runs" / "mine")
    kit.scored_sentences(folder / "test.tsv")


def _training(folder: Path) -> None:
    kit.labelled_pairs(folder / "pairs.csv")
    kit.labelled_pairs(folder / "guard.csv", first=12)
    kit.student(folder / "small", 0, 11)
    parts = ("train", "dev", "test")
    kit.scored_sentences(*(folder / "data" / "stsb" / f"{part}.tsv" for part in parts))
    recipe = 'base = "small"\noutput = "runs/stsb"\nnum_epochs = 1\n[data]\nguard = "guard.csv"\n'
    end = 'train = "data/stsb/train.tsv"\n[convert]\nenabled = false\n'
    (folder / "recipe.toml").write_text(recipe + end)


_CONTROL: Final = {"PAIRSCORE_API_KEYS": f"ops={KEY}", "PAIRSCORE_MODEL_CONTROL": "ops"}
_TOLD: Final = {"X-API-Key: ...": f"X-API-Key: {KEY}"}

STAGES: Final[Mapping[str, Stage]] = {
    "README.md": Stage(prepare=lambda folder: kit.pair_files(folder / "pairs")),
    "docs/batch.md": Stage(prepare=_batch),
    "docs/calibration.md": Stage(prepare=_calibration),
    "docs/checks.md": Stage(prepare=_checks),
    "docs/clients.md": Stage(
        serve="--api-keys tests=your-key-of-the-tests",
        replacements={"your-key": "your-key-of-the-tests"},
    ),
    "docs/comparing.md": Stage(prepare=_comparing),
    "docs/converting.md": Stage(
        needs="torch", prepare=_converting, replacements={"FLOAT32_FOLDER": "float32"}
    ),
    "docs/dialects.md": Stage(serve=""),
    "docs/distilling.md": Stage(
        prepare=lambda folder: kit.labelled_pairs(folder / "pairs.csv"),
        replacements={'output="runs/l4"': 'output="runs/python"'},
        needs="sentence_transformers",
        strict=False,
    ),
    "docs/doctor.md": Stage(prepare=lambda folder: kit.linked_model(folder / "my-model")),
    "docs/duplicates.md": Stage(prepare=_duplicates),
    "docs/evaluating.md": Stage(prepare=_evaluating),
    "docs/experiments.md": Stage(prepare=_experiments),
    "docs/keys.md": Stage(
        replacements={
            "psk_...": "psk_0123456789abcdef",
            "sha256:HEX": f"sha256:{sha256(b'another-key-of-mine').hexdigest()}",
        }
    ),
    "docs/models.md": Stage(
        has_hub=True,
        replacements={"remove owner/name": f"remove --yes {HUB_ID}", "owner/name": HUB_ID},
    ),
    "docs/negatives.md": Stage(prepare=_negatives),
    "docs/observability.md": Stage(prepare=kit.a_log),
    "docs/results.md": Stage(prepare=_results),
    "docs/scaling.md": Stage(prepare=lambda folder: kit.labelled_pairs(folder / "pairs.csv")),
    "docs/search.md": Stage(prepare=_search),
    "docs/search-index.md": Stage(prepare=lambda folder: kit.documents(folder / "documents.csv")),
    "docs/several-models.md": Stage(
        prepare=lambda folder: kit.linked_model(folder / "models" / "german"),
        environment=_CONTROL,
        replacements=_TOLD,
    ),
    "docs/shadow.md": Stage(prepare=_shadow, environment=_CONTROL, replacements=_TOLD),
    "docs/training.md": Stage(
        prepare=_training,
        needs="sentence_transformers",
        # A small base and a small guard in the place of the bundled ones, which would take minutes.
        replacements={
            "--base ms-marco-minilm-l12": "--base small --guard guard.csv",
            "ms-marco-minilm-l12": "small",
            "Recipe(data": 'Recipe(base="small", output="runs/python", data',
            'DataRecipe(train="pairs.csv"': 'DataRecipe(train="pairs.csv", guard="guard.csv"',
        },
        strict=False,
    ),
    "docs/training-data.md": Stage(prepare=_training_data, replacements={"1_000_000": "10_000"}),
    "docs/training-evaluation.md": Stage(prepare=_training_evaluation),
    "docs/which-model.md": Stage(
        prepare=lambda folder: kit.linked_model(folder / "my-model"), has_hub=True
    ),
}

FAST: Final = frozenset(
    {
        "CONTRIBUTING.md",
        "README.md",
        "docs/encoding.md",
        "docs/library.md",
        "docs/scores.md",
    }
)
"""Pages whose blocks are quick enough for every run; the others are for the slow ones."""

OTHERWISE: Final[Mapping[str, str]] = {
    "docs/clients.md": "tests/clients",
}
"""Pages whose Python is run by other tests, and which."""


@contextmanager
def hub() -> Iterator[Mapping[str, str]]:
    """A hub that has the bundled model under another name; what its clients must be told."""
    facts = ("manifest.json", "parity.json")  # of the package's own copy
    model = resolve().folder
    with serving() as found:
        found.hub_id = HUB_ID
        files = [path for path in model.iterdir() if path.is_file() and path.name not in facts]
        found.commit(1, {path.name: path.read_bytes() for path in files})
        yield {"HF_ENDPOINT": found.endpoint, "HF_HUB_OFFLINE": "0", "HF_HUB_DISABLE_XET": "1"}
