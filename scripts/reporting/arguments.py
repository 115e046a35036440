"""What command lines have in common."""

import argparse
from pathlib import Path


def folder(text) -> Path:
    """For argparse: where there may be a folder, or none yet."""
    path = Path(text)
    if path.exists() and not path.is_dir():
        raise argparse.ArgumentTypeError(f"{path} is a file: name a folder")
    return path
