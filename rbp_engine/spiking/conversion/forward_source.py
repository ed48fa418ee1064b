"""Activations that a module calls as functions, such as `F.relu(x)` in its forward: neurons in their place.

The methods of the module's class are compiled anew from their source, each call of an activation written as a call of
a child of the module: `F.relu(self.fc(x), inplace=True)` becomes `self.relu_neuron(self.fc(x))`. Nothing else of them
changes: what depends on `self.training` or on a shape still does, which a trace by torch.fx would fix forever.
"""

import __future__

import ast
import inspect
import textwrap
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from types import CodeType, FunctionType
from typing import Any, Final

from torch import nn

from rbp_engine.spiking.conversion.activations import (
    ACTIVATION_FUNCTIONS,
    ACTIVATION_METHODS,
    is_activation_function,
)

_NAMES: Final = {function.__name__ for function in ACTIVATION_FUNCTIONS} | ACTIVATION_METHODS


class _CannotRewrite(Exception):
    """Why a method cannot be compiled anew."""


@dataclass(frozen=True)
class FunctionCall:
    """An activation that a class's method calls: the function's name, and the child that is now called for it."""

    function: str
    child: str


@dataclass(frozen=True)
class Rewritten:
    """A class whose methods call children in the place of activations, and `problem`, why a method could not be."""

    kind: type[nn.Module]
    calls: tuple[FunctionCall, ...]
    problem: str = ""


def rewrite(kind: type[nn.Module]) -> Rewritten:
    """A subclass of a module's class, of the same name, that calls children in the place of activations.

    Without such a call it is the class itself.
    """
    calls: list[FunctionCall] = []
    methods: dict[str, Callable[..., Any]] = {}
    problems: list[str] = []
    owners = [owner for owner in kind.__mro__ if not f"{owner.__module__}.".startswith(("torch.nn.", "builtins."))]
    used = _used_by_forward(owners)
    for owner in owners:
        for name, method in vars(owner).items():
            if name not in used or not isinstance(method, FunctionType) or not _may_call_activations(method.__code__):
                continue
            override = getattr(kind, name)
            if override is not method:
                if "super" in _names_in(override.__code__):
                    problems.append(f"{owner.__name__}.{name} is called by super()")
                continue
            try:
                found = _rewrite_method(method, calls)
            except (_CannotRewrite, OSError) as error:
                problems.append(f"{owner.__name__}.{name} {error}")
                continue
            if found is not None:
                methods[name] = found
    problem = "; ".join(problems)
    if not methods:
        return Rewritten(kind, (), problem)
    namespace = {**methods, "__module__": kind.__module__, "__qualname__": kind.__qualname__, "__doc__": kind.__doc__}
    return Rewritten(type(kind.__name__, (kind,), namespace), tuple(calls), problem)


def _used_by_forward(owners: Sequence[type]) -> set[str]:
    """The names of the methods that `forward` may call, and of those that these may."""
    used, new = set[str](), {"forward"}
    while new:
        used |= new
        methods = (vars(owner).get(name) for name in new for owner in owners)
        codes = [method.__code__ for method in methods if isinstance(method, FunctionType)]
        new = {name for code in codes for name in _names_in(code)} - used
    return used


def _names_in(code: CodeType) -> set[str]:
    inner = [_names_in(constant) for constant in code.co_consts if isinstance(constant, CodeType)]
    return set(code.co_names).union(*inner)


def _may_call_activations(code: CodeType) -> bool:
    return not _NAMES.isdisjoint(_names_in(code))


def _rewrite_method(method: FunctionType, calls: list[FunctionCall]) -> Callable[..., Any] | None:
    """The method with children in the place of activations, which are added to `calls`; None without any.

    Raises OSError where its source cannot be read, _CannotRewrite where it cannot be compiled outside its class.
    """
    tree = ast.parse(textwrap.dedent(inspect.getsource(method)))
    definition = tree.body[0]
    if not isinstance(definition, ast.FunctionDef) or not definition.args.args:
        raise _CannotRewrite("is no method with a definition of its own")
    rewriter = _Rewriter(method, definition.args.args[0].arg, len(calls))
    rewriter.visit(definition)
    if not rewriter.calls:
        return None
    if any(isinstance(node, ast.Attribute) and _is_private(node.attr) for node in ast.walk(definition)):
        raise _CannotRewrite("uses names that are private to its class")
    definition.decorator_list = []  # of torch.jit: torchvision and timm have no other ones there
    # Defaults may stand for names of the class's body; the method has their values.
    known = definition.args
    known.defaults = [ast.Constant(None) for _ in known.defaults]
    known.kw_defaults = [default and ast.Constant(None) for default in known.kw_defaults]
    # In a function whose parameters are the variables of the method's own closure, `__class__` of super() among them.
    names = method.__code__.co_freevars
    module = ast.parse(f"def make({', '.join(names)}): return {definition.name}")
    maker = module.body[0]
    assert isinstance(maker, ast.FunctionDef)
    maker.body.insert(0, definition)
    ast.fix_missing_locations(module)
    scope: dict[str, Any] = {}
    future = method.__code__.co_flags & __future__.annotations.compiler_flag
    exec(compile(module, inspect.getfile(method), "exec", future, dont_inherit=True), method.__globals__, scope)
    made: FunctionType = scope["make"](*(cell.cell_contents for cell in method.__closure__ or ()))
    made.__defaults__, made.__kwdefaults__ = method.__defaults__, method.__kwdefaults__
    calls.extend(rewriter.calls)
    return made


def _is_private(name: str) -> bool:
    return name.startswith("__") and not name.endswith("__")


class _Rewriter(ast.NodeTransformer):
    """Writes calls of activations as calls of children of `self`, whatever its name there."""

    def __init__(self, method: FunctionType, self_name: str, first: int) -> None:
        self._method, self._self, self._first = method, self_name, first
        self.calls: list[FunctionCall] = []

    def visit_Call(self, node: ast.Call) -> ast.AST:
        self.generic_visit(node)
        found = self._activation(node)
        if found is None:
            return node
        function, argument = found
        number = self._first + len(self.calls)
        call = FunctionCall(function, f"{function.rstrip('_')}_neuron" + (f"_{number}" if number else ""))
        self.calls.append(call)
        child = ast.Attribute(ast.Name(self._self, ast.Load()), call.child, ast.Load())
        return ast.copy_location(ast.Call(child, [argument], []), node)

    def _activation(self, node: ast.Call) -> tuple[str, ast.expr] | None:
        """The name of the activation that is called, and its input; None for another call."""
        value = self._value(node.func)
        if is_activation_function(value):
            if node.args:
                return value.__name__, node.args[0]
            given = [keyword.value for keyword in node.keywords if keyword.arg == "input"]
            return (value.__name__, given[0]) if given else None
        is_method = isinstance(node.func, ast.Attribute) and node.func.attr in ACTIVATION_METHODS
        if is_method and value is None and not node.args and not node.keywords:
            return node.func.attr, node.func.value  # type: ignore[attr-defined]
        return None

    def _value(self, node: ast.expr) -> Any:
        """What a name like `F.relu` stands for in the method's module; None where it is of the method itself."""
        if isinstance(node, ast.Name):
            code = self._method.__code__
            local = node.id in code.co_varnames or node.id in code.co_cellvars or node.id in code.co_freevars
            return None if local else self._method.__globals__.get(node.id)
        if isinstance(node, ast.Attribute):
            return getattr(self._value(node.value), node.attr, None)
        return None
