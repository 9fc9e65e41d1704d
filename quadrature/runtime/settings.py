"""A strict reader of YAML settings, and one-line messages for each mistake in them."""

import difflib
import re
import reprlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, get_args

import yaml
from pydantic import BaseModel, ConfigDict, ValidationError

from quadrature.runtime.errors import ParameterError
from quadrature.runtime.system_errors import naming, refuse_special

MAX_FILE_BYTES = 2**15
"""Largest accepted file of settings; a parser's time and memory grow with its size."""


MAX_KEY_LENGTH = 60
"""Characters of a key that a message quotes."""


MAX_DEPTH = 16
"""Deepest accepted nesting, of which params.yaml uses 3 levels; a parser's time grows with the square of the depth."""


class Section(BaseModel):
    """A section of settings: exact types, finite numbers, no unknown keys, immutable."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)


def flatten(tree: Mapping[Any, object], prefix: str = "") -> dict[str, object]:
    """Returns each value of a tree of mappings by its dotted name, such as `train.epochs`; a list is a value."""
    flat: dict[str, object] = {}
    for key, value in tree.items():
        flat |= flatten(value, f"{prefix}{key}.") if isinstance(value, Mapping) else {f"{prefix}{key}": value}
    return flat


class Problem(NamedTuple):
    """A mistake in a file of settings, as a one-line message."""

    text: str
    missing: str | None = None  # the name of a missing parameter
    meant: str = ""  # for an unknown key: the parameter that was probably meant


def lines(problems: Sequence[Problem]) -> list[str]:
    """Returns a line per mistake; a misspelt key and the parameter it leaves missing count as one mistake."""
    meant = {problem.meant for problem in problems}
    return [problem.text for problem in problems if problem.missing not in meant]


class _Loader(getattr(yaml, "CSafeLoader", yaml.SafeLoader)):  # type: ignore[misc]  # libyaml's is 50 times as fast
    """PyYAML's safe loader, restricted to scalars that DVC's parser, ruamel.yaml, reads as the same value.

    A scalar on which the two differ (`on`, `012`, `1_000`, `.5e3`, a date) stays a string here. Parameters that are
    numbers or booleans do not accept strings.
    """

    yaml_implicit_resolvers: dict[str, list[tuple[str, re.Pattern[str]]]] = {}  # noqa: RUF012, as the base has it


_Loader.add_implicit_resolver("tag:yaml.org,2002:bool", re.compile("^(true|True|TRUE|false|False|FALSE)$"), None)


_Loader.add_implicit_resolver("tag:yaml.org,2002:null", re.compile("^(~|null|Null|NULL|)$"), None)


_Loader.add_implicit_resolver("tag:yaml.org,2002:int", re.compile("^[-+]?(0|[1-9][0-9]*)$"), None)


_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float",
    re.compile(
        r"""^([-+]?(0|[1-9][0-9]*)\.[0-9]*([eE][-+]?[0-9]+)?
            |[-+]?(0|[1-9][0-9]*)[eE][-+]?[0-9]+
            |[-+]?\.[0-9]+([eE][-+][0-9]+)?
            |[-+]?\.(inf|Inf|INF)
            |\.(nan|NaN|NAN))$""",
        re.VERBOSE,
    ),
    None,
)


def parse(path: Path) -> tuple[dict[object, object], list[Problem]]:
    """Returns a file's settings, and a problem for each duplicate key. Raises ParameterError for any other file."""
    try:
        refuse_special(path)
        with naming(path), path.open("rb") as file:
            content = file.read(MAX_FILE_BYTES + 1)
    except (FileNotFoundError, NotADirectoryError, IsADirectoryError) as error:
        reason = "is missing" if isinstance(error, FileNotFoundError) else f"cannot be read ({error.strerror})"
        raise ParameterError(f"{path} {reason}; run from the project's root, where params.yaml is") from None
    return parse_content(content, str(path))


def parse_content(
    content: bytes, name: str, max_bytes: int = MAX_FILE_BYTES
) -> tuple[dict[object, object], list[Problem]]:
    """Returns what parse does, for the content of a file. `name` is the file's name in messages."""
    if len(content) > max_bytes:
        raise ParameterError(f"{name} holds more than {max_bytes:,} bytes; is it the right file?")
    try:
        text = content.decode()
        _check_events(text, name)
        loader = _Loader(text)
        root = loader.get_single_node()
        tree = {} if root is None else loader.construct_document(root)
        duplicates = [Problem(f"{key} is in {name} twice; remove one") for key in _duplicates(root)]
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise ParameterError(f"{name} is not valid YAML: {' '.join(str(error).split())}") from None
    if not isinstance(tree, dict):
        raise ParameterError(f"{name} holds {_show(tree)}; it should hold sections of parameters")
    return tree, duplicates


