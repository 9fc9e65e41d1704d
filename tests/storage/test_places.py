"""Object stores: what is written there is what is written here, whole or not at all; what goes wrong is one line.

The server is moto's, a process that speaks S3 and checks signatures. Tests read the store with boto3, another client.
"""

import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import boto3
import numpy as np
import pytest
import yaml

from quadrature.network.model import QuadratureNetwork, initialize
from quadrature.network.model_file import save_model
from quadrature.network.params import ModelParams
from quadrature.runtime.errors import DataError, ParameterError
from quadrature.storage import places
from quadrature.storage.places import StoreError, parse_place
from quadrature.storage.windows import WINDOW_COLUMNS, Split, read_split
from tests.checkout import CALLERS, OWN_PARAMETERS, PROJECT
from tests.prediction.running import PARAMS
from tests.processes import rest_of

ALL = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "*", "Resource": "*"}]}


class Server(NamedTuple):
    """A store with one bucket, what a client's environment says to reach it, and another client."""

    process: subprocess.Popen
    environment: dict[str, str]
    boto: Any

    def objects(self, prefix=""):
        """Returns every object's content by its key, less the prefix; empty ones that stand for folders are none."""
        pages = self.boto.get_paginator("list_objects_v2").paginate(Bucket="bucket", Prefix=prefix)
        keys = [entry["Key"] for page in pages for entry in page.get("Contents", [])]
        return {
            key.removeprefix(prefix): self.boto.get_object(Bucket="bucket", Key=key)["Body"].read()
            for key in keys
            if not key.endswith("/")
        }


pytestmark = pytest.mark.slow


@contextmanager
def serving():
    command = [Path(sys.executable).parent / "moto_server", "--host", "127.0.0.1", "--port", "0"]
    # It lets four requests pass, those that make the bucket and the user, before it asks who is there.
    environment = {**os.environ, "INITIAL_NO_AUTH_ACTION_COUNT": "4"}
    with subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True) as process:
        address = next(filter(None, (re.search(r"http://127\.0\.0\.1:\d+", line) for line in process.stderr)))[0]
        drain = threading.Thread(target=process.stderr.read)  # so that the server never waits for its log to be read
        drain.start()
        try:
            yield Server(process, *admit(address))
        finally:
            process.kill()
            drain.join()


def admit(address):
    """Makes a bucket and a user; returns the user's environment, and a client of the user's."""
    anybody = {"endpoint_url": address, "region_name": "us-east-1"}
    anybody |= {"aws_access_key_id": "x", "aws_secret_access_key": "x"}
    boto3.client("s3", **anybody).create_bucket(Bucket="bucket")
    users = boto3.client("iam", **anybody)
    users.create_user(UserName="tester")
    users.put_user_policy(UserName="tester", PolicyName="all", PolicyDocument=json.dumps(ALL))
    key = users.create_access_key(UserName="tester")["AccessKey"]
    secret = {"aws_access_key_id": key["AccessKeyId"], "aws_secret_access_key": key["SecretAccessKey"]}
    environment = {"AWS_ENDPOINT_URL": address, "AWS_DEFAULT_REGION": "us-east-1", "AWS_EC2_METADATA_DISABLED": "true"}
    environment |= {name.upper(): value for name, value in secret.items()}
    return environment, boto3.client("s3", **{**anybody, **secret})


@pytest.fixture(scope="module")
def server():
    with serving() as server:
        yield server


@pytest.fixture
def client(server, monkeypatch):
    """Lets this process talk to the server."""
    for name, value in server.environment.items():
        monkeypatch.setenv(name, value)
    places._system.cache_clear()
    yield server
    places._system.cache_clear()


def start(server, folder, *command, **variables):
    """Starts a program of the project's as a client of the server."""
    environment = {name: value for name, value in os.environ.items() if name not in CALLERS}
    environment |= {"PYTHONPATH": str(PROJECT), "HOME": str(folder), **server.environment, **variables}
    command = [sys.executable, *map(str, command)]
    return subprocess.Popen(command, cwd=folder, env=environment, stderr=subprocess.PIPE, text=True)


def end(process):
    log = rest_of(process)[1]
    return process.returncode, log.splitlines()


def generate(server, folder, *arguments, train=2000, **variables):
    params = yaml.safe_load(OWN_PARAMETERS.read_text())
    params["generate"] |= {"windows": {"train": train, "validation": 300, "test": 900}, "shard_windows": 200}
    (folder / "params.yaml").write_text(yaml.safe_dump(params))
    return start(server, folder, "-m", "stages.generate", *arguments, **variables)


