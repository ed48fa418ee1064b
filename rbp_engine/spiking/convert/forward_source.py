"""Activations that a module calls as functions, such as `F.relu(x)` in its forward: neurons in their place.

The methods of the module's class are compiled again from their source, with each call of an activation written as a
call of a child of the module: `F.relu(self.fc(x), inplace=True)` becomes `self.relu_neuron(self.fc(x))`. Nothing else
of them changes: what depends on `self.training` or on a shape still does, which a trace by torch.fx would fix forever.

Such a network can be pickled: its class is rewritten again where it is loaded.
"""

import ast
import inspect
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from types import CellType, CodeType, FunctionType
from typing import Any, Final

from torch import nn

from rbp_engine.spiking.convert.activations import ACTIVATION_FUNCTIONS, ACTIVATION_METHODS, activation_name

_NAMES: Final = {function.__name__ for function in ACTIVATION_FUNCTIONS} | ACTIVATION_METHODS
# The packages of classes whose methods stay as they are.
_NOT_REWRITTEN: Final = ("torch.nn.", "builtins.")


@dataclass(frozen=True)
class Rewritten:
    """A class whose methods call children in the place of activations.

    `children` maps each child to the name of the function that it replaces. `problem` says which calls stay, and why.
    """

    kind: type[nn.Module]
    children: Mapping[str, str]
    problem: str


def _reduced(network: nn.Module, protocol: Any) -> Any:
    """For pickle and copies: the author's class, and the state."""
    return _remade, (type(network).__mro__[1],), network.__getstate__()


def _remade(kind: type[nn.Module]) -> nn.Module:
    made = rewrite(kind).kind  # type: ignore[arg-type]  # mypy takes the instances' __hash__ for the class's
    return made.__new__(made)


@cache
def rewrite(kind: type[nn.Module]) -> Rewritten:
    """A subclass of a module's class, of the same name, that calls children in the place of activations.

    Without such a call, or if it has already been rewritten, it is the class itself.
    """
    if vars(kind).get("__reduce_ex__") is _reduced:
        return Rewritten(kind, {}, "")
    owners = [owner for owner in kind.__mro__ if not f"{owner.__module__}.".startswith(_NOT_REWRITTEN)]
    used = _used_by_forward(owners)
    methods: dict[str, Any] = {}
    children: dict[str, str] = {}
    problems: list[str] = []
    places = [(owner, name) for owner in owners for name in vars(owner) if name in used]
    for owner, name in places:
        method = vars(owner)[name]
        if not isinstance(method, FunctionType) or method is not inspect.getattr_static(kind, name):
            continue
        where, source = f"{owner.__name__}.{name}", _Source(method, len(children))
        if not source.calls:
            continue
        if not isinstance(source.definition, ast.FunctionDef) or not method.__code__.co_argcount:
            problems.append(f"{where} has no source that can be read, or no argument for the module")
            continue
        problems += [f"{where} names {function} without calling it" for function in source.named]
        if source.children:
            children |= source.children
            methods[name] = _compiled(method, source.definition)
    namespace = {"__module__": kind.__module__, "__qualname__": kind.__qualname__, "__doc__": kind.__doc__}
    made = type(kind.__name__, (kind,), {**namespace, **methods, "__reduce_ex__": _reduced}) if methods else kind
    return Rewritten(made, children, "; ".join(problems))


def _used_by_forward(owners: Sequence[type]) -> set[str]:
    """The names of the methods that `forward` may call, and of those that these may."""
    used, new = set[str](), {"forward"}
    while new:
        used |= new
        functions = [vars(owner).get(name) for name in new for owner in owners]
        new = set().union(*(_names(function) for function in functions if isinstance(function, FunctionType))) - used
    return used


def _codes(code: CodeType) -> Iterator[CodeType]:
    """A piece of code and all pieces inside it."""
    yield code
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _codes(constant)


def _names(function: FunctionType) -> set[str]:
    """The names in a function that are not local, attributes among them."""
    return set(function.__code__.co_freevars).union(*(code.co_names for code in _codes(function.__code__)))


