"""Files that try to run code, given to every reader of such files: no code runs, nor any program."""

import base64
import gzip
import io
import json
import marshal  # noqa: TID251
import os
import pickle  # noqa: TID251
import struct
import tarfile
import zipfile

import numpy as np
import pyarrow as pa
import pytest
import torch
from safetensors.torch import save

from quadrature.storage.digest import ZEROS
from tests.torture.strange import FOOTER, forge, relist, windows_table, write_table, write_unsigned
from tests.torture.strange_models import make_network

pytestmark = pytest.mark.slow


class Evil:
    """Runs a program when it is unpickled."""

    def __init__(self, program):
        self.program = program

    def __reduce__(self):
        return os.system, (self.program,)  # noqa: TID251


def zipped(names):
    """Returns a zip file."""
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as file:
        for name, data in names.items():
            file.writestr(name, data)
    return content.getvalue()


def tarred(program):
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode="w") as file:
        link = tarfile.TarInfo("link")
        link.type, link.linkname = tarfile.SYMTYPE, "../.."
        file.addfile(link)
        for name in ("link/canary", "../canary", "data.pkl"):
            data = pickle.dumps(Evil(program))
            member = tarfile.TarInfo(name)
            member.size = len(data)
            file.addfile(member, io.BytesIO(data))
    return content.getvalue()


def saved(value, write, **options):
    """Returns the bytes that a function writes for a value."""
    content = io.BytesIO()
    write(value, content, **options)
    return content.getvalue()


def pickles(program):
    """Returns files in formats that can hold code, by name."""
    evil = Evil(program)
    array = np.array([evil], dtype=object)
    return {
        "a pickle": pickle.dumps(evil),
        "a pickle in text": pickle.dumps(evil, protocol=0),
        "a gzipped pickle": gzip.compress(pickle.dumps(evil)),
        "torch's zip": saved({"gru.weight_ih_l0": evil}, torch.save),
        "torch's old file": saved(evil, torch.save, _use_new_zipfile_serialization=False),
        "numpy's objects": saved(array, lambda value, file: np.save(file, value, allow_pickle=True)),
        "numpy's zip": saved(array, lambda value, file: np.savez(file, input=value)),
        "marshalled code": marshal.dumps(compile(f"import os; os.system({program!r})", "x", "exec")),
        "a zip slip": zipped({"../../canary": b"", "/canary": b"", "archive/data.pkl": pickle.dumps(evil)}),
        "a tar slip": tarred(program),
        "a shell script": f"#!/bin/sh\n{program}\n".encode(),
        "a Python file": f"import os\nos.system({program!r})\n".encode(),
    }


def models(program):
    """Returns safetensors files with code in their header or weights, by name."""
    weights = make_network().state_dict()
    python = f"__import__('os').system({program!r})"
    said = {
        "a pickle for a blueprint": base64.b64encode(pickle.dumps(Evil(program))).decode(),
        "YAML for a blueprint": f"!!python/object/apply:os.system [{program!r}]",
        "Python for a cell": json.dumps({"model": {"cell": python}, "window_length": 10}),
    }
    files = {name: save(weights, metadata={"quadrature": text, "sha256": ZEROS}) for name, text in said.items()}
    data = pickle.dumps(Evil(program))
    tensor = {"dtype": "U8", "shape": [len(data)], "data_offsets": [0, len(data)]}
    header = json.dumps({"__metadata__": {"sha256": ZEROS}, "gru.weight_ih_l0": tensor})
    files["a pickle for weights"] = struct.pack("<Q", len(header)) + header.encode() + data
    return files


def tables(program):
    """Returns parquet files with code in their metadata or columns, by name."""
    table = windows_table(np.random.default_rng(0), 40)
    data = pickle.dumps(Evil(program))
    extension = {b"ARROW:extension:name": b"arrow.py_extension_type", b"ARROW:extension:metadata": data}
    fields = [table.schema.field(0).with_metadata(extension), *list(table.schema)[1:]]
    typed = pa.table(table.columns, schema=pa.schema(fields))
    objects = {"index_columns": [], "columns": [{"name": "input", "numpy_type": "object", "pandas_type": "object"}]}
    footers = {
        "a pickle for a footer": {b"quadrature": data},
        "Python for a footer": {b"quadrature": f"__import__('os').system({program!r})".encode()},
        "pickles for pandas": {b"pandas": json.dumps({**objects, "creator": base64.b64encode(data).decode()}).encode()},
    }
    own = {b"quadrature": FOOTER, b"place for a digest": f"sha256:{ZEROS}".encode()}
    tables = {name: (table, {**own, **metadata}) for name, metadata in footers.items()}
    tables["a pickle for a type"] = (typed, own)
    tables["pickles in a column"] = (table.set_column(0, "input", pa.array([data] * 40)), own)
    tables["Python for a name"] = (table.rename_columns([f"@__import__('os').system({program!r})", *"abcde"]), own)
    files = {name: saved(part, lambda part, file: write_unsigned(file, *part)) for name, part in tables.items()}
    stream = io.BytesIO()
    with pa.ipc.new_file(stream, typed.schema) as writer:
        writer.write_table(typed)
    return files | {"arrow's own format": stream.getvalue()}


