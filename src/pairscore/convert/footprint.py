"""How much room a model takes: its files on the disk, and the memory of a process that scores with it.

The memory is that of a fresh process, because what one model made a process grow by, the next one in it
would not show. The module is that process too: it reads what to score from standard input, and writes its
peak to standard output.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from pairscore.convert.subject import Subject, open_encoder, open_subject
from pairscore.models.files import ModelFiles

__all__ = ["num_bytes", "own_peak", "peak_rss_bytes"]

_TIMEOUT_S: Final = 600.0


def num_bytes(files: ModelFiles) -> int:
    """The bytes of a model's weights, all their parts: a folder may hold other weights too."""
    return sum(path.stat().st_size for path in files.weight_files)


def peak_rss_bytes(subject: Subject, pairs: Sequence[tuple[str, str]]) -> int | None:
    """The most memory that a fresh process holds while it loads the model and scores some pairs.

    Args:
        subject: the model.
        pairs: what it scores; a bi-encoder reads the texts of each.

    Returns:
        bytes of resident memory; None where the system does not say, or the process did not end well.
    """
    if not sys.executable:
        return None
    asked = {
        "model": subject.model,
        "backend": subject.backend,
        "skip_checks": list(subject.skip_checks),
        "is_encoder": subject.is_encoder,
        "pairs": list(pairs),
    }
    try:
        done = subprocess.run(
            [sys.executable, "-m", "pairscore.convert.footprint"],
            # Through a pipe, because texts belong neither on a disk nor in the list of processes.
            input=json.dumps(asked).encode(),
            capture_output=True,
            timeout=_TIMEOUT_S,
            check=True,
        )
        peak = json.loads(done.stdout.splitlines()[-1])["peak_rss_bytes"]
    except (OSError, subprocess.SubprocessError, ValueError, IndexError, KeyError):
        return None
    return None if peak is None else int(peak)


def own_peak() -> int | None:
    """This process's own peak in bytes, not what it inherited from the one that started it."""
    status = Path("/proc/self/status")
    if status.is_file():
        for line in status.read_text(encoding="ascii", errors="replace").splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    if sys.platform == "darwin":
        import resource

        return int(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
    return None


def _main() -> None:
    asked: dict[str, Any] = json.load(sys.stdin)
    pairs = [tuple(pair) for pair in asked.pop("pairs")]
    subject = Subject(**asked)
    if subject.is_encoder:
        with open_encoder(subject) as encoder:
            encoder.embed([text for pair in pairs for text in pair], prompt="")
    else:
        with open_subject(subject) as model:
            model.score(pairs)
    sys.stdout.write(json.dumps({"peak_rss_bytes": own_peak()}) + "\n")


if __name__ == "__main__":
    _main()
