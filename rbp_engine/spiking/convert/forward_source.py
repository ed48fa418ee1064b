"""Activations that a module calls as functions, such as `F.relu(x)` in its forward: neurons in their place.

The methods of the module's class are compiled anew from their source, each call of an activation written as a call of
a child of the module: `F.relu(self.fc(x), inplace=True)` becomes `self.relu_neuron(self.fc(x))`. Nothing else of them
changes: what depends on `self.training` or on a shape still does, which a trace by torch.fx would fix forever.
"""

import __future__

import ast
import copyreg
import inspect
import pickle
import sys
import textwrap
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from types import CodeType, FunctionType, ModuleType
from typing import Any, Final
from weakref import WeakValueDictionary

from torch import nn

from rbp_engine.spiking.convert.activations import (
    ACTIVATION_FUNCTIONS,
    ACTIVATION_METHODS,
    is_activation_function,
)

_NAMES: Final = {function.__name__ for function in ACTIVATION_FUNCTIONS} | ACTIVATION_METHODS


# By the class of the network's author, for those that are copied or loaded.
_MADE: WeakValueDictionary[type[nn.Module], type[nn.Module]] = WeakValueDictionary()


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
    outside: dict[str, None] = {}
    for owner in owners:
        for name, value in vars(owner).items():
            method, override = _function_of(value), inspect.getattr_static(kind, name)
            if name not in used or method is None:
                continue
            if override is not value:
                over = _function_of(override)
                if over is not None and "super" in _names_in(over.__code__) and _may_call_activations(method):
                    problems.append(f"{owner.__name__}.{name} is called by super()")
                continue
            outside |= dict.fromkeys(_outside_functions(method, set()))
            if not _may_call_activations(method):
                continue
            if method is not value:
                if _calls_activations(method):
                    problems.append(f"{owner.__name__}.{name} is a {type(value).__name__}")
                continue
            try:
                found = _rewrite_method(method, calls, problems)
            except (_CannotRewrite, OSError) as error:
                problems.append(f"{owner.__name__}.{name} {error}")
                continue
            if found is not None:
                methods[name] = found
    problem = "; ".join([*problems, *(f"{name}() is outside its class" for name in outside)])
    if not methods:
        return Rewritten(kind, (), problem)
    namespace = {**methods, "__module__": kind.__module__, "__qualname__": kind.__qualname__, "__doc__": kind.__doc__}
    _MADE[kind] = made = type(kind.__name__, (kind,), {**namespace, "__reduce_ex__": _reduce})
    return Rewritten(made, tuple(calls), problem)


def _reduce(module: nn.Module, protocol: Any) -> Any:
    """For pickle: the class as its author has it, which is rewritten again where the module is loaded."""
    made = next(owner for owner in type(module).__mro__ if vars(owner).get("__reduce_ex__") is _reduce)
    kind: Any = made.__base__
    function, arguments, *state = kind.__reduce_ex__(module, max(protocol, 2))
    if function is not copyreg.__newobj__:  # type: ignore[attr-defined]  # typeshed leaves it out
        raise pickle.PicklingError(
            f"{kind.__name__} pickles itself in its own way, without the neurons that make_spiking put into its "
            "methods: save its state_dict()"
        )
    return _new, (kind, *arguments[1:]), *state


def _new(kind: type[nn.Module], *arguments: Any) -> nn.Module:
    made: Any = _MADE.get(kind) or rewrite(kind).kind
    module: nn.Module = made.__new__(made, *arguments)
    return module


def _used_by_forward(owners: Sequence[type]) -> set[str]:
    """The names of the methods that `forward` may call, and of those that these may."""
    used, new = set[str](), {"forward"}
    while new:
        used |= new
        values = (vars(owner).get(name) for name in new for owner in owners)
        codes = [method.__code__ for method in map(_function_of, values) if method is not None]
        new = {name for code in codes for name in _names_in(code)} - used
    return used


def _function_of(value: Any) -> FunctionType | None:
    """The function of a method as its class has it, also of a static or class method; None if it is no method."""
    function = getattr(value, "__func__", value)
    return function if isinstance(function, FunctionType) else None


