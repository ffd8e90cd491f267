"""What `pairscore train` prints: a plan before, a summary after, and both for machines."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

from pairscore.cli import output

if TYPE_CHECKING:
    from pairscore.training.run import RunResult
    from pairscore.training.run_plan import Estimate, RunPlan

__all__ = ["plan_record", "print_plan", "print_result", "result_record"]

_MINUTE_S: Final = 60.0
_HOUR_S: Final = 3600.0


def print_plan(plan: RunPlan, estimate: Estimate | None) -> None:
    """What a run would do, a line for each fact."""
    facts: dict[str, str] = {"base": plan.recipe.base}
    for name, data in plan.data.parts.items():
        facts[name] = (
            f"{data.name}: {len(data):,} {data.kind}, {data.labels} labels, {data.num_pairs:,} pairs of "
            f"{data.num_queries:,} queries"
        )
    if plan.data.num_dropped:
        facts["left out"] = f"{plan.data.num_dropped:,} rows of train that dev or test hold too"
    schedule = plan.schedule
    facts |= {
        "task": plan.chosen.task,
        "loss": f"{plan.chosen.name}: {plan.chosen.reason}",
        "steps": (
            f"{schedule.num_steps:,}, {schedule.steps_an_epoch:,} an epoch of {plan.num_rows:,} rows in batches of "
            f"{plan.recipe.batch_size}"
        ),
        "evaluations": f"{plan.num_evaluations:,}, by {_judge(plan)}",
        "time": _time(estimate),
    }
    width = max(map(len, facts))
    for name, fact in facts.items():
        output.say(f"{name.ljust(width)}  {fact}")
    for note in (*plan.data.notes, *plan.data.leak_notes):
        output.say(f"note: {note}")


def plan_record(plan: RunPlan, estimate: Estimate | None) -> dict[str, Any]:
    """The same for machines."""
    return {
        "base": plan.recipe.base,
        "data": plan.data.record(),
        "num_dropped": plan.data.num_dropped,
        "task": plan.chosen.task,
        "loss": plan.chosen.name,
        "reason": plan.chosen.reason,
        "num_rows": plan.num_rows,
        "num_steps": plan.schedule.num_steps,
        "num_evaluations": plan.num_evaluations,
        "estimated_s": None if estimate is None else round(estimate.seconds, 1),
        "estimated_s_a_step": None if estimate is None else round(estimate.seconds_a_step, 4),
        "notes": [*plan.data.notes, *plan.data.leak_notes],
    }


def print_result(result: RunResult) -> None:
    """What came of a run: what changed, what is served, and how to serve it."""
    train = _step(result, "train")
    primary = train.get("primary")
    best = f", {primary} {train['metrics'][primary]:.4f} on the dev part" if primary else ""
    output.say(
        f"{train['num_steps']:,} steps in {duration(train['seconds'])}; best after step {train['best_step']:,}{best}"
    )
    for part in result.report.parts:
        output.say(f"{part.role}, {part.name}: {part.verdict}")
    converted = _step(result, "convert")
    if converted:
        output.say(f"{converted['target']}: {converted['verdict']}")
    calibrated = _step(result, "calibrate")
    if calibrated.get("method"):
        measured = calibrated["measured"]
        output.say(
            f"calibrated ({calibrated['method']}): expected calibration error "
            f"{measured['before']['ece']:.4f} before, {measured['after']['ece']:.4f} after"
        )
    # Safetensors are no food for the default backend.
    backend = "" if (result.served / "model.onnx").is_file() else " --backend torch"
    output.say(f"{result.served.name}/ is served: pairscore serve --model {result.folder}{backend}")


def result_record(result: RunResult) -> dict[str, Any]:
    """The same for machines."""
    from pairscore.training import report_files

    return {
        "output": str(result.folder),
        "served": str(result.served),
        "loss": result.record.get("loss"),
        "train": _step(result, "train"),
        "convert": _step(result, "convert") or None,
        "calibrate": _step(result, "calibrate") or None,
        "after": _step(result, "after"),
        "report": report_files.record(result.report),
        "times": result.record.get("times"),
    }


def duration(seconds: float) -> str:
    """Seconds in the unit that a person would take."""
    if seconds < _MINUTE_S:
        return f"{seconds:.0f} s"
    if seconds < _HOUR_S:
        return f"{seconds / _MINUTE_S:.1f} minutes"
    return f"{seconds / _HOUR_S:.1f} hours"


def _step(result: RunResult, name: str) -> Mapping[str, Any]:
    found = result.record.get("steps", {}).get(name) or {}
    return {key: value for key, value in found.items() if key != "key"}


def _judge(plan: RunPlan) -> str:
    from pairscore.training.evaluators import evaluator_for

    evaluator = evaluator_for(plan.data.dev, plan.chosen.task)
    return f"{evaluator.primary} ({evaluator.name})"


def _time(estimate: Estimate | None) -> str:
    if estimate is None:
        return "not known; pip install 'pairscore[train]' measures it"
    return (
        f"about {duration(estimate.seconds)} on {estimate.device} ({estimate.seconds_a_step:.2f} s a step), if it is not "
        "stopped early; measuring before and after comes on top"
    )
