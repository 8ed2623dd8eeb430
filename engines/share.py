"""Keep the weights of several graphs in one file beside them: the network is in all three, and should ship once."""

from __future__ import annotations

import hashlib
from pathlib import Path

import onnx
from onnx.external_data_helper import set_external_data

SMALLEST = 1024
"""Bytes from which a tensor is worth an entry."""

ALIGNMENT = 64
"""Of the tensors in the file, so that it can be mapped."""


def write_graphs(graphs: dict[str, onnx.ModelProto], folder: Path, stem: str) -> list[Path]:
    """Write ``{stem}.onnx`` for the network, ``{stem}.{purpose}.onnx`` for the rest, and ``{stem}.weights``.

    Equal tensors are written once. The weights appear before any graph that points into them.
    """
    weights = bytearray()
    places: dict[bytes, int] = {}
    name = f"{stem}.weights"
    pointing = {purpose: onnx.ModelProto.FromString(graph.SerializeToString()) for purpose, graph in graphs.items()}
    for graph in pointing.values():
        for tensor in graph.graph.initializer:
            content = onnx.numpy_helper.to_array(tensor).tobytes()
            if len(content) < SMALLEST:
                continue
            digest = hashlib.sha256(content).digest()
            if digest not in places:
                weights.extend(bytes(-len(weights) % ALIGNMENT))
                places[digest] = len(weights)
                weights.extend(content)
            tensor.raw_data = content
            set_external_data(tensor, location=name, offset=places[digest], length=len(content))
            tensor.ClearField("raw_data")
    contents = {name: bytes(weights)}
    for purpose, graph in pointing.items():
        contents[f"{stem}.onnx" if purpose == "network" else f"{stem}.{purpose}.onnx"] = graph.SerializeToString()
    written = []
    for file, content in contents.items():
        target = folder / file
        partial = target.with_name(f"{file}.partial")
        partial.write_bytes(content)
        partial.replace(target)
        written.append(target)
    return written
