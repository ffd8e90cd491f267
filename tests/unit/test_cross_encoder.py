"""The library's face, on a model without weights; `golden/` and `property/` have the real one."""

from __future__ import annotations

import io
import json
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import redirect_stderr
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from pairscore import CrossEncoder, RoadConfig
from pairscore.errors import (
    BackendError,
    ClosedError,
    EmptyInputError,
    NonFiniteScoreError,
    PairError,
    SettingError,
)
from pairscore.road.backends.fake import FakeBackend
from pairscore.values import Batch

QUERY = "how do plants make food"
DOCUMENTS = ["the price of bread", "plants make food from light", "how do plants make food"]


class Sigmoid:
    """Named like torch's module, which is how it is known without torch."""

    def __call__(self, x: Any) -> Any:
        raise AssertionError("known by name, never called")


def test_many_pairs_give_an_array_and_one_pair_a_scalar(fake_encoder: CrossEncoder) -> None:
    """As sentence-transformers does."""
    many = fake_encoder.predict([(QUERY, d) for d in DOCUMENTS])
    one = fake_encoder.predict((QUERY, DOCUMENTS[1]))

    assert many.dtype == np.float32
    assert many.shape == (3,)
    assert isinstance(one, np.float32)
    assert one == many[1]


@pytest.mark.parametrize(
    "pairs",
    [
        [[QUERY, d] for d in DOCUMENTS],
        tuple((QUERY, d) for d in DOCUMENTS),
        np.array([[QUERY, d] for d in DOCUMENTS]),
        ((QUERY, d) for d in DOCUMENTS),
    ],
    ids=["lists", "tuples", "numpy", "generator"],
)
def test_pairs_come_in_any_container(fake_encoder: CrossEncoder, pairs: Any) -> None:
    """Lists, tuples, arrays of strings and generators are all pairs."""
    expected = fake_encoder.predict([(QUERY, d) for d in DOCUMENTS])

    assert fake_encoder.predict(pairs).tolist() == expected.tolist()


def test_the_fake_reaches_from_nothing_in_common_to_everything(fake_encoder: CrossEncoder) -> None:
    """-8 for strangers, 8 for a document that is the query: users' tests can rely on it."""
    assert fake_encoder.predict([("berlin", "paris"), ("berlin", "berlin")]).tolist() == [-8.0, 8.0]


def test_rank_orders_and_keeps_sentence_transformers_keys(fake_encoder: CrossEncoder) -> None:
    """Best first, positions of the input, plain Python floats, texts only if asked for."""
    plain = fake_encoder.rank(QUERY, DOCUMENTS)
    full = fake_encoder.rank(QUERY, DOCUMENTS, top_k=1, return_documents=True)

    assert [entry["corpus_id"] for entry in plain] == [2, 1, 0]
    assert set(plain[0]) == {"corpus_id", "score"}
    assert type(plain[0]["score"]) is float
    assert full == [{**plain[0], "text": DOCUMENTS[2]}]
    json.dumps(full)


def test_score_says_everything(fake_encoder: CrossEncoder) -> None:
    """Logits, scores, probabilities, scale, tokens, truncation and the model's name."""
    made = fake_encoder.score([(QUERY, DOCUMENTS[0]), (QUERY, "word " * 1000)])

    assert len(made) == 2
    assert made.scale == "logit"
    assert made.model == "ms-marco-minilm-l12"
    assert made.scores.tolist() == made.logits.tolist()
    assert made.truncated.tolist() == [False, True]
    assert made.num_truncated == 1
    assert made.num_tokens[1] == 512
    assert made.probabilities.dtype == np.float32


def test_batch_size_changes_the_batches_and_not_the_scores() -> None:
    """It is an upper limit on pairs in a micro-batch."""
    backend = FakeBackend()
    with CrossEncoder(backend=backend) as model:
        pairs = [(QUERY, d) for d in DOCUMENTS]
        expected = model.predict(pairs)
        before = backend.num_runs
        made = model.predict(pairs, batch_size=1)

    assert made.tolist() == expected.tolist()
    assert backend.num_runs - before == 3


