"""The options of `pairscore convert`: which way, on which texts, and how close is close enough."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated, TypeAlias

import typer

__all__ = [
    "AgreementOption",
    "CalibrationTextsOption",
    "CosineOption",
    "DifferenceOption",
    "DocumentColumnOption",
    "FlippedOption",
    "GranularityChoice",
    "GranularityOption",
    "JudgedOption",
    "LimitOption",
    "NdcgLossOption",
    "NeighboursOption",
    "OutputOption",
    "OverlapOption",
    "QueryColumnOption",
    "RangeOption",
    "SpearmanOption",
    "StaticOption",
    "TextsOption",
    "To",
    "WorstCosineOption",
]

_WAY, _TEXTS, _LIMITS = "Way", "Texts", "Thresholds"


class To(StrEnum):
    """What a model is converted to."""

    INT8 = "int8"
    FLOAT32 = "float32"
    SAFETENSORS = "safetensors"


class GranularityChoice(StrEnum):
    """How many values share a scale."""

    ROWS = "rows"
    CHANNEL = "channel"
    TENSOR = "tensor"


OutputOption: TypeAlias = Annotated[
    Path | None,
    typer.Option("--output", "-o", metavar="DIR", help="The folder to write; it must not exist."),
]
GranularityOption: TypeAlias = Annotated[
    GranularityChoice | None,
    typer.Option(
        help="int8: rows has a scale for each token, found while it runs, so that a score does not depend on "
        "its neighbours; channel a scale for each output channel; tensor one for all. Without it, rows where "
        "the model's family is known, channel elsewhere.",
        rich_help_panel=_WAY,
    ),
]
RangeOption: TypeAlias = Annotated[
    bool,
    typer.Option(
        "--reduced-range/--full-range",
        help="int8: weights of 7 bits, which no CPU without VNNI saturates, or of 8.",
        rich_help_panel=_WAY,
    ),
]
StaticOption: TypeAlias = Annotated[
    bool,
    typer.Option(
        "--static",
        help="int8: fix the scales of activations beforehand, on the texts of --calibration-texts.",
        rich_help_panel=_WAY,
    ),
]
CalibrationTextsOption: TypeAlias = Annotated[
    str | None,
    typer.Option(
        metavar="FILE",
        help="Pairs like those that will be scored: .csv, .tsv, .jsonl or .parquet.",
        rich_help_panel=_WAY,
    ),
]
TextsOption: TypeAlias = Annotated[
    str | None,
    typer.Option(
        metavar="FILE",
        help="Pairs to compare on: .csv, .tsv, .jsonl or .parquet; those with the same query are ranked "
        "together. Without it, the package's own: English, easy.",
        rich_help_panel=_TEXTS,
    ),
]
JudgedOption: TypeAlias = Annotated[
    Path | None,
    typer.Option(
        metavar="DIR",
        help="A judged collection to compare on, which gives nDCG@10: a BEIR folder, or corpus.jsonl, "
        "queries.tsv, qrels.tsv and a run.",
        rich_help_panel=_TEXTS,
    ),
]
QueryColumnOption: TypeAlias = Annotated[
    str | None,
    typer.Option(
        metavar="NAME", help="The column of the first text in FILE.", rich_help_panel=_TEXTS
    ),
]
DocumentColumnOption: TypeAlias = Annotated[
    str | None,
    typer.Option(
        metavar="NAME", help="The column of the second text in FILE.", rich_help_panel=_TEXTS
    ),
]
LimitOption: TypeAlias = Annotated[
    int,
    typer.Option(
        metavar="PAIRS",
        help="The most pairs to compare on; 0 is all. The first candidates of every query are kept, at "
        "least 20 of each.",
        rich_help_panel=_TEXTS,
    ),
]
_ONE_OF_TWO = "Without it, int8: {int8}, float32: {float32}."
SpearmanOption: TypeAlias = Annotated[
    float | None,
    typer.Option(
        metavar="R",
        help="Spearman correlation of the logits, of a bi-encoder of the similarities, at least. "
        + _ONE_OF_TWO.format(int8="0.99", float32="0.9999"),
        rich_help_panel=_LIMITS,
    ),
]
OverlapOption: TypeAlias = Annotated[
    float | None,
    typer.Option(
        metavar="SHARE",
        help="Of each query's ten best, at least. "
        + _ONE_OF_TWO.format(int8="0.95", float32="0.99"),
        rich_help_panel=_LIMITS,
    ),
]
FlippedOption: TypeAlias = Annotated[
    float | None,
    typer.Option(
        metavar="SHARE",
        help="Neighbours that are clearly apart and swap places, at most. "
        + _ONE_OF_TWO.format(int8="0.05", float32="0"),
        rich_help_panel=_LIMITS,
    ),
]
NdcgLossOption: TypeAlias = Annotated[
    float | None,
    typer.Option(
        metavar="LOSS",
        help="Of nDCG@10, at most. "
        + _ONE_OF_TWO.format(int8="0.005 (bi-encoder 0.01)", float32="0.001"),
        rich_help_panel=_LIMITS,
    ),
]
DifferenceOption: TypeAlias = Annotated[
    float | None,
    typer.Option(
        metavar="LOGITS",
        help="Largest difference of a logit, at most. "
        + _ONE_OF_TWO.format(int8="none", float32="0.001"),
        rich_help_panel=_LIMITS,
    ),
]
AgreementOption: TypeAlias = Annotated[
    float | None,
    typer.Option(
        metavar="SHARE",
        help="Pairs with the same label, of a model with several, at least. "
        + _ONE_OF_TWO.format(int8="0.97", float32="0.999"),
        rich_help_panel=_LIMITS,
    ),
]
CosineOption: TypeAlias = Annotated[
    float | None,
    typer.Option(
        metavar="COSINE",
        help="Bi-encoder: of a text's two vectors, mean over the texts, at least. "
        + _ONE_OF_TWO.format(int8="0.99", float32="0.99999"),
        rich_help_panel=_LIMITS,
    ),
]
WorstCosineOption: TypeAlias = Annotated[
    float | None,
    typer.Option(
        metavar="COSINE",
        help="Bi-encoder: of every single text's two vectors, at least. "
        + _ONE_OF_TWO.format(int8="0.97", float32="0.9999"),
        rich_help_panel=_LIMITS,
    ),
]
NeighboursOption: TypeAlias = Annotated[
    float | None,
    typer.Option(
        metavar="SHARE",
        help="Bi-encoder: of each text's ten nearest neighbours, at least. "
        + _ONE_OF_TWO.format(int8="0.9", float32="0.99"),
        rich_help_panel=_LIMITS,
    ),
]
