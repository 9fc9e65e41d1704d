"""A dvc.lock cut at any byte, or a torn rwlock: DVC works again, and the torn file is kept."""

import pytest
from dvc.repo import Repo

from quadrature.commands.heal import heal
from tests.torture.conftest import REPRO

pytestmark = pytest.mark.slow


def test_dvc_lock_is_cut_at_any_byte(project_of, tally, chosen, monkeypatch):
    checkout = project_of("gru").copy("torn")
    whole = (project_of("gru").golden.path / "dvc.lock").read_bytes()
    whole = whole[: whole.index(b"\n  plot:") + 1]  # the other stages' records are alike
    (checkout.path / "dvc.lock").write_bytes(whole)
    checkout.commit()
    monkeypatch.chdir(checkout.path)
    torn = checkout.path / ".dvc/tmp/dvc.lock.torn"
    for cut in chosen(range(len(whole))):
        (checkout.path / "dvc.lock").write_bytes(whole[:cut])
        torn.unlink(missing_ok=True)
        with tally.trying("dvc.lock is cut at any byte"):
            if heal():
                assert torn.read_bytes() == whole[:cut]
                assert (checkout.path / "dvc.lock").read_bytes() == whole
            else:  # the rest is a valid record of fewer stages
                with Repo() as repo:
                    repo.status()


DAMAGES = {
    "dvc.lock": [
        lambda whole: whole[: len(whole) // 2],
        lambda whole: whole[: whole.index(b"hash: md5") + len(b"hash: md")],
        lambda _whole: b"",
    ],
    ".dvc/tmp/rwlock": [lambda _whole: b"", lambda whole: whole[: len(whole) // 2], lambda whole: whole[:-1]],
}


@pytest.mark.parametrize("name", DAMAGES)
def test_make_repro_mends_what_is_torn(project_of, tally, chosen, name):
    project = project_of("gru")
    checkout = project.copy("torn", of="golden")
    path = checkout.path / name
    for damage in chosen(DAMAGES[name]):
        path.write_bytes(damage(path.read_bytes()))
        with tally.trying("`make repro` repairs a torn dvc.lock or rwlock"):
            result = checkout.run(*REPRO)
            assert checkout.digests() == project.digests, result.stderr
            assert checkout.run("dvc", "status", "--quiet").returncode == 0