def test_activation_fn_replaces_the_models_own(fake_encoder: CrossEncoder) -> None:
    """A function of the logits; torch's own are known by name."""
    pairs = [(QUERY, d) for d in DOCUMENTS]
    scores = fake_encoder.score(pairs)

    assert fake_encoder.predict(pairs, activation_fn=Sigmoid()).tolist() == (
        scores.probabilities.tolist()
    )
    assert (
        fake_encoder.predict(pairs, activation_fn=lambda x: -x).tolist()
        == (-scores.logits).tolist()
    )
    with CrossEncoder(backend="fake", activation_fn=Sigmoid()) as model:
        assert model.rank(QUERY, DOCUMENTS)[0]["score"] == pytest.approx(scores.probabilities.max())


@pytest.mark.parametrize(
    ("function", "error"),
    [(lambda x: x[:1], SettingError), (lambda x: x * np.nan, NonFiniteScoreError)],
    ids=["shape", "nan"],
)
def test_an_activation_fn_is_checked(
    fake_encoder: CrossEncoder, function: Any, error: type[Exception]
) -> None:
    """Neither a wrong shape nor NaN gets through."""
    with pytest.raises(error, match="activation_fn"):
        fake_encoder.predict([(QUERY, d) for d in DOCUMENTS], activation_fn=function)


@pytest.mark.parametrize(
    ("documents", "error", "message"),
    [
        ([], EmptyInputError, "no document"),
        ("one text", PairError, "list of strings"),
        (None, PairError, "list of strings"),
        (["a", 7], PairError, "document of entry 1"),
    ],
)
def test_rank_refuses_what_is_no_list_of_texts(
    fake_encoder: CrossEncoder, documents: Any, error: type[Exception], message: str
) -> None:
    """Each with its remedy."""
    with pytest.raises(error, match=message):
        fake_encoder.rank(QUERY, documents)


def test_rank_refuses_a_query_that_is_no_text(fake_encoder: CrossEncoder) -> None:
    """None is not a query."""
    with pytest.raises(PairError, match="query is a NoneType"):
        fake_encoder.rank(None, DOCUMENTS)


def test_predict_refuses_an_empty_list(fake_encoder: CrossEncoder) -> None:
    """Nothing to score is an error of ours, not an empty surprise later."""
    with pytest.raises(EmptyInputError):
        fake_encoder.predict([])


@pytest.mark.parametrize("batch_size", [0, -3, True])
def test_a_senseless_batch_size_is_refused(fake_encoder: CrossEncoder, batch_size: int) -> None:
    """The value is named."""
    with pytest.raises(SettingError, match="batch_size"):
        fake_encoder.predict([("a", "b")], batch_size=batch_size)


@pytest.mark.parametrize(
    "options",
    [
        {"max_length": 2},
        {"budget": 0},
        {"num_workers": 0},
        {"num_workers": True},
        {"max_chars": 0},
        {"truncation_side": "middle"},
    ],
)
def test_senseless_settings_are_refused(options: dict[str, Any]) -> None:
    """When they are made, not when they are used."""
    (name,) = options
    with pytest.raises(SettingError, match=name):
        RoadConfig(**options)


def test_keywords_win_over_the_config_and_the_rest_of_it_stays() -> None:
    """Two ways to say the same never lose a third setting."""
    config = RoadConfig(max_length=100, budget=64, truncation_side="left", max_chars=999)
    with CrossEncoder(backend="fake", config=config, max_length=50) as model:
        kept = replace(config, max_length=50).settled(budget=512, num_workers=None)
        assert model._road.config == kept


def test_only_the_cpu_is_accepted() -> None:
    """Code that names the device keeps working where it can be kept true."""
    CrossEncoder(device="cpu").close()
    with pytest.raises(SettingError, match="cuda"):
        CrossEncoder(device="cuda")


