"""What the recipes share: a check of what must be installed before anything long starts, and stopping on request."""

from __future__ import annotations

import importlib.util
import shutil
import signal
import sys


def require(modules: dict[str, str], programs: dict[str, str] | None = None) -> None:
    """Ends with one readable message when a module or program is missing; the values name the Debian packages."""
    missing = [package for module, package in modules.items() if importlib.util.find_spec(module) is None]
    missing += [package for program, package in (programs or {}).items() if shutil.which(program) is None]
    if not missing:
        return
    packages = " ".join(sorted(set(missing)))
    python = sys.executable
    sys.exit(
        f"missing: {packages}\n"
        f"on Debian or Ubuntu: apt-get install -y {packages}   (and run this with /usr/bin/python3, not {python})\n"
        "elsewhere: make a virtual environment and `pip install torch numpy scipy sentencepiece`"
    )


def stop_on_request() -> list[int]:
    """A list that stays empty until Ctrl-C or SIGTERM: long loops look at it, save and end."""
    asked: list[int] = []

    def note(number: int, frame: object) -> None:
        if asked:
            sys.exit(130)  # asked twice: at once
        asked.append(number)

    signal.signal(signal.SIGTERM, note)
    signal.signal(signal.SIGINT, note)
    return asked
