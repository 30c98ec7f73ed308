"""A trained backbone in forms that need no ssl_registry.

- `writing`: `export` itself: write, check, put into place
- `format`: `ExportFormat`, what a form is
- `formats/`: the table of forms, and one file for each group of them
- `facts`: what every export tells of itself
- `check`: every export is loaded in a fresh process, and its outputs are compared

Importing this package imports no torch: the table is listed at once.
"""
