"""Every module can be imported where Unix's own modules are missing, as on Windows."""

from __future__ import annotations

import subprocess
import sys

import pytest

# Libraries are imported first: what they need is their own affair.
PROGRAM = """
import importlib, pkgutil, sys
import cv2, datasets, filelock, lightning.pytorch, PIL.Image, pyarrow, rich.progress, simplejpeg, sklearn, timm, torch
import torchmetrics, torchvision

for name in ("fcntl", "grp", "posix", "pwd", "resource", "termios"):
    sys.modules[name] = None

import ssl_registry

names = [module.name for module in pkgutil.walk_packages(ssl_registry.__path__, "ssl_registry.")]
for name in names:
    if not name.endswith("__main__"):
        importlib.import_module(name)
print(len(names))
"""


@pytest.mark.slow  # it imports everything anew
def test_every_module_without_those_of_unix():
    """Imported one by one in a process in which they are blocked."""
    done = subprocess.run([sys.executable, "-W", "ignore", "-c", PROGRAM], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout.split()[-1]) > 150