def _check_events(text: str, name: str) -> None:
    """Raises ParameterError or ValueError at the first anchor, alias, tag or nesting that settings do not use."""
    depth = 0
    for event in yaml.parse(text, Loader=_Loader):
        line = f"line {event.start_mark.line + 1}" if event.start_mark else ""
        if isinstance(event, yaml.NodeEvent) and (event.anchor or getattr(event, "tag", None)):
            # PyYAML and DVC's parser read these differently, and an alias can contain itself.
            raise ParameterError(f"{name}, {line}: write the value itself, not an anchor, an alias or a tag")
        depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
        if depth > MAX_DEPTH:
            raise ValueError(f"{line} is nested more than {MAX_DEPTH} levels deep")


def _duplicates(node: yaml.Node | None, prefix: str = "") -> Iterator[str]:
    if isinstance(node, yaml.SequenceNode):
        for number, item in enumerate(node.value):
            yield from _duplicates(item, f"{prefix}{number}.")
    if not isinstance(node, yaml.MappingNode):
        return
    seen = set()
    for key, value in node.value:
        name = f"{prefix}{one_line(key.value)}"
        if str(key.value) in seen:
            yield name
        seen.add(str(key.value))
        yield from _duplicates(value, f"{name}.")


def fields_of(declared: object) -> dict[str, object]:
    """Returns the types of a section's parameters by their names in the file; empty for any other type."""
    if not (isinstance(declared, type) and issubclass(declared, BaseModel)):
        return {}
    return {field.alias or name: field.annotation for name, field in declared.model_fields.items()}


def describe(model: type[BaseModel], errors: ValidationError, path: Path) -> Iterator[Problem]:
    """Yields each mistake that a model found in the file at `path`, by its dotted name."""
    for error in errors.errors():
        name = ".".join(one_line(part) for part in error["loc"] if part != "[key]")
        section: object = model
        for part in error["loc"][:-1]:
            section = fields_of(section).get(str(part))
        where = f"{name} in {path} is {_show(error['input'])}"
        match error["type"]:
            case "missing":
                yield Problem(f"{name} is missing from {path}", missing=name)
            case "extra_forbidden" | "invalid_key":
                yield unknown(name, fields_of(section), path)
            case "literal_error":
                choices = [str(choice) for choice in get_args(fields_of(section)[str(error["loc"][-1])])]
                given = error["input"].lower() if isinstance(error["input"], str) else ""
                near = difflib.get_close_matches(given, choices, n=1)
                yield Problem(f"{where}; {_question(near) or 'choose one of ' + ', '.join(choices)}")
            case "model_type":
                keys = ", ".join(fields_of(fields_of(section)[str(error["loc"][-1])]))
                yield Problem(f"{where}; it should be a section with the parameters {keys}")
            case "value_error":  # a validator of the project's
                yield Problem(f"{where}; {error['ctx']['error']}")
            case _:
                rule = error["msg"].replace("Input should be", "it should be")
                yield Problem(f"{where}; {rule[0].lower()}{rule[1:]}")


def unknown(name: str, known: Iterable[str], path: Path) -> Problem:
    parent, dot, key = name.rpartition(".")
    near = [f"{parent}{dot}{match}" for match in difflib.get_close_matches(key, list(known), n=1)]
    advice = _question(near) or f"known here: {', '.join(known)}"
    return Problem(f"{name} in {path} is not a parameter; {advice}", meant="".join(near))


def _question(near: list[str]) -> str:
    return f"did you mean {near[0]}?" if near else ""


def one_line(part: object) -> str:
    """Returns a key in one line, without its middle if it is too long."""
    key = " ".join(str(part).split())
    return key if len(key) <= MAX_KEY_LENGTH else f"{key[: MAX_KEY_LENGTH // 2]}...{key[-MAX_KEY_LENGTH // 2 :]}"


def _show(value: object) -> str:
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    return f"the text {reprlib.repr(value)}" if isinstance(value, str) else reprlib.repr(value)
