"""`rbp export nir` on really trained runs: the file, read by others, predicts what the run predicts."""

from pathlib import Path

import nir
import pytest

from rbp_engine.export import nir_file
from rbp_engine.export.graph import to_graph
from rbp_engine.export.operations import ExportError
from rbp_engine.run.files.layout import RunDirectory

pytestmark = pytest.mark.xdist_group("exported runs")  # they share a run


@pytest.fixture(scope="module")
def hard(rbp_in, tmp_path_factory):
    """A folder with the run `hard`, and what its export answered."""
    rbp = rbp_in(tmp_path_factory.mktemp("hard"))
    rbp("train", "digits", "T=3", "epochs=2", "batch=64", "neuron.reset=hard", "--id", "hard")
    return rbp, rbp.json("export", "nir", "hard", "--dt", "0.001")


def test_the_answer_says_what_was_written_and_how_far_it_is_the_run(hard):
    _, answer = hard
    graph = nir.read(answer["file"])
    kinds = [type(node).__name__ for node in graph.nodes.values()]
    assert answer["nodes"] == {kind: kinds.count(kind) for kind in kinds}
    assert (answer["edges"], answer["batch_norms"], answer["poolings"]) == (len(graph.edges), 3, 1)
    assert answer["bytes"] == Path(answer["file"]).stat().st_size
    assert answer["spikes"]["compared"] == 16 * 3 * (32 * 64 + 64 * 16 + 128 * 4)
    assert answer["spikes"]["differ"] == 0 < answer["spikes"]["spikes"]
    assert answer["predictions"]["same"] == answer["predictions"]["images"] == 16
    known = {key: graph.metadata[key] for key in ("run", "timesteps", "dt")}
    assert known == {"run": "hard", "timesteps": 3, "dt": 0.001}


def test_a_file_is_only_replaced_with_force(hard):
    rbp, answer = hard
    before = Path(answer["file"]).stat()
    assert "hard.nir exists already" in rbp("export", "nir", "hard", code=1).stderr
    assert Path(answer["file"]).stat() == before
    said = rbp("export", "nir", "hard", "--force").stderr
    assert "3 batch norms into the layer before; 1 average pooling into the linear layer after" in said
    assert f"16 test images, T = 3: {answer['spikes']['spikes']:,} spikes in float64, 0 differ; with the file" in said
    assert nir.read(answer["file"]).metadata["dt"] == 1e-4


def test_nothing_is_written_if_the_graph_is_not_the_network_also_with_force(hard, tmp_path, monkeypatch):
    def to_another_graph(*words):
        written = to_graph(*words)
        written.graph.nodes[written.neurons[1]].tau *= 1.2
        return written

    monkeypatch.setattr(nir_file, "to_graph", to_another_graph)
    file = tmp_path / "hard.nir"
    file.write_text("mine")
    with pytest.raises(ExportError, match="the graph differs from the network"):
        nir_file.export_run(RunDirectory(hard[0].runs / "hard"), file, force=True)
    assert file.read_text() == "mine" and list(tmp_path.iterdir()) == [file]


def test_a_soft_reset_is_refused_unless_it_may_be_in_the_metadata_only(finished, tmp_path):
    words = ("export", "nir", "mine", str(tmp_path / "soft.nir"))
    assert "Train with neuron.reset=hard" in " ".join(finished[0](*words, code=1).stderr.split())
    assert not list(tmp_path.iterdir())
    assert "the soft reset is in the metadata only" in finished[0](*words, "--soft-reset-as-metadata").stderr
    assert nir.read(tmp_path / "soft.nir").metadata["reset"] == "subtract_threshold"


def test_without_the_package_the_error_says_how_to_install_it(finished, rbp_in, tmp_path):
    (tmp_path / "nir.py").write_text("raise ImportError('no package of this name')\n")
    rbp = rbp_in(finished[0].folder)
    rbp.environment["PYTHONPATH"] = f"{tmp_path}:{rbp.environment['PYTHONPATH']}"
    assert "pip install 'rbp-tui[nir]'" in rbp("export", "nir", "mine", code=1).stderr


@pytest.mark.parametrize("dt", ["0", "-1", "inf", "nan"])
def test_a_timestep_of_no_length_is_refused(rbp_here, dt):
    assert "expected seconds above 0" in rbp_here("export", "nir", "mine", "--dt", dt, code=2).stderr
