"""BiEncoder: what callers give and get, prompts, cuts, memory, and every way to fail; without torch."""

from __future__ import annotations

import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.vector_models import WIDTH, vector_folder

from pairscore import BiEncoder, RoadConfig, bi_encoder
from pairscore.errors import (
    BackendError,
    ClosedError,
    InputError,
    LimitError,
    NonFiniteScoreError,
    OutOfMemoryError,
    SettingError,
    TextError,
)
from pairscore.retrieval.base import Encoder
from pairscore.road.backends.fake import FakeBackend

PAGE = Path(__file__).parents[2] / "docs" / "encoding.md"
BERLIN = "How many people live in Berlin?"
TEXTS = [
    BERLIN,
    "Berlin has more people than Hamburg.",
    "",
    "The cat sat on the mat.",
    "word " * 600,
    BERLIN,
    " \n\t ",
]
PROMPTS = {
    "prompts": {"query": "query: ", "passage": "passage: ", "other": "do this: "},
    "default_prompt_name": "other",
}


@pytest.fixture
def fake() -> Iterator[BiEncoder]:
    """A BiEncoder without weights."""
    with BiEncoder(backend="fake") as encoder:
        yield encoder


def _own(backend: FakeBackend, **options: Any) -> BiEncoder:
    """The bundled model's files, and a backend that can be asked and told to fail."""
    return BiEncoder(backend=backend, num_workers=1, **options)


def _vectors() -> FakeBackend:
    return FakeBackend(dimension=384)


def test_vectors_have_the_order_and_the_shape_of_the_texts(fake: BiEncoder) -> None:
    """Float32, a row each; one text gives one vector, no text gives none."""
    made = fake.encode(TEXTS)

    assert (made.dtype, made.shape) == (np.float32, (len(TEXTS), fake.dimension))
    assert fake.encode(BERLIN).tolist() == made[0].tolist() == made[5].tolist()
    assert fake.encode([]).shape == (0, fake.dimension)
    assert fake.encode(text for text in TEXTS).tolist() == made.tolist()
    assert fake.encode(np.array(TEXTS[:2])).tolist() == made[:2].tolist()


def test_texts_that_share_words_are_near(fake: BiEncoder) -> None:
    """So a search with the backend without weights finds something."""
    made = fake.encode(TEXTS)
    berlin, hamburg, cat = made[0], made[1], made[3]

    assert fake.similarity(berlin, hamburg)[0, 0] > fake.similarity(berlin, cat)[0, 0] + 0.2


def test_an_encoder_is_what_the_search_wants(fake: BiEncoder) -> None:
    """The protocol's names and shapes, vectors of length 1."""
    encoder: Encoder = fake
    queries, documents = encoder.encode_queries(TEXTS), encoder.encode_documents(TEXTS)

    for made in (queries, documents):
        assert made.shape == (len(TEXTS), encoder.dimension)
        assert np.linalg.norm(made, axis=1) == pytest.approx(np.ones(len(TEXTS)), abs=1e-5)
    assert encoder.name == "all-minilm-l6"


def test_what_was_cut_is_told(fake: BiEncoder) -> None:
    """One text has 600 words and the model reads 256 tokens; two have nothing but special tokens."""
    made = fake.embed(TEXTS)

    assert made.truncated.tolist() == [False, False, False, False, True, False, False]
    assert (made.num_truncated, len(made), made.model) == (1, 7, "all-minilm-l6")
    assert made.num_tokens.tolist()[2:5] == [2, 9, 256]
    assert fake.embed("word " * 254).truncated.tolist() == [False]
    assert fake.embed("word " * 255).truncated.tolist() == [True]


@pytest.mark.parametrize("words", [300, 3000, 30_000])
@pytest.mark.parametrize("side", ["right", "left"])
def test_a_long_text_is_its_beginning_or_its_end(words: int, side: Any) -> None:
    """However long: what is cut by characters first changes no token that is kept."""
    text = " ".join(f"{'long' if number % 3 else 'words'} {number}" for number in range(words))
    backend = _vectors()
    with _own(backend, config=RoadConfig(truncation_side=side)) as encoder:
        (row,) = encoder._road.encode([text])
        whole = encoder._road.tokenizer._tokenizer.encode(text, add_special_tokens=False).ids

    kept = whole[:254] if side == "right" else whole[-254:]
    assert row.ids[1:-1].tolist() == kept


