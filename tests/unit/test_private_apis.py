"""Private names of torch: all that the engine uses are listed, and a missing one gives a clear message."""

import re
from pathlib import Path

import pytest

from rbp_engine.private_apis import COMPILING, MEASURING, TRAINING, PrivateName, require

ENGINE = Path(__file__).parents[2] / "rbp_engine"
# A quoted name is data: the call that a pickle asks for.
PRIVATE = re.compile(r"(?<!\")\btorch(?:\.\w+)*\.(_[a-z]\w*)(?=\W)(?!\.\w)|from torch\S* import (_\w+)")


def test_the_installed_torch_has_all_of_them():
    require(TRAINING)
    require(COMPILING)
    require(MEASURING)


def test_each_is_used_where_the_list_says():
    for name in (*TRAINING, *COMPILING, *MEASURING):
        assert re.search(rf"\b{re.split(r'[.:]', name.name)[-1]}\b", (ENGINE / name.used_in).read_text()), name


def test_no_unlisted_name_is_used():
    listed = {part for name in (*TRAINING, *COMPILING, *MEASURING) for part in re.split(r"[.:]", name.name)}
    for path in ENGINE.rglob("*.py"):
        for found in PRIVATE.finditer(path.read_text()):
            assert (found[1] or found[2]) in listed, f"{path}: {found[0]}"


def test_a_missing_name_is_reported_with_its_reason():
    gone = (PrivateName("torch._C:_no_such", "x.py", "does this"), PrivateName("torch._no:_such", "x.py", "does that"))
    with pytest.raises(ImportError, match=r"_C\._no_such \(does this\), torch\._no\._such \(does that\)") as error:
        require((*gone, *TRAINING))
    assert "_foreach_norm" not in str(error.value)
