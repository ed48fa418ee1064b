"""Whatever rbp imports, pyproject.toml declares: no package is there only because another happens to need it."""

import ast
import itertools
import re
import sys
import tomllib
from importlib.metadata import packages_distributions
from pathlib import Path

import rbp_engine

ROOT = Path(rbp_engine.__file__).parents[1]
#: Imported if the user has it, and done without otherwise.
WHERE_INSTALLED = {"pandas", "einops"}
#: A part of pydantic, which demands one version of it.
OF_PYDANTIC = "pydantic-core"
#: Modules that only import what they stand for.
DOORS = {"torch.utils.tensorboard": "tensorboard"}


def imported():
    """The names of all modules that an import statement names."""
    names = set()
    for path in [path for package in ("rbp_engine", "rbp_tui") for path in (ROOT / package).rglob("*.py")]:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import):
                names |= {alias.name for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and not node.level and node.module:
                names.add(node.module)
    return {DOORS.get(name, name).partition(".")[0] for name in names}


def test_every_package_that_is_imported_is_declared():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    wanted = itertools.chain(project["dependencies"], *project["optional-dependencies"].values())
    declared = {_normal(re.match(r"[\w-]+", line)[0]) for line in wanted} | {OF_PYDANTIC}
    distributions = packages_distributions()
    ours = sys.stdlib_module_names | {"rbp_engine", "rbp_tui"} | WHERE_INSTALLED
    assert not {name for name in imported() - ours if not declared & set(map(_normal, distributions[name]))}


def _normal(name):
    return name.lower().replace("_", "-")