def test_long_unbroken_texts_are_tokenized_whole(fake: BiEncoder) -> None:
    """Where a cut by characters leaves too few tokens, the rest is read after all."""
    text = f"{'a' * 3000} {'b' * 3000}" + " word" * 300

    assert fake.embed(text).num_tokens.tolist() == [256]


def test_a_shorter_limit_is_kept(fake: BiEncoder) -> None:
    """And never more than the model can read."""
    with BiEncoder(backend="fake", max_length=16) as short:
        assert short.embed(TEXTS[4]).num_tokens.tolist() == [16]
    with BiEncoder(backend="fake", max_length=4096) as long:
        assert long.max_length == fake.max_length == 256


def test_equal_texts_are_run_once(fake: BiEncoder) -> None:
    """In a window."""
    backend = _vectors()
    with _own(backend) as encoder:
        loading = len(backend.batches)
        encoder.encode([BERLIN] * 50 + ["another"] * 50)

    assert sum(rows for rows, *_ in backend.batches[loading:]) == 2


def test_windows_change_nothing(fake: BiEncoder, monkeypatch: pytest.MonkeyPatch) -> None:
    """They only bound what lies in memory as tokens."""
    texts = TEXTS * 3
    expected = fake.embed(texts)
    monkeypatch.setattr(bi_encoder, "_WINDOW", 4)
    made = fake.embed(texts)

    assert made.vectors.tolist() == expected.vectors.tolist()
    assert made.num_tokens.tolist() == expected.num_tokens.tolist()
    assert made.truncated.tolist() == expected.truncated.tolist()


def test_prompts_are_the_models_or_the_callers(tmp_path: Path) -> None:
    """Put before the text, and tokenized with it."""
    vector_folder(tmp_path, settings=PROMPTS)
    with BiEncoder(tmp_path) as encoder, BiEncoder(tmp_path, prompt="") as plain:
        asked = {
            "do this: ": encoder.encode("a cat"),
            "query: ": encoder.encode("a cat", prompt_name="query"),
            "say: ": encoder.encode("a cat", prompt="say: ", prompt_name="query"),
            "": encoder.encode("a cat", prompt=""),
        }
        for prompt, made in asked.items():
            assert made == pytest.approx(plain.encode(f"{prompt}a cat"), abs=1e-6)
        both = {"query: ": encoder.encode_queries, "passage: ": encoder.encode_documents}
        for prompt, encode in both.items():
            wanted = plain.encode(f"{prompt}a cat", normalize_embeddings=True)
            assert encode(["a cat"])[0] == pytest.approx(wanted, abs=1e-6)
        with pytest.raises(SettingError, match="query, passage, other"):
            encoder.encode("a cat", prompt_name="qeury")


@pytest.mark.parametrize("side", ["right", "left"])
def test_a_prompt_is_never_cut(side: Any) -> None:
    """Nor does it push the text out."""
    with BiEncoder(backend="fake", max_length=16, config=RoadConfig(truncation_side=side)) as model:
        (row,) = model._road.encode(["word " * 5000], prompt="given a query: ")
        (prompt,) = model._road.encode(["given a query:"])
        assert row.ids[: prompt.num_tokens - 1].tolist() == prompt.ids[:-1].tolist()
        assert row.truncated
        with pytest.raises(SettingError, match="shorter prompt"):
            model.encode("a", prompt="many words " * 10)


