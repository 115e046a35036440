"""What the report and the reproductions end with: what was read is not what docs/formats.md says, a file that could not be read or written, a program that failed."""

import errno
import subprocess
import sys

PASSING = {errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.ESTALE, errno.EINTR}  # a full disk, a file system that is away


class BadInput(Exception):
    """The message names the file (and the line), what was found, and what to do."""


def exit_code(error: OSError) -> int:
    """2: it would fail again the same way; 1: it may do later."""
    return 1 if error.errno in PASSING else 2


class Failed(Exception):
    """A program ended with an error; the code is 2 if it would fail again the same way."""

    def __init__(self, message, code):
        super().__init__(message)
        self.code = code


ENDS = (BadInput, Failed, subprocess.CalledProcessError, OSError)


def end(script, error) -> int:
    """Says one of ENDS as `script`, and returns the exit code."""
    text, code = str(error), 2
    if isinstance(error, Failed):
        code = error.code
    elif isinstance(error, subprocess.CalledProcessError):
        code = 2 if error.returncode == 2 else 1
    elif isinstance(error, OSError):
        text, code = f"{error.filename}: {error.strerror}", exit_code(error)
    if isinstance(error, Failed) and code != 2:
        text += "\nThe same command continues."
    print(f"{script}: {text}", file=sys.stderr)
    return code
