"""Documents as texts or objects, and what the model reads of each."""

from __future__ import annotations

from typing import Any

import pytest

from pairscore.service.dialects.documents import read_documents, rendered
from pairscore.service.refusals import Refusal


@pytest.mark.parametrize(
    ("given", "rank_fields", "text"),
    [
        ("a text", None, "a text"),
        ("a text", ["title"], "a text"),
        ({"text": "a text", "title": "x"}, None, "a text"),
        ({"text": "a text", "title": "x"}, [], "a text"),
        ({"text": "a text", "title": "x"}, ["title"], "title: x"),
        ({"text": "a text", "title": "x"}, ["title", "text"], "title: x\ntext: a text"),
        ({"text": "a text", "title": "x"}, ["text", "absent"], "text: a text"),
        ({"id": 5, "title": "x", "metadata": {"a": 1}, "year": 1999}, None, "title: x\nyear: 1999"),
        ({"text": None, "body": "y"}, None, "body: y"),
        ({"text": "", "title": "x"}, None, ""),
    ],
)
def test_what_is_read(given: Any, rank_fields: list[str] | None, text: str) -> None:
    """A text is itself; an object is its `text`, or its named fields, or all but id and metadata."""
    (document,) = read_documents([given], rank_fields=rank_fields)

    assert document.text == text
    assert document.given == given


def test_how_fields_are_written() -> None:
    """As lines of names and values, lists and objects below their names; null is left out."""
    fields = {
        "title": "Paris",
        "none": None,
        "text": "first line\nkey: not a field",
        "open": True,
        "height": 330.5,
        "tags": ["city", "capital", 3],
        "place": {"country": "France", "deeper": {"river": "Seine"}},
    }

    assert rendered(fields).splitlines() == [
        "title: Paris",
        "text: first line",
        "  key: not a field",
        "open: true",
        "height: 330.5",
        "tags:",
        "- city",
        "- capital",
        "- 3",
        "place:",
        "  country: France",
        "  deeper:",
        "    river: Seine",
    ]


@pytest.mark.parametrize(
    ("given", "rank_fields"),
    [({"id": 1}, None), ({}, None), ({"text": "a"}, ["title"]), ({"text": None}, None)],
)
def test_nothing_to_read(given: dict[str, Any], rank_fields: list[str] | None) -> None:
    """An object without anything to read is refused, and named."""
    with pytest.raises(
        Refusal, match=r"documents\[1\] is an object with nothing to read"
    ) as refusal:
        read_documents(["a", given], rank_fields=rank_fields)

    assert refusal.value.details[0][0] == "documents[1]"
    assert refusal.value.status == 422


def test_a_document_as_an_object() -> None:
    """A text becomes its own `text`; fields of a text are none."""
    text, thing = read_documents(["a", {"id": 7, "text": "b"}])

    assert dict(text.object) == {"text": "a"}
    assert dict(thing.object) == {"id": 7, "text": "b"}
    assert (text.field("id"), thing.field("id"), thing.field("metadata")) == (None, 7, None)