def test_normalisation_is_the_models_or_the_callers(tmp_path: Path) -> None:
    """Vectors have length 1 where the model's modules say so, and where it is asked for."""
    raw, unit = (vector_folder(tmp_path / str(on), normalize=on) for on in (False, True))
    with BiEncoder(raw) as plain, BiEncoder(unit) as normal:
        made = plain.encode(BERLIN)

        assert np.linalg.norm(made) != pytest.approx(1.0, abs=0.1)
        assert normal.encode(BERLIN) == pytest.approx(made / np.linalg.norm(made), abs=1e-6)
        asked = plain.encode(BERLIN, normalize_embeddings=True)
        assert asked == pytest.approx(normal.encode(BERLIN), abs=1e-6)


def test_similarity_is_the_models_own(tmp_path: Path) -> None:
    """Cosine, or the dot product."""
    a, b = np.array([[3.0, 4.0], [0.0, 2.0]]), np.array([[6.0, 8.0]])
    cosine = vector_folder(tmp_path / "cosine")
    dot = vector_folder(tmp_path / "dot", settings={"similarity_fn_name": "dot"})
    with BiEncoder(cosine) as one, BiEncoder(dot) as other:
        assert one.similarity(a, b) == pytest.approx(np.array([[1.0], [0.8]]))
        assert other.similarity(a, b) == pytest.approx(np.array([[50.0], [16.0]]))
        assert one.similarity_pairwise(a, [b[0], b[0]]) == pytest.approx(np.array([1.0, 0.8]))
        assert one.similarity(a[0], b[0]).dtype == np.float32


@pytest.mark.parametrize(
    ("a", "b", "message"),
    [
        ([[1.0, 2.0]], [[1.0, 2.0, 3.0]], "of 2 and of 3"),
        ([[1.0, float("nan")]], [[1.0, 2.0]], "not finite"),
        ([["a"]], [["b"]], "no vectors"),
        ([[[1.0]]], [[[1.0]]], "3 axes"),
        ([[1.0], [2.0]], [[1.0]], "as many of both"),
    ],
)
def test_what_cannot_be_compared(fake: BiEncoder, a: Any, b: Any, message: str) -> None:
    """With what was given."""
    with pytest.raises(InputError, match=message):
        fake.similarity_pairwise(a, b)


@pytest.mark.parametrize(
    ("texts", "error", "message"),
    [
        ([BERLIN, None], TextError, "text 1 is a NoneType"),
        ([BERLIN, b"bytes"], TextError, "text 1 is a bytes"),
        (b"bytes", TextError, r"write \[text\]"),
        ({"a": 1}, TextError, "a dict"),
        (7, TextError, "an? int"),
        (["\ud800"], TextError, "surrogate"),
        (["a" * 2_000_001], LimitError, "max_chars"),
    ],
)
def test_what_is_no_text(fake: BiEncoder, texts: Any, error: type[Exception], message: str) -> None:
    """Named by its place, and never repeated."""
    with pytest.raises(error, match=message):
        fake.encode(texts)


@pytest.mark.parametrize("batch_size", [0, -1, True])
def test_a_batch_size_of_nothing(fake: BiEncoder, batch_size: int) -> None:
    """As for pairs."""
    with pytest.raises(SettingError, match="batch_size"):
        fake.encode(TEXTS, batch_size=batch_size)


def test_batch_size_bounds_the_micro_batches() -> None:
    """It changes nothing else."""
    backend = _vectors()
    with _own(backend) as encoder:
        expected = encoder.encode(TEXTS)
        loading = len(backend.batches)
        assert encoder.encode(TEXTS, batch_size=2).tolist() == expected.tolist()

    assert max(rows for rows, *_ in backend.batches[loading:]) == 2


def test_out_of_memory_halves() -> None:
    """Down to one text, which says so itself."""
    backend = _vectors()
    texts = [f"text number {number}" for number in range(64)]
    with _own(backend) as encoder:
        expected = encoder.encode(texts)
        backend.max_tokens = 30
        assert encoder.encode(texts).tolist() == expected.tolist()
        backend.max_tokens = 3
        with pytest.raises(OutOfMemoryError, match="single text of 5 tokens"):
            encoder.encode(texts[:1])


