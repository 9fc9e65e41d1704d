"""Digests: any other byte than the ones written is noticed; a list is one that sha256sum takes."""

import hashlib
import shutil
import subprocess

import pytest

from quadrature.runtime.errors import DataError
from quadrature.storage import digest
from quadrature.storage.digest import DigestList, write_list

PLACES = {
    "at the beginning": (0, 200_000),
    "near the end": (200_000, 5_000),
    "alone": (0, 0),
    "in the first part that is read, up to its edge": (digest._PART - 74, 100),
}  # fmt: skip


@pytest.fixture(params=PLACES)
def signed(request, tmp_path):
    """Returns a file with its digest, and where that is."""
    before, after = PLACES[request.param]
    path = tmp_path / "file"
    path.write_bytes(b"\xff" * before + f'"sha256":"{digest.ZEROS}"'.encode() + b"\xfe" * after)
    digest.write(path)
    return path, before + 10


def check(path):
    with path.open("rb") as file:
        digest.check(file)


def test_a_file_bears_the_sha256_of_itself_with_zeros_in_its_place(signed):
    path, place = signed
    check(path)
    content = path.read_bytes()
    blank = content[:place] + digest.ZEROS.encode() + content[place + 64 :]
    assert content[place : place + 64].decode() == hashlib.sha256(blank).hexdigest()
    digest.write(path)
    assert path.read_bytes() == content


def test_a_file_that_is_another_is_told(signed):
    path, place = signed
    content = path.read_bytes()
    others = [content[:-1], content + b"\0", b"", content[:place], content.replace(b"sha256", b"sha257")]
    for at in {0, place - 1, place, place + 63, len(content) - 1}:
        others += [content[:at] + bytes([content[at] ^ 1 << bit]) + content[at + 1 :] for bit in range(8)]
    for other in others:
        path.write_bytes(other)
        with pytest.raises(ValueError, match=r"it holds no SHA-256|its SHA-256 has changed"):
            check(path)


def test_a_file_without_a_place_gets_no_digest(tmp_path):
    (tmp_path / "file").write_bytes(b"sha256: none" * 10)
    with pytest.raises(ValueError, match="it holds no SHA-256"):
        digest.write(tmp_path / "file")


@pytest.fixture
def digest_list(tmp_path, monkeypatch):
    """Files, a list of them in folders yet to be made, and the list's path."""
    monkeypatch.chdir(tmp_path)
    files = [tmp_path.relative_to(tmp_path) / name for name in ("b.csv", "a b.json")]
    for file in files:
        file.write_text(f"content of {file}\n")
    path = tmp_path / "data/digests/stage.sha256"
    write_list(path, files)
    return files, path


def test_a_list_tells_what_is_as_it_was_written(digest_list):
    (first, second), path = digest_list
    assert DigestList(path).read(first) == b"content of b.csv\n"
    second.write_text("content of another\n")
    with pytest.raises(DataError, match=r"^a b.json is damaged \(its SHA-256 has changed since"):
        DigestList(path).read(second)
    first.unlink()
    with pytest.raises(DataError, match=r"^b.csv is missing"):
        DigestList(path).read(first)
    first.with_name("c").touch()
    with pytest.raises(DataError, match=r"^c is not listed in .*/stage.sha256"):
        DigestList(path).read(first.with_name("c"))


def test_sha256sum_takes_a_list(digest_list):
    if not (sha256sum := shutil.which("sha256sum")):
        pytest.skip("no sha256sum here")
    files, path = digest_list
    command = [sha256sum, "--check", "--strict", str(path)]
    assert subprocess.run(command, check=True, capture_output=True, text=True).stdout == "a b.json: OK\nb.csv: OK\n"
    files[0].write_text("another")
    assert subprocess.run(command, check=False, capture_output=True).returncode == 1


@pytest.mark.parametrize("harm", ["missing", "empty", "another", "forged"])
def test_a_list_that_is_none_is_refused_by_name(digest_list, harm):
    _, path = digest_list
    match harm:
        case "missing":
            path.unlink()
        case "empty":
            path.write_bytes(b"")
        case "another":
            path.write_bytes(path.read_bytes().replace(b"a b.json", b"a c.json"))
        case "forged":
            path.write_bytes(path.read_bytes() + b"no digest\n")
            digest.write(path)
    with pytest.raises(DataError, match=r"/stage.sha256 is (missing|not a list of digests)"):
        DigestList(path)
