"""What a model's files should be: a `manifest.json` of sha256s, written when it is fetched, verified at every load."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from pairscore.errors import ModelCorruptError
from pairscore.models.files import file_sha256, is_weights
from pairscore.replacing import replacing

__all__ = ["MANIFEST", "Manifest", "read_manifest", "verify", "write_manifest"]

MANIFEST: Final = "manifest.json"


@dataclass(frozen=True, kw_only=True, slots=True)
class Manifest:
    """What is known of a model's files.

    Attributes:
        sha256s: of files, by their names inside the model.
        revision: the commit of the hub's repository, or whatever else tells versions apart.
        requested_revision: the branch, tag or commit that was asked for on the hub.
        name: the hub id or the name of the model.
    """

    sha256s: Mapping[str, str] = field(default_factory=dict)
    revision: str | None = None
    requested_revision: str | None = None
    name: str | None = None


def read_manifest(path: Path) -> Manifest | None:
    """Read a manifest; None if there is none.

    Raises:
        ModelCorruptError: it cannot be read.
    """
    if not path.is_file():
        return None
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        files = {str(name): str(sha256) for name, sha256 in dict(content["files"]).items()}
    except (ValueError, KeyError, TypeError) as error:
        raise ModelCorruptError(
            f"{path} is not a readable manifest ({error}); restore the model's folder"
        ) from error
    return Manifest(
        sha256s=files,
        revision=content.get("revision") or None,
        requested_revision=content.get("requested_revision") or None,
        name=content.get("name") or None,
    )


def write_manifest(path: Path, manifest: Manifest) -> None:
    """Write a manifest, replacing one that is there."""
    content = {
        "files": dict(sorted(manifest.sha256s.items())),
        "name": manifest.name,
        "revision": manifest.revision,
        "requested_revision": manifest.requested_revision,
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    text = json.dumps(content, indent=2, ensure_ascii=False) + "\n"
    with replacing(path) as half:
        half.write_text(text, encoding="utf-8")


def verify(folder: Path, manifest: Manifest, *, weight_files: Collection[str], remedy: str) -> None:
    """Compare files with their sha256s; weights that will not be read are left out.

    Args:
        folder: where the files lie.
        manifest: what they should be.
        weight_files: names inside the model of the weights that will be read.
        remedy: what brings a good copy.

    Raises:
        ModelCorruptError: a file is missing, or is another one.
    """
    for name, expected in manifest.sha256s.items():
        if name in weight_files or not is_weights(name):
            _verify_file(folder / name, expected, remedy)


def _verify_file(path: Path, expected: str, remedy: str) -> None:
    if not path.is_file():
        raise ModelCorruptError(f"{path} is missing; {remedy}")
    actual = file_sha256(path)
    if actual != expected:
        raise ModelCorruptError(
            f"{path} is corrupt: its sha256 is {actual}, the manifest says {expected}; {remedy}"
        )
