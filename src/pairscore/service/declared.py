"""What an operator can set: each setting's name, kind, default, heading and text. `settings` reads them."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import NonNegativeInt, PositiveInt, SecretStr
from pydantic_settings import BaseSettings, NoDecode

from pairscore.config import DEFAULT_BUDGET, DEFAULT_MAX_WINDOWS
from pairscore.models.catalog import DEFAULT_ENCODER
from pairscore.service.fields import (
    ANY_CASE,
    MIB,
    SEVERAL,
    WHOLE,
    YEAR_S,
    Panel,
    Seconds,
    declare,
    url,
)

__all__ = ["Declared"]


class Declared(BaseSettings):
    """The fields of a service's settings."""

    model: Annotated[tuple[str, ...] | None, NoDecode, SEVERAL] = declare(
        Panel.MODEL,
        "A name from `pairscore models`, a folder, or a hub id (owner/name, owner/name@revision); NAME=PLACE gives it "
        "a name. May be given several times: the first is the default.",
        metavar="NAME",
        otherwise="the model inside the package",
    )
    backend: Literal["auto", "onnx", "torch", "openvino", "fake"] = declare(
        Panel.MODEL,
        "What runs the model; auto takes the quickest here, fake counts common words, for tests.",
        metavar="NAME",
        default="onnx",
    )
    device: str | None = declare(
        Panel.MODEL,
        "Where the model runs: cpu, cuda, cuda:1.",
        metavar="DEVICE",
        otherwise="what the backend prefers",
    )
    dtype: Literal["float32", "float16", "bfloat16"] | None = declare(
        Panel.MODEL,
        "The numbers that torch computes in.",
        metavar="NAME",
        otherwise="float32 on the CPU, float16 on a GPU",
    )
    prompt: str | None = declare(
        Panel.MODEL,
        "What is put before each query: the name of one of the model's own prompts, or a text.",
        metavar="NAME",
        otherwise="the model's own default, if it has one",
    )
    label: str | None = declare(
        Panel.MODEL,
        "Of a model with several labels, the one that is scored.",
        metavar="NAME",
        otherwise="all of them, which rankings have no room for",
    )
    calibration: Path | None = declare(
        Panel.MODEL,
        "A calibration of the model's probabilities, made by `pairscore calibrate`.",
        metavar="FILE",
        otherwise="the one beside the model, if any",
    )
    skip_checks: str | None = declare(
        Panel.MODEL,
        "Checks that are not made when the model is loaded, separated by commas.",
        metavar="NAMES",
        otherwise="all are made",
    )
    max_length: int | None = declare(
        Panel.MODEL,
        "Tokens of a pair; a longer document is cut, and reported.",
        metavar="TOKENS",
        otherwise="the model's own",
        ge=8,
    )
    model_aliases: str | None = declare(
        Panel.MODEL,
        "Further names under which clients may ask for the model, separated by commas.",
        metavar="NAMES",
        otherwise="its own name only",
    )
    any_model: bool = declare(
        Panel.MODEL, "Let clients ask for the model under whatever name they have.", default=False
    )
    max_models_bytes: PositiveInt | None = declare(
        Panel.MODEL,
        "Memory for models, where there are several; the one that rested longest makes room.",
        metavar="BYTES",
        otherwise="no limit",
    )
    shadow_model: str | None = declare(
        Panel.MODEL,
        "Another declared model that scores a share of the default's requests after they were answered, to compare both.",
        metavar="NAME",
        otherwise="none",
    )
    shadow_share: float = declare(
        Panel.MODEL,
        "The share of the requests that the shadow scores too, 0 to 1.",
        metavar="SHARE",
        default=0.05,
        ge=0,
        le=1,
    )
    shadow_file: Path | None = declare(
        Panel.MODEL,
        "Where a line of JSON is appended for each compared request; numbers only, no texts.",
        metavar="FILE",
        otherwise="metrics only",
    )
    shadow_file_bytes: PositiveInt = declare(
        Panel.MODEL,
        "Bytes to which that file may grow; then it is renamed to FILE.1, and begun anew.",
        metavar="BYTES",
        default=64 * MIB,
    )
    index: str | None = declare(
        Panel.SEARCH,
        "The index that /v1/search searches in: a folder that `pairscore index build` made, milvus:FILE.db, or "
        "milvus+http://HOST:PORT/COLLECTION.",
        metavar="PLACE",
        otherwise="no search",
        repr=False,
    )
    encoder: str | None = declare(
        Panel.SEARCH,
        "The bi-encoder of the index, where it is not where the index says: a name, a folder or a hub id.",
        metavar="NAME",
        otherwise="the one that the index names",
    )
    compare_encoder: str = declare(
        Panel.SEARCH,
        "The bi-encoder that /v1/compare sets beside the cross-encoder: a name, a folder or a hub id; none turns it off.",
        metavar="NAME",
        default=DEFAULT_ENCODER,
    )
    host: str = declare(
        Panel.SERVER,
        "The address to listen on; 0.0.0.0 is every network of the machine.",
        metavar="ADDRESS",
        default="127.0.0.1",
    )
    port: int = declare(
        Panel.SERVER,
        "The port; 0 takes a free one.",
        metavar="PORT",
        default=8000,
        ge=0,
        le=65535,
    )
    config: Path | None = declare(
        Panel.SERVER,
        "A TOML file of settings, each a key; flags and variables win over it.",
        metavar="FILE",
        otherwise="no file",
    )
    log_level: Annotated[Literal["debug", "info", "warning", "error"], ANY_CASE] = declare(
        Panel.SERVER, "The least severe messages that are logged.", metavar="LEVEL", default="info"
    )
    log_format: Annotated[Literal["text", "json"], ANY_CASE] = declare(
        Panel.SERVER, "Lines for people, or JSON objects.", metavar="FORMAT", default="text"
    )
    access_log: bool = declare(Panel.SERVER, "Log a line for each request.", default=True)
    max_pairs: PositiveInt = declare(
        Panel.LIMITS, "Pairs or documents that one request may hold.", metavar="N", default=1000
    )
    max_batch_pairs: PositiveInt = declare(
        Panel.LIMITS,
        "Pairs that all queries of one request to /v1/rerank/batch may hold together.",
        metavar="N",
        default=10_000,
    )
    max_explain_pairs: int = declare(
        Panel.LIMITS,
        "Pairs that one request to /v1/explain may have the model read.",
        metavar="N",
        default=512,
        ge=2,
    )
    max_chars: PositiveInt = declare(
        Panel.LIMITS, "Characters that one text may have.", metavar="CHARS", default=100_000
    )
    long_documents: Annotated[Literal["truncate", "chunk"], ANY_CASE] = declare(
        Panel.LIMITS,
        "What becomes of a document that is too long, unless a request says it: cut, or read in windows.",
        metavar="WAY",
        default="truncate",
    )
    max_windows: PositiveInt = declare(
        Panel.LIMITS,
        "Windows of one document; what is behind them is not read, and reported.",
        metavar="N",
        default=DEFAULT_MAX_WINDOWS,
    )
    max_body_bytes: PositiveInt = declare(
        Panel.LIMITS,
        "Bytes that the body of one request may have.",
        metavar="BYTES",
        default=16 * MIB,
    )
    body_timeout_s: Seconds = declare(
        Panel.LIMITS,
        "Time in which a request's head and body must have come; a slower client gets 408.",
        metavar="SECONDS",
        default=30.0,
    )
    max_connections: PositiveInt = declare(
        Panel.LIMITS, "Connections at once; one more gets 503.", metavar="N", default=1024
    )
    max_queue_tokens: PositiveInt = declare(
        Panel.LOAD,
        "Tokens that may wait or run at once; more are refused.",
        metavar="TOKENS",
        default=262_144,
    )
    overload_status: Annotated[Literal[429, 503], WHOLE] = declare(
        Panel.LOAD,
        "The status of what is refused because too much waits.",
        metavar="STATUS",
        default=429,
    )
    timeout_s: float | None = declare(
        Panel.LOAD,
        "The deadline of a request that brings none; 0 sets none.",
        metavar="SECONDS",
        default=60.0,
        ge=0,
        le=YEAR_S,
    )
    run_timeout_s: Seconds = declare(
        Panel.LOAD,
        "Time after which a micro-batch counts as hung and its worker is replaced.",
        metavar="SECONDS",
        default=30.0,
    )
    grace_s: float = declare(
        Panel.LOAD,
        "Time to finish what was admitted, when the service ends.",
        metavar="SECONDS",
        default=30.0,
        ge=0,
        le=YEAR_S,
    )
    num_workers: int | None = declare(
        Panel.WORKERS,
        "Threads that each run one micro-batch.",
        metavar="N",
        otherwise="one for each core",
        ge=1,
    )
    budget: PositiveInt | None = declare(
        Panel.WORKERS,
        "Padded tokens that one micro-batch may hold.",
        metavar="TOKENS",
        otherwise=f"what the backend prefers: {DEFAULT_BUDGET} on a CPU",
    )
    autotune: bool = declare(
        Panel.WORKERS,
        "Measure at the start which threads and which budget are fastest, and keep the result.",
        default=False,
    )
    cache_dir: Path | None = declare(
        Panel.WORKERS,
        "Where such results are kept.",
        metavar="FOLDER",
        otherwise="the user's cache folder",
    )
    canary_max_age_s: Seconds = declare(
        Panel.HEALTH,
        "Healthy means that a known pair got its right score not longer ago than this.",
        metavar="SECONDS",
        default=30.0,
    )
    keys_file: Path | None = declare(
        Panel.ACCESS,
        "A file of API keys; each request then needs one.",
        metavar="FILE",
        otherwise="no keys",
    )
    api_keys: SecretStr | None = declare(
        Panel.ACCESS,
        "API keys: name=key or name=sha256:HEX, separated by commas.",
        metavar="KEYS",
        otherwise="no keys",
    )
    model_control: str | None = declare(
        Panel.ACCESS,
        "The names of the API keys that may load, unload and reload models, separated by commas; * is every request, "
        "without a key too.",
        metavar="NAMES",
        otherwise="nobody may",
    )
    public_metrics: bool = declare(Panel.ACCESS, "Show /metrics without a key, too.", default=True)
    cache_bytes: NonNegativeInt = declare(
        Panel.CACHE,
        "Memory for scores that are known already; 0 keeps none.",
        metavar="BYTES",
        default=16 * MIB,
    )
    cache_ttl_s: Seconds = declare(
        Panel.CACHE, "Time for which a score is kept.", metavar="SECONDS", default=3600.0
    )
    redis_url: Annotated[str | None, url("redis", "rediss", "unix")] = declare(
        Panel.CACHE,
        "A Redis that shares scores between services; needs the extra redis.",
        metavar="URL",
        otherwise="no Redis",
        repr=False,
    )
    otlp_endpoint: Annotated[str | None, url("http", "https")] = declare(
        Panel.TRACING,
        "The OpenTelemetry collector that traces are sent to; needs the extra otel.",
        metavar="URL",
        otherwise="no traces",
        repr=False,
    )
    service_name: str = declare(
        Panel.TRACING,
        "The name of this service in its traces.",
        metavar="NAME",
        default="pairscore",
    )
