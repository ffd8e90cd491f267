"""One bi-encoder's facts, read from its own files: pooling, normalisation, dimension, maximum length, prompts.

The files are sentence-transformers': `modules.json` names what runs behind the transformer, `1_Pooling/config.json`
how the tokens' vectors become one, `config_sentence_transformers.json` the prompts and the similarity. The rules are
those of sentence-transformers 6 (`SentenceTransformer`, `Pooling`, `Normalize`). What would change a vector and is
not run here is refused.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Literal, TypeAlias

from pairscore.errors import ModelCorruptError, ModelUnsupportedError
from pairscore.models.card import max_length_of, pad_id_of, token_types_of
from pairscore.models.facts import Facts, Module, read_facts
from pairscore.models.files import ModelFiles
from pairscore.models.prompts import read_prompts

__all__ = ["EncoderCard", "PoolingMode", "Similarity", "read_encoder_card"]

PoolingMode: TypeAlias = Literal["mean", "cls"]
"""How the tokens' vectors become the text's: their average, or the first one."""
Similarity: TypeAlias = Literal["cosine", "dot"]
"""How two vectors are compared."""

# The flags of older files, by the names of newer ones, in the order in which several are joined.
_OLD_MODES: Final[Mapping[str, str]] = {
    "pooling_mode_cls_token": "cls",
    "pooling_mode_max_tokens": "max",
    "pooling_mode_mean_tokens": "mean",
    "pooling_mode_mean_sqrt_len_tokens": "mean_sqrt_len_tokens",
    "pooling_mode_weightedmean_tokens": "weightedmean",
    "pooling_mode_lasttoken": "lasttoken",
}
_SIMILARITIES: Final[Mapping[str, Similarity]] = {
    "cosine": "cosine",
    "dot": "dot",
    "dot_product": "dot",
}
_STATES: Final = "last_hidden_state"
_ROUTERS: Final = ("Asym", "Router")
_HIDDEN: Final = ("hidden_size", "dim", "d_model", "n_embd")
_DOCUMENT_PROMPTS: Final = ("document", "passage", "corpus")
_REMEDY: Final = "use a bi-encoder that is made of a Transformer, mean or CLS Pooling and at most Normalize, such as all-minilm-l6"


@dataclass(frozen=True, kw_only=True, slots=True)
class EncoderCard:
    """How a bi-encoder makes a vector of a text, and how much it can read.

    Attributes:
        name: the name under which results are reported.
        revision: commit or revision of the files, None if unknown.
        pooling: how the tokens' vectors become one.
        normalize: whether the model itself makes the vector's length 1.
        dimension: numbers in a vector.
        num_outputs: numbers that the model puts out, of which the first `dimension` are kept.
        max_length: tokens of a text, special tokens included.
        pad_id: the token id that fills a row up.
        token_types: whether the model is given the tokens' types.
        lower_case: whether the text is put into lower case before it is tokenized, whatever the tokenizer does.
        prompts: the model's own prompts, by name; one may be put before a text.
        default_prompt: the name of the prompt that is applied unless another is chosen; None for none.
        similarity: how two vectors are compared.
        declared: whether the files say how to pool; if not, it is the mean, as in sentence-transformers.
    """

    name: str
    revision: str | None
    pooling: PoolingMode
    normalize: bool
    dimension: int
    num_outputs: int
    max_length: int
    pad_id: int
    token_types: bool
    lower_case: bool = False
    prompts: Mapping[str, str] = field(default_factory=dict, hash=False)
    default_prompt: str | None = None
    similarity: Similarity = "cosine"
    declared: bool = True

    @property
    def query_prompt(self) -> str:
        """What is put before a query; empty for nothing. Never the default prompt, which may be another's."""
        return self.prompts.get("query", "")

    @property
    def document_prompt(self) -> str:
        """What is put before a document; empty for nothing."""
        # An empty one called "document" is written into every model that sentence-transformers saves.
        found = (self.prompts.get(name) for name in _DOCUMENT_PROMPTS)
        return next(filter(None, found), "")


def read_encoder_card(files: ModelFiles) -> EncoderCard:
    """Read a bi-encoder's card from the files in its folder.

    Raises:
        ModelCorruptError: a file is missing or broken.
        ModelUnsupportedError: a cross-encoder, or a bi-encoder with something that is not run here.
    """
    facts = read_facts(files.folder)
    _refuse_other_kinds(facts, files.name)
    pooling = _pooling_module(facts, files.name)
    prompts, default_prompt = read_prompts(facts.settings, model=files.name)
    num_outputs = _width(facts, pooling, files.name)
    return EncoderCard(
        name=files.name,
        revision=files.revision,
        pooling="mean" if pooling is None else _mode(pooling, files.name),
        normalize="Normalize" in facts.modules,
        dimension=_kept(facts.settings, num_outputs),
        num_outputs=num_outputs,
        max_length=max_length_of(facts),
        pad_id=pad_id_of(facts),
        token_types=token_types_of(facts),
        lower_case=facts.module.get("do_lower_case") is True,
        prompts=prompts,
        default_prompt=default_prompt,
        similarity=_similarity(facts.settings, files.name),
        declared=pooling is not None,
    )


