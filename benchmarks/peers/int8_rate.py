"""How many int8 operations a second this machine does in ONNX Runtime, on the model's own shapes.

Every core gets a session of one thread with the four products of a layer (MatMulInteger, weights
constant, outputs allocated beforehand), all cores at once: nothing but products is in the graph, so no
way of running the same int8 weights through ONNX Runtime can be faster than this rate allows.
Needs the `onnx` package::

    .venv-oracle/bin/python benchmarks/peers/int8_rate.py --cores 2
"""

from __future__ import annotations

import argparse
import json
import threading
import time

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper

_HIDDEN, _INNER = 384, 1536
_PRODUCTS = (
    ("query_key_value", _HIDDEN, 3 * _HIDDEN),
    ("attention_output", _HIDDEN, _HIDDEN),
    ("up", _HIDDEN, _INNER),
    ("down", _INNER, _HIDDEN),
)
_ROWS = (128, 256, 512, 1024)


def layer(rows: int) -> bytes:
    """A graph with the four matrix products of one layer."""
    dice = np.random.default_rng(0)
    nodes, inputs, outputs, weights = [], [], [], []
    for name, depth, width in _PRODUCTS:
        values = dice.integers(-64, 64, size=(depth, width), dtype=np.int8)
        weights.append(numpy_helper.from_array(values, f"{name}_weights"))
        given = helper.make_tensor_value_info(f"{name}_in", TensorProto.UINT8, [rows, depth])
        inputs.append(given)
        outputs.append(helper.make_tensor_value_info(name, TensorProto.INT32, [rows, width]))
        nodes.append(helper.make_node("MatMulInteger", [f"{name}_in", f"{name}_weights"], [name]))
    graph = helper.make_graph(nodes, "layer", inputs, outputs, weights)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])
    model.ir_version = 8
    onnx.checker.check_model(model)
    return bytes(model.SerializeToString())


def operations(rows: int) -> int:
    """Multiplications and additions of one run of the graph."""
    return sum(2 * rows * depth * width for _, depth, width in _PRODUCTS)


class Runner:
    """One session with one thread, its inputs and outputs bound once."""

    def __init__(self, model: bytes, rows: int) -> None:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        self._session = onnxruntime.InferenceSession(
            model, options, providers=["CPUExecutionProvider"]
        )
        self._binding = self._session.io_binding()
        dice = np.random.default_rng(1)
        self._kept = []
        for name, depth, width in _PRODUCTS:
            values = dice.integers(0, 255, size=(rows, depth), dtype=np.uint8)
            given = onnxruntime.OrtValue.ortvalue_from_numpy(values)
            result = onnxruntime.OrtValue.ortvalue_from_numpy(np.zeros((rows, width), np.int32))
            self._binding.bind_ortvalue_input(f"{name}_in", given)
            self._binding.bind_ortvalue_output(name, result)
            self._kept += [given, result]

    def run(self, times: int) -> None:
        """Run the graph."""
        for _ in range(times):
            self._session.run_with_iobinding(self._binding)


def rate(rows: int, *, cores: int, seconds: float) -> float:
    """Operations a second of all cores together, with so many rows a product."""
    model = layer(rows)
    runners = [Runner(model, rows) for _ in range(cores)]
    for runner in runners:
        runner.run(2)
    begin = time.perf_counter()
    runners[0].run(3)
    times = max(3, int(seconds * 3 / (time.perf_counter() - begin)))
    threads = [threading.Thread(target=runner.run, args=(times,)) for runner in runners]
    begin = time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return cores * times * operations(rows) / (time.perf_counter() - begin)


def main() -> None:
    """Print the rate for several row counts, the best of three turns each, as one JSON line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cores", type=int, default=2)
    parser.add_argument("--seconds", type=float, default=1.0)
    options = parser.parse_args()
    rates = {
        rows: max(rate(rows, cores=options.cores, seconds=options.seconds) for _ in range(3))
        for rows in _ROWS
    }
    print(json.dumps({"rates": rates, "best": max(rates.values()), "cores": options.cores}))


if __name__ == "__main__":
    main()
