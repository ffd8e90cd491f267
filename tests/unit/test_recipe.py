"""A recipe: what it refuses, where it says so, and that it is read back as it was written."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from pairscore.errors import DataFileError, InputFileError, SettingError
from pairscore.training.recipe import ConvertRecipe, DataRecipe, Recipe
from pairscore.training.recipe_file import differences, read_recipe, recipe_toml, recipe_values

WHOLE = Recipe(
    base="some/folder",
    task="nli",
    loss="cross_entropy",
    num_epochs=2,
    max_steps=100,
    batch_size=8,
    learning_rate=5e-5,
    warmup_ratio=0.0,
    weight_decay=0.1,
    max_length=128,
    seed=0,
    precision="bf16",
    evaluate_every=10,
    patience=None,
    symmetric=True,
    tracker="tensorboard",
    output='runs/with "quotes"',
    num_layers=6,
    calibrate=False,
    data=DataRecipe(
        train="train.csv",
        dev="dev.csv",
        dev_fraction=0.2,
        test="tést.tsv",
        guard="guard.jsonl",
        kind="pairs",
        labels="classes",
        split="train",
        query_column="a\\b",
        document_column="b\tc",
        negative_column="n\x7f",
        label_column="l",
        label_names=("same", 'not "quite"'),
        max_label=5.0,
        drop_leaks=True,
    ),
    convert=ConvertRecipe(enabled=False, target="float32", accept=True),
)


def _write(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "recipe.toml"
    path.write_text(text, encoding="utf-8")
    return path


def test_a_recipe_needs_only_data(tmp_path: Path) -> None:
    """Everything else has a default, which a file of two lines gets."""
    found = read_recipe(_write(tmp_path, '[data]\ntrain = "pairs.csv"\n'))

    assert found == Recipe(data=DataRecipe(train="pairs.csv"))
    assert found.base == "ms-marco-minilm-l12"


@pytest.mark.parametrize("recipe", [WHOLE, Recipe(data=DataRecipe(train="x.csv"))])
def test_what_is_written_is_read_back(tmp_path: Path, recipe: Recipe) -> None:
    """A recipe as TOML is the same recipe, quotes, tabs and odd letters included."""
    assert read_recipe(_write(tmp_path, recipe_toml(recipe))) == recipe


def test_the_example_above_sets_every_key() -> None:
    """Or the test before this one would overlook a key that was added."""
    plain = recipe_values(Recipe(data=DataRecipe(train="x")))

    assert [name for name, value in recipe_values(WHOLE).items() if value == plain[name]] == []


def test_options_stand_above_the_file(tmp_path: Path) -> None:
    """A flag wins over a key, in tables too, and a whole number stands for a number."""
    path = _write(tmp_path, 'seed = 1\nnum_epochs = 4\n[data]\ntrain = "a.csv"\n')

    found = read_recipe(path, {"num_epochs": 1, "data.train": "b.csv", "weight_decay": 0})

    assert (found.seed, found.num_epochs, found.data.train) == (1, 1, "b.csv")
    assert isinstance(found.weight_decay, float)


def test_flags_alone_are_a_recipe() -> None:
    """No file is needed."""
    assert read_recipe(None, {"data.train": "a.csv"}).data.train == "a.csv"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("num_epoch = 2", "line 1: no key is called 'num_epoch'; did you mean 'num_epochs'?"),
        ("\n\n[data]\ntrain = 'x'\nseed = 1", "line 5: .*'data.seed'; did you mean 'seed'?"),
        ("seed = 1\n[data]\ntrain = 'x'\nseed = 1", "line 4: .*'data.seed'"),
        ("[convert]\n'target' = 'int4'", "line 2: convert.target is 'int4'; .*'int8', 'float32'"),
        ("data.train = 'x'\ndata.kind = 'pear'", "line 2: data.kind is 'pear'"),
        ("seed = 'a'", "line 1: seed is 'a'; it must be a whole number"),
        ("seed = true", "line 1: seed is True; it must be a whole number"),
        ("symmetric = 1", "line 1: symmetric is 1; it must be true or false"),
        ("num_epochs = 2.5", "line 1: num_epochs is 2.5; it must be a whole number"),
        ("# a\ndata = 'x'", r"line 2: data is 'x'; it must be a table: \[data\]"),
        ("[dtaa]\ntrain = 'x'", "line 1: no table is called 'dtaa'; known are: data, convert"),
        ("zzz = 1", "line 1: no key is called 'zzz'; known are: base, task"),
        ("seed = 3\nnum_epochs = 0\n[data]\ntrain = 'x'", "line 2: num_epochs is 0; .*at least 1"),
        ("[data]\ntrain = 'x'\ndev_fraction = 1.0", "line 3: data.dev_fraction is 1.0"),
        ("seed = 3", "no training data"),
    ],
)
def test_what_cannot_be_is_refused_with_its_line(tmp_path: Path, text: str, message: str) -> None:
    """The message names the line, the key, what it holds and what it may hold."""
    with pytest.raises(SettingError, match=message):
        read_recipe(_write(tmp_path, text))


def test_an_option_is_refused_without_a_line(tmp_path: Path) -> None:
    """The file is not to blame for a flag."""
    path = _write(tmp_path, "[data]\ntrain = 'x'\n")

    with pytest.raises(SettingError, match=r"^num_epochs is 0; it must be at least 1"):
        read_recipe(path, {"num_epochs": 0})


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("base", ""),
        ("task", "sts"),
        ("precision", "int8"),
        ("batch_size", 0),
        ("max_steps", 0),
        ("evaluate_every", 0),
        ("patience", 0),
        ("num_layers", 0),
        ("max_length", 7),
        ("learning_rate", 0.0),
        ("learning_rate", float("nan")),
        ("warmup_ratio", 1.0),
        ("weight_decay", -0.1),
        ("seed", -1),
    ],
)
def test_values_that_make_no_sense_are_refused(field: str, value: object) -> None:
    """In the library too, by name and value."""
    with pytest.raises(SettingError, match=f"^{field} is "):
        replace(WHOLE, **{field: value})  # type: ignore[arg-type]


def test_a_file_that_is_none_is_refused(tmp_path: Path) -> None:
    """Missing, not UTF-8, not TOML: each with its own words."""
    with pytest.raises(InputFileError, match="No such file"):
        read_recipe(tmp_path / "none.toml")
    with pytest.raises(DataFileError, match=r"not valid TOML.*line 2"):
        read_recipe(_write(tmp_path, "seed = 1\nbase =\n"))
    (tmp_path / "recipe.toml").write_bytes(b"base = '\xff'")
    with pytest.raises(DataFileError, match="not UTF-8"):
        read_recipe(tmp_path / "recipe.toml")


def test_differences_are_named() -> None:
    """By their dotted names, in the recipe's order."""
    other = replace(WHOLE, seed=7, data=replace(WHOLE.data, train="other.csv"))

    assert differences(WHOLE, other) == ("seed", "data.train")


def test_the_files_of_a_recipe_are_known_by_their_part() -> None:
    """Those that are not named are left out."""
    data = DataRecipe(train="a.csv", test="c.csv")

    assert Recipe(data=data).data_files == {"train": Path("a.csv"), "test": Path("c.csv")}


EXAMPLES = sorted((Path(__file__).parents[2] / "examples" / "recipes").glob("*.toml"))


def test_there_are_examples() -> None:
    """So that the next test tests something."""
    assert len(EXAMPLES) >= 3


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_examples_are_recipes(path: Path) -> None:
    """Each is read, and names itself in its first lines."""
    assert read_recipe(path).data.train
    assert f"examples/recipes/{path.name}" in path.read_text(encoding="utf-8")


def test_the_page_names_every_key() -> None:
    """A key that is added is documented, with its default."""
    page = (Path(__file__).parents[2] / "docs" / "training.md").read_text(encoding="utf-8")

    for name in recipe_values(Recipe(data=DataRecipe(train="x"))):
        head, _, key = name.rpartition(".")
        shown = f"`{key}`" if key.endswith("_column") or not head else f"`{name}`"
        assert shown in page, name
