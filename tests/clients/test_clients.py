"""Real clients against a real server: the code of docs/clients.md, as it stands there.

Each client ranks 1, 33 and 1,000 documents as the library does, turns errors into its own, and meets a full queue.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, TypeAlias

import pytest

from pairscore import CrossEncoder

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

ROOT = Path(__file__).parent.parent.parent
PAGE = (ROOT / "docs" / "clients.md").read_text(encoding="utf-8")
SNIPPETS = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
# As conftest.py gives it to the servers.
KEY = "the-key-of-the-tests-of-clients"
MODEL = "ms-marco-minilm-l12"
ADDRESS = "http://127.0.0.1:8000"
TOLERANCE = 1e-5

# Scores are compared over all of these, and the first ones of them.
QUERY = "how long does a bicycle chain last"
SUBJECTS = (
    "a bicycle chain",
    "a solar panel",
    "sourdough bread",
    "the river Danube",
    "a flat tyre",
)
CLAIMS = (
    "lasts for {} months",
    "costs {} euros",
    "was first sold {} years ago",
    "is {} metres long",
)
DOCUMENTS = [
    f"{subject} {claim.format(number)}"
    for number in range(2, 52)
    for claim in CLAIMS
    for subject in SUBJECTS
]
SIZES = (1, 33, 1000)


@dataclass(frozen=True, kw_only=True)
class Client:
    """What one client is expected to do.

    Attributes:
        name: for people.
        find: what only its code on the page holds.
        wrong_key: the class of its error; None if a client shows none.
        unknown_model: the same; None if it names no model.
        empty: the same for no documents; None if it answers that itself, with nothing.
        overload: the same for a full queue; None if it comes back, and gets its ranking.
        swap: text of the page's code that is another in this variant of it.
        older: whether it lives in the environment of those that hold others back.
        logit: whether it gives logits.
        asks: the host that it asks in any case, as the page says; else none.
    """

    name: str
    find: str
    wrong_key: str
    unknown_model: str | None
    empty: str | None
    overload: str | None
    swap: Sequence[tuple[str, str]] = ()
    older: bool = False
    logit: bool = False
    asks: str | None = None

    @property
    def family(self) -> tuple[str, str | None]:
        """Clients with the same can share a process."""
        return self.find, self.asks

    @property
    def source(self) -> str:
        """Its code on the page."""
        (source,) = [snippet for snippet in SNIPPETS if self.find in snippet]
        for old, new in self.swap:
            assert old in source
            source = source.replace(old, new)
        return source


def _cohere(name: str, find: str, **more: Any) -> Client:
    package = "cohere.errors"
    return Client(
        name=name,
        find=find,
        wrong_key=f"{package}.unauthorized_error.UnauthorizedError",
        unknown_model=f"{package}.not_found_error.NotFoundError",
        overload=None,
        **{"empty": f"{package}.bad_request_error.BadRequestError", **more},
    )


def _plain(name: str, find: str, error: str, **more: Any) -> Client:
    """One that has a single kind of error, and asks nothing where there are no documents."""
    expected = {"wrong_key": error, "unknown_model": error, "empty": None, "overload": error}
    return Client(name=name, find=find, **{**expected, **more})


def _reranker(provider: str, path: str, error: str, **more: Any) -> Client:
    """`rerankers` knows no errors: it trips over what is not there."""
    swap = [('"cohere"', f'"{provider}"'), ("/cohere/v1/rerank", path)]
    return _plain(
        f"rerankers-{provider}",
        "from rerankers",
        f"builtins.{error}",
        swap=swap if provider != "cohere" else (),
        **{"empty": "builtins.IndexError", **more},
    )


def _litellm(provider: str, path: str, **more: Any) -> Client:
    expected = {
        "wrong_key": "litellm.exceptions.AuthenticationError",
        "unknown_model": "litellm.exceptions.NotFoundError",
        "empty": "litellm.exceptions.BadRequestError",
        "overload": "litellm.exceptions.RateLimitError",
        **more,
    }
    swap = [('"cohere/', f'"{provider}/'), (ADDRESS, ADDRESS + path)]
    return Client(name=f"litellm-{provider}", find="import litellm", swap=swap, **expected)


BAD_REQUEST: Final = "litellm.exceptions.BadRequestError"
RUNTIME: Final = "builtins.RuntimeError"
CLIENTS = [
    _cohere("cohere-v2", "cohere.ClientV2"),
    _cohere("cohere-v1", "cohere.Client("),
    _cohere("cohere-v2-asyncio", "cohere.AsyncClientV2("),
    _cohere(
        "cohere-v1-asyncio",
        "cohere.AsyncClientV2(",
        swap=[("AsyncClientV2", "AsyncClient")],
    ),
    _cohere("langchain-cohere", "langchain_cohere", empty=None, older=True),
    _plain("langchain-nvidia", "NVIDIARerank(", "builtins.Exception", logit=True),
    _plain(
        "llama-index-tei",
        "TextEmbeddingInference(",
        "builtins.AssertionError",
        unknown_model=None,
        older=True,
    ),
    _cohere("llama-index-cohere", "cohere_rerank", empty=None, older=True),
    _plain("llama-index-jina", "JinaRerank(", RUNTIME, older=True),
    _plain("haystack-tei", "HuggingFaceTEIRanker(", RUNTIME, unknown_model=None, overload=None),
    _cohere("haystack-cohere", "CohereRanker("),
    _plain("haystack-jina", "JinaRanker(", RUNTIME),
    _plain("haystack-vllm", "VLLMRanker(", RUNTIME),
    _reranker("cohere", "/cohere/v1/rerank", "KeyError"),
    _reranker("jina", "/jina/v1/rerank", "KeyError"),
    _reranker("voyage", "/voyage/v1/rerank", "KeyError"),
    _reranker("mixedbread.ai", "/mixedbread/v1/reranking", "KeyError"),
    _reranker("text-embeddings-inference", "/tei/rerank", "TypeError", unknown_model=None),
    _litellm("cohere", ""),
    _litellm("jina_ai", ""),
    _litellm("hosted_vllm", "/vllm"),
    _litellm("huggingface", "/tei", unknown_model=None, asks="huggingface.co"),
    _litellm("voyage", "/voyage", unknown_model=BAD_REQUEST),
    _litellm("infinity", "/infinity", unknown_model=BAD_REQUEST),
    Client(
        name="voyageai",
        find="import voyageai",
        wrong_key="voyageai.error.AuthenticationError",
        unknown_model="voyageai.error.InvalidRequestError",
        empty="voyageai.error.InvalidRequestError",
        overload=None,
    ),
    Client(
        name="mixedbread",
        find="from mixedbread",
        wrong_key="mixedbread.AuthenticationError",
        unknown_model="mixedbread.NotFoundError",
        empty="mixedbread.UnprocessableEntityError",
        overload=None,
    ),
    _plain(
        "infinity-client",
        "infinity_client",
        "infinity_client.errors.UnexpectedStatus",
        # It is given back, and the page's code goes on with it.
        empty="builtins.AttributeError",
        older=True,
    ),
    _plain(
        "tei-client",
        "tei_client",
        "pydantic_core._pydantic_core.ValidationError",
        wrong_key="builtins.KeyError",
        unknown_model=None,
        empty="pydantic_core._pydantic_core.ValidationError",
    ),
    Client(
        name="openai",
        find="from openai",
        wrong_key="openai.AuthenticationError",
        # It asks the server for the model's name.
        unknown_model=None,
        empty="openai.BadRequestError",
        overload=None,
    ),
]
each_client = pytest.mark.parametrize("client", CLIENTS, ids=lambda client: client.name)


def _source(client: Client, base: str, *, key: str = KEY, model: str = MODEL) -> str:
    source = client.source.replace(ADDRESS, base).replace("your-key", key)
    return source.replace(MODEL, model)


def _job(source: str, *, num_documents: int, overloaded: str | None = None) -> dict[str, Any]:
    values = {"query": QUERY, "documents": DOCUMENTS[:num_documents]}
    return {"source": source, "values": values, "overloaded": overloaded}


@dataclass(frozen=True, kw_only=True)
class Outcomes:
    """What came of one client's jobs, and what its process asked others for meanwhile."""

    sizes: list[dict[str, Any]]
    wrong_key: dict[str, Any]
    unknown_model: dict[str, Any]
    empty: dict[str, Any]
    overload: dict[str, Any]
    heard: list[str]


