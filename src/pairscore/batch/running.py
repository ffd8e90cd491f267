"""A job from its beginning to its report, whoever does the blocks."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass
from typing import Any, cast

from pairscore.batch.ledger import Account, Ledger
from pairscore.batch.planning import plan
from pairscore.batch.reading import head_of, rules_of
from pairscore.batch.records import Block, BlockReport, Job, Runner
from pairscore.batch.verifying import check_output
from pairscore.errors import EmptyInputError, PairscoreError

__all__ = ["Planned", "RunReport", "run"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Planned:
    """What there is to do.

    Attributes:
        blocks: all of them.
        done: those that an earlier run did.
    """

    blocks: tuple[Block, ...]
    done: tuple[BlockReport, ...]

    @property
    def num_rows(self) -> int:
        """Rows of the input."""
        return sum(block.num_rows for block in self.blocks)

    @property
    def num_rows_done(self) -> int:
        """Rows of the input that an earlier run did."""
        return sum(report.num_rows for report in self.done)


@dataclass(frozen=True, kw_only=True, slots=True)
class RunReport:
    """What was done.

    Attributes:
        account: of all blocks, whichever run did them.
        num_blocks_now: blocks that this run did.
        num_pairs_now: pairs that this run scored.
        elapsed_s: how long this run took, planning included.
        verified: whether all results were read again and compared.
    """

    account: Account
    num_blocks_now: int
    num_pairs_now: int
    elapsed_s: float
    verified: bool

    @property
    def pairs_per_s(self) -> float:
        """Pairs that this run scored in a second; 0 if there was nothing left to score."""
        return self.num_pairs_now / self.elapsed_s if self.elapsed_s > 0 else 0.0


def run(  # noqa: PLR0913 - how a run is made
    job: Job,
    runner: Runner,
    *,
    resume: bool = False,
    overwrite: bool = False,
    verify: bool = False,
    on_plan: Callable[[Planned], None] | None = None,
    on_block: Callable[[BlockReport], None] | None = None,
) -> RunReport:
    """Do all blocks that are not done, and report on all.

    Whatever ends it early, blocks that are done stay done; the error has a note of how many they are.

    Args:
        job: what to do.
        runner: who does it.
        resume: go on with a run that the output folder holds; without one there, begin it.
        overwrite: remove what the output folder holds.
        verify: read all results again and compare.
        on_plan: told what there is to do.
        on_block: told of each block that is done.

    Raises:
        DataFileError: the input or the output is not usable, or a row was lost.
        EmptyInputError: there was no row, or none that could be scored.
        SettingError: the output folder holds another run.
        PairscoreError: whatever loading or running the model raises.
    """
    began = time.monotonic()
    ledger = Ledger(job)
    ledger.check(resume=resume, overwrite=overwrite)
    blocks = plan(job)
    _check_beginning(job, blocks)
    ledger.begin(overwrite=overwrite)
    done = {report.name: report for report in ledger.finished(blocks)}
    if on_plan is not None:
        on_plan(Planned(blocks=blocks, done=tuple(done.values())))
    before = set(done)
    try:
        left = [block for block in blocks if block.name not in before]
        _work(job, runner, left, done, on_block)
    except (PairscoreError, KeyboardInterrupt) as error:
        error.add_note(_kept(job, len(done), len(blocks)))
        raise
    account = ledger.close(blocks, done)
    if verify:
        check_output(job, blocks, done, ledger)
    _refuse_nothing(job, account)
    return RunReport(
        account=account,
        num_blocks_now=len(done) - len(before),
        num_pairs_now=sum(it.num_pairs for name, it in done.items() if name not in before),
        elapsed_s=time.monotonic() - began,
        verified=verify,
    )


def _work(
    job: Job,
    runner: Runner,
    left: Sequence[Block],
    done: dict[str, BlockReport],
    on_block: Callable[[BlockReport], None] | None,
) -> None:
    if not left:
        return
    # Closed, so that what is under way is given up at once where this ends early.
    with closing(cast("Any", runner.run(job, left))) as reports:
        for report in reports:
            done[report.name] = report
            if on_block is not None:
                on_block(report)


def _check_beginning(job: Job, blocks: Sequence[Block]) -> None:
    """Let a wrong column be told before a model is loaded, or a folder is made."""
    if not blocks:
        names = ", ".join(source.path for source in job.sources[:3])
        raise EmptyInputError(f"{names} holds no row to score; give at least one")
    head_of(job.sources[blocks[0].source], with_schema=False).check(rules_of(job))


def _refuse_nothing(job: Job, account: Account) -> None:
    if account.num_scored == 0:
        raise EmptyInputError(
            f"no row could be scored: all {account.num_broken:,} are broken; "
            f"the reasons are in {job.output}/_broken"
        )


def _kept(job: Job, num_done: int, num_blocks: int) -> str:
    return (
        f"{num_done:,} of {num_blocks:,} blocks are done and kept in {job.output}; "
        "go on with the same command and --resume."
    )
