"""`pairscore doctor`: the machine, what is installed, the model and its checks, what runs it best, how fast."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated

import typer

from pairscore.cli import exits, options, output, progress
from pairscore.cli.records import with_records
from pairscore.errors import SettingError

if TYPE_CHECKING:
    from pairscore.diagnosis.diagnosis import Diagnosis

__all__ = ["HELP", "doctor"]

HELP = """Look at this machine and a model: can it be used, what runs it best, and how fast.

CPU, memory, installed backends, folders; the model's files and every check;
what --backend auto takes, and why; a speed test of ten seconds beside what the
machine can do at best. Warnings come with their remedy. The network is left
alone unless --network is given, and nothing is fetched.

Examples:

  pairscore doctor
  pairscore doctor --model ./my-model --no-speed
  pairscore doctor --backend torch --network --json

The exit code is 0 if the model can be used."""

_MIN_SPEED_S = 0.1


# The backend has another default here than in the other verbs.
@with_records(without=("backend", "max_chars", "label"))
def doctor(
    *,
    chosen: options.ModelOptions,
    backend: Annotated[
        options.BackendChoice,
        typer.Option(
            help="What is looked at; auto takes the quickest here. Named, it is compared with what auto takes.",
            rich_help_panel="Model",
        ),
    ] = options.BackendChoice.AUTO,
    network: Annotated[
        bool, typer.Option("--network", help="Ask whether the hub answers.")
    ] = False,
    no_speed: Annotated[bool, typer.Option("--no-speed", help="Leave the speed test out.")] = False,
    seconds: Annotated[
        float, typer.Option(metavar="SECONDS", help="How long the speed test takes.")
    ] = 10.0,
    as_json: options.JsonOption = False,
    quiet: options.QuietOption = False,
) -> None:
    """Look at everything; `HELP` is what the user reads."""
    if not seconds >= _MIN_SPEED_S:
        raise SettingError(
            f"--seconds is {seconds:g}; it must be at least {_MIN_SPEED_S}, and --no-speed leaves the test out"
        )
    # Here, because `--help` must not pay for a model runtime.
    from pairscore.config import RoadConfig
    from pairscore.diagnosis.diagnosis import diagnose
    from pairscore.diagnosis.model import Request
    from pairscore.road.backends.base import BackendOptions

    request = Request(
        model=chosen.model,
        backend=backend.value,
        options=BackendOptions(
            device=chosen.device, dtype=None if chosen.dtype is None else chosen.dtype.value
        ),
        config=RoadConfig(max_length=chosen.max_length, num_workers=chosen.num_workers),
        prompt=chosen.prompt,
        calibration=chosen.calibration,
        skip_checks=chosen.skip_checks,
        asks_network=network,
        speed_s=None if no_speed else seconds,
    )
    with _bar(shown=not quiet) as advance:
        diagnosis = diagnose(request, advance=advance)
    _show(diagnosis, as_json=as_json)
    error = diagnosis.examined.error
    if error is not None:
        raise typer.Exit(exits.exit_code(error))


def _show(diagnosis: Diagnosis, *, as_json: bool) -> None:
    from pairscore.cli.doctor_page import as_facts, as_page

    if as_json:
        output.print_json(as_facts(diagnosis))
    else:
        output.print_table(as_page(diagnosis))


@contextmanager
def _bar(*, shown: bool) -> Iterator[Callable[[float], None]]:
    """How far the speed test is; what comes before it has no share."""
    with progress.progress(
        1.0, shown=shown, unit="", name="loading, checking, measuring"
    ) as advance:
        yield lambda share: advance(share, 0)
