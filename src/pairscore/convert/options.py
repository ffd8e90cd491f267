"""What a conversion may be told: which numbers the weights become, and how the scales are found.

=============  ============================  ====================================  ======================
granularity    weights                       activations                           needs
=============  ============================  ====================================  ======================
``rows``       one scale an output channel   one scale a token, found while run    a graph of our own
``channel``    one scale an output channel   one scale a tensor                    nothing
``tensor``     one scale a tensor            one scale a tensor                    nothing
=============  ============================  ====================================  ======================

With one scale a tensor that is found while it runs (``dynamic``), a pair's score depends on its neighbours in
the micro-batch; with ``static`` scales, fixed beforehand on calibration pairs, it does not, but a text unlike
those is clipped. ``rows`` has neither fault. Sources: ONNX Runtime's `quantize_dynamic` and
`quantize_static`, and the graph in `pairscore.convert.products`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Final, Literal, TypeAlias, get_args

from pairscore.errors import SettingError

__all__ = [
    "MIN_CALIBRATION_PAIRS",
    "ConvertOptions",
    "Granularity",
    "Method",
    "Precision",
]

Precision: TypeAlias = Literal["float32", "int8"]
Granularity: TypeAlias = Literal["rows", "channel", "tensor"]
Method: TypeAlias = Literal["dynamic", "static"]

MIN_CALIBRATION_PAIRS: Final = 8
"""The least number of calibration pairs; some hundred are better."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ConvertOptions:
    """How a model is converted; a combination that makes no sense is refused when the record is made.

    Attributes:
        precision: what the large products multiply: ``float32``, or ``int8`` with float32 sums.
        granularity: how many weights or activations share a scale (int8 only, see the module's table).
            None takes ``rows`` where the model has a graph of our own, ``channel`` elsewhere and with static
            scales.
        reduced_range: int8 weights keep to 7 bits, so that no CPU without VNNI saturates and every CPU gives
            the same sums; without it the weights have 8 bits.
        method: activations' scales are found while it runs (``dynamic``), or beforehand (``static``).
        calibration_pairs: pairs of texts that the static scales are found on, like those that will be scored.

    Raises:
        SettingError: a value that is not known, or options that exclude each other.
    """

    precision: Precision = "int8"
    granularity: Granularity | None = None
    reduced_range: bool = True
    method: Method = "dynamic"
    calibration_pairs: tuple[tuple[str, str], ...] = field(default=(), repr=False)

    def __post_init__(self) -> None:
        _check_known("precision", self.precision, get_args(Precision))
        if self.granularity is not None:
            _check_known("granularity", self.granularity, get_args(Granularity))
        _check_known("method", self.method, get_args(Method))
        if self.precision == "float32":
            self._check_float32()
        self._check_method()

    def described(self, granularity: Granularity | None = None) -> dict[str, Any]:
        """What the manifest says about it, never the texts themselves.

        Args:
            granularity: the one that was used where none was asked for.
        """
        if self.precision == "float32":
            return {"precision": "float32"}
        return {
            "precision": self.precision,
            "granularity": self.granularity or granularity,
            "reduced_range": self.reduced_range,
            "method": self.method,
            "num_calibration_pairs": len(self.calibration_pairs),
        }

    def _check_float32(self) -> None:
        if self.granularity is not None:
            raise SettingError(
                f"granularity is {self.granularity!r} and precision is 'float32', which has no scales; "
                "use precision='int8', or leave granularity out"
            )
        if self.method == "static":
            raise SettingError(
                "method is 'static' and precision is 'float32', which has no scales; use precision='int8'"
            )

    def _check_method(self) -> None:
        num_pairs = len(self.calibration_pairs)
        if self.method == "dynamic":
            if num_pairs:
                raise SettingError(
                    f"{num_pairs:,} calibration pairs were given, and only static scales are found on them; "
                    "use method='static', or give none"
                )
            return
        if self.granularity == "rows":
            raise SettingError(
                "granularity is 'rows', one scale a token, which is found while the model runs; "
                "with method='static' use 'channel' or 'tensor'"
            )
        if num_pairs < MIN_CALIBRATION_PAIRS:
            raise SettingError(
                f"static scales are found on calibration pairs: received {num_pairs}, at least "
                f"{MIN_CALIBRATION_PAIRS} are needed (some hundred are better); give calibration_pairs"
            )


def _check_known(name: str, value: str, known: tuple[str, ...]) -> None:
    if value not in known:
        raise SettingError(f"{name} is {value!r}; known are {', '.join(map(repr, known))}")
