"""`pairscore dedupe`: the texts of a file that say the same, grouped, with the reason."""

from __future__ import annotations

import time
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pairscore.cli import options, output, progress
from pairscore.cli.dedupe_files import TextJob, Texts, read_texts, write_rows
from pairscore.cli.dedupe_options import FileOptions, RuleOptions, check_options
from pairscore.cli.dedupe_report import (
    COLUMNS,
    Told,
    as_json_of,
    columns_of,
    print_groups,
    print_notes,
    watching,
)
from pairscore.cli.interrupt import Stopped, Stopping
from pairscore.cli.labelled import LabelColumns, LabelledPairs, read_labelled
from pairscore.cli.records import with_records
from pairscore.errors import SettingError
from pairscore.files import FileFormat, format_of, known_format, places

if TYPE_CHECKING:
    from pairscore.bi_encoder import BiEncoder
    from pairscore.cross_encoder import CrossEncoder
    from pairscore.retrieval.cuts import ChosenCut, Cut, CutScale
    from pairscore.retrieval.mining import Duplicates, MiningOptions

__all__ = ["HELP", "dedupe"]

HELP = """Find the texts of a file that say the same, and group them.

FILE is .csv, .tsv, .jsonl or .parquet, with a text in each row; any other file
holds one text a line. The bi-encoder finds each text's nearest neighbours, the
cross-encoder decides which of them are duplicates, and what is alike becomes a
group, of which one text is kept. Equal texts need no model.

Examples:

  pairscore dedupe tickets.csv --text-column title --output found.csv
  pairscore dedupe tickets.csv --labelled pairs.csv --min-precision 0.95 -o found.csv
  pairscore dedupe lines.txt --no-rerank --threshold 0.95
  pairscore dedupe tickets.csv --only-kept -o clean.csv

The output holds the columns of the input, and group, keep, score, match (the text
that it is most like), reason and chain. What is done is kept in OUTPUT.work:
killed or stopped, the same command goes on from there."""


@with_records()
def dedupe(
    file: Annotated[str, typer.Argument(metavar="FILE", help="The texts.", show_default=False)],
    *,
    paths: FileOptions,
    rule: RuleOptions,
    chosen: options.ModelOptions,
    as_json: options.JsonOption = False,
    quiet: options.QuietOption = False,
) -> None:
    """Find, write, tell; `HELP` is what the user reads."""
    started = time.monotonic()
    check_options(rule, model=chosen.model)
    mining = _mining(rule)
    job = _job(file, paths, max_chars=chosen.max_chars)
    target_format = _target_format(file, paths, as_json=as_json)
    if chosen.is_fake and not quiet:
        output.note(options.FAKE_NOTE)
    sample = _sample(rule, max_chars=job.max_chars)
    texts = read_texts(job)
    work = _work(paths)
    try:
        with Stopping():
            found, picked = _find(texts, sample, rule, mining, chosen, work=work, shown=not quiet)
            if paths.target is not None and target_format is not None:
                _write(job, texts, found, paths, kind=target_format)
    except Stopped as stop:
        if work is not None:
            output.note(f"stopped; what is done is kept in {work}, and the same command goes on")
        raise typer.Exit(128 + stop.number) from stop
    if work is not None and paths.work is None:
        _remove(work)
    told = Told(
        found=found,
        texts=texts,
        chosen=picked,
        target=None if paths.target is None else str(paths.target),
        elapsed_s=time.monotonic() - started,
    )
    if as_json:
        output.print_json(as_json_of(told))
    elif paths.target is None:
        print_groups(told)
    if not quiet:
        print_notes(told)


def _mining(rule: RuleOptions) -> MiningOptions:
    from pairscore.retrieval.mining import MiningOptions

    default = MiningOptions()
    return MiningOptions(
        num_neighbours=rule.neighbours,
        min_similarity=default.min_similarity
        if rule.min_similarity is None
        else rule.min_similarity,
        linkage=rule.linkage.value,
        keep=rule.keep.value,
    )


def _job(source: str, paths: FileOptions, *, max_chars: int | None) -> TextJob:
    from pairscore.config import DEFAULT_MAX_CHARS

    return TextJob(
        source=source,
        source_format=known_format(source) or paths.file_format,
        text_column=paths.text_column,
        id_column=paths.id_column,
        skip_broken=paths.on_error is options.OnError.SKIP,
        added=() if paths.target is None else tuple(f"{paths.prefix}{name}" for name in COLUMNS),
        max_chars=DEFAULT_MAX_CHARS if max_chars is None else max_chars,
    )


def _target_format(source: str, paths: FileOptions, *, as_json: bool) -> FileFormat | None:
    if paths.target is None:
        if paths.only_kept:
            raise SettingError("--only-kept writes rows; say where to with --output FILE")
        return None
    target = str(paths.target)
    if as_json and target == places.STANDARD:
        raise SettingError("--json prints a summary, so the rows need a file: --output FILE")
    places.check_target(target, source=source, overwrite=paths.overwrite)
    return format_of(target, otherwise=known_format(source) or paths.file_format)


