"""`write_report`: one HTML file that shows one run, or several side by side, and opens offline.

What lives where, in the order of the data:

- `facts`: what a run's folder tells by itself: settings and where they came from, curves, results
- `gallery`: what the network sees and makes of it: views, a map of embeddings, neighbours, confusion
- `reconstructions`: what a method hides of images and makes of the rest; `token_maps`: what patch tokens tell
- `thumbnails`: a sample as a small picture, and many of them as one
- `maps`: embeddings in two dimensions; `panels`: which curves are drawn together
- `run_page`: one run as text and numbers; `page`: all of it becomes a page, through ``template.html``,
  ``page.css`` and ``page.js`` in this folder
- `writing`: `write_report`, and reopening what a run was trained on
"""

from __future__ import annotations

from ssl_registry.workflows.report.writing import write_report, write_run_report

__all__ = ["write_report", "write_run_report"]
