"""What the recipes need installed, checked before anything long starts."""

from __future__ import annotations

import importlib.util
import shutil
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
