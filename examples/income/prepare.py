"""Make one file of UCI Adult ("Income"): categories become 0 and 1, rows with a missing value are left out.

    python prepare.py adult.data adult.test income.npz

reads the two files as https://archive.ics.uci.edu/dataset/2/adult has them. What it writes is standardised when it is
opened, by the mean and deviation of its training part.
"""

from __future__ import annotations

import csv
import sys
from pathlib import Path

import numpy as np
from sklearn.preprocessing import OneHotEncoder

# age, fnlwgt, education-num, capital-gain, capital-loss, hours-per-week; the other eight columns are categories.
NUMBERS = [0, 2, 4, 10, 11, 12]
CATEGORIES = [1, 3, 5, 6, 7, 8, 9, 13]
LABEL = 14


def read(path: str) -> np.ndarray:
    """Return the complete rows as text, [rows, 15]."""
    with Path(path).open(newline="") as file:
        rows = [[cell.strip() for cell in row] for row in csv.reader(file)]
    # The test file begins with a line that is no row.
    return np.array([row for row in rows if len(row) == LABEL + 1 and "?" not in row])


def prepare(train_path: str, test_path: str, out: str) -> None:
    """Write the samples X [N, features], their classes y (1: more than 50,000 dollars), and is_test."""
    train, test = read(train_path), read(test_path)
    rows = np.concatenate([train, test])
    # The categories of the training rows; what only a test row has is a row of zeros.
    encoder = OneHotEncoder(handle_unknown="ignore", sparse_output=False).fit(train[:, CATEGORIES])
    x = np.hstack([rows[:, NUMBERS].astype(float), encoder.transform(rows[:, CATEGORIES])])
    y = np.char.startswith(rows[:, LABEL], ">50K")  # the test file writes ">50K."
    is_test = np.arange(len(rows)) >= len(train)
    np.savez(out, X=x.astype(np.float32), y=y.astype(np.int64), is_test=is_test)
    print(f"{out}: {len(train)} training and {len(test)} test rows of {x.shape[1]} features, {y.mean():.1%} above 50K")


if __name__ == "__main__":
    if len(sys.argv) != 4:
        sys.exit("usage: python prepare.py adult.data adult.test income.npz")
    prepare(*sys.argv[1:])
