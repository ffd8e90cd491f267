"""The folder that a conversion makes: what is copied beside the weights, its manifest, and its move into place."""

from __future__ import annotations

import json
import secrets
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import Any, Final

from pairscore.errors import ModelCorruptError, OutputFileError
from pairscore.models.files import ModelFiles, file_sha256
from pairscore.models.manifest import MANIFEST

__all__ = [
    "copy_companions",
    "fresh_folder",
    "publish",
    "staging",
    "write_json",
    "write_manifest",
]

_TOKENIZER: Final = "tokenizer.json"
_MODULES: Final = "modules.json"
# What says what the numbers mean and how texts are read. Weights, reports and calibrations are not carried over:
# they belong to the weights that they were made for.
_COMPANIONS: Final = (
    *("config.json", "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json"),
    *("config_sentence_transformers.json", "sentence_bert_config.json"),
    *("sentence_roberta_config.json", _MODULES, "chat_template.jinja", "README.md"),
)


@contextmanager
def staging(output: Path, *, overwrite: bool = False) -> Iterator[Path]:
    """A new, empty folder beside the output, on the same disk; what is left of it is removed at the end.

    Args:
        output: where the result is to be published.
        overwrite: whether the output may hold something already.

    Raises:
        OutputFileError: the output holds something, or its folder cannot be written.
    """
    _check_output(output, overwrite=overwrite)
    folder = output.absolute().parent / f".{output.name}.{secrets.token_hex(4)}.part"
    try:
        folder.mkdir(parents=True)
    except OSError as error:
        raise OutputFileError(
            f"{folder.parent} cannot be written ({error}); choose another output"
        ) from error
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def publish(folder: Path, output: Path, *, overwrite: bool = False) -> None:
    """Move a finished folder into place, whole: nobody ever sees half of it.

    Args:
        folder: what `staging` gave, filled.
        output: the place; an empty folder there is replaced.
        overwrite: whether one that holds something is replaced too.

    Raises:
        OutputFileError: the output holds something, or cannot be written.
    """
    _check_output(output, overwrite=overwrite)
    old = folder.with_name(folder.name + ".old")
    try:
        if output.exists():
            output.rename(old)
        try:
            folder.rename(output)
        except OSError:
            if old.exists():
                old.rename(output)
            raise
    except OSError as error:
        raise OutputFileError(
            f"{output} cannot be written ({error}); choose another output"
        ) from error
    shutil.rmtree(old, ignore_errors=True)


def fresh_folder(folder: Path) -> None:
    """Make a folder to fill, or take an empty one.

    Raises:
        OutputFileError: it holds something, or cannot be made.
    """
    _check_output(folder, overwrite=False)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputFileError(
            f"{folder} cannot be made ({error}); choose another output"
        ) from error


def copy_companions(source: Path, output: Path) -> None:
    """Copy the configs as they are, and the tokenizer without truncation and padding, which pairscore does itself.

    Raises:
        ModelCorruptError: there is no `tokenizer.json`, or it is not JSON.
    """
    for name in (*_COMPANIONS, *_module_configs(source)):
        if (source / name).is_file():
            (output / name).parent.mkdir(exist_ok=True)
            (output / name).write_bytes((source / name).read_bytes())
    try:
        content = json.loads((source / _TOKENIZER).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ModelCorruptError(
            f"{source / _TOKENIZER} cannot be read ({error}); copy or download the model again"
        ) from error
    content["truncation"] = content["padding"] = None
    text = json.dumps(content, ensure_ascii=False, separators=(",", ":"))
    (output / _TOKENIZER).write_text(text, encoding="utf-8")


def _module_configs(source: Path) -> list[str]:
    """The configs of a bi-encoder's modules, each in a folder of its own that `modules.json` names."""
    path = source / _MODULES
    modules = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else []
    places = [PurePosixPath(str(module.get("path") or "")) for module in modules]
    own = (place.name for place in places if place.name == str(place) and place.name != "..")
    return [f"{name}/config.json" for name in own if name]


def write_manifest(
    folder: Path, *, source: ModelFiles, weights: str, conversion: Mapping[str, Any]
) -> None:
    """Write the sha256 of every file, where the weights came from, and what was done to them.

    Args:
        folder: filled but for the manifest.
        source: what was converted.
        weights: the name of the file whose sha256 tells versions apart.
        conversion: the options, as `ConvertOptions.described` gives them.
    """
    digests = {
        path.relative_to(folder).as_posix(): file_sha256(path)
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }
    content = {
        "conversion": {
            **conversion,
            "source": {
                "file": source.relative(source.weights),
                "revision": source.revision,
                "sha256": source.sha256,
            },
        },
        "files": digests,
        "name": source.name,
        "origin": _origin(source),
        "revision": f"sha256:{digests[weights][:12]}",
    }
    write_json(folder / MANIFEST, content)


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    """Write JSON for people and for comparisons: indented, keys in order."""
    path.write_text(json.dumps(content, indent=2, sort_keys=True) + "\n", encoding="utf-8")


def _origin(source: ModelFiles) -> str:
    """What the source says about its own origin, else its name and commit."""
    path = source.folder / MANIFEST
    if path.is_file():
        known = json.loads(path.read_text(encoding="utf-8")).get("origin")
        if known:
            return str(known)
    return f"{source.name}@{source.revision}" if source.revision else source.name


def _check_output(output: Path, *, overwrite: bool) -> None:
    if output.exists() and not output.is_dir():
        raise OutputFileError(f"{output} is a file; name a folder to write")
    if not overwrite and output.is_dir() and any(output.iterdir()):
        raise OutputFileError(
            f"{output} holds something already; choose another output, or allow it to be overwritten"
        )
