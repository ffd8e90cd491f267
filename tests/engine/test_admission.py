"""Who may come in, and what those are told who may not: plain counting, no thread and no model."""

from __future__ import annotations

import pytest

from pairscore.engine.admission import Admission
from pairscore.errors import OverloadError


def _admission(*, queued: int = 0, tokens_per_s: float = 0.0) -> Admission:
    return Admission(max_tokens=1000, queued=lambda: queued, tokens_per_s=lambda: tokens_per_s)


@pytest.mark.parametrize(
    ("queued", "wanted"), [(0, 5000), (900, 100), (1000, 0), (5000, 0), (1, 999)]
)
def test_there_is_room(queued: int, wanted: int) -> None:
    """To an empty queue anything may come, up to the limit what fits, and always what needs no run."""
    admission = _admission(queued=queued)

    with admission.reserved(wanted):
        assert admission.num_tokens == queued + wanted
    assert admission.num_tokens == queued


@pytest.mark.parametrize(("queued", "wanted"), [(901, 100), (1000, 1), (1, 1000)])
def test_there_is_none(queued: int, wanted: int) -> None:
    """One token too many is refused, and promises nothing."""
    admission = _admission(queued=queued)

    with pytest.raises(OverloadError, match="the limit is 1,000"), admission.reserved(wanted):
        pytest.fail("it was let in")
    assert admission.num_tokens == queued


def test_what_is_promised_counts() -> None:
    """A second request finds the room of the first one taken, whatever ends it."""
    admission = _admission()

    def fail() -> None:
        with admission.reserved(600):
            with pytest.raises(OverloadError), admission.reserved(500):
                pytest.fail("it was let in")
            raise KeyError

    with pytest.raises(KeyError):
        fail()
    assert admission.num_tokens == 0


@pytest.mark.parametrize(
    ("queued", "wanted", "tokens_per_s", "retry_after_s"),
    [
        (1000, 500, 100.0, 5.0),  # until 500 of those that wait are done
        (1000, 50_000, 100.0, 10.0),  # until the queue is empty, and no longer
        (1000, 1, 100.0, 1.0),  # at least
        (1000, 1000, 1.0, 60.0),  # at most
        (1000, 500, 0.0, 1.0),  # the speed is not known yet
    ],
)
def test_when_to_come_back(
    queued: int, wanted: int, tokens_per_s: float, retry_after_s: float
) -> None:
    """When there will be room at this speed, within sense."""
    admission = _admission(queued=queued, tokens_per_s=tokens_per_s)

    with pytest.raises(OverloadError) as refused, admission.reserved(wanted):
        pytest.fail("it was let in")
    assert refused.value.retry_after_s == retry_after_s
