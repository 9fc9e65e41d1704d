"""Whether dvc.lock belongs to the code, the parameters and the commands at hand.

Asked of DVC's own objects, so that what is fresh here is what `dvc repro` would not run. It needs neither data nor
cache: an input that another stage makes is compared, record with record, with what that stage is recorded to have
made. Whether the data that is here is the recorded data is left to `dvc status`.
"""

from collections.abc import Iterator, Mapping

from dvc.dependency import Dependency, ParamsDependency  # type: ignore[import-untyped]
from dvc.exceptions import DvcException  # type: ignore[import-untyped]
from dvc.output import Output  # type: ignore[import-untyped]
from dvc.repo import Repo  # type: ignore[import-untyped]
from dvc.stage import PipelineStage  # type: ignore[import-untyped]

from quadrature.errors import DataError


def find_stale() -> dict[str, list[str]]:
    """Returns why each stage's record is stale, by stage, in the project of the working directory.

    Writes nothing but what DVC keeps for itself in .dvc/tmp. Raises DataError where DVC cannot read its files.
    """
    try:
        with Repo() as repo:
            stages = repo.index.stages
            makers = {out.fs_path: out for stage in stages for out in stage.outs}
            files = {stage.path: stage.dvcfile for stage in stages}
            recorded = {path: {*file.stages.lockfile_data} for path, file in files.items()}  # which reads both files
            return {
                stage.addressing: list(_reasons(stage, makers))
                if stage.name in recorded[stage.path]
                else ["dvc.lock has no record of it"]
                for stage in stages
            }
    except DvcException as error:
        raise DataError(f"DVC stops: {error} (a damaged dvc.lock comes back with `git restore dvc.lock`)") from None


def _reasons(stage: PipelineStage, makers: Mapping[str, Output]) -> Iterator[str]:
    if stage.cmd_changed:
        yield "its command is not the recorded one"
    for dependency in stage.deps:
        if isinstance(dependency, ParamsDependency):
            yield from _changed_parameters(dependency)
        else:
            yield from _changed_input(dependency, makers.get(dependency.fs_path))
    for out in stage.outs:
        if not out.hash_info:
            yield f"{out} is not among the recorded outputs"
        elif not out.use_cache and out.workspace_status():
            yield _changed(out)


def _changed_input(dependency: Dependency, made: Output | None) -> Iterator[str]:
    """Yields what is wrong with an input, `made` by a stage unless it is a source file."""
    if not dependency.hash_info:
        yield f"{dependency} is not among the recorded inputs"
    elif made and made.hash_info and made.hash_info != dependency.hash_info:
        yield f"{dependency} is recorded otherwise than {made.stage.addressing} is recorded to have made it"
    elif not (made and made.use_cache) and dependency.workspace_status():
        yield _changed(dependency)


def _changed(entry: Output) -> str:
    return f"{entry} {'is not the recorded one' if entry.exists else 'is missing'}"


def _changed_parameters(dependency: ParamsDependency) -> Iterator[str]:
    if not dependency.exists:
        yield f"{dependency} is missing"
    elif dependency.status():
        yield from _differences(dependency.read_params(), dependency.hash_info.value or {})


_ABSENT = object()


def _differences(now: object, then: object, name: str = "") -> Iterator[str]:
    """Yields a line for each leaf that differs between two trees of parameters."""
    if isinstance(now, Mapping) and isinstance(then, Mapping):
        for key in [*now, *(key for key in then if key not in now)]:
            below = f"{name}.{key}" if name else str(key)
            yield from _differences(now.get(key, _ABSENT), then.get(key, _ABSENT), below)
    elif now != then:
        values = ["absent" if value is _ABSENT else repr(value) for value in (now, then)]
        yield f"{name} is {values[0]} and was {values[1]}"
