"""What the report ends with: what was read is not what docs/formats.md says, or a file could not be read or written."""

import errno

PASSING = {errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.ESTALE, errno.EINTR}  # a full disk, a file system that is away


class BadInput(Exception):
    """The message names the file (and the line), what was found, and what to do."""


def exit_code(error: OSError) -> int:
    """2: it would fail again the same way; 1: it may do later."""
    return 1 if error.errno in PASSING else 2