def texts(program):
    """Returns CSV files whose cells are code, by name."""
    cells = [f"=cmd|'/C {program}'!A0", f"$({program})", f"`{program}`", f"__import__('os').system({program!r})"]
    header = ",".join(f"input_{position}" for position in range(10))
    return {
        "code in cells": f"{header},{','.join('abcd')}\n{'0.5,' * 10}{','.join(cells)}\n".encode(),
        "code in a column": f"input,{header}\n{cells[3]}\n".encode(),
        "code in the header": f'"{cells[1]}","{cells[3]}"\n1,2\n'.encode(),
    }


def settings(program):
    """Returns YAML with tags, or with values that a shell or Python would run, by name."""
    return {
        "apply": f"device: !!python/object/apply:os.system [{program!r}]\n".encode(),
        "new": f"device: !!python/object/new:subprocess.Popen [[sh, -c, {program!r}]]\n".encode(),
        "a short tag": f"%TAG ! tag:yaml.org,2002:python/\n---\na: !object/apply:os.system [{program!r}]\n".encode(),
        "a key": f"? !!python/object/apply:os.system [{program!r}]\n: 1\n".encode(),
        "a shell's words": f"device: $({program})\nmodel: {{cell: '`{program}`'}}\n".encode(),
        "Python's words": f"device: __import__('os').system({program!r})\n".encode(),
        "rules": f"rules:\n- {{metric: '|{program}:a', better: lower, against: '--upload-pack={program}'}}\n"
        f"- {{metric: 'metrics/test.json:$({program})', better: lower, against: '$({program})'}}\n".encode(),
        "templates": f"device: \"{{{{ ''.__class__.__mro__[1].__subclasses__() }}}}{{% {program} %}}\"\n".encode(),
    }  # fmt: skip


def pictures(program, canary):
    """Returns pictures that are programs, or make a browser or a reader run or read something, by file and name."""
    secret = f"file://{canary.parent}/secret"
    svg = '<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" {}>{}</svg>'
    entities = "".join(f"<!ENTITY a{number} '{f'&a{number - 1};' * 10}'>" for number in range(1, 20))
    return {
        "training.gif": {
            "PostScript": f"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n(%pipe%{program}) (r) file\n".encode(),
            "a pickle": pickle.dumps(Evil(program)),
        },
        "predictions.svg": {
            "a script": svg.format("", f"<script>{program}</script>").encode(),
            "a handler": svg.format(f'onload="{program}"', "").encode(),
            "a link": svg.format("", f'<g><use xlink:href="javascript:{program}" onclick="x"/></g>').encode(),
            "HTML": svg.format("", "<foreignObject><iframe src='x'/></foreignObject>").encode(),
            "an entity": f'<!DOCTYPE svg [<!ENTITY x SYSTEM "{secret}">]>{svg.format("", "&x;")}'.encode(),
            "many entities": f"<!DOCTYPE svg [<!ENTITY a0 'a'>{entities}]>{svg.format('', '&a19;')}".encode(),
            "a style": svg.format("", f'<g style="background:url(http://x/{program})" d="&lt;script&gt;"/>').encode(),
        },
    }  # fmt: skip


PREDICT = ("quadrature", "predict", "--output", "out.csv", "--model")


