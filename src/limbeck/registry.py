"""Components by name.

A registry is a read-only mapping from a name to a callable. Built-in components are listed by module and
imported on first use, so listing, describing and checking names costs no heavy import: `describe` reads the
signature and the docstring from source text where the module has not been imported yet.

The signature is the schema. Positional parameters are tensors that arrive at run time; keyword-only
parameters are settings, and their annotations and defaults are what a recipe is checked against.
"""

from __future__ import annotations

import ast
import importlib
import importlib.util
import inspect
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, TypeGuard, TypeVar

from limbeck import bounds
from limbeck.errors import InputError, UnknownNameError, did_you_mean

F = TypeVar("F", bound=Callable[..., Any])

_IMPORTS_ALLOWED: ContextVar[bool | frozenset[str]] = ContextVar("limbeck_imports_allowed", default=False)

REQUIRED = inspect.Parameter.empty
"""Stands for "no default" in `Setting.default`."""


@dataclass(frozen=True, slots=True)
class Setting:
    """One keyword-only parameter of a component."""

    name: str
    annotation: Any
    annotation_text: str
    default: Any = REQUIRED
    doc: str = ""

    @property
    def required(self) -> bool:
        """Whether a recipe has to give it."""
        return self.default is REQUIRED


@dataclass(frozen=True, slots=True)
class Component:
    """What can be said about a component without calling it."""

    name: str
    doc: str
    inputs: tuple[str, ...]
    settings: Mapping[str, Setting] = field(default_factory=dict)
    open_ended: bool = False
    """Whether it takes any further keyword (`**settings`), as adapters to other libraries do."""

    @property
    def summary(self) -> str:
        """The first sentence of the docstring."""
        return self.doc.strip().split("\n\n")[0].replace("\n", " ").strip()


class Registry(Mapping[str, Callable[..., Any]]):
    """A read-only mapping from names to callables, filled by `register` and by a table of lazy built-ins.

    Args:
        kind: the word for one entry, used in messages ("loss").
        builtin: name -> module that defines a function or class of that name. A name that ends in "/*"
            is a prefix: `timm/*` answers to every `timm/<architecture>`, its module's attribute
            `<prefix>_<kind>` being called with the rest of the name as first argument.

    Example:
        >>> losses = Registry("loss")
        >>> @losses.register
        ... def half(student, *, factor: float = 0.5):
        ...     "Halve it."
        >>> losses["half"] is half, losses.describe("half").settings["factor"].default
        (True, 0.5)
    """

    def __init__(self, kind: str, builtin: Mapping[str, str] | None = None) -> None:
        self.kind = kind
        self._builtin = dict(builtin or {})
        self._registered: dict[str, Callable[..., Any]] = {}

    def register(self, component: F) -> F:
        """Add a function or class under its own name; used as a decorator.

        Raises:
            UnknownNameError: the name is taken by another component.
        """
        name = component.__name__
        known = self._builtin.get(name)
        if name in self._registered or (known is not None and known != component.__module__):
            raise UnknownNameError(f"A {self.kind} named '{name}' exists already; choose another name.")
        self._registered[name] = component
        return component

    __hash__ = object.__hash__  # a registry is itself, not its contents; mappings would not be hashable

    def __eq__(self, other: object) -> bool:
        return self is other

    def __iter__(self) -> Iterator[str]:
        return iter(sorted({*self._builtin, *self._registered}))

    def __len__(self) -> int:
        return len({*self._builtin, *self._registered})

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and (
            name in self._registered or name in self._builtin or self._prefix(name) is not None
        )

    def __getitem__(self, name: str) -> Callable[..., Any]:
        if name in self._registered:
            return self._registered[name]
        if name in self._builtin and not name.endswith("/*"):
            return _attribute(self._builtin[name], name)
        prefix = self._prefix(name)
        if prefix is not None:
            builder = _attribute(self._builtin[f"{prefix}/*"], f"{prefix}_{self.kind}")
            return partial(builder, name.removeprefix(f"{prefix}/"))
        if ":" in name:
            return self._imported(name)
        raise UnknownNameError(self.unknown(name))

    def unknown(self, name: str) -> str:
        """The message for a name that nothing answers to, with the nearest one and the whole list."""
        return f"unknown {self.kind} '{name}'.{did_you_mean(name, self)} Known: {', '.join(self)}."

    def describe(self, name: str) -> Component:
        """Signature and docstring of one component, without importing a built-in that was not used yet."""
        if name in self._registered:
            return _describe_object(name, self._registered[name])
        prefix = self._prefix(name)
        if prefix is not None:
            return _describe_source(name, self._builtin[f"{prefix}/*"], f"{prefix}_{self.kind}", bound=1)
        if name in self._builtin:
            return _describe_source(name, self._builtin[name], name)
        return _describe_object(name, self[name])

    def _prefix(self, name: str) -> str | None:
        prefix, slash, rest = name.partition("/")
        return prefix if slash and rest and f"{prefix}/*" in self._builtin else None

    def _imported(self, name: str) -> Callable[..., Any]:
        module, _, attribute = name.partition(":")
        if not _may_import(module):
            raise InputError(
                f"{self.kind} '{name}' names code outside Limbeck, which a recipe alone may not import. "
                f"If you trust it, say so: --plugin {module}"
            )
        try:
            found = _attribute(module, attribute)
        except ImportError as error:
            raise UnknownNameError(f"{self.kind} '{name}': cannot import '{module}' ({error}).") from error
        except AttributeError as error:
            raise UnknownNameError(f"{self.kind} '{name}': module '{module}' has no '{attribute}'.") from error
        return found


