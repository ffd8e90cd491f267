"""From one kind of weights to another: safetensors or ONNX to a fused ONNX graph, to int8, and back to float32.

Importing this package loads no heavy library; the functions load what they need (the extra `convert`, and
the extra `torch` for models without a graph of our own).

::

    options = ConvertOptions(precision="int8")                 # SettingError for what makes no sense
    with staging(output, overwrite=False) as folder:           # a new folder beside the output, always removed
        files = build(source, options=options, output=folder)  # a whole model's folder: ModelFiles
        ...                                                    # measure open_road(folder), write the report
        publish(folder, output, overwrite=False)               # one rename

    to_float32(source, output=folder)                          # the way back: config.json + model.safetensors

Signatures::

    build(source: ModelFiles, *, options: ConvertOptions, output: Path) -> ModelFiles
    to_float32(source: ModelFiles, *, output: Path) -> ModelFiles
    staging(output: Path, *, overwrite: bool = False) -> AbstractContextManager[Path]
    publish(folder: Path, output: Path, *, overwrite: bool = False) -> None

`build` and `to_float32` fill a folder that is empty or not there yet, and give the same bytes for the same
source and options. `staging` and `publish` raise `OutputFileError` for an output that holds something already.
"""

from __future__ import annotations

from pairscore.convert.building import build, to_float32
from pairscore.convert.folder import publish, staging
from pairscore.convert.options import ConvertOptions, Granularity, Method, Precision

__all__ = [
    "ConvertOptions",
    "Granularity",
    "Method",
    "Precision",
    "build",
    "publish",
    "staging",
    "to_float32",
]