def cases(program, canary):
    """Yields each file's name and content, the path to put it at and the commands to run."""
    anything = pickles(program)
    model, test, train = (
        "models/model.safetensors",
        *(f"data/windows/{split}/part-00000.parquet" for split in ("test", "train")),
    )
    targets = "data/targets/train/part-00000.parquet"
    predict = (*PREDICT, model, "--input")
    for name, content in {**anything, **models(program)}.items():
        takers = ((*predict, "input.parquet"), ("stages.evaluate",), ("stages.report",))
        yield name, content, model, takers
    for name, content in {**anything, **tables(program)}.items():
        yield name, content, test, (("stages.evaluate",), (*predict, test))
        yield name, content, train, (("stages.targets",), ("stages.train",))
        yield name, content, targets, (("stages.train",),)
        yield name, content, "data/predictions.parquet", (("stages.plot",),)
        yield name, content, "data/snapshots.parquet", (("stages.plot",),)
    for name, content in {**anything, **texts(program)}.items():
        yield name, content, "input.csv", ((*predict, "input.csv"), (*predict, "input.csv", "--hop", "2"))
        yield name, content, "metrics/history.csv", (("stages.plot",), ("stages.report",))
        yield name, content, "metrics/error_by_phase.csv", (("quadrature", "compare", "workspace", "--html", "a.html"),)
    for name, content in {**anything, **settings(program)}.items():
        stages = tuple((f"stages.{stage}",) for stage in ("generate", "targets", "train", "evaluate", "plot", "report"))
        yield name, content, "params.yaml", (*stages, ("quadrature", "compare", "workspace"))
        yield name, content, "gates.yaml", (("quadrature", "gate"),)
        yield name, content, "dvc.lock", (("quadrature", "compare", "workspace"), ("quadrature", "heal"))
        yield name, content, "metrics/test.json", (("stages.report",), ("quadrature", "gate"))
    for file, files in pictures(program, canary).items():
        for name, content in {**anything, **files}.items():
            yield name, content, f"metrics/plots/{file}", (("stages.report",),)


@pytest.fixture(scope="module")
def project(finished, tmp_path_factory):
    """A small project after all its stages."""
    project = finished.copy(tmp_path_factory.mktemp("code") / "project").path
    write_table(project / "input.parquet", windows_table(np.random.default_rng(0), 40))
    return project


def put(path, content):
    """Writes a file with the right digest, so that its reader looks at the content."""
    if path.suffix in (".parquet", ".safetensors") and b"sha256" not in content:
        content += f"sha256:{ZEROS}".encode()
    path.write_bytes(content)
    if path.suffix in (".parquet", ".safetensors"):
        forge(path)


def test_no_file_runs_code(project, cage, tally, request, tmp_path):
    canary = tmp_path / "canary"
    programs = tmp_path / "bin"
    programs.mkdir()
    for name in ("gs", "cmd", "sh"):  # running one of these makes the canary, too
        (programs / name).write_text(f"#!/bin/bash\n/usr/bin/touch {canary}\n")
        (programs / name).chmod(0o755)
    env = {"PATH": f"{programs}:{os.environ['PATH']}", "QUADRATURE_STATE_DIR": str(tmp_path / "state")}
    failures = []
    step = round(1 / min(1.0, request.config.getoption("torture")))
    every = list(cases(f"touch {canary}", canary))
    for name, content, place, takers in every[:: min(step, 8)]:
        path = project / place
        before = path.read_bytes() if path.exists() else None
        page = project / "metrics/report.html"
        try:
            put(path, content)
            relist(project)
            for taker in takers:
                page.unlink(missing_ok=True)
                ended = cage.run(*taker, cwd=project, env=env, seconds=30.0)
                try:
                    with tally.trying("a file that tries to run code runs none"):
                        assert not canary.exists()
                        assert not [deed for deed in ended.deeds if "git" not in deed]
                        assert ended.code in (0, 1, 2, 65), ended
                        assert "Traceback" not in ended.error, ended
                        if page.exists():
                            text = page.read_text()
                            assert "<script" not in text
                            assert '"javascript:' not in text
                            assert "onload" not in text
                except AssertionError as error:
                    canary.unlink(missing_ok=True)
                    failures.append(f"{name} as {place}, {taker}: {error}\n{ended}")
        finally:
            if before is None:
                path.unlink()
            else:
                path.write_bytes(before)
            relist(project)
    assert not failures, "\n".join(failures)


def test_the_canary_sings_where_such_a_file_is_read_carelessly(tmp_path):
    canary = tmp_path / "canary"
    for name in ("a pickle", "a pickle in text"):
        pickle.loads(pickles(f"touch {canary}")[name])  # noqa: S301
        assert canary.exists()
        canary.unlink()
    content = pickles(f"touch {canary}")["torch's zip"]
    torch.load(io.BytesIO(content), weights_only=False)  # noqa: TID251
    assert canary.exists()