def content(folder):
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture(scope="module")
def made(server, tmp_path_factory):
    """A data set in the store at s3://bucket/windows, and the same in a folder here."""
    folder = tmp_path_factory.mktemp("made")
    for arguments in (("--windows", "s3://bucket/windows/"), ()):
        assert end(generate(server, folder, *arguments))[0] == 0
    return folder / "data/windows"


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    network = QuadratureNetwork(ModelParams.model_validate(PARAMS), 10)
    initialize(network, 0)
    path = tmp_path_factory.mktemp("model") / "model.safetensors"
    save_model(network, path)
    return path


def test_windows_made_into_the_store_are_those_made_here(server, made):
    assert len(content(made)) == 17
    assert server.objects("windows/") == content(made)


def test_another_run_leaves_no_shard_of_the_one_before_and_other_objects_alone(server, made, tmp_path):
    for name in ("train/part-00003.parquet", "train/part-00017.parquet", "test/notes.txt"):
        server.boto.put_object(Bucket="bucket", Key=f"again/{name}", Body=b"old")
    again = ["--windows", "s3://bucket/again"]
    processes = [generate(server, tmp_path, *again, RANK=str(rank), WORLD_SIZE="2") for rank in (0, 1)]
    assert [end(process)[0] for process in processes] == [0, 0]
    assert server.objects("again/") == content(made) | {"test/notes.txt": b"old"}


@pytest.mark.usefixtures("client")
def test_a_split_is_read_from_the_store_as_from_here(made):
    here, there = Split(made / "train"), Split("s3://bucket/windows/train")
    assert (there.sizes, there.window_length) == (here.sizes, here.window_length) == ((200,) * 10, 10)
    for shard in (0, 9):
        expected, found = (split.read(shard, WINDOW_COLUMNS) for split in (here, there))
        assert all(np.array_equal(found[name], expected[name]) for name in WINDOW_COLUMNS)


def test_what_is_wrong_in_the_store_is_told_by_its_address(client, made):
    for path in (made / "test").iterdir():
        damage = path.name == "part-00003.parquet"
        body = path.read_bytes().replace(b"\x28\xb5\x2f\xfd", b"zstd", damage)
        client.boto.put_object(Bucket="bucket", Key=f"damaged/{path.name}", Body=body)
    with pytest.raises(DataError, match=r"^s3://bucket/damaged/part-00003\.parquet"):
        list(read_split("s3://bucket/damaged", ["input"]))
    with pytest.raises(DataError, match=r"^s3://bucket/nothing/part-00000\.parquet is missing"):
        Split("s3://bucket/nothing")


@pytest.mark.slow
def test_estimates_go_from_the_store_to_the_store_shared_between_processes(server, made, model, tmp_path):
    options = ["-m", "quadrature", "predict", "--model", model, "--device", "cpu", "--threads", "1"]
    (tmp_path / "expected").mkdir()
    assert end(start(server, tmp_path, *options, "--input", made / "test", "--output", "expected")) == (0, [])
    expected = content(tmp_path / "expected")
    assert len(expected) == 5

    there = ["--input", "s3://bucket/windows/test", "--output", "s3://bucket/estimates"]
    processes = [start(server, tmp_path, *options, *there, RANK=str(rank), WORLD_SIZE="2") for rank in (0, 1)]
    assert [end(process) for process in processes] == [(0, [])] * 2
    assert server.objects("estimates/") == expected
    one = ["--input", "s3://bucket/windows/test/part-00001.parquet", "--output", "s3://bucket/one.parquet"]
    assert end(start(server, tmp_path, *options, *one)) == (0, [])
    assert server.objects("one.parquet") == {"": expected["part-00001.parquet"]}


@pytest.mark.slow
def test_training_on_windows_in_the_store_gives_the_bytes_of_training_on_them_here(server, made, tmp_path):
    params = yaml.safe_load((made.parent.parent / "params.yaml").read_text())
    params["train"] |= {"epochs": 1, "batch_size": 100, "shuffle_windows": 500, "threads": 1}
    found = {}
    for place, targets in ((made, tmp_path / "targets"), ("s3://bucket/windows", "s3://bucket/targets")):
        folder = tmp_path / str(len(found))
        folder.mkdir()
        (folder / "params.yaml").write_text(yaml.safe_dump(params))
        places = ["--windows", place, "--targets", targets]
        assert end(start(server, folder, "-m", "stages.targets", *places))[0] == 0
        train = ["-m", "stages.train", *places, "--memory", "0"]  # read again in each pass
        code, log = end(start(server, folder, *train, QUADRATURE_STATE_DIR=str(folder / "state")))
        assert code == 0, log
        found[place] = content(folder)
    here, there = found.values()
    assert server.objects("targets/") == content(tmp_path / "targets")
    assert "models/model.safetensors" in here
    assert here == there