Run: TypeAlias = Callable[[Client], Outcomes]


@pytest.fixture(scope="session")
def outcomes(base: str, overloaded: str, run_jobs: Callable[..., Any]) -> Run:
    """Run a client, in one process with the others that share its code."""
    known: dict[str, Outcomes] = {}

    def run(client: Client) -> Outcomes:
        if client.name not in known:
            family = [other for other in CLIENTS if other.family == client.family]
            jobs = [job for member in family for job in _jobs(member, base, overloaded)]
            results, heard = run_jobs(jobs, older=client.older)
            done = iter(results)
            for member in family:
                sizes = [next(done) for _ in SIZES]
                known[member.name] = Outcomes(
                    sizes=sizes,
                    wrong_key=next(done),
                    unknown_model=next(done),
                    empty=next(done),
                    overload=next(done),
                    heard=heard,
                )
        return known[client.name]

    return run


def _jobs(client: Client, base: str, overloaded: str) -> list[dict[str, Any]]:
    good = _source(client, base)
    wrong_key = _source(client, base, key="another-key-than-the-one")
    unknown_model = _source(client, base, model="no-such-model")
    full = _source(client, overloaded)
    return [
        *(_job(good, num_documents=size) for size in SIZES),
        _job(wrong_key, num_documents=3),
        _job(unknown_model, num_documents=3),
        _job(good, num_documents=0),
        _job(full, num_documents=3, overloaded=overloaded),
    ]


