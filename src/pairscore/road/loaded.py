"""What the roads of pairs and of single texts have in common: a model's files, what runs them, and how it is fed."""

from __future__ import annotations

from functools import cached_property

from pairscore.config import RoadConfig, SettledConfig
from pairscore.models.resolve import ModelFiles, file_sha256
from pairscore.road.backends.base import Backend, preferred_layout

__all__ = ["LoadedModel"]


class LoadedModel:
    """A model that is in memory.

    Attributes:
        config: settled by what the backend prefers.
        ahead: whether the next window is best tokenized while this one runs.
    """

    def __init__(self, *, files: ModelFiles, backend: Backend, config: RoadConfig) -> None:
        self._files = files
        self._backend = backend
        layout = preferred_layout(backend)
        self.config: SettledConfig = config.settled(
            budget=layout.budget, num_workers=layout.num_workers
        )
        self.ahead = layout.ahead

    @property
    def files(self) -> ModelFiles:
        """Where the model's files are."""
        return self._files

    @property
    def backend(self) -> Backend:
        """What runs the model."""
        return self._backend

    @property
    def backend_name(self) -> str:
        """The name of the backend that runs the model."""
        return self._backend.name

    @cached_property
    def model_sha256(self) -> str:
        """The sha256 of the weights; a large file without a manifest takes seconds the first time."""
        return self._files.sha256

    @property
    def ran_by(self) -> str:
        """Weights, tokenizer and backend: where they are the same, so are the numbers of the same tokens."""
        tokenizer = file_sha256(self._files.folder / "tokenizer.json")
        return f"{self.model_sha256}:{tokenizer}:{self.backend_name}"

    def close(self) -> None:
        """Free the model."""
        self._backend.close()
