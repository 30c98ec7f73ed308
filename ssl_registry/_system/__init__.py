"""Below the project: files written whole, locks, optional libraries, Python and YAML files that users name."""
