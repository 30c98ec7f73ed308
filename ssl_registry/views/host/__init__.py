"""The engine that draws views a photograph at a time, in the processes that load."""
