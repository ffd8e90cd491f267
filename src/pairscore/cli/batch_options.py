"""The options of a batch, which `score` and `rank` share, and how the command line tells a batch from one file."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, Final

import typer
from typer.core import TyperCommand

from pairscore.cli.serve_ray import with_address
from pairscore.errors import SettingError
from pairscore.files import places

__all__ = ["BatchCommand", "BatchOptions", "OnBroken", "RankFiles", "is_batch"]

_PANEL: Final = "Many files"
_CLUSTER_PANEL: Final = "Cluster"
_RAY: Final = "--ray"


class OnBroken(StrEnum):
    """What a broken row does."""

    STOP = "stop"
    SKIP = "skip"
    ASIDE = "aside"


@dataclass(frozen=True, kw_only=True, slots=True)
class BatchOptions:
    """How many files are done; each field is a flag, and its help says what it means."""

    resume: Annotated[
        bool,
        typer.Option(
            "--resume",
            help="Go on with the run that the output folder holds; blocks that are done stay done.",
            rich_help_panel=_PANEL,
        ),
    ] = False
    verify: Annotated[
        bool,
        typer.Option(
            "--verify",
            help="At the end, read all results again and compare them with the rows that were read.",
            rich_help_panel=_PANEL,
        ),
    ] = False
    block_rows: Annotated[
        int | None,
        typer.Option(
            metavar="ROWS",
            help="Rows of a block, which is one file of the output, and what is lost at most when a machine dies. "
            "Without it, 4,096; of queries with their documents, 128.",
            rich_help_panel=_PANEL,
        ),
    ] = None
    ray: Annotated[
        str | None,
        typer.Option(
            _RAY,
            metavar="[ADDRESS]",
            help="Work on a Ray cluster: that of the address, else that of RAY_ADDRESS, else a new one on this machine.",
            rich_help_panel=_CLUSTER_PANEL,
        ),
    ] = None
    actors: Annotated[
        int | None,
        typer.Option(
            metavar="N",
            help="How many copies of the model work. Without it, as many as the cluster has room for.",
            rich_help_panel=_CLUSTER_PANEL,
        ),
    ] = None
    cpus_per_actor: Annotated[
        float | None,
        typer.Option(
            metavar="CPUS",
            help="Cores, and threads, of each copy. Without it, 1.",
            rich_help_panel=_CLUSTER_PANEL,
        ),
    ] = None
    gpus_per_actor: Annotated[
        float | None,
        typer.Option(
            metavar="GPUS",
            help="GPUs of each copy, or a share of one, such as 0.5. Without it, none.",
            rich_help_panel=_CLUSTER_PANEL,
        ),
    ] = None

    def check(self) -> None:
        """Refuse what makes no sense, before anything is read.

        Raises:
            SettingError: a number is too small, or an option of the cluster is given without one.
        """
        if self.block_rows is not None and self.block_rows < 1:
            raise SettingError(f"--block-rows is {self.block_rows}; it must be at least 1")
        least = {"--actors": 1.0, "--cpus-per-actor": 0.0, "--gpus-per-actor": 0.0}
        values = (self.actors, self.cpus_per_actor, self.gpus_per_actor)
        for (option, minimum), value in zip(least.items(), values, strict=True):
            if value is None:
                continue
            if value < minimum:
                raise SettingError(f"{option} is {value:g}; it must be at least {minimum:g}")
            if self.ray is None:
                raise SettingError(f"{option} is for a cluster; give {_RAY} as well")

    @property
    def is_given(self) -> bool:
        """Whether one was given that only a batch has."""
        return self != BatchOptions()


@dataclass(frozen=True, kw_only=True, slots=True)
class RankFiles:
    """Where rankings of many queries come from and go to; each field is a flag."""

    sources: Annotated[
        tuple[str, ...],
        typer.Option(
            "--input",
            "-i",
            metavar="FILE",
            help="Rows of a query and a list of documents: .parquet or .jsonl; a file, a folder, a pattern in "
            "quotes, or a URL such as s3://bucket/*.parquet; may be given several times.",
            rich_help_panel=_PANEL,
        ),
    ] = ()
    target: Annotated[
        str | None,
        typer.Option(
            "--output",
            "-o",
            metavar="DIR",
            help="The folder for the rankings, or its URL.",
            rich_help_panel=_PANEL,
        ),
    ] = None
    query_column: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="The column of the query, of many; found by common names (query, question ...).",
            rich_help_panel=_PANEL,
        ),
    ] = None
    score_column: Annotated[
        str,
        typer.Option(
            metavar="NAME",
            help="The name of the score's column; another one than score also names the others: NAME_rank ...",
            rich_help_panel=_PANEL,
        ),
    ] = "score"
    on_error: Annotated[
        OnBroken | None,
        typer.Option(
            help="At a broken row: stop with what is done kept, or write it aside with the reason. Without it, aside.",
            rich_help_panel=_PANEL,
        ),
    ] = None
    overwrite: Annotated[
        bool,
        typer.Option(
            "--overwrite", help="Replace the run that the folder holds.", rich_help_panel=_PANEL
        ),
    ] = False


class BatchCommand(TyperCommand):
    """Lets `--ray` stand without its address, which typer has no way to say."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Give it an empty one where another option follows, or nothing."""
        # Behind ``--`` stand texts.
        end = args.index("--") if "--" in args else len(args)
        return super().parse_args(ctx, [*with_address(args[:end]), *args[end:]])


def is_batch(inputs: Sequence[str], output: str | None, options: BatchOptions) -> bool:
    """Whether a folder of results is meant, and not one file."""
    # Here, because `--help` needs no files.
    from pairscore.batch.planning import is_pattern
    from pairscore.batch.storage import is_url

    several = len(inputs) > 1 or any(
        is_url(one) or Path(one).is_dir() or (is_pattern(one) and not Path(one).exists())
        for one in inputs
    )
    return several or options.is_given or _is_folder(output)


def _is_folder(output: str | None) -> bool:
    if output is None or output == places.STANDARD:
        return False
    return "://" in output or output.endswith(("/", "\\")) or Path(output).is_dir()