def _names_in(code: CodeType) -> set[str]:
    inner = [_names_in(constant) for constant in code.co_consts if isinstance(constant, CodeType)]
    return set(code.co_names).union(*inner)


def _may_call_activations(function: FunctionType) -> bool:
    names = _names_in(function.__code__) | {*function.__code__.co_freevars}
    return not _NAMES.isdisjoint(names) or any(is_activation_function(_known(function, name)) for name in names)


def _known(function: FunctionType, name: str) -> Any:
    """What a name that is not local stands for in a function; None if nothing."""
    free = function.__code__.co_freevars
    if name not in free:
        return function.__globals__.get(name)
    try:
        return (function.__closure__ or ())[free.index(name)].cell_contents
    except ValueError:  # nothing yet
        return None


def _outside_functions(function: FunctionType, seen: set[FunctionType]) -> Iterator[str]:
    """The functions outside a class that a function calls, and those that these call, which call activations."""
    names = _names_in(function.__code__) | {*function.__code__.co_freevars}
    values = {name: _known(function, name) for name in names}
    for module in [value for value in values.values() if isinstance(value, ModuleType)]:
        values |= {name: vars(module)[name] for name in names & vars(module).keys()}
    for name in sorted(values):
        value = values[name]
        if isinstance(value, FunctionType) and value not in seen and _is_the_networks(value, function):
            seen.add(value)
            if _may_call_activations(value) and _calls_activations(value):
                yield name
            yield from _outside_functions(value, seen)


def _is_the_networks(value: FunctionType, caller: FunctionType) -> bool:
    """Whether a function is of the package that calls it, or of no installed one; torch's stay as they are."""
    package = str(value.__module__).partition(".")[0]
    if package == str(caller.__module__).partition(".")[0]:
        return True
    return package not in sys.stdlib_module_names and "site-packages" not in value.__code__.co_filename


def _calls_activations(function: FunctionType) -> bool:
    """Whether it does, by its source; a function without one is taken to."""
    try:
        tree = ast.parse(textwrap.dedent(inspect.getsource(function)))
    except (OSError, SyntaxError):
        return True
    rewriter = _Rewriter(function, "self", 0)
    rewriter.visit(tree)
    return bool(rewriter.calls or rewriter.others)


def _rewrite_method(method: FunctionType, calls: list[FunctionCall], problems: list[str]) -> Callable[..., Any] | None:
    """The method with children in the place of activations, which are added to `calls`; None without any.

    An activation that it names without calling it is added to `problems`. Raises OSError where its source cannot be
    read, _CannotRewrite where it cannot be compiled outside its class.
    """
    tree = ast.parse(textwrap.dedent(inspect.getsource(method)))
    definition = tree.body[0]
    if not isinstance(definition, ast.FunctionDef) or not definition.args.args:
        raise _CannotRewrite("is no method with a definition of its own")
    rewriter = _Rewriter(method, definition.args.args[0].arg, len(calls))
    rewriter.visit(definition)
    problems += [f"{method.__qualname__} names {name} without calling it" for name in dict.fromkeys(rewriter.others)]
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
    """Writes calls of activations as calls of children of `self`, whatever its name there.

    `others` are the names of activations that are not called, but given to something or kept.
    """

    def __init__(self, method: FunctionType, self_name: str, first: int) -> None:
        self._method, self._self, self._first = method, self_name, first
        self.calls: list[FunctionCall] = []
        self.others: list[str] = []

    def visit_Name(self, node: ast.Name) -> ast.AST:
        return self._named(node)

    def visit_Attribute(self, node: ast.Attribute) -> ast.AST:
        return self._named(node)

    def _named(self, node: ast.Name | ast.Attribute) -> ast.AST:
        value = self._value(node)
        if is_activation_function(value):
            self.others.append(value.__name__)
            return node
        return self.generic_visit(node)

    def visit_Call(self, node: ast.Call) -> ast.AST:
        found = self._activation(node)
        if found is None:
            return self.generic_visit(node)
        function, argument = found
        argument = self.visit(argument)
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
            local = node.id in code.co_varnames or node.id in code.co_cellvars
            return None if local else _known(self._method, node.id)
        if isinstance(node, ast.Attribute):
            return getattr(self._value(node.value), node.attr, None)
        return None
