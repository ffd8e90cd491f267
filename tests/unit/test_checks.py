"""The load-time checks: each with a model that fails it and one that passes, and the ways to skip them."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pairscore import CrossEncoder
from pairscore.config import RoadConfig
from pairscore.errors import ModelCheckError, SettingError
from pairscore.models.facts import Facts
from pairscore.models.resolve import resolve
from pairscore.road import file_checks
from pairscore.road.backends.fake import FakeBackend
from pairscore.road.checks import CHECKS, examine
from pairscore.road.file_checks import Subject
from pairscore.road.headers import Header, read_header
from pairscore.road.road import Road, open_road
from pairscore.values import Batch, FloatArray

BERT_HEAD = {
    "bert.embeddings.word_embeddings.weight": (30522, 8),
    "bert.embeddings.position_embeddings.weight": (512, 8),
    "bert.pooler.dense.weight": (8, 8),
    "classifier.weight": (1, 8),
}
DECODER = {"model_type": "qwen3", "architectures": ["Qwen3ForSequenceClassification"]}


class Scorer:
    """A backend that a user wrote: any function of one row's tokens, types and mask."""

    name = "mine"

    def __init__(self, score: Callable[[Batch], Any]) -> None:
        self._score = score

    def run(self, batch: Batch, *, num_threads: int = 1) -> FloatArray:
        return np.asarray(self._score(batch), dtype=np.float32)

    def close(self) -> None: ...


def overlap(batch: Batch) -> FloatArray:
    """What the fake backend says, which is right of every canary."""
    return FakeBackend().run(batch)


def _copy(folder: Path, *, config: dict[str, Any] | None = None) -> Path:
    """The bundled model's files in a folder of their own, with other facts in config.json."""
    folder.mkdir(exist_ok=True)
    for path in resolve().folder.iterdir():
        if path.name not in ("manifest.json", "config.json"):
            (folder / path.name).symlink_to(path)
    facts = json.loads((resolve().folder / "config.json").read_text(encoding="utf-8"))
    (folder / "config.json").write_text(json.dumps({**facts, **(config or {})}), encoding="utf-8")
    return folder


def _safetensors(path: Path, shapes: dict[str, tuple[int, ...]]) -> None:
    """A file with a header and nothing behind it, which is all that is read of it."""
    entries = {name: {"dtype": "F32", "shape": shape} for name, shape in shapes.items()}
    header = json.dumps({"__metadata__": {"format": "pt"}, **entries}).encode()
    path.write_bytes(len(header).to_bytes(8, "little") + header)


@pytest.fixture(scope="module")
def road(tmp_path_factory: pytest.TempPathFactory) -> Road:
    """The bundled model."""
    return open_road()


@pytest.fixture(scope="module")
def subject(road: Road) -> Subject:
    """What its files would say if they were safetensors."""
    facts = Facts(
        config=json.loads((resolve().folder / "config.json").read_text(encoding="utf-8")),
        tokenizer={"model_input_names": ["input_ids", "token_type_ids"], "sep_token": "[SEP]"},
        settings={},
        module={},
        chain=(),
        has_chat_template=False,
        tags=frozenset(),
    )
    return Subject(
        card=road.card, facts=facts, tokenizer=road.tokenizer, run=Header(shapes=BERT_HEAD)
    )


def _with(subject: Subject, **config: Any) -> Subject:
    facts = replace(subject.facts, config={**subject.facts.config, **config})
    return replace(subject, facts=facts)


def _without(name: str) -> Header:
    return Header(shapes={key: shape for key, shape in BERT_HEAD.items() if name not in key})


def _graph(*inputs: str, output: tuple[int, ...] = (0, 1)) -> Header:
    return Header(shapes={}, inputs=inputs, output=output)


def test_a_sound_model_passes_every_check_on_files(subject: Subject) -> None:
    """So what fails below fails by what was changed."""
    for look in (
        file_checks.check_head,
        file_checks.check_token_types,
        file_checks.check_template,
        file_checks.check_vocabulary,
        file_checks.check_positions,
    ):
        assert look(subject) is None


@pytest.mark.parametrize("missing", ["classifier", "pooler"])
def test_head_a_missing_weight_would_be_random(subject: Subject, missing: str) -> None:
    """The pooler feeds the head alone, so it is as random as the head."""
    message = file_checks.check_head(replace(subject, run=_without(missing)))

    assert message is not None
    assert missing in message