def test_a_number_that_is_not_finite_never_comes_back() -> None:
    """The call fails, and says of how many texts."""
    backend = _vectors()
    with _own(backend) as encoder:
        (row,) = encoder._road.encode(["cat"])
        backend.poison = int(row.ids[1])
        assert np.isfinite(encoder.encode(["a dog"])).all()
        with pytest.raises(NonFiniteScoreError, match="1 of 2 texts"):
            encoder.encode(["a cat", "a dog"])


def test_a_backend_of_another_width_is_refused() -> None:
    """The files say 384 numbers."""
    backend = _vectors()
    with _own(backend) as encoder:
        backend.dimension = 7
        with pytest.raises(BackendError, match=r"\(1, 7\) .* \(1, 384\)"):
            encoder.encode("a cat")
        backend.dimension, backend.num_missing = 384, 1
        with pytest.raises(BackendError, match=r"\(0, 384\)"):
            encoder.encode("a cat")


def test_a_failing_model_ends_the_call_and_not_the_encoder() -> None:
    """The next call works."""
    backend = _vectors()
    with _own(backend) as encoder:
        backend.error = BackendError("no")
        with pytest.raises(BackendError, match="no"):
            encoder.encode(TEXTS)
        backend.error = None
        assert encoder.encode(TEXTS).shape == (len(TEXTS), 384)


def test_a_closed_encoder_says_so() -> None:
    """Closing twice does nothing."""
    backend = _vectors()
    encoder = _own(backend)
    encoder.close()
    encoder.close()

    assert backend.closed
    with pytest.raises(ClosedError, match="BiEncoder was closed"):
        encoder.encode(BERLIN)


def test_threads_share_one_encoder(fake: BiEncoder) -> None:
    """No answer is another thread's."""
    texts = [f"text number {number} of many" for number in range(64)]
    expected = fake.encode(texts)
    with ThreadPoolExecutor(16) as pool:
        made = list(pool.map(fake.encode, texts))

    assert np.stack(made).tolist() == expected.tolist()


def test_the_fingerprint_changes_with_whatever_changes_a_vector(tmp_path: Path) -> None:
    """And with nothing else."""
    folders = {
        "mean": vector_folder(tmp_path / "mean"),
        "cls": vector_folder(tmp_path / "cls", pooling="cls"),
        "unit": vector_folder(tmp_path / "unit", normalize=True),
        "prompts": vector_folder(tmp_path / "prompts", settings=PROMPTS),
    }
    opened = [BiEncoder(folder, skip_checks=["order"]) for folder in folders.values()]
    opened += [
        BiEncoder(folders["mean"], max_length=32),
        BiEncoder(folders["mean"], prompt="say: "),
        BiEncoder(folders["mean"], config=RoadConfig(truncation_side="left")),
        BiEncoder(folders["mean"], backend="fake"),
    ]
    again = BiEncoder(folders["mean"], num_workers=1)

    assert len({encoder.fingerprint for encoder in opened}) == len(opened)
    assert again.fingerprint == opened[0].fingerprint
    assert again.dimension == WIDTH
    for encoder in (*opened, again):
        encoder.close()


def test_a_progress_bar_counts_texts(fake: BiEncoder, capsys: pytest.CaptureFixture[str]) -> None:
    """On standard error; none unless it is asked for."""
    fake.encode(TEXTS)
    assert capsys.readouterr().err == ""
    fake.encode(TEXTS, show_progress_bar=True)
    captured = capsys.readouterr()

    assert captured.out == ""
    assert "texts" in captured.err
    assert "100%" in captured.err


def test_the_snippets_of_the_page_run(capsys: pytest.CaptureFixture[str]) -> None:
    """And show what the page says."""
    snippets = re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    shown = []
    for snippet in snippets:
        exec(compile(snippet, str(PAGE), "exec"), {})
        shown.append(capsys.readouterr().out)

    near, far = re.findall(r"-?\d\.\d+", shown[0])
    assert float(near) > float(far) + 0.3
    assert "(2, 384)" in shown[1]
    assert "[False  True]" in shown[1]