def _scope(function: FunctionType) -> Mapping[str, Any]:
    """What the names in a function that are not local stand for."""
    cells = zip(function.__code__.co_freevars, function.__closure__ or (), strict=True)
    return function.__globals__ | {name: cell.cell_contents for name, cell in cells if cell != CellType()}  # not empty


class _Source(ast.NodeTransformer):
    """The source of a function, with calls of children of its first argument in the place of activations.

    `calls`: whether it calls activations; a function that has such names but no source is assumed to. `definition` is
    its statement. `children` are those of this function, numbered from `first`. `named` are the activations that are
    not called, but given to something or kept.
    """

    def __init__(self, function: FunctionType, first: int = 0) -> None:
        code = function.__code__
        self.children: dict[str, str] = {}
        self.named: dict[str, None] = {}
        self.definition: ast.stmt | None = None
        self._scope, self._local, self._first = _scope(function), {*code.co_varnames, *code.co_cellvars}, first
        self._module = code.co_varnames[0] if code.co_argcount else ""
        names = _names(function)
        self.calls = not _NAMES.isdisjoint(names) or any(activation_name(self._scope.get(name)) for name in names)
        if self.calls:
            with suppress(OSError, SyntaxError):
                found = ast.parse(textwrap.dedent(inspect.getsource(function))).body[0]
                self.definition = self.visit(ast.increment_lineno(found, code.co_firstlineno - 1))
                self.calls = bool(self.children or self.named)

    def visit(self, node: ast.AST) -> Any:
        """The replacement of a node."""
        if isinstance(node, ast.Call) and (found := self._activation(node)):
            function, argument = found
            node.args, node.keywords = [self.visit(argument)], []
            number = self._first + len(self.children)
            child = f"{function.rstrip('_')}_neuron" + (f"_{number}" if number else "")
            self.children[child] = function
            node.func = ast.Attribute(ast.Name(self._module, ast.Load()), child, ast.Load())
            return node
        if isinstance(node, ast.Name | ast.Attribute) and (name := activation_name(self._value(node))):
            self.named[name] = None
        return self.generic_visit(node)

    def _activation(self, node: ast.Call) -> tuple[str, ast.expr] | None:
        """The name of the activation that is called, and its input; None for another call."""
        value = self._value(node.func)
        given = [*node.args, *(keyword.value for keyword in node.keywords if keyword.arg == "input")]
        if (name := activation_name(value)) and given:
            return name, given[0]
        if isinstance(node.func, ast.Attribute) and value is None and node.func.attr in ACTIVATION_METHODS:
            return None if node.args or node.keywords else (node.func.attr, node.func.value)
        return None

    def _value(self, node: ast.expr) -> Any:
        """What a name like `F.relu` stands for in the method's module; None if it belongs to the method itself."""
        if isinstance(node, ast.Name):
            return None if node.id in self._local else self._scope.get(node.id)
        return getattr(self._value(node.value), node.attr, None) if isinstance(node, ast.Attribute) else None


def _compiled(method: FunctionType, definition: ast.FunctionDef) -> FunctionType:
    """The method with the code of another definition, and its own defaults, globals and variables of its closure."""
    code = method.__code__
    # In a class of the same name, for its private names, and in a function that has the variables of the closure, such
    # as `__class__` for super(). Neither runs: only the code is taken out.
    module: Any = ast.parse(f"class Owner:\n def closure({', '.join(code.co_freevars)}): ...")
    module.body[0].name = method.__qualname__.rpartition(".")[0].rpartition(".")[2]
    module.body[0].body[0].body = [definition]
    compiled = compile(ast.fix_missing_locations(module), code.co_filename, "exec")
    path = f"closure.<locals>.{definition.name}"
    found = next(inner for inner in _codes(compiled) if inner.co_qualname.endswith(path))
    cells = dict(zip(code.co_freevars, method.__closure__ or (), strict=True))
    closure = tuple(cells[name] for name in found.co_freevars)
    made = FunctionType(found, method.__globals__, method.__name__, method.__defaults__, closure)
    made.__kwdefaults__ = method.__kwdefaults__
    return made