def test_head_safetensors_beside_the_onnx_file_tell_of_its_making(subject: Subject) -> None:
    """An exporter would have filled the head with random numbers before it wrote the graph."""
    graph = _graph("input_ids", "attention_mask", "token_type_ids")
    sound = replace(subject, run=graph, beside=Header(shapes=BERT_HEAD))

    assert file_checks.check_head(sound) is None
    message = file_checks.check_head(replace(sound, beside=_without("classifier")))
    assert message is not None
    assert "beside" in message


@pytest.mark.parametrize("output", [(0, 0, 8), (0, 2)])
def test_head_a_graph_without_logits_or_with_others(
    subject: Subject, output: tuple[int, ...]
) -> None:
    """Hidden states, or another number of labels than config.json names."""
    assert file_checks.check_head(replace(subject, run=_graph("input_ids", output=output)))


def test_head_an_unknown_architecture_needs_a_last_layer(subject: Subject) -> None:
    """No table of names, so any of the usual ones will do."""
    other = replace(_with(subject, **DECODER), run=Header(shapes={"model.norm.weight": (8,)}))

    assert file_checks.check_head(other)
    assert (
        file_checks.check_head(replace(other, run=Header(shapes={"score.weight": (1, 8)}))) is None
    )


def test_token_types_an_exporter_dropped_the_input(subject: Subject) -> None:
    """A BERT without segment ids scores, wrongly."""
    message = file_checks.check_token_types(
        replace(subject, run=_graph("input_ids", "attention_mask"))
    )

    assert message is not None
    assert "dropped" in message
    roberta = replace(_with(subject, type_vocab_size=1), run=_graph("input_ids", "attention_mask"))
    assert file_checks.check_token_types(roberta) is None


def test_token_types_a_tokenizer_that_lost_its_template(subject: Subject, tmp_path: Path) -> None:
    """Both texts get the type 0, and the config says that there are two."""
    folder = _copy(tmp_path)
    content = json.loads((folder / "tokenizer.json").read_text(encoding="utf-8"))
    for part in content["post_processor"]["pair"]:
        for piece in part.values():
            piece["type_id"] = 0
    (folder / "tokenizer.json").unlink()
    (folder / "tokenizer.json").write_text(json.dumps(content), encoding="utf-8")
    lost = replace(subject, tokenizer=open_road(folder, backend="fake").tokenizer)

    assert file_checks.check_token_types(lost)


