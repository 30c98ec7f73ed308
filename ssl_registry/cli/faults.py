"""One line about an error that nobody foresaw: whose code raised it, and where."""

from __future__ import annotations

import sysconfig
import traceback
from pathlib import Path
from types import FrameType

__all__ = ["describe_fault"]

CORE = Path(__file__).parents[1]
REST = "--debug shows the traceback"


def describe_fault(error: BaseException) -> str:
    """Say whose code raised an error: a plugin's, with hook and line; a file's of the user; or this project's.

    Args:
        error: that reached the command line.
    """
    frames = [(frame, line) for frame, line in traceback.walk_tb(error.__traceback__)]
    what = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
    plugins = _plugins()
    own = [(frame, line) for frame, line in frames if _package(frame) in plugins]
    if own:
        place = _place(*own[-1])
        return f"{plugins[_package(own[0][0])]} fails in {own[0][0].f_code.co_name}: {what} ({place}); {REST}"
    if users := [(frame, line) for frame, line in frames if _is_users(frame)]:
        return f"{_place(*users[-1])}: {what}; {REST}"
    last = _place(*frames[-1]) if frames else "nowhere"
    return f"{what} ({last}). That was not foreseen; please report it with the traceback that --debug shows"


def _plugins() -> dict[str, str]:
    """Return the plugins by their packages: name, distribution and version."""
    try:
        from ssl_registry import registry

        infos = registry.methods()
    except Exception:  # whatever is wrong with the plugins, the error itself must be told
        return {}
    found = {}
    for info in infos:
        found[info.target.partition(":")[0].partition(".")[0]] = f"the plugin {info.name} ({info.origin})"
    return {package: words for package, words in found.items() if package and package != "ssl_registry"}


def _package(frame: FrameType) -> str:
    return str(frame.f_globals.get("__name__", "")).partition(".")[0]


def _is_users(frame: FrameType) -> bool:
    """Whether code is neither installed, nor Python's, nor this project's."""
    path = Path(frame.f_code.co_filename)
    installed = [Path(sysconfig.get_path(name)) for name in ("stdlib", "platstdlib", "purelib", "platlib")]
    inside = any(path.is_relative_to(folder) for folder in (*installed, CORE))
    return path.is_file() and not inside and "site-packages" not in path.parts and _package(frame) != "__main__"


def _place(frame: FrameType, line: int) -> str:
    return f"{frame.f_code.co_filename}, line {line}"
