"""Any params.yaml is accepted, or refused in lines that say where, quickly and in little memory; typos get hints."""

import copy
import itertools
import resource
import string
import sys
import time
from contextlib import contextmanager
from pathlib import Path

import pytest
import yaml
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from quadrature.runtime.errors import ParameterError
from quadrature.runtime.params import load_params
from stages.check import Params as Everything
from tests.checkout import OWN_PARAMETERS

pytestmark = pytest.mark.slow

TEXT = OWN_PARAMETERS.read_text()
TREE = yaml.safe_load(TEXT)
SECONDS, BYTES = 2.0, 10**9


def paths(tree, prefix=()):
    """Yields the path of every key."""
    for key, value in tree.items():
        yield (*prefix, key)
        if isinstance(value, dict):
            yield from paths(value, (*prefix, key))


PATHS = list(paths(TREE))
SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=30)
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8) | st.integers(), inner, max_size=4),
    max_leaves=8,
)
SPELLINGS = [
    *("1e-3", ".5e3", "0x10", "0o17", "1_000", "012", "1:30", "2001-01-01", "~", "on", ".nan", "-.inf", "1e999", "-0"),
    *("9" * 400, "9" * 5000, "0." + "9" * 5000, "1e" + "9" * 400, "!!int 3", "!!python/name:os.system", "!x 3"),
    *("&a 3", "*a", "<<", "? a", "- 3", "|", ">-", "{low: 1}", "[1, 2]", "'", '"\\x00"', '"\\ud800"', "@", "`", "%"),
    *("3 # 4", "3: 4", "\x00", "\ufeff", "\u2028", "\x85", "---", "...", "{<<: {a: 1}}", "[[]]", "{[a]: b}", "{}: {}"),
]


@st.composite
def changed_trees(draw):
    """Draws the project's parameters with some values replaced and some keys removed, renamed or added."""
    tree = copy.deepcopy(TREE)
    for path in draw(st.lists(st.sampled_from(PATHS), min_size=1, max_size=4)):
        section = tree
        for key in path[:-1]:
            section = section.get(key) if isinstance(section, dict) else None
        if not isinstance(section, dict) or path[-1] not in section:
            continue
        match draw(st.sampled_from(["replace", "remove", "rename", "add"])):
            case "replace":
                section[path[-1]] = draw(VALUES)
            case "remove":
                del section[path[-1]]
            case "rename":
                section[draw(st.text(max_size=12))] = section.pop(path[-1])
            case "add":
                section[draw(st.text(max_size=12) | st.integers() | st.booleans())] = draw(VALUES)
    return yaml.safe_dump(tree, allow_unicode=draw(st.booleans())).encode("utf-8", "surrogatepass")


@st.composite
def changed_texts(draw):
    """Draws the project's params.yaml with text inserted, deleted or repeated. It may no longer be YAML."""
    text = TEXT.encode()
    place, length = draw(st.integers(0, len(text))), draw(st.integers(0, 200))
    match draw(st.sampled_from(["spell", "insert", "cut", "double", "deep", "long"])):
        case "spell":
            lines = TEXT.splitlines()
            number = draw(st.integers(0, len(lines) - 1))
            lines[number] = f"{lines[number].partition(':')[0]}: {draw(st.sampled_from(SPELLINGS))}"
            return "\n".join(lines).encode("utf-8", "surrogatepass")
        case "insert":
            return text[:place] + draw(st.binary(max_size=40) | st.text(max_size=40).map(str.encode)) + text[place:]
        case "cut":
            return text[:place] + text[place + length :]
        case "double":
            return text[:place] + text[place : place + length] * 2 + text[place + length :]
        case "deep":
            bracket = draw(st.sampled_from([b"[", b"{", b"{a: ", b"- ", b"? ", b"\n" + b" " * 40 + b"a:"]))
            return text[:place] + bracket * draw(st.integers(1, 2**15 // len(bracket))) + text[place:]
        case "long":
            line = draw(st.sampled_from([b"9", b"a", b"#", b"\n", b"a: 1\n", b"'", b"- 1\n", b"{a: 1}\n", b"a: [1]\n"]))
            return text[:place] + line * draw(st.integers(1, 2**15 // len(line))) + text[place:]


@contextmanager
def at_most(more):
    """Limits memory to a number of bytes beyond the present use; beyond it, MemoryError is raised. Linux only."""
    limits = resource.getrlimit(resource.RLIMIT_DATA)
    if sys.platform == "linux":
        in_use = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmData"))
        resource.setrlimit(resource.RLIMIT_DATA, (int(in_use.split()[1]) * 1024 + more, limits[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_DATA, limits)


def test_any_file_is_accepted_or_refused_in_lines(tmp_path, tally, request):
    path = tmp_path / "params.yaml"

    @settings(
        max_examples=max(10, round(5000 * request.config.getoption("torture"))),
        derandomize=True,
        deadline=None,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(changed_trees() | changed_texts())
    def check(content):
        path.write_bytes(content)
        with tally.trying("a generated params.yaml is accepted or refused in lines, within 2 s and 1 GB"):
            started = time.process_time()
            try:
                with at_most(BYTES):
                    params = load_params(Everything, path)
                assert Everything.model_validate(params.model_dump(by_alias=True)) == params
            except ParameterError as error:
                lines = str(error).splitlines()
                assert lines
                assert all(str(path) in line for line in lines), lines
                assert all(len(line) < 1000 for line in lines)
            assert time.process_time() - started < SECONDS

    check()


LETTERS = f"{string.ascii_letters}{string.digits}_"


def typos(word):
    """Returns every word that differs by one letter omitted, changed, inserted or swapped with the next."""
    found = {word[:place] + word[place + 1 :] for place in range(len(word))}
    found |= {
        word[:place] + letter + word[place + changed :]
        for place in range(len(word) + 1)
        for letter in LETTERS
        for changed in (0, 1)
    }
    found |= {word[:place] + word[place + 1] + word[place] + word[place + 2 :] for place in range(len(word) - 1)}
    return sorted(found - {word})


def renamed(tree, names, prefix=()):
    """Returns a tree with the keys at some paths renamed."""
    return {
        names.get((*prefix, key), key): renamed(value, names, (*prefix, key)) if isinstance(value, dict) else value
        for key, value in tree.items()
    }


def test_a_typo_of_any_key_gets_the_right_suggestion(tmp_path, tally, request):
    """Each file has many typos at once: in all keys with a value, or in all sections of a level."""
    file = tmp_path / "params.yaml"
    step = round(1 / min(1.0, request.config.getoption("torture")))
    leaves = [path for path in PATHS if not isinstance(value_at(path), dict)]
    sections = [path for path in PATHS if path not in leaves]
    levels = [leaves, *([path for path in sections if len(path) == depth] for depth in (1, 2))]
    for level in levels:
        columns = [[(path, typo) for typo in typos(path[-1]) if typo not in value_at(path[:-1])] for path in level]
        for row in list(itertools.zip_longest(*columns))[::step]:
            names = dict(filter(None, row))
            file.write_text(yaml.safe_dump(renamed(TREE, names), sort_keys=False))
            with pytest.raises(ParameterError) as caught:
                load_params(Everything, file)
            said = set(str(caught.value).splitlines())
            for path, typo in names.items():
                wrong, right = ".".join((*path[:-1], typo)), ".".join(path)
                with tally.trying("a typo of any key gets the right suggestion"):
                    assert f"{wrong} in {file} is not a parameter; did you mean {right}?" in said
            assert len(said) == len(names)


def value_at(path):
    """Returns the value at a path in the project's parameters."""
    value = TREE
    for key in path:
        value = value[key]
    return value
