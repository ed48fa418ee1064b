"""Networks with random weights and statistics, and what becomes of them in a file of NIR."""

import io
from typing import NamedTuple

import nir
import numpy as np
import pytest
import torch
from torch import Tensor, nn

from rbp_engine.export.check import PredictionCheck, SpikeCheck, check_predictions, check_spikes
from rbp_engine.export.graph import NumberFormat, to_graph
from rbp_engine.export.operations import Operation
from rbp_engine.export.walk import walk
from rbp_engine.methods.protocol import predict

DT = 1e-4
STEPS = 4


class Exported(NamedTuple):
    """A network that was written and read again, and what the check says."""

    operations: list[Operation]
    graph: nir.NIRGraph
    images: Tensor
    logits: Tensor
    spikes: SpikeCheck
    predictions: PredictionCheck


def lively(model, seed=0):
    """The network in evaluation mode, with batch norms that keep its neurons firing."""
    draw = torch.Generator().manual_seed(seed)
    for module in model.modules():
        if isinstance(module, (nn.BatchNorm1d, nn.BatchNorm2d)) and module.running_var is not None:
            module.running_var.uniform_(0.3, 0.8, generator=draw)
            module.running_mean.normal_(0.0, 0.1, generator=draw)
            module.weight.data.uniform_(0.5, 1.5, generator=draw)
            module.bias.data.normal_(0.4, 0.3, generator=draw)
    return model.eval()


@pytest.fixture(autouse=True)
def the_same_weights_each_time():
    """SpikingJelly's reader computes in float32, where a membrane of other weights may round across the threshold."""
    torch.manual_seed(0)


@pytest.fixture
def exported(tmp_path):
    """Write a network, read the file again, and check both on images of this shape; the file is `net.nir`."""

    def export(model, shape, **settings):
        torch.manual_seed(1)
        images = torch.randn(6, *shape)
        operations = walk(lively(model), shape)
        exact = to_graph(operations, NumberFormat(DT, np.float64, **settings))
        spikes = check_spikes(model, exact, images, STEPS, DT)
        contents = io.BytesIO()
        nir.write(contents, to_graph(operations, NumberFormat(DT, np.float32, **settings)).graph)
        (tmp_path / "net.nir").write_bytes(contents.getvalue())
        graph = nir.read(tmp_path / "net.nir")
        logits = predict(model, images, STEPS)
        return Exported(operations, graph, images, logits, spikes, check_predictions(logits, graph, images, DT))

    return export
