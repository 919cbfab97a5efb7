"""ONNX graphs put together by hand, a node at a time. Needs onnx."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

_OPSET, _IR = 17, 8


class Graph:
    """Nodes and weights of one model. Every method adds nodes and returns the name of their output."""

    def __init__(
        self, name: str, inputs: Mapping[str, Sequence[int | None]], *, lengths: bool = False
    ) -> None:
        """`lengths` adds the input `length`, whole numbers of shape (batch,)."""
        self._name = name
        self._nodes: list[Any] = []
        self._weights: list[Any] = []
        self._inputs = [
            helper.make_tensor_value_info(
                key,
                TensorProto.FLOAT,
                [f"{key}_{axis}" if size is None else size for axis, size in enumerate(shape)],
            )
            for key, shape in inputs.items()
        ]
        if lengths:
            self._inputs.append(helper.make_tensor_value_info("length", TensorProto.INT64, ["batch"]))

    def op(self, kind: str, *inputs: str, outputs: int = 1, **attributes: Any) -> str:
        """One node of any kind."""
        names = [f"{kind}_{len(self._nodes)}_{number}" for number in range(outputs)]
        self._nodes.append(helper.make_node(kind, list(inputs), names, **attributes))
        return names[0]

    def weight(self, values: NDArray[Any] | np.generic) -> str:
        name = f"weight_{len(self._weights)}"
        self._weights.append(numpy_helper.from_array(np.asarray(values), name))
        return name

    def constant(self, value: float) -> str:
        return self.weight(np.float32(value))

    def integers(self, values: Sequence[int]) -> str:
        return self.weight(np.asarray(values, np.int64))

    # ------------------------------------------------------------------------- layers

    def conv(
        self,
        x: str,
        kernel: NDArray[Any],
        *,
        stride: int | tuple[int, int] = 1,
        pads: Sequence[int] | None = None,
        group: int = 1,
        bias: NDArray[np.float32] | None = None,
    ) -> str:
        sizes = kernel.shape[2:]
        inputs = [x, self.weight(kernel.astype(np.float32))]
        if bias is not None:
            inputs.append(self.weight(bias))
        return self.op(
            "Conv",
            *inputs,
            kernel_shape=list(sizes),
            strides=[stride] if isinstance(stride, int) else list(stride),
            pads=list(pads) if pads is not None else [0] * 2 * len(sizes),
            group=group,
        )

    def linear(self, x: str, random: np.random.Generator, width: int, out: int) -> str:
        """Random weights that keep the variance, without a bias."""
        weights = random.standard_normal((width, out), np.float32) * np.float32(width**-0.5)
        return self.op("MatMul", x, self.weight(weights))

    def norm(self, x: str, width: int) -> str:
        ones, zeros = self.weight(np.ones(width, np.float32)), self.weight(np.zeros(width, np.float32))
        return self.op("LayerNormalization", x, ones, zeros, axis=-1)

    def swish(self, x: str) -> str:
        return self.op("Mul", x, self.op("Sigmoid", x))

    # ------------------------------------------------------------------------- shapes

    def transpose(self, x: str, order: Sequence[int]) -> str:
        return self.op("Transpose", x, perm=list(order))

    def reshape(self, x: str, shape: Sequence[int]) -> str:
        """0 keeps an axis, -1 takes the rest."""
        return self.op("Reshape", x, self.integers(shape))

    def unsqueeze(self, x: str, axis: int) -> str:
        return self.op("Unsqueeze", x, self.integers([axis]))

    def split(self, x: str) -> tuple[str, str]:
        """Halves of the last axis."""
        first = self.op("Split", x, outputs=2, axis=-1)
        return first, first.removesuffix("0") + "1"

    # ------------------------------------------------------------------------- lengths

    def divide(self, lengths: str, by: int) -> str:
        return self.op("Div", lengths, self.integers([by]))

    def halve(self, lengths: str) -> str:
        """After a convolution of 3 with stride 2 and a pad of 1 on each side: rounded up."""
        return self.divide(self.op("Add", lengths, self.integers([1])), 2)

    def mask(self, x: str, lengths: str, *, axis: int, shape: Sequence[int | str]) -> str:
        """1 where the position on `axis` lies before the clip's length, else 0; `shape` says where "n" goes."""
        size = self.op("Gather", self.op("Shape", x), self.weight(np.int64(axis)), axis=0)
        positions = self.op("Range", self.weight(np.int64(0)), size, self.weight(np.int64(1)))
        before = self.op("Less", self.unsqueeze(positions, 0), self.unsqueeze(lengths, 1))
        flags = self.op("Cast", before, to=TensorProto.FLOAT)
        axes = [place for place, what in enumerate(shape) if what == 1]
        return self.op("Unsqueeze", flags, self.integers(axes))

    def attention_bias(self, valid: str) -> str:
        """The number to add to attention scores: a large negative number where `valid` (batch, n, 1) is 0."""
        gone = self.op("Sub", valid, self.constant(1.0))
        return self.unsqueeze(self.op("Mul", self.transpose(gone, (0, 2, 1)), self.constant(1e9)), 1)

    # ------------------------------------------------------------------------- the file

    def save(self, path: Path, outputs: Mapping[str, str], *, blobs: bool = False) -> None:
        """Write the model; with `blobs` the weights lie beside it, as a file over 2 GB must have them."""
        for key, name in outputs.items():
            self._nodes.append(helper.make_node("Identity", [name], [key]))
        infos = [
            helper.make_tensor_value_info(
                key, TensorProto.INT64 if key == "encoded_lengths" else TensorProto.FLOAT, None
            )
            for key in outputs
        ]
        graph = helper.make_graph(
            self._nodes, self._name.removesuffix(".onnx"), self._inputs, infos, self._weights
        )
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", _OPSET)], ir_version=_IR)
        path.parent.mkdir(parents=True, exist_ok=True)
        onnx.save_model(
            model, str(path), save_as_external_data=blobs, location=f"{path.stem}.weights" if blobs else None
        )