def test_template_a_decoder_needs_something_between_the_texts(
    subject: Subject, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A prompt, or tokens of its own template."""
    decoder = _with(subject, **DECODER)
    assert file_checks.check_template(decoder) is None

    bare = replace(subject.tokenizer.template, between=np.zeros(0, dtype=np.int64))
    monkeypatch.setattr(subject.tokenizer, "_template", bare)
    assert file_checks.check_template(decoder)
    assert file_checks.check_template(subject) is None
    assert file_checks.check_template(replace(decoder, prompt="Query: ")) is None


def test_template_a_chat_is_not_a_pair(subject: Subject) -> None:
    """sentence-transformers would write the pair as messages."""
    module = {"modality_config": {"text": {}, "message": {}}}

    assert file_checks.check_template(replace(subject, facts=replace(subject.facts, module=module)))


def test_vocabulary_more_ids_than_rows(subject: Subject) -> None:
    """The weights' own table counts, and the config where the file does not say."""
    short = Header(shapes={**BERT_HEAD, "bert.embeddings.word_embeddings.weight": (30000, 8)})
    message = file_checks.check_vocabulary(replace(subject, run=short))

    assert message is not None
    assert "30,522 ids" in message
    assert file_checks.check_vocabulary(replace(_with(subject, vocab_size=30000), run=None))


def test_vocabulary_special_tokens_that_are_not_there(subject: Subject) -> None:
    """Transformers would add one, with an id beyond the table."""
    lacking = replace(subject.facts, tokenizer={"sep_token": {"content": "</s>"}})

    assert file_checks.check_vocabulary(replace(subject, facts=lacking))
    outside = replace(subject, card=replace(subject.card, pad_id=30522))
    assert file_checks.check_vocabulary(outside)


def test_positions_a_table_shorter_than_the_config_says(subject: Subject) -> None:
    """The remedy is a maximum length that fits."""
    short = Header(shapes={**BERT_HEAD, "bert.embeddings.position_embeddings.weight": (256, 8)})
    message = file_checks.check_positions(replace(subject, run=short))

    assert message is not None
    assert "max_length=256" in message


@pytest.mark.parametrize(
    ("name", "score"),
    [
        ("finite", lambda batch: np.full(batch.num_pairs, np.nan)),
        ("order", lambda batch: -overlap(batch)),
        ("batch", lambda batch: overlap(batch) + batch.ids.shape[1] / 4),
    ],
)
def test_a_backend_that_scores_wrongly_is_refused_and_can_be_had_all_the_same(
    name: str, score: Callable[[Batch], Any]
) -> None:
    """Of a backend that the caller brings only what it puts out can be checked."""
    with pytest.raises(ModelCheckError, match=f"--skip-check {name}") as caught:
        open_road(backend=Scorer(score))

    assert caught.value.check == name
    assert open_road(backend=Scorer(score), skip_checks=[name]).backend_name == "mine"
    assert open_road(backend=Scorer(overlap)).backend_name == "mine"


def test_order_needs_a_majority_and_ties_are_no_evidence() -> None:
    """A model of another language may see all canaries alike."""
    assert open_road(backend=Scorer(lambda batch: np.zeros(batch.num_pairs)))


def test_order_is_asked_of_relevance_and_similarity_only(tmp_path: Path) -> None:
    """Contradiction has no order."""
    labels = {"id2label": {"0": "no", "1": "yes"}}
    folder = _copy(tmp_path, config=labels)

    def upside_down(batch: Batch) -> FloatArray:
        return np.stack([-overlap(batch)] * 2, axis=1)

    assert open_road(folder, backend=Scorer(upside_down))


def test_the_fake_backend_is_exempt() -> None:
    """Its failures are asked for, and come when they are."""
    assert all(finding.skipped for finding in examine(open_road(backend=FakeBackend(logit=0.0))))
    assert open_road(backend=FakeBackend(logit=float("nan")))


def test_the_bundled_model_passes_every_check(road: Road) -> None:
    """Those on files and those that run; at its start none is made, because its files are verified."""
    findings = examine(road)

    assert [finding.name for finding in findings] == list(CHECKS)
    assert all(finding.passed for finding in findings)
    assert [finding.name for finding in findings if finding.skipped] == ["calibration"]


def test_examine_reports_what_check_would_refuse(tmp_path: Path) -> None:
    """Every failure, not the first one only."""
    folder = _copy(tmp_path, config={"architectures": ["BertModel"], "pad_token_id": 99999})
    findings = examine(open_road(folder, skip_checks=CHECKS), skip=["order"])
    failed = {finding.name for finding in findings if not finding.passed}

    assert failed == {"head", "vocabulary", "finite"}  # the padding id fails on the run, too
    assert {finding.name for finding in findings if finding.skipped} == {"order", "calibration"}


def test_a_folder_without_a_head_is_refused_by_the_library(tmp_path: Path) -> None:
    """The whole way, with safetensors beside the graph; and the way to override."""
    folder = _copy(tmp_path)
    _safetensors(folder / "model.safetensors", BERT_HEAD)
    CrossEncoder(folder).close()
    _safetensors(folder / "model.safetensors", {"bert.pooler.dense.weight": (8, 8)})
    with pytest.raises(ModelCheckError, match="random numbers"):
        CrossEncoder(folder)
    CrossEncoder(folder, skip_checks=["head"]).close()


@pytest.mark.parametrize(
    ("skip", "message"),
    [
        (["heads"], "did you mean 'head'"),
        (["zzz"], "the checks are|The checks are"),
        ("head", "list"),
    ],
)
def test_a_misspelt_check_is_refused(skip: Any, message: str) -> None:
    """It would switch off nothing, in silence."""
    with pytest.raises(SettingError, match=message):
        open_road(backend="fake", skip_checks=skip)


def test_a_file_that_is_not_understood_says_nothing(tmp_path: Path) -> None:
    """The backend that loads it has the right words."""
    files = resolve()
    for name, content in (
        ("a.safetensors", b"\xff" * 16),
        ("b.safetensors", b""),
        ("a.onnx", b"version https"),
        ("b.onnx", b""),
    ):
        path = tmp_path / name
        path.write_bytes(content)
        assert read_header(files, path) is None
    assert read_header(files, tmp_path / "none.onnx") is None


def test_the_header_of_the_bundled_graph() -> None:
    """Inputs, outputs and shapes, without the onnx package."""
    files = resolve()
    header = read_header(files, files.weights)

    assert header is not None
    assert header.inputs == ("input_ids", "attention_mask", "token_type_ids")
    assert header.output == (0, 1)
    assert header.shapes["bert.embeddings.LayerNorm.weight"] == (384,)


def test_a_shorter_limit_satisfies_the_positions(subject: Subject) -> None:
    """What counts is what will be read."""
    short = Header(shapes={**BERT_HEAD, "bert.embeddings.position_embeddings.weight": (256, 8)})
    tokenizer = open_road(backend="fake", config=RoadConfig(max_length=128)).tokenizer

    assert file_checks.check_positions(replace(subject, run=short, tokenizer=tokenizer)) is None
