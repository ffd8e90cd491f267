"""A request that is traced, and the headers of the caller's own trace."""

from __future__ import annotations

from tests.unit.measured import an_answer

from pairscore.engine.records import Timing
from pairscore.service.tracing import Tracing

TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
PARENT = "00f067aa0ba902b7"
TRACEPARENT = f"00-{TRACE}-{PARENT}-01".encode()
TIMING = Timing(tokenize_s=0.001, queue_s=0.002, inference_s=0.02, total_s=0.023)


def send_request(tracing: Tracing, *headers: tuple[bytes, bytes], status: int = 200) -> str | None:
    """One request from its headers to its end; gives the trace's id."""
    with tracing.request(headers, method="POST", request_id="r-1") as span:
        span.answer(an_answer(TIMING))
        span.ended(route="/rerank", status=status)
        return span.trace_id
