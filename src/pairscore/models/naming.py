"""What a model's name says: ``NAME``, ``FOLDER`` or ``OWNER/NAME``, then ``@REVISION``, then ``:FILE``."""

from __future__ import annotations

from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Final

from pairscore.errors import ModelNotFoundError
from pairscore.models.catalog import CatalogEntry, find, list_models
from pairscore.models.files import kind_of_file
from pairscore.models.refusals import PICKLES

__all__ = ["DEFAULT_REVISION", "Asked", "check_name", "parse"]

DEFAULT_REVISION: Final = "main"
"""What the hub calls the branch that is meant when nobody names one."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Asked:
    """A model's name, taken apart.

    Attributes:
        name: without revision and file.
        revision: branch, tag or commit; None for the hub's default branch.
        file: one file of weights inside the model; None takes the usual one.
    """

    name: str
    revision: str | None = None
    file: str | None = None

    @property
    def is_folder(self) -> bool:
        """Whether the name is a folder on this machine."""
        return bool(self.name) and Path(self.name).is_dir()

    @property
    def entry(self) -> CatalogEntry | None:
        """The catalogue's entry; None for a stranger."""
        return find(self.name)

    @property
    def hub_id(self) -> str:
        """The repository on the hub.

        Raises:
            ModelNotFoundError: there can be none of that name.
        """
        if self.entry is not None and not self.entry.hub_ids:
            raise ModelNotFoundError(
                f"{self.entry.name} is inside the package and nowhere else; ask for it without a revision"
            )
        if self.entry is not None:
            return self.entry.hub_ids[0]
        _refuse_unknown(self.name)
        return self.name

    def with_file(self, name: str) -> str:
        """A name under which results are reported: other weights of one model get another name."""
        return name if self.file is None else f"{name}:{self.file}"


def parse(name_or_path: str | Path, *, revision: str | None = None) -> Asked:
    """Take a name apart; a folder of exactly that name is taken as it is.

    Args:
        name_or_path: a catalogue name, a folder or a hub id.
        revision: as an option of its own; it wins over one in the name.
    """
    text = str(name_or_path)
    if text and Path(text).is_dir():
        return Asked(name=text, revision=revision)
    head, colon, file = text.rpartition(":")
    named = bool(colon) and (kind_of_file(file) is not None or file.endswith(PICKLES))
    name = head if named else text
    asked = Asked(name=name, revision=revision, file=file if named else None)
    if asked.is_folder:
        return asked
    name, _, pinned = name.partition("@")
    return Asked(name=name, revision=revision or pinned or None, file=asked.file)


def check_name(name_or_path: str | Path) -> None:
    """Refuse what can be no model, without looking for it: no folder, no known name, no hub id.

    Raises:
        ModelNotFoundError: nothing can be known by that name.
    """
    asked = parse(name_or_path)
    if not asked.is_folder and asked.entry is None:
        _refuse_unknown(asked.name)


def _refuse_unknown(name: str) -> None:
    """Anything that can be neither a folder nor a hub id (owner/name) is a misspelt name."""
    if name and Path(name).is_file():
        path = Path(name)
        raise ModelNotFoundError(
            f"{name!r} is a file, and a model is a folder; give {str(path.parent)!r}, "
            f"or '{path.parent}:{path.name}' for just these weights"
        )
    owner, slash, repository = name.partition("/")
    if slash and owner and repository and "/" not in repository and not name.startswith((".", "~")):
        return
    known = [entry.name for entry in list_models()]
    close = get_close_matches(name.casefold(), known, n=1)
    hint = f"; did you mean {close[0]!r}?" if close else ""
    raise ModelNotFoundError(
        f"no model is called {name!r} and no folder of that name exists{hint}; "
        f"known names: {', '.join(known)}; or give a folder, or a hub id such as cross-encoder/NAME"
    )
