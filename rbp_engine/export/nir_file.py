"""Write the network of a run as a file of NIR, after a check that it is the same network."""

import io
import os
from collections import Counter
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import Any

import nir
import numpy as np

from rbp_engine.data.preprocess import Pixels
from rbp_engine.export.check import check_predictions, check_spikes
from rbp_engine.export.graph import RESET, SUBTRACT_THRESHOLD, NumberFormat, to_graph
from rbp_engine.export.operations import ExportError, LinearMap, SpikingLayer
from rbp_engine.export.walk import walk
from rbp_engine.loaded import Loaded, Weights, load
from rbp_engine.probes.gradient_fidelity import first_samples
from rbp_engine.probes.layers import uncompiled
from rbp_engine.run.files.layout import RunDirectory
from rbp_engine.settings.files import write_settings
from rbp_engine.train.build import build_feed

#: Images of the test set in the check: every spike of them is compared.
CHECKED = 16


def export_run(
    run: RunDirectory,
    file: Path,
    *,
    weights: Weights = "best",
    dt: float = 1e-4,
    soft_reset_as_metadata: bool = False,
    force: bool = False,
) -> dict[str, Any]:
    """Write the trained network of a run for steps of `dt` seconds; an existing file is replaced only with `force`.

    Returns what was written, and what the check found. `nodes` counts nodes by type, `batch_norms` and `poolings` those
    that were folded. `spikes` is a `SpikeCheck`, `predictions` a `PredictionCheck`, on images of the test set.
    Raises ExportError for what NIR cannot express and for a file that exists, CheckpointError, and Untrusted for code
    that this user has not launched.
    """
    _check_free(file, force=force)
    loaded = load(run.path, weights=weights, device="cpu")
    uncompiled(loaded.model)
    timesteps = loaded.preset.method.timesteps
    feed = build_feed(run, loaded.preset, loaded.device, timesteps)
    images, _ = first_samples(*next(iter(feed.test)), CHECKED)
    operations = walk(loaded.model, tuple(images.shape[-3:]))
    exact = to_graph(operations, NumberFormat(dt, np.float64, soft_reset_as_metadata))
    spikes = check_spikes(loaded.model, exact, images, timesteps, dt)
    metadata = _metadata(loaded, run, dt)
    if any(isinstance(operation, SpikingLayer) and operation.parameters.v_reset is None for operation in operations):
        metadata[RESET] = SUBTRACT_THRESHOLD
    contents = io.BytesIO()
    nir.write(contents, to_graph(operations, NumberFormat(dt, np.float32, soft_reset_as_metadata), metadata).graph)
    graph = nir.read(contents)
    predictions = check_predictions(loaded.method.predict(loaded.model, images), graph, images, dt)
    _check_free(file, force=force)
    try:
        write_settings(file, contents.getvalue())
    except OSError as error:
        raise ExportError(f"{file} cannot be written: {error.strerror}") from error
    folded = Counter(kind for operation in operations if isinstance(operation, LinearMap) for kind in operation.folded)
    return {
        "file": str(file),
        "run": run.id,
        "weights": weights,
        "bytes": contents.getbuffer().nbytes,
        "dt": dt,
        "timesteps": timesteps,
        "nodes": Counter(type(node).__name__ for node in graph.nodes.values()),
        "edges": len(graph.edges),
        "batch_norms": folded["batch norm"],
        "poolings": folded["pooling"],
        "soft_reset": RESET in graph.metadata,
        "spikes": asdict(spikes),
        "predictions": asdict(predictions),
    }


def _check_free(file: Path, *, force: bool) -> None:
    if not force and os.path.lexists(file):
        raise ExportError(f"{file} exists already: choose another name, or pass --force to replace it")


def _metadata(loaded: Loaded, run: RunDirectory, dt: float) -> dict[str, Any]:
    """What is needed to use the file."""
    preprocess = loaded.preprocess
    metadata: dict[str, Any] = {
        "written_by": f"rbp {version('rbp-tui')}",
        "run": run.id,
        "timesteps": loaded.preset.method.timesteps,
        "dt": dt,
        "prediction": "the mean of the output over the timesteps",
    }
    if not isinstance(preprocess, Pixels):
        return metadata | {"input": "a frame of counts times scale for each timestep", "scale": preprocess.scale}
    return metadata | {
        "input": "(pixel / 255 - mean) / deviation, at every timestep the same",
        "mean": np.array(preprocess.mean),
        "deviation": np.array(preprocess.deviation),
    }