def _refuse_other_kinds(facts: Facts, name: str) -> None:
    if facts.is_cross_encoder:
        what = facts.architecture or "its settings say so"
        raise ModelUnsupportedError(
            f"{name} is a cross-encoder ({what}): it reads two texts together and makes no vector of one; load it with "
            "CrossEncoder, or give BiEncoder a bi-encoder such as all-minilm-l6"
        )
    written = str(facts.settings.get("model_type", "SentenceTransformer"))
    if written != "SentenceTransformer":
        raise ModelUnsupportedError(
            f"{name} was saved as a {written}, which does not make one dense vector of a text; {_REMEDY}"
        )
    if not facts.chain and facts.architecture.endswith("ForCausalLM"):
        raise ModelUnsupportedError(
            f"{name} is a causal language model ({facts.architecture}) without a modules.json: nothing in it makes a "
            f"vector of a text; {_REMEDY}"
        )


def _pooling_module(facts: Facts, name: str) -> Module | None:
    """The module that pools, all others being known; None if the model has no modules."""
    if not facts.chain:
        return None
    made = ", ".join(facts.modules)
    router = next((kind for kind in facts.modules if kind in _ROUTERS), None)
    if router is not None:
        raise ModelUnsupportedError(
            f"{name} is asymmetrical ({router}): queries and documents go through different modules, which is not "
            f"supported; {_REMEDY}"
        )
    if "Dense" in facts.modules:
        raise ModelUnsupportedError(
            f"{name} is made of the modules {made}: its vectors go through a Dense layer whose weights lie outside "
            f"of the transformer's, which is not supported; {_REMEDY}"
        )
    first, *behind = facts.chain
    order = [module.kind for module in behind if module.kind != "Dropout"]
    own_code = [module for module in facts.chain if not _is_known_package(module.package)]
    known = first.kind == "Transformer" and not first.path and not own_code
    if not known or order not in (["Pooling"], ["Pooling", "Normalize"]):
        raise ModelUnsupportedError(f"{name} is made of the modules {made}; {_REMEDY}")
    for module in behind:
        _refuse_names(module, name)
    _refuse_modality(facts, name)
    return next(module for module in behind if module.kind == "Pooling")


def _is_known_package(package: str) -> bool:
    # A class of the same name in the model's own code may do anything.
    return package.partition(".")[0] in ("", "sentence_transformers")


def _refuse_names(module: Module, name: str) -> None:
    """Refuse a Normalize of anything but the text's vector."""
    given = {module.config.get(key) for key in ("module_input_name", "module_output_name")}
    if module.kind == "Normalize" and not given <= {None, "sentence_embedding"}:
        raise ModelUnsupportedError(
            f"{name} normalises {', '.join(map(str, given))} and not the text's vector; {_REMEDY}"
        )


def _refuse_modality(facts: Facts, name: str) -> None:
    """Refuse a Transformer that reads texts as a chat, or that puts out something else than its last layer."""
    modalities = facts.module.get("modality_config") or {"text": {}}
    text = modalities.get("text")
    if not isinstance(text, dict) or text.get("method_output_name", _STATES) != _STATES:
        raise ModelUnsupportedError(
            f"{name} does not read plain texts and put out its last layer (modality_config in "
            f"sentence_bert_config.json); {_REMEDY}"
        )


def _mode(pooling: Module, name: str) -> PoolingMode:
    config = pooling.config
    if not config:
        raise ModelCorruptError(
            f"{name}: {pooling.path or '.'}/config.json, which says how to pool, is missing; copy the folder again"
        )
    if config.get("include_prompt") is False:
        raise ModelUnsupportedError(
            f"{name} leaves its prompt out when it pools (include_prompt is false), which is not supported; {_REMEDY}"
        )
    modes = _modes(config)
    if modes == ["mean"]:
        return "mean"
    if modes == ["cls"]:
        return "cls"
    why = (
        "its vector is that of the last token, as of decoders"
        if modes == ["lasttoken"]
        else f"it pools by {' and '.join(modes)}"
    )
    raise ModelUnsupportedError(f"{name}: {why}; mean and CLS are supported: {_REMEDY}")


def _modes(config: Mapping[str, Any]) -> list[str]:
    """The modes that are joined; the rule of `Pooling.load_config`: without any it is the mean."""
    new = config.get("pooling_mode")
    if new is not None:
        return [new] if isinstance(new, str) else [str(mode) for mode in new]
    return [mode for flag, mode in _OLD_MODES.items() if config.get(flag)] or ["mean"]


def _width(facts: Facts, pooling: Module | None, name: str) -> int:
    """Numbers that the model puts out for a text."""
    hidden = next((size for key in _HIDDEN if (size := facts.number(key)) is not None), None)
    config: Mapping[str, Any] = {} if pooling is None else pooling.config
    said = config.get("embedding_dimension", config.get("word_embedding_dimension"))
    if hidden is not None and isinstance(said, int) and hidden != said:
        raise ModelCorruptError(
            f"{name}: its pooling is for vectors of {said} numbers, and config.json says {hidden}: they do not belong "
            "together; download or copy the model's folder again"
        )
    width = said if hidden is None else hidden
    if not isinstance(width, int) or width < 1:
        raise ModelCorruptError(
            f"{name}: neither config.json nor the pooling says how many numbers a vector has; copy the folder again"
        )
    return width


def _kept(settings: Mapping[str, Any], num_outputs: int) -> int:
    """Of Matryoshka models, whose vectors may be cut, as many numbers as the settings say."""
    most = settings.get("truncate_dim")
    return min(most, num_outputs) if isinstance(most, int) and most > 0 else num_outputs


def _similarity(settings: Mapping[str, Any], name: str) -> Similarity:
    said = settings.get("similarity_fn_name") or "cosine"
    found = _SIMILARITIES.get(str(said))
    if found is None:
        raise ModelUnsupportedError(
            f"{name} compares vectors by {said!r}; cosine and dot are supported: {_REMEDY}"
        )
    return found
