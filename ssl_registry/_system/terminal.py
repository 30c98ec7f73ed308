"""Text of files on a terminal: it may have any letters, and must not steer."""

from __future__ import annotations

__all__ = ["in_unicode", "one_line", "printable", "tell"]


def printable(text: str) -> str:
    r"""Return a text with every character that a terminal would act on written out: escapes, controls, bidi marks.

    Line breaks and tabs stay.

    >>> print(printable("a\x1b[2Jb\u202ec"))
    a\x1b[2Jb\u202ec
    """
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() or c in "\n\t" else repr(c)[1:-1] for c in text)


def in_unicode(name: str) -> str:
    r"""Return a file's name without what is no UTF-8, which Python keeps as halves of characters that no file takes.

    >>> in_unicode("caf\udce9.png"), in_unicode("café.png")
    ('caf\\xe9.png', 'café.png')
    """
    return name.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")


def tell(line: str) -> None:
    """Print a line of which parts may come from files."""
    print(printable(line))


def one_line(text: object) -> str:
    r"""Return a text as one printable line.

    >>> one_line("a\n  b\x07")
    'a b\\x07'
    """
    return printable(" ".join(str(text).split()))