WRITER = """
import sys
from pathlib import Path
from quadrature.runtime import lifecycle
from quadrature.storage import places

places._PART = 2**23

def main():
    with places.replacing("s3://bucket/large") as temporary:
        temporary.write_bytes(bytes(3 * 2**23 + 1))
        print("written", file=sys.stderr, flush=True)

lifecycle.run(main)
"""


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_a_writer_that_is_stopped_in_the_midst_of_sending_leaves_a_whole_object_or_none(tmp_path, number):
    """The server stands still while the signal comes, so that it comes when a part of the object is under way."""
    with serving() as server:
        writer = start(server, tmp_path, "-c", WRITER)
        assert writer.stderr.readline() == "written\n"
        server.process.send_signal(signal.SIGSTOP)
        time.sleep(0.5)
        writer.send_signal(number)
        time.sleep(0.5)
        server.process.send_signal(signal.SIGCONT)
        assert end(writer)[0] == (75 if number == signal.SIGTERM else -number)
        found = {key: len(body) for key, body in server.objects().items()}
        assert found == ({"large": 3 * 2**23 + 1} if number == signal.SIGTERM else {})


def test_a_generate_that_is_stopped_takes_its_shards_with_it(server, tmp_path):
    process = generate(server, tmp_path, "--windows", "s3://bucket/stopped", train=10**7)
    while "train/part-00003.parquet" not in server.objects("stopped/"):
        assert process.poll() is None
    process.send_signal(signal.SIGTERM)
    code, log = end(process)
    assert (code, log[1:]) == (75, ["interrupted by SIGTERM; nothing half-written was left"])
    assert server.objects("stopped/") == {}


NOWHERE = {"AWS_ENDPOINT_URL": "http://127.0.0.1:9"}
TROUBLE = {
    "no such bucket": ("s3://nowhere/windows", {}, "The specified bucket does not exist"),
    "a wrong secret": ("s3://bucket/x", {"AWS_SECRET_ACCESS_KEY": "another-secret"}, "SIGNATURE_DOES_NOT_MATCH"),
    "no credentials": ("s3://bucket/x", {"AWS_ACCESS_KEY_ID": "", "AWS_SECRET_ACCESS_KEY": ""}, "AWS Error"),
    "no server": ("s3://bucket/x", NOWHERE, "Could not connect to server"),
}


@pytest.mark.parametrize("trouble", TROUBLE)
def test_trouble_with_the_store_ends_in_one_line_within_seconds(server, tmp_path, trouble):
    place, variables, message = TROUBLE[trouble]
    started = time.monotonic()
    code, log = end(generate(server, tmp_path, "--windows", place, **variables))
    assert (code, len(log)) == (74, 2)
    assert log[1].startswith(f"{place}/")
    assert message in log[1]
    assert "secret" not in log[1]
    assert time.monotonic() - started < 60


def test_places_are_told_apart():
    assert parse_place("data/windows") == Path("data/windows")
    assert parse_place("s3://bucket/windows/") == "s3://bucket/windows"
    assert parse_place("gs://bucket") == "gs://bucket"
    assert places.join("s3://bucket/windows", "train") == "s3://bucket/windows/train"
    assert places.join(Path("data"), "train") == Path("data/train")
    for text in ("s3://", "s3:///", "ftp://host/folder", "https://bucket/windows"):
        with pytest.raises(ParameterError, match="is not a path or a known URL"):
            parse_place(text)


@pytest.mark.usefixtures("client", "made")
def test_a_store_that_goes_away_is_no_damaged_file(monkeypatch):
    split = Split("s3://bucket/windows/train")
    monkeypatch.setenv("AWS_ENDPOINT_URL", NOWHERE["AWS_ENDPOINT_URL"])
    places._system.cache_clear()
    with pytest.raises(StoreError, match=r"^s3://bucket/windows/train/part-00001\.parquet: "):
        split.read(1, ["input"])
