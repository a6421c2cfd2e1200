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

from services.contracts.errors import BadInput, PolicyFault

_ERRORS = (
    EPFail, Fail, InvalidArgument, InvalidGraph, InvalidProtobuf, NotImplemented, RuntimeException,
    UnicodeDecodeError,  # an error's own text may hold the bytes of a broken file
)  # fmt: skip
_FATAL = 4
_FLOATS = "tensor(float)"
_PROBES: tuple[Mapping[str, int], ...] = ({"B": 2, "M": 3, "K": 2}, {"B": 1, "M": 1, "K": 1})
WORST = -1e9
"""What an output counts as that is no number, or lower than this."""
Floats = NDArray[np.float32]


class Interface(NamedTuple):
    """The inputs by name and the one output, each with its sizes; a letter stands for any size, the same everywhere."""

    inputs: Mapping[str, Sequence[int | str]]
    output: str
    sizes: Sequence[int | str]


class Network:
    """Runs one network. The same inputs give the same outputs on one machine."""

    def __init__(self, model: bytes, interface: Interface, what: str) -> None:
        """`what` names the file in errors. Raises BadInput."""
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        options.log_severity_level = _FATAL
        options.enable_cpu_mem_arena = False  # shapes differ from call to call: an arena would only grow
        try:
            self._session = onnxruntime.InferenceSession(
                model, options, providers=["CPUExecutionProvider"], enable_fallback=0
            )
        except _ERRORS as error:
            raise BadInput(f"{what} cannot be loaded: {_first_line(error)}") from error
        self._what = what
        self._output = interface.output
        self._check(interface)

    def run(self, inputs: Mapping[str, Floats]) -> Floats:
        """The output, float32, without what is no number. Raises PolicyFault if the machine fails, as out of memory."""
        try:
            (output,) = self._session.run([self._output], dict(inputs))
        except _ERRORS as error:
            raise PolicyFault(f"{self._what} cannot be run: {_first_line(error)}") from error
        return np.nan_to_num(np.asarray(output, np.float32), nan=WORST, posinf=-WORST, neginf=WORST)

    def _check(self, interface: Interface) -> None:
        """Raise BadInput unless the network has the interface, for one of a kind and for more."""
        inputs, outputs = self._session.get_inputs(), self._session.get_outputs()
        takes, gives = ({(one.name, one.type) for one in ends} for ends in (inputs, outputs))
        if takes != {(name, _FLOATS) for name in interface.inputs} or gives != {(self._output, _FLOATS)}:
            wanted = f"inputs {', '.join(interface.inputs)} and output {self._output}"
            raise BadInput(f"{self._what} must have the {wanted}, all of float32")
        for letters in _PROBES:
            zeros = {name: np.zeros(_shape(sizes, letters), np.float32) for name, sizes in interface.inputs.items()}
            shape = self.run(zeros).shape
            if shape != _shape(interface.sizes, letters):
                raise BadInput(f"{self._what}: {self._output} has the shape {shape}, not {_shown(interface.sizes)}")


def _shape(sizes: Sequence[int | str], letters: Mapping[str, int]) -> tuple[int, ...]:
    return tuple(size if isinstance(size, int) else letters[size] for size in sizes)


def _shown(sizes: Sequence[int | str]) -> str:
    return f"({', '.join(map(str, sizes))})"


def _first_line(error: Exception) -> str:
    return " ".join(str(error).split())[:200]