@pytest.fixture(scope="session")
def expected() -> dict[bool, dict[str, float]]:
    """What the library says of every document: logits under True, probabilities under False."""
    with CrossEncoder() as model:
        pairs = [(QUERY, document) for document in DOCUMENTS]
        scores = model.score(pairs)
    return {
        True: dict(zip(DOCUMENTS, scores.logits.tolist(), strict=True)),
        False: dict(zip(DOCUMENTS, scores.probabilities.tolist(), strict=True)),
    }


def _check(ranking: list[Any], scores: dict[str, float], num_documents: int) -> None:
    """All documents, with the library's scores, in the library's order."""
    documents = DOCUMENTS[:num_documents]
    assert sorted(text for text, _ in ranking) == sorted(documents)
    assert dict(ranking) == pytest.approx(
        {text: scores[text] for text in documents}, abs=TOLERANCE, rel=0
    )
    order = [scores[text] for text, _ in ranking]
    for higher, lower in itertools.pairwise(order):
        assert higher >= lower - TOLERANCE


def test_every_snippet_is_run() -> None:
    """No code on the page is without a client here."""
    used = {client.find for client in CLIENTS}

    assert len(DOCUMENTS) == len(set(DOCUMENTS)) == SIZES[-1]
    assert len(SNIPPETS) == len(used)
    assert all(sum(find in snippet for find in used) == 1 for snippet in SNIPPETS)


@each_client
def test_the_page_tells_of_the_variants(client: Client) -> None:
    """What is swapped for another provider is a row of a table there."""
    for _, new in client.swap:
        plain = new.strip('"')
        assert f"`{plain}" in PAGE or f"{ADDRESS}{plain}`" in PAGE, new


@each_client
def test_it_ranks_as_the_library_does(
    client: Client, outcomes: Run, expected: dict[bool, dict[str, float]]
) -> None:
    """The same scores and the same order, of one document, of 33 and of 1,000."""
    for size, outcome in zip(SIZES, outcomes(client).sizes, strict=True):
        assert "error" not in outcome, (size, outcome)
        _check(outcome["ranking"], expected[client.logit], size)


@each_client
def test_errors_are_its_own(
    client: Client, outcomes: Run, expected: dict[bool, dict[str, float]]
) -> None:
    """Of a wrong key, a model that is not served, and no documents."""
    outcome = outcomes(client)

    assert outcome.wrong_key["error"][0] == client.wrong_key
    if client.unknown_model is None:
        _check(outcome.unknown_model["ranking"], expected[client.logit], 3)
    else:
        assert outcome.unknown_model["error"][0] == client.unknown_model
    if client.empty is None:
        assert outcome.empty["ranking"] == []
    else:
        assert outcome.empty["error"][0] == client.empty


@each_client
def test_a_full_queue(client: Client, outcomes: Run) -> None:
    """A client that comes back gets its ranking; any other raises, and asks only once."""
    outcome = outcomes(client).overload

    if client.overload is None:
        assert outcome["statuses"] == [429, 200], outcome
        assert len(outcome["ranking"]) == 3
    else:
        assert outcome["statuses"] == [429], outcome
        assert outcome["error"][0] == client.overload


@each_client
def test_nothing_is_sent_elsewhere(client: Client, outcomes: Run) -> None:
    """With the variables of the page no client asks anybody but the server, or the page says whom."""
    heard = outcomes(client).heard

    if client.asks is None:
        assert heard == []
    else:
        assert client.asks in PAGE
        assert {line.split()[1] for line in heard} == {f"{client.asks}:443"}
