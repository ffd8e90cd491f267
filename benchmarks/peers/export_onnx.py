"""Export a float32 Hugging Face folder to int8 ONNX as sentence-transformers documents it.

Runs in `.venv-peers`::

    .venv-peers/bin/python benchmarks/peers/export_onnx.py REFERENCE_FOLDER OUTPUT_FOLDER avx2
"""

from __future__ import annotations

import argparse
import shutil
import sys
from pathlib import Path

from sentence_transformers import CrossEncoder, export_dynamic_quantized_onnx_model


def main() -> int:
    """Copy the folder, export it to ONNX, add an int8 file for each kind of CPU named."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("reference", type=Path)
    parser.add_argument("output", type=Path)
    parser.add_argument("kinds", nargs="+", choices=["avx2", "avx512", "avx512_vnni", "arm64"])
    options = parser.parse_args()
    shutil.rmtree(options.output, ignore_errors=True)
    shutil.copytree(options.reference, options.output)
    model = CrossEncoder(
        str(options.output),
        backend="onnx",
        model_kwargs={"export": True, "provider": "CPUExecutionProvider"},
    )
    model.save_pretrained(str(options.output))
    for kind in options.kinds:
        export_dynamic_quantized_onnx_model(model, kind, str(options.output))
    for path in sorted(options.output.rglob("*.onnx")):
        print(f"{path.relative_to(options.output)} {path.stat().st_size / 1024**2:.0f} MiB")
    return 0


if __name__ == "__main__":
    sys.exit(main())
