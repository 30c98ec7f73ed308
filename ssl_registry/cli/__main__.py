"""``python -m ssl_registry.cli``, for launchers such as torchrun that take a module."""

import sys

from ssl_registry.cli import main

sys.exit(main())
