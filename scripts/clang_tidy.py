#!/usr/bin/env python3
"""scripts/clang_tidy.py FILE...: clang-tidy on source files of build/cpu, as many at once as there are cores.

A file that was clean before, with the same text after the preprocessor (comments included), compile command, .clang-tidy and
clang-tidy, is not checked again: stamps under $CFM_CACHE/tidy (~/.cache/cfm/tidy), shared by all clones. Exit code 1 on a finding.
"""

import concurrent.futures
import hashlib
import json
import os
import pathlib
import shlex
import subprocess
import sys
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent
BUILD = ROOT / "build/cpu"
CACHE = pathlib.Path(
    os.environ.get("CFM_CACHE") or pathlib.Path(os.environ.get("XDG_CACHE_HOME") or pathlib.Path.home() / ".cache") / "cfm"
) / "tidy"
# GCC's own warning options are not a finding.
TIDY = ["clang-tidy", "-p", str(BUILD), "--quiet", "--extra-arg=-Wno-unknown-warning-option"]
KEPT_SECONDS = 90 * 24 * 3600


def key(entry, common):
    """What a result depends on; None for a file that does not go through the preprocessor."""
    command = shlex.split(entry["command"])
    if "-o" in command:
        at = command.index("-o")
        del command[at : at + 2]
    # With comments: a NOLINT is one.
    done = subprocess.run([*command, "-E", "-P", "-C"], cwd=entry["directory"], capture_output=True)
    if done.returncode != 0:
        return None
    told = " ".join(command).replace(str(ROOT), ".").encode()
    return hashlib.sha256(b"\0".join([common, told, done.stdout])).hexdigest()


def check(entry, common):
    """Output of clang-tidy if it found something; None if the file is clean; True if it was known to be."""
    known = key(entry, common)
    stamp = CACHE / known if known else None
    if stamp and stamp.exists():
        stamp.touch()
        return True
    done = subprocess.run([*TIDY, entry["file"]], capture_output=True, text=True)
    if done.returncode == 0:
        if stamp:
            stamp.touch()
        return None
    return f"{done.stdout}{done.stderr}clang-tidy ended with {done.returncode}"


def main():
    CACHE.mkdir(parents=True, exist_ok=True)
    for stamp in CACHE.iterdir():
        if time.time() - stamp.stat().st_mtime > KEPT_SECONDS:
            stamp.unlink(missing_ok=True)
    version = subprocess.run(["clang-tidy", "--version"], check=True, capture_output=True).stdout
    common = b"\0".join([version, (ROOT / ".clang-tidy").read_bytes(), " ".join(TIDY[3:]).encode()])
    entries = {os.path.relpath(e["file"], ROOT): e for e in json.loads((BUILD / "compile_commands.json").read_text())}
    unknown = [name for name in sys.argv[1:] if name not in entries]
    if unknown:
        print(f"clang_tidy: not compiled in build/cpu, so not checked: {' '.join(unknown)}", file=sys.stderr)
    files = [name for name in sys.argv[1:] if name in entries]
    found = known = 0
    with concurrent.futures.ThreadPoolExecutor(len(os.sched_getaffinity(0))) as workers:
        for name, result in zip(files, workers.map(lambda f: check(entries[f], common), files)):
            if result is True:
                known += 1
            elif result is not None:
                found += 1
                print(f"== {name}\n{result}", flush=True)
    print(f"clang_tidy: {len(files)} files, {known} of them known to be clean, {found} with findings")
    sys.exit(1 if found else 0)


main()
