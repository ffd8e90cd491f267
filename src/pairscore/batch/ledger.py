"""What an output folder knows of its run: which job it is, which blocks are done, and what came of all of them."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

from pairscore.batch.checksum import total
from pairscore.batch.identity import model_identity
from pairscore.batch.records import Block, BlockReport, Job
from pairscore.batch.results import (
    BROKEN_FOLDER,
    MARKER_FOLDER,
    marker_name,
    part_name,
    report_of,
    side_name,
)
from pairscore.batch.storage import is_url, locate
from pairscore.errors import DataFileError, OutputFileError, SettingError

__all__ = ["Account", "Ledger"]

_JOB: Final = "_pairscore/job.json"
_REPORT: Final = "_pairscore/report.json"
_VERSION: Final = 1
# Small files behind a network are waited for, not computed.
_CLIENTS: Final = 16
_SHOWN: Final = 3
_OURS: Final = re.compile(r"part-\d{5,}-\d{6,}\.(csv|tsv|jsonl|parquet|json)")


@dataclass(frozen=True, kw_only=True, slots=True)
class Account:
    """What came of all blocks together, whichever run did them.

    Attributes:
        num_blocks: how many there are.
        num_rows: rows of the input.
        num_scored: rows that were scored.
        num_broken: rows in the side files.
        num_written: rows of the output.
        num_pairs: pairs that the model read.
        num_truncated: pairs that were cut.
        num_bytes: of the output, side files left out.
        checksum: of the rows that were read, 16 hexadecimal digits.
    """

    num_blocks: int
    num_rows: int
    num_scored: int
    num_broken: int
    num_written: int
    num_pairs: int
    num_truncated: int
    num_bytes: int
    checksum: str

    @classmethod
    def of(cls, reports: Sequence[BlockReport]) -> Account:
        """The sum of the blocks."""
        return cls(
            num_blocks=len(reports),
            num_rows=sum(report.num_rows for report in reports),
            num_scored=sum(report.num_scored for report in reports),
            num_broken=sum(report.num_broken for report in reports),
            num_written=sum(report.num_written for report in reports),
            num_pairs=sum(report.num_pairs for report in reports),
            num_truncated=sum(report.num_truncated for report in reports),
            num_bytes=sum(report.num_bytes for report in reports),
            checksum=f"{total(report.checksum for report in reports):016x}",
        )


class Ledger:
    """The book of one output folder."""

    def __init__(self, job: Job) -> None:
        self._job = job
        self._place = locate(job.output)

    def check(self, *, resume: bool, overwrite: bool) -> None:
        """Refuse a folder that another run's results would be lost in, before any work is done.

        Raises:
            OutputFileError: it is a file, or holds a run already, or other files.
            SettingError: the run that it holds is not this one, or the input lies in it.
            ModelError: the model cannot be found.
        """
        if resume and overwrite:
            raise SettingError(
                "--resume goes on with what is there, and --overwrite throws it away; give one of them"
            )
        store, path = self._place.store, self._place.path
        if store.entry(path) is not None:
            raise OutputFileError(f"{self._job.output!r} is a file; name a folder with --output")
        self._refuse_own_input()
        content = self._read(_JOB)
        if content is None:
            self._refuse_strangers(overwrite=overwrite)
        elif resume:
            _refuse_another(self._told(), content, self._job.output)
        elif not overwrite:
            raise OutputFileError(
                f"{self._job.output!r} holds a run already; go on with it with --resume, replace it with --overwrite, "
                "or name another folder"
            )

    def begin(self, *, overwrite: bool) -> None:
        """Write down which job this is; with `overwrite`, remove what another run left.

        Raises:
            OutputFileError: it cannot be written.
        """
        if overwrite:
            # Markers first: a block whose marker is gone is not done, wherever this ends.
            for folder in (MARKER_FOLDER, BROKEN_FOLDER, ""):
                self._remove(folder, _is_ours)
        else:
            self._sweep()
        if overwrite or self._read(_JOB) is None:
            self._write(_JOB, self._told())

    def finished(self, blocks: Sequence[Block]) -> Iterator[BlockReport]:
        """The blocks that are done: with a marker, and with a file of the size that it says."""
        named = {block.name: block for block in blocks}
        there = self._there()
        marked = [
            name
            for entry in self._listing(MARKER_FOLDER)
            if (name := entry.removesuffix(".json")) in named
        ]
        with ThreadPoolExecutor(_CLIENTS) as pool:
            for content in pool.map(lambda name: self._read(marker_name(name)), marked):
                report = None if content is None else report_of(content)
                if report is not None and self._is_whole(report, named.get(report.name), there):
                    yield report

    def close(self, blocks: Sequence[Block], reports: Mapping[str, BlockReport]) -> Account:
        """Compare what was planned with what is there, write the report, and remove what dead workers left half written.

        Raises:
            DataFileError: a row is missing, or a file.
        """
        there = self._there()
        wrong = [
            block.name
            for block in blocks
            if not self._is_whole(reports.get(block.name), block, there)
        ]
        if wrong:
            raise DataFileError(
                f"{len(wrong):,} of {len(blocks):,} blocks in {self._job.output!r} are not what was planned "
                f"({_some(wrong)}): a file of theirs is missing or was changed; do these again with --resume"
            )
        account = Account.of([reports[block.name] for block in blocks])
        self._write(_REPORT, asdict(account))
        self._sweep()
        return account

    def forget(self, names: Sequence[str]) -> None:
        """Take back that blocks are done.

        Raises:
            OutputFileError: a marker cannot be removed.
        """
        for name in names:
            self._place.store.remove(self._place.below(marker_name(name)))

    def _is_whole(
        self, report: BlockReport | None, block: Block | None, there: Mapping[str, int]
    ) -> bool:
        if report is None or block is None:
            return False
        return (
            report.num_rows == block.num_rows == report.num_scored + report.num_broken
            and there.get(part_name(self._job, block.name)) == report.num_bytes
            and (report.num_broken == 0 or side_name(block.name) in there)
        )

    def _told(self) -> dict[str, Any]:
        """What decides the results, in words that JSON has; not how quick they come."""
        job = self._job
        told = {
            "version": _VERSION,
            "task": job.task,
            "input": [asdict(source) for source in job.sources],
            "format": job.output_format,
            "model": model_identity(job.model),
            "query_column": job.query_column,
            "document_column": job.document_column,
            "score_column": job.score_column,
            "top_k": job.top_k,
            "min_score": job.min_score,
            "min_probability": job.min_probability,
            "long_documents": None if job.chunking is None else asdict(job.chunking),
            "block_rows": job.block_rows,
        }
        value: dict[str, Any] = json.loads(json.dumps(told))
        return value

    def _refuse_own_input(self) -> None:
        folder = _absolute(self._job.output)
        inside = [one.path for one in self._job.sources if _absolute(one.path).startswith(folder)]
        if inside:
            raise SettingError(
                f"the input {inside[0]!r} lies in the output folder {self._job.output!r}; name another folder "
                "with --output"
            )

    def _refuse_strangers(self, *, overwrite: bool) -> None:
        """Readers of the folder would take other files for results."""
        there = [name for name in self._listing("") if not name.startswith((".", "_"))]
        if there and not overwrite:
            raise OutputFileError(
                f"{self._job.output!r} is not empty ({_some(there)}) and holds no run; name another folder, "
                "or allow results to be written into it with --overwrite"
            )

    def _sweep(self) -> None:
        for folder in (MARKER_FOLDER, BROKEN_FOLDER, ""):
            self._remove(folder, _is_left_over)

    def _remove(self, folder: str, is_gone: Any) -> None:
        names = [name for name in self._listing(folder) if is_gone(name)]
        below = f"{folder}/" if folder else ""
        with ThreadPoolExecutor(_CLIENTS) as pool:
            for _ in pool.map(
                lambda name: self._place.store.remove(self._place.below(below + name)), names
            ):
                pass

    def _there(self) -> dict[str, int]:
        """The files of the output and those of broken rows, with their sizes."""
        store, place = self._place.store, self._place
        sides = store.listing(place.below(BROKEN_FOLDER))
        return {entry.name: entry.num_bytes for entry in store.listing(place.path)} | {
            f"{BROKEN_FOLDER}/{entry.name}": entry.num_bytes for entry in sides
        }

    def _listing(self, folder: str) -> Iterable[str]:
        place = self._place
        path = place.below(folder) if folder else place.path
        return [entry.name for entry in place.store.listing(path)]

    def _read(self, name: str) -> bytes | None:
        store, path = self._place.store, self._place.below(name)
        if store.entry(path) is None:
            return None
        with store.open(path) as file:
            return file.read()

    def _write(self, name: str, value: Mapping[str, Any]) -> None:
        content = json.dumps(value, indent=1, ensure_ascii=False).encode()
        self._place.store.write(self._place.below(name), content)


def _refuse_another(now: Mapping[str, Any], content: bytes, output: str) -> None:
    """Refuse to go on with a run that would have come to other results.

    Raises:
        SettingError: what differs.
    """
    try:
        then: dict[str, Any] = json.loads(content)
    except ValueError as error:
        raise SettingError(
            f"{output}/{_JOB} cannot be read ({error}); begin anew with --overwrite"
        ) from error
    different = list(_differences(then, now))
    if different:
        raise SettingError(
            f"{output!r} holds another run: {'; '.join(different)}; give what that run was given, replace it with "
            "--overwrite, or name another folder"
        )


def _differences(then: Mapping[str, Any], now: Mapping[str, Any]) -> Iterator[str]:
    for name in sorted({*then, *now}):
        before, here = then.get(name), now.get(name)
        if before == here:
            continue
        if name == "input":
            yield _other_input(before or [], here or [])
        elif isinstance(before, dict) and isinstance(here, dict):
            yield from (f"{name} {told}" for told in _differences(before, here))
        else:
            yield f"{name} was {before!r} and is {here!r}"


def _other_input(then: Sequence[Mapping[str, Any]], now: Sequence[Mapping[str, Any]]) -> str:
    before, here = ({str(one["path"]): one for one in sources} for sources in (then, now))
    gone, new = sorted(set(before) - set(here)), sorted(set(here) - set(before))
    if gone:
        return f"its input has {_some(gone)} as well"
    if new:
        return f"its input has no {_some(new)}"
    changed = sorted(path for path in here if here[path] != before[path])
    return f"the input was changed since: {_some(changed)}"


def _some(names: Sequence[str]) -> str:
    more = f" and {len(names) - _SHOWN:,} more" if len(names) > _SHOWN else ""
    return ", ".join(names[:_SHOWN]) + more


def _absolute(place: str) -> str:
    """A place with one ``/`` at its end, so that a folder's name begins the names of what is in it."""
    path = place.partition("?")[0] if is_url(place) else Path(place).absolute().as_posix()
    return f"{path.rstrip('/')}/"


def _is_ours(name: str) -> bool:
    """Whether a block has such a name; others that write parts have names of other forms."""
    return bool(_OURS.fullmatch(name)) or _is_left_over(name)


def _is_left_over(name: str) -> bool:
    """Whether it is what somebody was writing when they died."""
    return name.startswith(".part-") and name.endswith(".tmp")
