"""Installed plugins, found through entry points without importing them; their health; the scaffold of a new one."""
