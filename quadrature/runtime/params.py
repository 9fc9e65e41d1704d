"""The loader of params.yaml: each section becomes the model that its consumer defines.

All mistakes in the parameters of a stage are reported together, by dotted path, before any work. The models of the
sections are defined beside their consumers; this module knows only the sections' names.
"""

from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, TypeVar

from pydantic import Field, ValidationError

from quadrature.runtime.errors import ParameterError
from quadrature.runtime.settings import Section, describe, fields_of, flatten, lines, one_line, parse, unknown

SECTIONS = ("device", "generate", "targets", "model", "train", "evaluate", "plot")
"""The top-level names of params.yaml; any stage reports a misspelt one."""


Seed = Annotated[int, Field(ge=0, lt=2**63)]


Model = TypeVar("Model", bound=Section)


def load_params(model: type[Model], path: Path = Path("params.yaml")) -> Model:
    """Reads the parameters that `model` names, and only these.

    A field of `model` is a section of the file; a field with an alias is the parameter at that dotted path. Validators
    find the others in the context, by dotted path.
    Raises ParameterError naming every unknown, missing, duplicate, mistyped or out-of-range parameter.
    """
    tree, problems = parse(path)
    problems += [unknown(one_line(name), SECTIONS, path) for name in tree if name not in SECTIONS]
    chosen = {name: value for name in fields_of(model) for value in _values_at(tree, name.split("."))}
    try:
        params = model.model_validate(chosen, context=flatten(tree))
    except ValidationError as error:
        problems += describe(model, error, path)
    if problems:
        raise ParameterError(*lines(problems))
    return params


def _values_at(tree: object, names: Iterable[str]) -> list[object]:
    """Returns a list of the value at a dotted path, empty if there is none."""
    for name in names:
        if not isinstance(tree, dict) or name not in tree:
            return []
        tree = tree[name]
    return [tree]
