"""The checks, a file for each subject. Each function's docstring tells what, why, and what usually breaks it."""
