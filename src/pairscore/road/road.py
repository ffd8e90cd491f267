"""The whole way of a pair, from a model's folder: encode, plan, run.

A driver (`cross_encoder`, later an engine for many callers) knows these three verbs and none of the parts.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import replace
from functools import cached_property, partial
from hashlib import sha256
from pathlib import Path

import numpy as np

from pairscore.config import Chunking, RoadConfig, Truncation
from pairscore.errors import BackendError, NonFiniteScoreError, SettingError
from pairscore.models.calibration import CALIBRATION_CHECK, fitting
from pairscore.models.card import Card, read_card
from pairscore.models.prompts import choose_prompt
from pairscore.models.resolve import ModelFiles, resolve
from pairscore.road.backends.base import Backend
from pairscore.road.backends.opening import BackendName, BackendOptions, kind_of, open_backend
from pairscore.road.checks import check, check_names
from pairscore.road.choice import Choice, Question, choose
from pairscore.road.chunking import Windower
from pairscore.road.loaded import LoadedModel
from pairscore.road.padding import padded
from pairscore.road.planning import Plan, plan
from pairscore.road.ranking import against_rest
from pairscore.road.tokenization import Pair, PairTokenizer
from pairscore.values import Encoded, FloatArray, IntArray

__all__ = ["BackendName", "BackendOptions", "Road", "open_road"]


class Road(LoadedModel):
    """One model, ready to score: thread-safe, because nothing in it changes after it is made."""

    def __init__(  # noqa: PLR0913 - the parts of a road
        self,
        *,
        files: ModelFiles,
        card: Card,
        tokenizer: PairTokenizer,
        backend: Backend,
        config: RoadConfig,
        label: str | None = None,
        prompt: str = "",
        choice: Choice | None = None,
    ) -> None:
        super().__init__(files=files, backend=backend, config=config)
        self.choice = choice
        self._head = card
        self._label = label
        self.prompt = prompt
        self.card = card if label is None else _one_label(card, label)
        self._tokenizer = tokenizer

    @property
    def tokenizer(self) -> PairTokenizer:
        """What makes token ids of pairs."""
        return self._tokenizer

    @cached_property
    def fingerprint(self) -> str:
        """Differs wherever the same two texts may get another logit: weights, tokenizer, backend, prompt."""
        label = "" if self._label is None else f":{self._label}"
        prompt = f":{sha256(self.prompt.encode()).hexdigest()}" if self.prompt else ""
        return f"{self.ran_by}{label}{prompt}"

    @property
    def max_length(self) -> int:
        """Tokens of a pair, special tokens included."""
        return self._tokenizer.max_length

    def encode(
        self, pairs: Sequence[Pair], *, truncation: Truncation | None = None
    ) -> list[Encoded]:
        """Tokenize pairs, each distinct text once.

        Raises:
            LimitError: a text has too many characters.
            TextError: a text holds half a character.
            TooLongError: a pair would have to be cut, and `truncation` is strict.
        """
        return self._tokenizer.encode(pairs, truncation=truncation or Truncation())

    def windower(self, *, chunking: Chunking, truncation: Truncation | None = None) -> Windower:
        """What encodes the pairs of one call as windows, each of which is then an ordinary pair."""
        return Windower(self._tokenizer, chunking=chunking, truncation=truncation or Truncation())

    def plan(self, encoded: Sequence[Encoded], *, max_pairs: int | None = None) -> Plan:
        """Pack tokenized pairs into micro-batches."""
        lengths = [pair.num_tokens for pair in encoded]
        return plan(lengths, budget=self.config.budget, max_pairs=max_pairs)

    def run(
        self, encoded: Sequence[Encoded], positions: IntArray, *, num_threads: int = 1
    ) -> FloatArray:
        """The logits of the pairs at these positions, as one micro-batch on `num_threads` threads.

        Their shape is (num_pairs,), or (num_pairs, num_labels) if the card has labels.

        Raises:
            BackendError: the model failed, or answered with the wrong number of logits.
            NonFiniteScoreError: it put out NaN or infinity.
        """
        rows = [encoded[i] for i in positions]
        batch = padded(rows, pad_id=self.card.pad_id, pad_side=self.card.pad_side)
        logits = self._backend.run(batch, num_threads=num_threads)
        labels = self._head.labels
        wanted = (len(positions), len(labels)) if labels else (len(positions),)
        if logits.shape != wanted:
            raise BackendError(
                f"the {self._backend.name} backend gave {logits.shape} logits for {len(positions)} pairs"
                f"{f' and {len(labels)} labels' if labels else ''}"
            )
        if not np.isfinite(logits).all():
            raise NonFiniteScoreError(
                f"the model {self.card.name} put out a number that is not finite for "
                f"{int((~np.isfinite(logits)).sum())} of {len(positions)} pairs; its weights are damaged "
                "or too coarsely quantized: verify the files, or use the float32 model"
            )
        return logits if self._label is None else self._of_label(logits, self._label)

    def _of_label(self, logits: FloatArray, label: str) -> FloatArray:
        column = self._head.labels.index(label)
        if self._head.exclusive:
            return against_rest(logits, column)
        return np.ascontiguousarray(logits[:, column])

    def reconfigured(self, config: RoadConfig) -> Road:
        """The same model, packed or spread over workers in another way; closing one closes both.

        What decides a score, the maximum length and the truncation, stays as it was loaded.
        """
        kept = replace(
            config,
            max_length=self.config.max_length,
            truncation_side=self.config.truncation_side,
            max_chars=self.config.max_chars,
        )
        return Road(
            files=self._files,
            card=self._head,
            tokenizer=self._tokenizer,
            backend=self._backend,
            config=kept,
            label=self._label,
            prompt=self.prompt,
            choice=self.choice,
        )


def open_road(  # noqa: PLR0913 - one for each thing that a caller may choose
    name_or_path: str | Path | None = None,
    *,
    config: RoadConfig | None = None,
    backend: BackendName | Backend = "onnx",
    options: BackendOptions | None = None,
    label: str | None = None,
    calibration: Path | None = None,
    prompt: str | None = None,
    skip_checks: Collection[str] = (),
    revision: str | None = None,
    local_files_only: bool = False,
    cache_folder: Path | None = None,
) -> Road:
    """Resolve a model, read its card, load its tokenizer and its backend, and check them.

    Args:
        name_or_path: as for `resolve`.
        config: limits, packing, threads.
        backend: what runs the model; ``auto`` takes what is quickest here, see `choice.choose`.
        options: on which device, and in which numbers.
        label: of a model with several: the one whose log-odds against the others are then the logit.
        calibration: a file that `pairscore calibrate` made; None takes the one beside the model, if any.
        prompt: put before each query: the name of one of the model's own prompts, or a text; None takes the
            model's default, an empty text none.
        skip_checks: names of load-time checks that are not made; `checks.CHECKS` has them.
        revision: branch, tag or commit on the hub.
        local_files_only: never touch the network.
        cache_folder: where what ``auto`` chose is kept; None is the user's.

    Raises:
        ModelError: the model cannot be found, fetched, verified or used.
        ModelCheckError: it would score wrongly.
        MissingExtraError: the backend's libraries are not installed.
        SettingError: no backend or check has that name, or the model no such label or prompt.
    """
    check_names(skip_checks)
    files = resolve(
        name_or_path,
        revision=revision,
        local_files_only=local_files_only,
        kind=kind_of(backend),
    )
    card = read_card(files)
    settings, on = config or RoadConfig(), options or BackendOptions()
    chosen_prompt = choose_prompt(
        prompt, prompts=card.prompts, default=card.default_prompt, model=card.name
    )
    tokenizer = PairTokenizer.from_file(
        files.folder / "tokenizer.json",
        max_length=card.max_length,
        config=settings,
        prompt=chosen_prompt,
        token_types=card.token_types,
    )
    choice, runs = None, backend
    if backend == "auto":
        question = Question(
            files=files,
            # Of the same copy of the model: another kind of weights is not fetched to be tried.
            files_of=partial(resolve, name_or_path, revision=revision, local_files_only=True),
            card=card,
            tokenizer=tokenizer,
            config=settings,
            options=on,
            folder=cache_folder,
            calibrated_sha256=_calibrated_sha256(card, files, calibration, label, skip_checks),
        )
        chosen = choose(question)
        choice, runs, files = chosen.choice, chosen.backend, chosen.files
    card = _with_calibration(
        card, files, path=calibration, backend=runs, label=label, skip_checks=skip_checks
    )
    road = Road(
        files=files,
        card=card,
        tokenizer=tokenizer,
        backend=open_backend(runs, files, card=card, options=on),
        config=settings,
        label=label,
        prompt=chosen_prompt,
        choice=choice,
    )
    check(road, skip=skip_checks, own_backend=not isinstance(backend, str))
    return road


def _calibrated_sha256(
    card: Card,
    files: ModelFiles,
    path: Path | None,
    label: str | None,
    skip_checks: Collection[str],
) -> str | None:
    """Of the weights that the calibration was fitted on; None without one, or where it is not compared."""
    skip = (CALIBRATION_CHECK,)
    found = fitting(
        card.calibration, path=path, files=files, backend="auto", label=label, skip_checks=skip
    )
    return (
        None if found is None or CALIBRATION_CHECK in skip_checks else found.origin.weights_sha256
    )


def _with_calibration(  # noqa: PLR0913 - what it must fit
    card: Card,
    files: ModelFiles,
    *,
    path: Path | None,
    backend: BackendName | Backend,
    label: str | None,
    skip_checks: Collection[str],
) -> Card:
    """Logits are what is cached, so a calibration changes no fingerprint."""
    calibration = fitting(
        card.calibration,
        path=path,
        files=files,
        backend=backend if isinstance(backend, str) else backend.name,
        label=label,
        skip_checks=skip_checks,
    )
    return replace(card, calibration=calibration)


def _one_label(card: Card, label: str) -> Card:
    """The card of a model of which one label's log-odds are the logit."""
    if label not in card.labels:
        known = ", ".join(card.labels) or "none: it puts out one number"
        raise SettingError(f"label is {label!r}; the labels of {card.name} are {known}")
    return replace(card, labels=(), activation="sigmoid")
