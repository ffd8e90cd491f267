"""The report: one page that needs nothing else, whatever the texts hold; JSON without NaN; pictures."""

from __future__ import annotations

import json
import math
import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest
from tests.comparisons import judged_folder, of_folder, of_pairs, pairs_of

from pairscore.evaluation.compare_plots import pictures, write_pngs
from pairscore.evaluation.compare_records import Comparison, Row
from pairscore.evaluation.compare_report import as_json, html_page, summary
from pairscore.evaluation.compare_tables import sections

EVIL = "<script>alert('x')</script> & \"quoted\" $body ${title} [bold]"
_VOID = {"meta", "br", "hr", "img"}


class Reader(HTMLParser):
    """Checks that every tag is closed, and keeps what it saw."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []
        self.texts: list[str] = []

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += attrs
        if tag not in _VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += attrs

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.texts.append(data)


def _read(page: str) -> Reader:
    reader = Reader()
    reader.feed(page)
    reader.close()
    assert reader.open == []
    return reader


@pytest.fixture(scope="module")
def of_pair_file() -> Comparison:
    """Pairs, one of them with a text that is code."""
    found = of_pairs(pairs_of(80, graded=True))
    row = replace(found.rows[0], first=EVIL)
    return replace(found, name=f"data {EVIL}", rows=(row, *found.rows[1:]), notes=(EVIL,))


@pytest.fixture(scope="module")
def of_collection(tmp_path_factory: pytest.TempPathFactory) -> Comparison:
    """Candidates of judged queries."""
    return of_folder(judged_folder(tmp_path_factory.mktemp("data")), price_per_hour=0.5)


@pytest.fixture(scope="module")
def page(of_collection: Comparison) -> str:
    """Its report."""
    return html_page(of_collection, pictures(of_collection))


def test_the_page_is_whole_and_alone(page: str) -> None:
    """Well formed, with all tables and pictures, no script, and nothing that is fetched."""
    reader = _read(page)
    assert page.startswith("<!DOCTYPE html>")
    assert reader.tags.count("svg") == 3
    assert {"script", "link", "iframe", "img"}.isdisjoint(reader.tags)
    for name, value in reader.attributes:
        assert name != "src"
        assert not name.startswith("on")
        if name in ("href", "xlink:href"):
            assert str(value).startswith("#")
    assert not re.search(r"url\((?!#)", page)
    assert "@import" not in page
    for title in ("Recommendation", "Quality", "Is it chance?", "How many candidates to rerank"):
        assert title in reader.texts


def test_it_is_readable_in_the_dark_and_on_paper(page: str) -> None:
    """Both have styles of their own, and pictures take the page's colour."""
    assert "prefers-color-scheme: dark" in page
    assert "@media print" in page
    assert "currentColor" in page
    assert "#010203" not in page


def test_texts_are_escaped(of_pair_file: Comparison) -> None:
    """Names, notes and texts of pairs come back as they are, and none of them is a tag or a placeholder."""
    reader = _read(html_page(of_pair_file, ()))

    assert "script" not in reader.tags
    assert sum(EVIL in text for text in reader.texts) == 4


def test_pictures_are_pictures_of_their_own(of_pair_file: Comparison, tmp_path: Path) -> None:
    """Each is XML, no two share an id, the same comparison gives the same picture, and PNGs are written."""
    made = pictures(of_pair_file)
    drawn = [picture.svg() for picture in made]

    assert [picture.name for picture in made] == ["distributions", "quality-time", "reliability"]
    ids: list[str] = []
    for text in drawn:
        ids += [value for node in ET.fromstring(text).iter() if (value := node.get("id"))]
    assert len(set(ids)) == len(ids)
    assert drawn[-1] == made[-1].svg()
    # Scores of different scales are never on one axis, and each axis says which it is.
    for label in ("cross-encoder: logit", "bi-encoder: cosine", "BM25"):
        assert f">{label}</text>" in drawn[0]
    paths = write_pngs(made[-1:], tmp_path / "plots" / "here")
    assert [path.name for path in paths] == [f"{picture.name}.png" for picture in made[-1:]]
    assert all(path.read_bytes().startswith(b"\x89PNG") for path in paths)


def test_few_labels_make_fewer_pictures() -> None:
    """Nine related pairs draw no reliability; they are drawn as points."""
    few = of_pairs(pairs_of(12))

    assert [picture.name for picture in pictures(few)] == ["distributions", "quality-time"]
    assert "<svg" in pictures(few)[0].svg()


def test_json_holds_everything_but_the_scores(of_collection: Comparison) -> None:
    """Numbers as numbers, NaN as null, and no list as long as the data."""
    found = as_json(of_collection)

    text = json.dumps(found, allow_nan=False)
    assert json.loads(text) == found
    assert found["kind"] == "rankings"
    assert [system["name"] for system in found["systems"]][-1] == "run first"
    assert found["systems"][0]["gap"]["value"] == pytest.approx(
        found["systems"][0]["gap"]["mean_related"] - found["systems"][0]["gap"]["mean_unrelated"]
    )
    assert found["num_candidates"][0]["num_candidates"] == 0
    assert found["recommendation"]["num_candidates"] == of_collection.advice.num_candidates
    assert len(text) < 60_000


def test_what_is_not_defined_is_null(of_pair_file: Comparison) -> None:
    """A correlation of constant scores, say."""
    system = of_pair_file.systems[0]
    assert system.gap is not None
    broken = replace(system, gap=replace(system.gap, standardised=math.nan))

    found = as_json(replace(of_pair_file, systems=(broken,)))

    assert found["systems"][0]["gap"]["standardised"] is None


def test_tables_have_a_cell_for_each_heading(
    of_pair_file: Comparison, of_collection: Comparison
) -> None:
    """And the price only where there is one."""
    for comparison in (of_pair_file, of_collection):
        for section in sections(comparison):
            assert all(len(row) == len(section.columns) for row in section.rows), section.title
    headings = [" ".join(section.columns) for section in sections(of_collection)]
    assert any("price / 1,000 queries" in heading for heading in headings)
    assert not any("price" in " ".join(section.columns) for section in sections(of_pair_file))


def test_few_pairs_come_first_and_many_last(of_pair_file: Comparison) -> None:
    """All pairs side by side are the point of a small comparison, ten of many an appendix."""
    few = of_pairs(pairs_of(12))

    assert sections(few)[0].title == "Side by side"
    assert sections(of_pair_file)[-1].title == "Side by side"


def test_an_unjudged_pair_has_no_label(of_pair_file: Comparison) -> None:
    """And its row says so."""
    row = Row(first="a", second="b", grade=None, scores=of_pair_file.rows[0].scores)

    table = sections(replace(of_pair_file, rows=(row,)))[-1]

    assert table.rows[0][-1] == "-"


def test_summary_counts(of_collection: Comparison) -> None:
    """Pairs, queries, related ones, and what related means."""
    assert summary(of_collection) == "360 pairs, 24 queries, 48 related (grade 1 and up)"
