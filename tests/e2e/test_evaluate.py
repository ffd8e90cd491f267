"""`pairscore evaluate` as it is installed, with the real models: measured, kept, written, and loaded late."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
from tests.judged import beir_folder, flat_folder, json_lines, write_files

from pairscore import CrossEncoder
from pairscore.evaluation.score_cache import ScoreCache
from pairscore.evaluation.trec_files import read_run

PAIRSCORE = str(Path(sys.executable).parent / "pairscore")


def _environment(cache: Path) -> dict[str, str]:
    return {**os.environ, "HF_HUB_OFFLINE": "1", "XDG_CACHE_HOME": str(cache)}


def _run(cache: Path, *args: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [PAIRSCORE, "evaluate", *map(str, args)],
        check=False,
        capture_output=True,
        encoding="utf-8",
        env=_environment(cache),
        timeout=100,
    )


def _json(cache: Path, *args: object) -> dict:
    result = _run(cache, *args, "--json")
    assert result.returncode == 0, result.stderr
    return json.loads(result.stdout)


@pytest.mark.slow
def test_a_bad_first_ranking_is_put_right(tmp_path: Path, encoder: CrossEncoder) -> None:
    """By the scores that the library gives; the second run computes none of them, and gives the same."""
    folder = flat_folder(tmp_path / "data")
    out = tmp_path / "out.txt"
    found = _json(tmp_path, folder, "--save-run", out)
    again = _json(tmp_path, folder)

    (run,) = found["runs"]
    assert run["before"]["RR@10"] == pytest.approx((1 / 3 + 1 / 2) / 2)
    assert run["after"]["RR@10"] == 1.0
    query = "how many people live in berlin"
    (score,) = encoder.predict(
        [(query, "Berlin Berlin has about three and a half million inhabitants.")]
    )
    ranking = read_run(out, name="out").rankings["q1"]
    assert ranking.document_ids[0] == "d1"
    assert ranking.scores[0] == pytest.approx(float(score), abs=1e-4)
    assert (found["num_cached"], again["num_cached"]) == (0, 6)
    assert again["runs"] == found["runs"]


@pytest.mark.slow
def test_both_models_are_measured_in_one_run(tmp_path: Path) -> None:
    """The bi-encoder finds candidates in the corpus, which the cross-encoder orders."""
    found = _json(tmp_path, beir_folder(tmp_path / "data"), "--bi-encoder", "all-minilm-l6")
    (run,) = found["runs"]

    assert run["before"]["RR@10"] == run["after"]["RR@10"] == 1.0
    assert run["num_reranked"] == 10


@pytest.mark.slow
def test_pairs_are_measured(tmp_path: Path) -> None:
    """With quotes in a tab-separated file that are part of the texts."""
    rows = (
        "score\tsentence1\tsentence2",
        '5.0\t"A man is playing a guitar," she said.\tShe said a man is playing a guitar.',
        "3.0\tA man is playing a guitar.\tA woman is playing a guitar.",
        "0.0\tA man is playing a guitar.\tThe river was frozen.",
        "0.2\tTwo dogs run.\tThe price of bread rose.",
    )
    path = write_files(tmp_path, {"pairs.tsv": "\n".join(rows)}) / "pairs.tsv"
    found = _json(tmp_path, path, "--bi-encoder", "all-minilm-l6")

    assert [model["measures"]["spearman"] > 0.7 for model in found["models"]] == [True, True]


def _many(folder: Path, count: int) -> Path:
    """One query with so many candidates."""
    ids = [f"m{i}" for i in range(count)]
    return flat_folder(
        folder,
        **{
            "corpus.jsonl": json_lines(
                *({"docid": name, "text": f"Berlin has {name} people. " * 2} for name in ids)
            ),
            "qrels.tsv": "q1 0 m1 1\n",
            "run.bm25.tsv": "".join(f"q1 {name}\n" for name in ids),
        },
    )


@pytest.mark.slow
def test_what_was_scored_before_a_kill_is_not_scored_again(tmp_path: Path) -> None:
    """The work goes on where it was killed, but for what was under way."""
    folder = _many(tmp_path / "data", 4000)
    arguments = [PAIRSCORE, "evaluate", str(folder), "--top-k", "4000", "--quiet"]
    process = subprocess.Popen(arguments, env=_environment(tmp_path), stdout=subprocess.DEVNULL)
    until = time.monotonic() + 90
    while _num_kept(tmp_path) < 200 and time.monotonic() < until:
        assert process.poll() is None
        time.sleep(0.05)
    process.kill()
    process.wait(10)
    found = _json(tmp_path, folder, "--top-k", "200")

    assert found["num_cached"] == found["num_scored"] == 200


def _num_kept(cache: Path) -> int:
    path = cache / "pairscore" / "scores-1.sqlite"
    if not path.exists():
        return 0
    with ScoreCache(path) as kept:
        return len(kept)


def test_help_and_the_import_stay_light() -> None:
    """Neither the measuring libraries nor the model's runtime are loaded before there is something to measure."""
    code = (
        "import sys; from typer.testing import CliRunner; from pairscore.cli.main import app; "
        "assert CliRunner().invoke(app, ['evaluate', '--help']).exit_code == 0; "
        "print([name for name in ('numpy', 'scipy', 'sklearn', 'ir_measures', 'onnxruntime') if name in sys.modules])"
    )
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, encoding="utf-8", check=False, timeout=60
    )

    assert (result.stdout.strip(), result.stderr) == ("[]", "")
