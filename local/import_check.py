"""Says at the start which functions cannot be imported; Lambda would say so only when each is first needed."""

import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterable
from pathlib import Path

from local.template import FunctionSpec

# One process imports all functions that share their code: a third of a second for all instead of for each.
PROGRAM = """
import importlib, json, os, sys
answers, sys.stdout = sys.stdout, sys.stderr
for handler, variables in json.load(sys.stdin):
    os.environ.update(variables)
    try:
        module, _, name = handler.rpartition(".")
        getattr(importlib.import_module(module), name)
    except BaseException as error:
        print(json.dumps([handler, f"{type(error).__name__}: {error}"]), file=answers, flush=True)
"""


def check_imports(specs: Iterable[FunctionSpec], on_broken: Callable[[str, str], None]) -> None:
    """Import every function in the background, and tell of each that fails: its handler, and why."""
    sharing: dict[tuple[Path, ...], list[FunctionSpec]] = {}
    for spec in specs:
        sharing.setdefault((spec.code_folder, *spec.layer_folders), []).append(spec)
    for folders, functions in sharing.items():
        threading.Thread(target=_check, args=(folders, functions, on_broken), name="imports", daemon=True).start()


def _check(folders: tuple[Path, ...], specs: list[FunctionSpec], on_broken: Callable[[str, str], None]) -> None:
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM],
        cwd=folders[0],
        env={"PATH": os.environ.get("PATH", ""), "PYTHONPATH": os.pathsep.join(map(str, folders))},
        input=json.dumps([[spec.handler, spec.environment] for spec in specs]),
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        start_new_session=True,  # not ended by Ctrl-C in the terminal: that would look like functions that fail
    )
    for line in done.stdout.splitlines():
        on_broken(*json.loads(line))