@contextmanager
def imports_allowed(allowed: bool | Iterable[str] = True) -> Iterator[None]:
    """Let `module:name` components be imported inside the block; the command line's `--plugin` does so.

    Args:
        allowed: the modules whose code is trusted, with what is inside them; True trusts any.
    """
    token = _IMPORTS_ALLOWED.set(allowed if isinstance(allowed, bool) else frozenset(allowed))
    try:
        yield
    finally:
        _IMPORTS_ALLOWED.reset(token)


def _may_import(module: str) -> bool:
    allowed = _IMPORTS_ALLOWED.get()
    if isinstance(allowed, bool):
        return allowed
    return any(module == trusted or module.startswith(f"{trusted}.") for trusted in allowed)


def _attribute(module: str, attribute: str) -> Callable[..., Any]:
    found = getattr(importlib.import_module(module), attribute)
    if not callable(found):
        raise AttributeError(attribute)
    return found  # type: ignore[no-any-return]


def _describe_object(name: str, component: Callable[..., Any]) -> Component:
    parameters = inspect.signature(component).parameters.values()
    doc = inspect.getdoc(component) or ""
    hints = _hints(component)
    docs = argument_docs(doc)
    settings = {
        p.name: Setting(p.name, hints.get(p.name, Any), str(p.annotation), p.default, docs.get(p.name, ""))
        for p in parameters
        if p.kind is inspect.Parameter.KEYWORD_ONLY
    }
    called = inspect.signature(component.forward).parameters if _has_forward(component) else None
    inputs = tuple(
        p.name
        for p in (parameters if called is None else list(called.values())[1:])
        if p.kind in (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    )
    return Component(name, doc, inputs, settings, any(p.kind is inspect.Parameter.VAR_KEYWORD for p in parameters))


def _has_forward(component: Callable[..., Any]) -> TypeGuard[Any]:
    """Whether a component is a module class: its constructor takes settings, its `forward` the tensors."""
    return inspect.isclass(component) and callable(getattr(component, "forward", None))


def _hints(component: Callable[..., Any]) -> dict[str, Any]:
    target = component.__init__ if inspect.isclass(component) else component
    try:
        return inspect.get_annotations(target, eval_str=True)  # keeps Annotated, unlike plain evaluation
    except (NameError, TypeError):
        return {}


def _describe_source(name: str, module: str, attribute: str, *, bound: int = 0) -> Component:
    node = _definition(module, attribute)
    doc = ast.get_docstring(node) or ""
    function = called = node
    if isinstance(node, ast.ClassDef):
        methods = {n.name: n for n in node.body if isinstance(n, ast.FunctionDef)}
        function = methods["__init__"]
        called = methods.get("forward", function)
        doc = "\n\n".join(part for part in (doc, ast.get_docstring(function)) if part)
        bound += 1
    assert isinstance(function, ast.FunctionDef)
    assert isinstance(called, ast.FunctionDef)
    arguments = function.args
    docs = argument_docs(doc)
    settings = {}
    for argument, default in zip(arguments.kwonlyargs, arguments.kw_defaults, strict=True):
        text = ast.unparse(argument.annotation) if argument.annotation else "Any"
        value = REQUIRED if default is None else ast.literal_eval(default)
        settings[argument.arg] = Setting(argument.arg, _plain_type(text), text, value, docs.get(argument.arg, ""))
    inputs = tuple(a.arg for a in (*called.args.posonlyargs, *called.args.args))[bound:]
    return Component(name, doc, inputs, settings, arguments.kwarg is not None)


def _definition(module: str, attribute: str) -> ast.FunctionDef | ast.ClassDef:
    # find_spec would import the parent packages; their __init__ files are lazy, so that stays cheap.
    spec = importlib.util.find_spec(module)
    assert spec is not None, module
    assert spec.origin is not None, module
    tree = ast.parse(Path(spec.origin).read_text(encoding="utf-8"))
    for node in tree.body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef) and node.name == attribute:
            return node
    raise UnknownNameError(f"{module} defines no '{attribute}'.")


def _plain_type(text: str) -> Any:
    """The type that an annotation's text stands for; settings use built-in types, Literal and `bounds`."""
    names: dict[str, Any] = {n: getattr(bounds, n) for n in dir(bounds) if not n.startswith("_")}
    from typing import Annotated, Literal

    names |= {"Literal": Literal, "Annotated": Annotated, "Any": Any, "Sequence": list, "Mapping": dict}
    try:
        return eval(text, {"__builtins__": __builtins__}, names)  # our own source text, never a user's
    except NameError:
        return Any


def argument_docs(doc: str) -> dict[str, str]:
    """The `Args:` section of a Google-style docstring, as name -> text.

    Example:
        >>> argument_docs('''Sum.
        ...
        ... Args:
        ...     a: first,
        ...         at length.
        ...     b: second.
        ... ''')
        {'a': 'first, at length.', 'b': 'second.'}
    """
    section = re.search(r"^Args:\n((?:[ \t]+.*\n?|\n)+)", inspect.cleandoc(doc) + "\n", flags=re.MULTILINE)
    found: dict[str, str] = {}
    current = ""
    for line in section.group(1).splitlines() if section else []:
        entry = re.match(r"^ {4}(\*{0,2}\w+)(?: \([^)]*\))?: (.*)$", line)
        if entry:
            current = entry.group(1).lstrip("*")
            found[current] = entry.group(2).strip()
        elif current and line.strip():
            found[current] += " " + line.strip()
    return found
