"""The facts of `run.json` that are known before the first step; they hold no path and no text."""

from __future__ import annotations

from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any, Final

from pairscore.convert.machine import this_machine
from pairscore.errors import SettingError
from pairscore.road.machine import versions_of
from pairscore.training.run_folder import RunFolder
from pairscore.training.run_plan import RunPlan

__all__ = ["check_same_data", "facts_of", "now"]

_PACKAGES: Final = ("sentence-transformers", "accelerate", "datasets", "safetensors")
# What both the trained weights and the choice of the best depend on.
_DECISIVE: Final = ("train", "dev")


def facts_of(plan: RunPlan) -> dict[str, Any]:
    """What a run's record begins with."""
    data, chosen = plan.data, plan.chosen
    machine = asdict(this_machine())
    return {
        "status": "begun",
        "created": now(),
        "seed": plan.recipe.seed,
        "task": chosen.task,
        "loss": {"name": chosen.name, "reason": chosen.reason, "num_labels": chosen.num_labels},
        "data": data.record(),
        "leaks": {
            part: {"num_pairs": found.num_pairs, "num_texts": found.num_texts}
            for part, found in data.leaks.items()
        },
        "num_dropped": data.num_dropped,
        "notes": list(data.notes),
        "versions": {**machine.pop("versions"), **versions_of(_PACKAGES)},
        "machine": machine,
        "times": {},
    }


def check_same_data(plan: RunPlan, folder: RunFolder) -> None:
    """Refuse to go on with other rows than those that the run began with.

    Raises:
        SettingError: the rows of the training or the dev part have changed.
    """
    before, after = folder.record().get("data", {}), plan.data.record()
    for part in _DECISIVE:
        if before.get(part, {}).get("sha256") != after[part]["sha256"]:
            raise SettingError(
                f"the {part} data has changed since the run in {str(folder.path)!r} began; bring the old file back to "
                "go on with it, or give another --output"
            )


def now() -> str:
    """ISO 8601, UTC, to the second."""
    return datetime.now(UTC).isoformat(timespec="seconds")
