"""Reading results again: every row of the input is there, once, and is the row that was read."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from itertools import count, islice

from pairscore.batch.checksum import row_checksum, total
from pairscore.batch.ledger import Ledger
from pairscore.batch.reading import BlockReader, head_of, rules_of
from pairscore.batch.records import Block, BlockReport, Job
from pairscore.batch.results import part_name, side_name
from pairscore.batch.rows import Item
from pairscore.batch.storage import locate
from pairscore.errors import DataFileError
from pairscore.files import reader_of
from pairscore.files.base import Row

__all__ = ["check_output"]

_SHOWN = 3


def check_output(
    job: Job, blocks: Sequence[Block], reports: Mapping[str, BlockReport], ledger: Ledger
) -> None:
    """Read every file of the output again; a block that is not what its marker says is done no more.

    Of scores the texts are in the output, so their checksum is computed from there. Of a ranking they are not all
    there; its checksum is computed from the input, and of the output the rows are counted.

    Raises:
        DataFileError: a block's rows are not those that were read.
    """
    wrong = [block.name for block in blocks if not _fits(job, block, reports[block.name])]
    if wrong:
        ledger.forget(wrong)
        shown = ", ".join(wrong[:_SHOWN]) + (" and more" if len(wrong) > _SHOWN else "")
        raise DataFileError(
            f"{len(wrong):,} of {len(blocks):,} blocks in {job.output!r} hold other rows than those that were read "
            f"({shown}); do these again with --resume"
        )


def _fits(job: Job, block: Block, report: BlockReport) -> bool:
    try:
        written = list(_written(job, block))
        broken = _broken_rows(job, block) if report.num_broken else set()
    except (DataFileError, ValueError):
        return False
    if (len(written), len(broken)) != (report.num_written, report.num_broken):
        return False
    texts = _texts_read(job, block) if job.task == "rank" else _texts_written(job, block, written)
    rows = (row for row in count(block.first_row) if row not in broken)
    checksums = [
        row_checksum(block.source, row, query, documents)
        for row, (query, documents) in zip(rows, texts, strict=False)
    ]
    checksums += [row_checksum(block.source, row, "", ()) for row in broken]
    return len(checksums) == report.num_rows and total(checksums) == report.checksum


def _written(job: Job, block: Block) -> Iterator[Row]:
    """The rows of a block's own file."""
    place = locate(job.output)
    name = part_name(job, block.name)
    reader = reader_of(place.store.open(place.below(name)), job.output_format, name=name)
    try:
        for record in reader.rows():
            if not isinstance(record, Row):
                raise DataFileError(f"{name}: {record.reason}")
            yield record
    finally:
        reader.close()


def _broken_rows(job: Job, block: Block) -> set[int]:
    """Which rows are in the side file, counted from 0."""
    place = locate(job.output)
    with place.store.open(place.below(side_name(block.name))) as file:
        return {int(json.loads(line)["row"]) - 1 for line in file}


def _texts_written(
    job: Job, block: Block, written: Sequence[Row]
) -> Iterator[tuple[str, tuple[str, ...]]]:
    found = head_of(job.sources[block.source], with_schema=False).check(rules_of(job)).found
    if found is not None:
        for row in written:
            yield str(row.values.get(found.query)), (str(row.values.get(found.document)),)


def _texts_read(job: Job, block: Block) -> Iterator[tuple[str, tuple[str, ...]]]:
    reader = BlockReader(job)
    check = head_of(job.sources[block.source], with_schema=False).check(rules_of(job))
    try:
        for record in islice(reader.records(block), block.num_rows):
            item = check.check(record)
            if isinstance(item, Item):
                yield item.query, item.documents
    finally:
        reader.close()
