import numpy as np
import pytest

from rbp_engine.data.events.narrow_array import write_narrowly


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([[0, 255], [3, 4], [5, 6]], "uint8"),
        ([[0, 255], [256, 4], [5, 2048]], "float16"),
        ([[0, 255], [256, 4], [5, 2049]], "float32"),
        ([[1.0, 7.0], [0.5, 4.0], [5.25, 6.0]], "float16"),
        ([[1.5, 7.0], [2.0, 70000.0], [5.0, 6.0]], "float32"),
    ],
)
def test_the_narrowest_type_that_holds_all_samples_is_written(tmp_path, values, expected):
    kind = write_narrowly(tmp_path / "a.npy", 3, (2,), lambda number: np.array(values[number]))
    written = np.load(tmp_path / "a.npy", mmap_mode="r", allow_pickle=False)
    assert (written.dtype, kind) == (np.dtype(expected), expected)
    assert np.array_equal(written, np.array(values))
    assert [path.name for path in tmp_path.iterdir()] == ["a.npy"]
