"""Values of JSON lines in the columns of Parquet: one type for all blocks of a file, and a reason where a value has another."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final

from pairscore.batch.rows import Item
from pairscore.files.base import Broken, Row

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["SCHEMA_ROWS", "fitted", "inferred"]

SCHEMA_ROWS: Final = 1_024
"""Rows at a file's beginning that decide the types of its columns."""


def inferred(columns: Sequence[str], rows: Sequence[Row]) -> pa.Schema:
    """The types of a file's columns, from its first rows; what is null in all of them, or of several types, is text."""
    import pyarrow as pa

    fields = []
    for column in columns:
        try:
            kind = pa.array([row.values.get(column) for row in rows]).type
        except (pa.ArrowException, OverflowError):
            kind = pa.string()
        fields.append(pa.field(column, pa.string() if pa.types.is_null(kind) else kind))
    return pa.schema(fields)


def fitted(checked: Sequence[Item | Broken], schema: pa.Schema) -> list[Item | Broken]:
    """The same, but what does not fit its column is broken."""
    rows = [one for one in checked if isinstance(one, Item)]
    # The whole at once, because nearly always all of it fits.
    wrong = {name for name in schema.names if not _fit(rows, name, schema.field(name).type)}
    return [_checked(one, sorted(wrong), schema) for one in checked] if wrong else list(checked)


def _checked(one: Item | Broken, names: Sequence[str], schema: pa.Schema) -> Item | Broken:
    if isinstance(one, Broken):
        return one
    for name in names:
        kind = schema.field(name).type
        if not _fit([one], name, kind):
            return Broken(one.row.number, _reason(name, one.row.values.get(name), kind))
    return one


def _fit(rows: Sequence[Item], name: str, kind: pa.DataType) -> bool:
    import pyarrow as pa

    try:
        pa.array([item.row.values.get(name) for item in rows], type=kind)
    except (pa.ArrowException, OverflowError):
        return False
    return True


def _reason(name: str, value: Any, kind: pa.DataType) -> str:
    return (
        f"{name!r} is of the type {type(value).__name__}, and the column's type is {kind} by the file's first "
        f"{SCHEMA_ROWS:,} rows; give it that type, or write .jsonl, which keeps it (--format jsonl)"
    )
