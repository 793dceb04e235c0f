"""Docstrings: their examples run, and they explain what the signatures take."""

from __future__ import annotations

import dataclasses
import doctest
import inspect
import pkgutil
from importlib import import_module

import docstring_parser
import numpy as np
import pytest

import tracknet

MODULES = ["tracknet", *(found.name for found in pkgutil.walk_packages(tracknet.__path__, "tracknet."))]
MODULES.remove("tracknet.__main__")
EXAMPLES = 10
"""At least so many modules have examples; fewer would mean that they are not found."""


def defined(module_name):
    """Give the public classes and functions of a module, and the public methods, with their names."""
    for name, thing in vars(import_module(module_name)).items():
        if name.startswith("_") or getattr(thing, "__module__", None) != module_name:
            continue
        if inspect.isclass(thing):
            yield f"{name}", thing
            for method_name, method in vars(thing).items():
                method = getattr(method, "fget", None) or getattr(method, "__func__", method)
                if inspect.isfunction(method) and not method_name.startswith("_"):
                    inherited = any(hasattr(base, method_name) for base in thing.__mro__[1:])
                    if method.__doc__ or not inherited:
                        yield f"{name}.{method_name}", method
        elif inspect.isfunction(thing):
            yield name, thing


def takes(thing):
    """Give the names of the parameters; those of a class are its ``__init__``'s or its fields."""
    if dataclasses.is_dataclass(thing):
        return {field.name for field in dataclasses.fields(thing) if not field.name.startswith("_")}
    if hasattr(thing, "_fields"):
        return set(thing._fields)
    return set(inspect.signature(thing).parameters) - {"self", "cls"}


def explains(thing):
    """Give the names in ``Args``; for a class made of fields also those in ``Attributes``."""
    fields = dataclasses.is_dataclass(thing) or hasattr(thing, "_fields")
    params = docstring_parser.parse(inspect.cleandoc(thing.__doc__ or "")).params
    return {one.arg_name.lstrip("*") for one in params if fields or one.args[0] != "attribute"}


def must_explain(thing):
    """Say whether nothing can be left out: what YAML and Python build, and whatever has begun to explain."""
    if not inspect.isclass(thing) or getattr(thing, "_is_protocol", False):
        return False
    return "__init__" in vars(thing) and not issubclass(thing, Exception)


@pytest.mark.parametrize("module", MODULES)
def test_everything_public_says_what_it_is(module):
    assert import_module(module).__doc__
    silent = [name for name, thing in defined(module) if not (thing.__doc__ or "").strip()]
    assert not silent


@pytest.mark.parametrize("module", MODULES)
def test_what_explains_parameters_explains_them_all_and_no_others(module):
    wrong = {}
    for name, thing in defined(module):
        explained = explains(thing)
        if explained or must_explain(thing):
            expected = takes(thing)
            if explained != expected:
                wrong[name] = {"left out": expected - explained, "not there": explained - expected}
    assert not wrong


def test_the_rule_would_see_a_fault():
    def half(a, b):
        """Do something.

        Args:
            a: One.
            c: Another.
        """

    assert (explains(half), takes(half)) == ({"a", "c"}, {"a", "b"})

    class Silent:
        def __init__(self, a):
            pass

    assert must_explain(Silent)
    assert takes(Silent) == {"a"}


@pytest.fixture(scope="module")
def with_examples():
    finder = doctest.DocTestFinder()
    return {
        name: examples
        for name in MODULES
        if (examples := [one for one in finder.find(import_module(name)) if one.examples])
    }


def test_examples_are_found(with_examples):
    assert len(with_examples) >= EXAMPLES
    assert sum(len(test.examples) for tests in with_examples.values() for test in tests) >= 2 * EXAMPLES


@pytest.mark.parametrize("module", MODULES)
def test_examples_give_what_they_say(module, with_examples, tmp_path):
    runner = doctest.DocTestRunner(optionflags=doctest.NORMALIZE_WHITESPACE)
    report = []
    for example in with_examples.get(module, []):
        example.globs.update(np=np, folder=tmp_path)
        runner.run(example, out=report.append)
    assert runner.failures == 0, "".join(report)
