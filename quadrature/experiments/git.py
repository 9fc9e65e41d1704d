"""Asks git. A failure of git is a GitError with git's reason, so it is never taken for an empty answer."""

import os
import subprocess

from quadrature.runtime.errors import GitError


def git(*arguments: str, allowed: tuple[int, ...] = (0,)) -> bytes:
    """Returns git's output. Raises GitError if git is missing or ends with another exit code than those allowed."""
    in_english = {**os.environ, "LC_ALL": "C"}
    try:
        # No argument is an option: callers put paths behind `--` and refuse revisions that begin with a dash.
        done = subprocess.run(  # noqa: S603
            ["git", *arguments],  # noqa: S607
            stdin=subprocess.DEVNULL, capture_output=True, env=in_english, check=False,
        )  # fmt: skip
    except OSError as error:
        raise GitError(f"git does not start ({error.strerror}); install git, or add it to PATH") from None
    if done.returncode not in allowed:
        raise GitError(_refusal(done.returncode, done.stderr.decode(errors="replace")))
    return done.stdout


def _refusal(code: int, said: str) -> str:
    lines = [line.strip() for line in said.splitlines() if line.strip()]
    fatal = [line for line in lines if line.startswith("fatal: ")]
    reason = [*fatal, *lines, f"exit code {code}"][0].removeprefix("fatal: ")
    advice = [line for line in lines if line.startswith("git config ")]  # against dubious ownership
    if advice:
        return f"git refuses: {reason}; run `{advice[0]}` if you trust it"
    if reason.startswith("not a git repository"):
        return (
            f"git refuses: {reason}; revisions and experiments need a clone of the project; "
            "`dvc config core.no_scm true` lets DVC run without one"
        )
    return f"git refuses: {reason}; `git fsck` and `git status` say more"
