"""Few labels: the table and the page."""

from __future__ import annotations

import re
from pathlib import Path


def test_the_table(run_script, tmp_path):
    """A row for pixels, the untrained and the trained network, a column for each number of labels; and the page."""
    out = run_script("few_labels", "--image-size", "16", "--labels", "1", "2", "--draws", "2")
    rows = re.findall(r"^(\S.*?)((?: +[\d.]+ ± [\d.]+){2})$", out, re.MULTILINE)
    assert [name for name, _ in rows] == ["raw pixels", "the same network, untrained", "trained without labels"]
    page = Path(re.search(r"open (.*)$", out, re.MULTILINE)[1])
    assert page == tmp_path / "runs/few-labels-0/report.html"
    assert page.is_file()