def _work(paths: FileOptions) -> Path | None:
    """The folder of what is done; none without an output, beside which it would lie."""
    if paths.work is not None or paths.target is None or str(paths.target) == places.STANDARD:
        return paths.work
    return paths.target.with_name(f"{paths.target.name}.work")


def _remove(work: Path) -> None:
    from pairscore.retrieval.mining_work import WorkFolder

    with WorkFolder(work) as folder:
        folder.remove()


def _sample(rule: RuleOptions, *, max_chars: int) -> LabelledPairs | None:
    if rule.labelled is None:
        return None
    columns = LabelColumns(
        label=rule.label_column, positive_from=rule.positive_from, max_chars=max_chars
    )
    return read_labelled(rule.labelled, format_of(rule.labelled, otherwise=None), columns)


def _find(
    texts: Texts,
    sample: LabelledPairs | None,
    rule: RuleOptions,
    mining: MiningOptions,
    chosen: options.ModelOptions,
    *,
    work: Path | None,
    shown: bool,
) -> tuple[Duplicates, ChosenCut | None]:
    from pairscore.retrieval.cuts import check_cut
    from pairscore.retrieval.mining import find_duplicates
    from pairscore.road.ranking import check_one_number

    with ExitStack() as stack:
        with progress.waiting("loading the bi-encoder", shown=shown):
            encoder = stack.enter_context(_open_bi_encoder(rule, chosen))
        cross = None
        if rule.rerank:
            cross = stack.enter_context(options.open_encoder(chosen, quiet=not shown))
            check_one_number(cross.card.name, cross.card.labels)
        with progress.waiting("scoring the labelled sample", shown=shown and sample is not None):
            cut, picked = _cut(rule, sample, encoder, cross)
        check_cut(cut, own=None if cross is None else cross.card.scale)
        watched = stack.enter_context(watching(shown=shown))
        found = find_duplicates(
            texts.texts,
            encoder=encoder,
            cross_encoder=cross,
            cut=cut,
            options=mining,
            work=work,
            progress=watched,
        )
    return found, picked


def _open_bi_encoder(rule: RuleOptions, chosen: options.ModelOptions) -> BiEncoder:
    """The bi-encoder, run as the cross-encoder is; ``auto`` compares cross-encoders only."""
    from pairscore.bi_encoder import BiEncoder
    from pairscore.config import DEFAULT_MAX_CHARS, RoadConfig

    auto = chosen.backend is options.BackendChoice.AUTO
    config = RoadConfig(
        num_workers=chosen.num_workers,
        max_chars=DEFAULT_MAX_CHARS if chosen.max_chars is None else chosen.max_chars,
    )
    return BiEncoder(
        rule.encoder,
        config=config,
        backend="onnx" if auto else chosen.backend.value,
        device=chosen.device,
        dtype=None if chosen.dtype is None else chosen.dtype.value,
    )


def _cut(
    rule: RuleOptions,
    sample: LabelledPairs | None,
    encoder: BiEncoder,
    cross: CrossEncoder | None,
) -> tuple[Cut, ChosenCut | None]:
    """The threshold: given, chosen by a sample, or known of the bundled models."""
    from pairscore.retrieval.cuts import Cut, check_scale, choose_cut, default_scale, known_cut
    from pairscore.retrieval.pair_values import cosines_of, cross_values

    scale: CutScale = default_scale(None if cross is None else cross.card)
    if rule.scale is not None:
        scale = rule.scale.value
    check_scale(scale, own=None if cross is None else cross.card.scale)
    if rule.threshold is not None:
        return Cut(value=rule.threshold, scale=scale), None
    if sample is not None:
        pairs = list(sample.pairs)
        values = (
            cosines_of(encoder, pairs) if cross is None else cross_values(cross, pairs, scale=scale)
        )
        picked = choose_cut(values, sample.positive, scale=scale, min_precision=rule.min_precision)
        return picked.cut, picked
    name = encoder.name if cross is None else cross.card.name
    known = known_cut(name)
    if known is None:
        raise SettingError(
            f"nobody knows from which score on {name} calls two texts duplicates; say it with --threshold, or let a "
            "labelled sample say it with --labelled FILE"
        )
    return known, None


def _write(
    job: TextJob, texts: Texts, found: Duplicates, paths: FileOptions, *, kind: FileFormat
) -> None:
    write_rows(
        job,
        texts,
        columns_of(found, texts, prefix=paths.prefix, only_kept=paths.only_kept),
        target=str(paths.target),
        target_format=kind,
        added={f"{paths.prefix}{name}": type_ for name, type_ in COLUMNS.items()},
    )
