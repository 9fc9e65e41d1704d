"""Errors that a user can fix, each kind with the exit code of the command.

The codes above 64 are those of BSD's sysexits.h (EX_DATAERR, EX_UNAVAILABLE, EX_SOFTWARE, EX_TEMPFAIL).
"""

REMAKE = "remove it and run `dvc repro`"
"""The advice for a damaged output."""


def conflict_in(content: bytes) -> str | None:
    """Returns what to do if a file's content holds a merge conflict of git's, None otherwise."""
    if not any(line.startswith(b"<<<<<<< ") for line in content.splitlines()):
        return None
    return (
        "holds a merge conflict: settle params.yaml, then run `git checkout --ours dvc.lock metrics`, `dvc repro` and "
        "`git add --update`"
    )


def printable(text: str) -> str:
    """Returns a text in one line, with escapes for characters that would move a terminal's cursor or set colours."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


class QuadratureError(Exception):
    """A failure that a message explains: what is wrong, where, and what to do. Each argument is one line of it.

    A line may quote names and contents of other people's files, which are escaped.
    """

    exit_code = 1

    def __str__(self) -> str:
        return "\n".join(printable(str(line)) for line in self.args)


class ParameterError(QuadratureError):
    """A parameter is missing, unknown or out of range, or contradicts another parameter."""

    exit_code = 2


class DataError(QuadratureError):
    """A file is missing, damaged, or not in the form that this project writes."""

    exit_code = 65


class GitError(QuadratureError):
    """Git or DVC cannot answer, so nothing is known of what they hold."""

    exit_code = 69


class NonFiniteLossError(QuadratureError):
    """The training loss became infinite or not a number."""

    exit_code = 70


class Interruption(BaseException):
    """A signal asked the command to stop before its work was done.

    Like KeyboardInterrupt, it is not an Exception: a library that catches these during an import must not swallow it.
    """

    exit_code = 75
