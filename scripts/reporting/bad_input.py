"""The one error that the report ends with: what was read is not what docs/formats.md says."""


class BadInput(Exception):
    """The message names the file (and the line), what was found, and what to do."""
