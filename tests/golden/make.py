"""Write `scores.json` and `similarity.json` anew, after a deliberate change of the bundled weights.

python tests/golden/make.py
"""

from __future__ import annotations

import json
from pathlib import Path

from pairscore import CrossEncoder

FOLDER = Path(__file__).parent


def main() -> None:
    """Score the stored pairs of both models again and keep everything else."""
    for name in ("scores.json", "similarity.json"):
        renew(FOLDER / name)


def renew(path: Path) -> None:
    """Score the pairs of one file with its model."""
    content = json.loads(path.read_text(encoding="utf-8"))
    with CrossEncoder(content["model"]) as model:
        logits = model.score([(e["query"], e["document"]) for e in content["pairs"]]).logits
    for entry, logit in zip(content["pairs"], logits, strict=True):
        entry["logit"] = round(float(logit), 5)
    path.write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
