"""The model card: facts of the run's files in words, and nothing that no file says."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import yaml
from safetensors.numpy import save_file

import pairscore
from pairscore.errors import DataFileError
from pairscore.evaluation.significance import Difference, Interval
from pairscore.models.card import Card
from pairscore.models.licences import licence_of
from pairscore.models.resolve import resolve
from pairscore.training.model_card import CardSources, card_sources, model_card
from pairscore.training.recipe import DataRecipe, Recipe
from pairscore.training.report import MeasureReport, PartReport, TrainingReport
from pairscore.training.report_files import write
from pairscore.training.run_folder import RunFolder

BUNDLED = Path(pairscore.__file__).parent / "models" / "bundled" / "ms-marco-minilm-l12"
RUN = {
    "task": "similarity",
    "base": {"name": "ms-marco-minilm-l12", "sha256": "b" * 64, "layers": [0, 5, 11]},
    "data": {
        "train": {
            "name": "/home/somebody/train.tsv",
            "labels": "graded",
            "num_rows": 5749,
            "num_pairs": 5749,
            "num_queries": 5436,
            "sha256": "a" * 64,
        }
    },
    "leaks": {"dev": {"num_pairs": 3, "num_texts": 21}},
    "num_dropped": 24,
    "loss": {"name": "bce", "reason": "each pair has a grade"},
    "steps": {
        "train": {
            "num_steps": 1080,
            "best_step": 720,
            "why": "patience",
            "seconds": 1500.0,
            "device": "cpu",
            "precision": "float32",
        },
        "convert": {"kept": True, "verdict": "Passed."},
        "after": {
            "served": "model",
            "metrics": {"sts: test": {"spearman": 0.86421}},
            "metrics_float32": {"sts: test": {"spearman": 0.865}},
        },
        "calibrate": {"method": "platt"},
    },
    "versions": {"pairscore": "0.1", "torch": "2.13"},
    "machine": {"cpu": "Some CPU", "num_cores": 2},
}
PARITY = json.loads((BUNDLED / "parity.json").read_text())
MEANING = Card(
    task="similarity", name="x", revision=None, activation="sigmoid", max_length=256, pad_id=0
)


def measured(name, before, after, *, lower=False):
    """One measure before and after."""
    return MeasureReport(
        name=name,
        higher_is_better=not lower,
        before=before,
        before_interval=Interval(before - 0.01, before + 0.01),
        after=after,
        after_interval=Interval(after - 0.01, after + 0.01),
        change=Difference(after - before, Interval(-0.5, 0.5), 0.0001),
        p_adjusted=0.0002,
    )


REPORT = TrainingReport(
    base="ms-marco-minilm-l12",
    model="mine",
    parts=(
        PartReport(
            role="test",
            name="sts: test",
            sha256="c" * 64,
            evaluator="correlation",
            num_pairs=1379,
            num_queries=1337,
            threshold=None,
            measures=(measured("spearman", 0.7, 0.86421), measured("ece", 0.2, 0.03, lower=True)),
            verdict="Better: spearman rose.",
        ),
        PartReport(
            role="guard",
            name="guard-questions",
            sha256="d" * 64,
            evaluator="reranking",
            num_pairs=1200,
            num_queries=120,
            threshold=None,
            measures=(measured("ndcg@10", 0.87, 0.81),),
            verdict="Something was forgotten: ndcg@10 fell.",
        ),
    ),
    measured_at="2026-01-02T03:04:05+00:00",
    version="0.1",
    notes=("No test of time.",),
)
ALL = CardSources(
    name="mine",
    run=RUN,
    recipe={"base": "/home/somebody/model", "seed": 42, "loss": None, "output": "/home/x/runs/y"},
    report=REPORT,
    parity=PARITY,
    meaning=MEANING,
)


def head_of(card):
    """The YAML at the head of a card."""
    return yaml.safe_load(card.split("---\n")[1])


def test_the_head_is_what_the_hub_reads():
    """Licence and id of the base model, task, tags, metrics and results."""
    head = head_of(model_card(ALL))

    assert head["license"] == "apache-2.0"
    assert head["base_model"] == ["cross-encoder/ms-marco-MiniLM-L12-v2"]
    assert head["pipeline_tag"] == "text-classification"
    assert "semantic-textual-similarity" in head["tags"]
    assert head["metrics"] == ["spearman", "ece", "ndcg@10"]
    assert head["model-index"][0]["results"][0]["metrics"][0] == {
        "type": "spearman",
        "value": 0.86421,
    }
    assert head["model-index"][0]["results"][0]["dataset"]["name"] == "sts: test"


@pytest.mark.parametrize("name", ["/home/me/model", "folder", "no such model"])
def test_a_base_without_a_public_name_is_not_linked(name):
    """A path means nothing to others, and a licence that nobody knows is not guessed."""
    head = head_of(model_card(replace(ALL, run={**RUN, "base": {"name": name}})))

    assert "base_model" not in head
    assert "license" not in head


def test_a_licence_that_the_run_wrote_down_counts():
    """It may be one that the catalogue does not know."""
    base = {"name": "someone/model", "licence": "MIT"}
    card = model_card(replace(ALL, run={**RUN, "base": base}))

    assert head_of(card)["license"] == "mit"
    assert head_of(card)["base_model"] == ["someone/model"]
    assert "Licence of the base model: MIT." in card


@pytest.mark.parametrize(
    "said",
    [
        "It says how similar in meaning two texts are.",
        "The score is the sigmoid of the logit: 0 to 1",
        "Longest pair: 256 tokens",
        "| spearman | 0.7000 (0.6900 to 0.7100) | 0.8642",
        "| ece (lower is better) |",
        "Something was forgotten: ndcg@10 fell.",
        f"| train | train.tsv | 5,749 | 5,749 | 5,436 | graded | `{'a' * 64}` |",
        "Leaks found between train and dev: 3 pairs, 21 queries.",
        "Rows left out of training because of leaks: 24.",
        "Loss: bce: each pair has a grade.",
        "Layers kept of the base model: 0, 5, 11",
        "1,080 steps, best after step 720",
        "it was stopped early, because the dev part got no better, 25.0 minutes, on cpu, in float32",
        "| seed | 42 |",
        "it passed the thresholds.",
        "| min_spearman | 0.9991 | 0.99 |",
        "Speed: 2.32 times the reference's",
        "pairscore 0.1, torch 2.13.",
        "Machine: Some CPU, 2 cores.",
        "- No test of time.",
        "After is the model in `model/`.",
        "| sts: test | spearman | 0.8650 | 0.8642 |",
        "Probabilities are calibrated: platt, fitted on the dev part",
    ],
)
def test_the_card_says_what_the_files_say(said):
    """Every fact of the run, the report and the parity report has its place."""
    assert said in model_card(ALL)


def test_paths_of_the_machine_stay_on_it():
    """A card goes to others."""
    card = model_card(ALL)

    assert "/home/" not in card
    assert "| base | model |" in card


def test_what_no_file_says_is_left_out():
    """A run that has only begun gets a card without results, data or promises."""
    card = model_card(CardSources(name="new", run={}))

    assert head_of(card) == {
        "library_name": "sentence-transformers",
        "pipeline_tag": "text-classification",
        "tags": ["cross-encoder", "pairscore"],
    }
    titles = [line for line in card.splitlines() if line.startswith("#") and "folder" not in line]
    assert titles == ["# new", "## Limits"]
    assert "None" not in card
    assert "nan" not in card


def test_a_failed_conversion_is_said():
    """Also where whoever converted accepted it."""
    card = model_card(replace(ALL, parity={**PARITY, "passed": False, "accepted": True}))

    assert "it FAILED the thresholds, and was accepted all the same" in card


def test_a_conversion_that_was_not_kept_is_said():
    """Then the float32 weights are what is served."""
    steps = {"convert": {"kept": False, "verdict": "Failed: too far."}}
    card = model_card(replace(ALL, run={**RUN, "steps": steps}, parity=None))

    assert "No converted model was kept; the float32 weights in `best/` are served. Failed:" in card


# -------------------------------------------------------------------------------------- from a folder


@pytest.fixture
def folder(tmp_path):
    """A run that has weights, a report and a converted model."""
    run = RunFolder.create(
        tmp_path / "mine", Recipe(data=DataRecipe(train="train.tsv"), seed=7), facts=RUN
    )
    run.finish_step("train", RUN["steps"]["train"])
    run.best.mkdir()
    for name in ("config.json", "tokenizer.json", "tokenizer_config.json"):
        shutil.copy(BUNDLED / name, run.best)
    save_file({"classifier.weight": np.zeros((1, 4), np.float32)}, run.best / "model.safetensors")
    run.model.mkdir()
    shutil.copy(BUNDLED / "parity.json", run.model)
    write(REPORT, run.path)
    return run


def test_a_card_is_written_from_the_folder_of_a_run(folder):
    """Record, recipe, report, parity and the model's own config are read from their places."""
    sources = card_sources(folder)
    card = model_card(sources)

    assert sources.name == "mine"
    assert sources.report == REPORT
    assert "| data.train | train.tsv |" in card
    assert "| seed | 7 |" in card
    assert "best after step 720" in card
    assert "The score is the logit" in card
    assert "it passed the thresholds" in card


def test_a_run_without_weights_has_a_card_too(tmp_path):
    """Nothing is needed but the record."""
    run = RunFolder.create(tmp_path / "new", Recipe(data=DataRecipe(train="train.tsv")))

    assert "## Results" not in model_card(card_sources(run))


def test_a_broken_parity_report_is_refused(folder):
    """With its name and what to do."""
    (folder.model / "parity.json").write_text("[1]")

    with pytest.raises(DataFileError, match="no parity report; convert again"):
        card_sources(folder)


@pytest.mark.parametrize(
    ("task", "purpose"),
    [("relevance", "relevance"), ("similarity", "similarity"), ("duplicate", "similarity")],
)
def test_the_card_tells_a_model_its_task_again(folder, task, purpose):
    """Beside the weights the head decides what the model is for, and it says the licence of the base."""
    folder.note(task=task)
    (folder.best / "README.md").write_text(model_card(card_sources(folder)))
    meaning = card_sources(folder).meaning

    assert meaning is not None
    assert meaning.task == purpose
    assert licence_of(resolve(str(folder.best), kind="safetensors")) == "apache-2.0"