def test_max_length_is_honoured_and_never_above_the_models() -> None:
    """A smaller limit cuts more; a larger one than the model's has no effect."""
    with CrossEncoder(backend="fake", max_length=64) as model:
        assert model.max_length == 64
        assert model.score([("q", "word " * 100)]).num_tokens.tolist() == [64]
    with CrossEncoder(backend="fake", max_length=4096) as model:
        assert model.max_length == 512


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
def test_a_number_that_is_not_finite_never_reaches_the_caller(value: float) -> None:
    """It is an error, with the model's name."""
    with (
        CrossEncoder(backend=FakeBackend(logit=value)) as model,
        pytest.raises(NonFiniteScoreError, match="ms-marco-minilm-l12"),
    ):
        model.predict([("a", "b")])


def test_a_failing_model_fails_the_call_and_the_next_call_works() -> None:
    """The error comes out as it is, nothing hangs, and nothing stays queued."""
    backend = FakeBackend(error=BackendError("broken"), delay_s=0.02)
    with CrossEncoder(backend=backend, num_workers=1) as model:
        with pytest.raises(BackendError, match="broken"):
            model.predict([("a", "b")] * 20, batch_size=1)
        backend.error = None
        assert np.isfinite(model.predict([("a", "a")])).all()
        # With one worker the second call would wait behind whatever the first one had left.
        assert backend.num_runs < 20


def test_a_backend_that_gives_too_few_logits_is_an_error() -> None:
    """A wrong count is never spread over the pairs."""

    class Short(FakeBackend):
        def run(self, batch: Batch, *, num_threads: int = 1) -> Any:
            return super().run(batch)[:-1]

    with CrossEncoder(backend=Short()) as model, pytest.raises(BackendError, match="logits for"):
        model.predict([("a", "b"), ("c", "d")])


def test_closed_means_closed() -> None:
    """A second close does nothing; a use after it is an error with the remedy."""
    backend = FakeBackend()
    model = CrossEncoder(backend=backend)
    model.close()
    model.close()

    assert backend.closed
    with pytest.raises(ClosedError, match="make a new one"):
        model.predict([("a", "b")])


def test_threads_share_one_model_and_get_their_own_answers(fake_encoder: CrossEncoder) -> None:
    """32 threads at once, each with other pairs, each with the right scores."""
    jobs = [[(f"alpha {i} beta", f"alpha {i} gamma {j}") for j in range(20)] for i in range(32)]
    expected = [fake_encoder.predict(job).tolist() for job in jobs]
    barrier = threading.Barrier(32)

    def work(job: list[tuple[str, str]]) -> list[float]:
        barrier.wait()
        return fake_encoder.predict(job).tolist()

    with ThreadPoolExecutor(32) as pool:
        assert list(pool.map(work, jobs)) == expected


def test_the_progress_bar_goes_to_standard_error(fake_encoder: CrossEncoder) -> None:
    """And only when it is asked for."""
    drawn, silent = io.StringIO(), io.StringIO()
    with redirect_stderr(drawn):
        fake_encoder.predict([("a", "b")] * 3, show_progress_bar=True)
    with redirect_stderr(silent):
        fake_encoder.predict([("a", "b")] * 3)

    assert "pairs" in drawn.getvalue()
    assert silent.getvalue() == ""


def test_more_pairs_than_a_window_keep_their_order(monkeypatch: pytest.MonkeyPatch) -> None:
    """Large inputs are tokenized window by window, and nobody can tell."""
    pairs = [(f"w{i % 7} x", f"w{i % 5} x y") for i in range(50)]
    with CrossEncoder(backend="fake") as model:
        expected = model.predict(pairs).tolist()
        monkeypatch.setattr("pairscore.cross_encoder._WINDOW", 8)
        assert model.predict(pairs).tolist() == expected
