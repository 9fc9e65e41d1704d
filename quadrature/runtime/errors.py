"""What can go wrong that a person can mend, each kind with the exit code a command ends with.

The codes above 64 are those of BSD's sysexits.h (EX_DATAERR, EX_SOFTWARE, EX_TEMPFAIL).
"""

REMAKE = "remove it and run `dvc repro`"
"""What to do about a damaged output."""


class QuadratureError(Exception):
    """A failure to be told in plain lines: what is wrong, where, and what to do."""

    exit_code = 1


class ParameterError(QuadratureError):
    """A parameter is missing, unknown or out of range, or contradicts another."""

    exit_code = 2


class DataError(QuadratureError):
    """A file is missing, damaged, or not what this project writes."""

    exit_code = 65

    def __str__(self) -> str:
        # One line whatever it quotes: names and bytes of files are others' to choose, escapes of terminals among them.
        escaped = (c if c.isprintable() else c.encode("unicode_escape").decode() for c in super().__str__())
        return "".join(escaped)


class NonFiniteLossError(QuadratureError):
    """The training loss became infinite or not a number."""

    exit_code = 70


class Interruption(BaseException):
    """A signal asked the command to stop before its work was done.

    Not an Exception, as KeyboardInterrupt is none: a library's import guards must not keep it.
    """

    exit_code = 75
