"""One network of a checkpoint in ONNX Runtime: a single thread of the CPU, and nothing but what its bytes hold."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
import onnxruntime
from numpy.typing import NDArray
from onnxruntime.capi.onnxruntime_pybind11_state import (
    EPFail,
    Fail,
    InvalidArgument,
    InvalidGraph,
    InvalidProtobuf,
    NotImplemented,
    RuntimeException,
)

from services.contracts.errors import BadInput

_ERRORS = (EPFail, Fail, InvalidArgument, InvalidGraph, InvalidProtobuf, NotImplemented, RuntimeException)
_FLOATS = "tensor(float)"
_FATAL = 4
WORST = -1e9
"""What an output counts as that is no number, or lower than this."""
Floats = NDArray[np.float32]


class Interface(NamedTuple):
    """The inputs by name with their sizes (None: any), and the one output."""

    inputs: Mapping[str, Sequence[int | None]]
    output: str


class Network:
    """Runs one network. The same inputs give the same outputs on one machine."""

    def __init__(self, model: bytes, interface: Interface, what: str) -> None:
        """`what` names the file in errors. Raises BadInput."""
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        options.log_severity_level = _FATAL
        options.enable_cpu_mem_arena = False  # shapes differ from call to call: an arena would only grow
        try:
            self._session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
        except _ERRORS as error:
            raise BadInput(f"{what} cannot be loaded: {_first_line(error)}") from error
        self._what = what
        self._output = interface.output
        self._check(interface)

    def run(self, inputs: Mapping[str, Floats]) -> Floats:
        """The output, float32, without what is no number. Raises BadInput."""
        try:
            (output,) = self._session.run([self._output], dict(inputs))
        except _ERRORS as error:
            raise BadInput(f"{self._what} cannot be run: {_first_line(error)}") from error
        return np.nan_to_num(np.asarray(output, np.float32), nan=WORST, posinf=-WORST, neginf=WORST)

    def _check(self, interface: Interface) -> None:
        inputs = {one.name: one for one in self._session.get_inputs()}
        outputs = [(one.name, one.type) for one in self._session.get_outputs()]
        if set(inputs) != set(interface.inputs) or outputs != [(interface.output, _FLOATS)]:
            raise BadInput(f"{self._what} must have inputs {', '.join(interface.inputs)} and output {interface.output}")
        for name, sizes in interface.inputs.items():
            has = [size if isinstance(size, int) else None for size in inputs[name].shape]
            if inputs[name].type != _FLOATS or has != list(sizes):
                raise BadInput(f"{self._what}: input {name} must be float32 of {_shown(sizes)}, not {_shown(has)}")


def _shown(sizes: Sequence[int | None]) -> str:
    return "(" + ", ".join("any" if size is None else str(size) for size in sizes) + ")"


def _first_line(error: Exception) -> str:
    return " ".join(str(error).split())[:200]
