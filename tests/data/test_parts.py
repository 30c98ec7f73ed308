"""Which part of a data set a name means."""

from __future__ import annotations

import pytest

from ssl_registry.data.parts import folder_part, name_part, part_level, split_paths


@pytest.mark.parametrize(
    ("name", "part"),
    [
        ("train", "train"),
        ("Training", "train"),
        ("TRAIN", "train"),
        ("tr", "train"),
        ("train2017", "train"),
        ("trainset", "train"),
        ("seg_train", "train"),
        ("val", "validation"),
        ("valid", "validation"),
        ("Validation", "validation"),
        ("dev", "validation"),
        ("holdout", "validation"),
        ("hold-out", "validation"),
        ("test", "test"),
        ("Testing", "test"),
        ("eval", "test"),
        ("test_images", "test"),
        ("unlabeled", "unlabeled"),
        ("unlabelled2017", "unlabeled"),
        ("unsupervised", "unlabeled"),
        ("train_station", None),
        ("trainer", None),
        ("latest", None),
        ("values", None),
        ("device", None),
        ("set", None),
        ("", None),
    ],
)
def test_folders_by_their_whole_name(name: str, part: str | None) -> None:
    """The usual words in any case; a word within another name is none."""
    assert folder_part(name) == part


@pytest.mark.parametrize(
    ("name", "part"),
    [
        ("train-00000-of-00002", "train"),
        ("cifar_train", "train"),
        ("cifar10-train-0001", "train"),
        ("TestSet", "test"),
        ("my_validation_2", "validation"),
        ("unlabeled-0003", "unlabeled"),
        ("values_2", None),
        ("testament", None),
        ("contest", None),
        ("a-train-test-b", None),
        ("0000", None),
    ],
)
def test_files_by_a_word_of_their_name(name: str, part: str | None) -> None:
    """The first word, the last, or the only one that is a part's; never the beginning of a word."""
    assert name_part(name) == part


@pytest.mark.parametrize(
    ("folders", "level"),
    [
        (["train/a", "test/a"], 0),
        (["data/set/train/a", "data/set/val/a"], 2),
        (["Train", "Test", "masks"], 0),
        (["train/a", "unlabeled"], 0),
        (["cat/train", "cat/test", "dog/train", "dog/test"], 1),
        (["bottle/train/good", "bottle/test/good", "cable/train/good", "cable/test/bad"], 1),
        (["cat/train", "dog/a"], None),
        (["train/a", "train/b"], None),
        (["test/a", "val/a"], None),
        (["train", "cat", "dog"], None),
        (["cat", "dog"], None),
    ],
)
def test_the_level_of_folders_that_are_parts(folders: list[str], level: int | None) -> None:
    """Below folders that hold one folder alone, or below every class alike."""
    assert part_level(tuple(folder.split("/")) for folder in folders) == level


@pytest.mark.parametrize(
    ("paths", "train", "unlabeled", "test"),
    [
        (
            ["conv/train/0000.parquet", "conv/test/0000.parquet"],
            ["conv/train/0000.parquet"],
            [],
            ["conv/test/0000.parquet"],
        ),
        (["a/cifar_train.tar", "a/cifar_test.tar"], ["a/cifar_train.tar"], [], ["a/cifar_test.tar"]),
        (["train.parquet", "values_2.parquet"], ["train.parquet", "values_2.parquet"], [], []),
        (["train.csv", "test.csv", "extra.csv"], ["train.csv", "extra.csv"], [], ["test.csv"]),
        (["x.csv", "x_test.csv"], ["x.csv"], [], ["x_test.csv"]),
        (["train-0.tar", "unlabeled-0.tar", "val-0.tar"], ["train-0.tar"], ["unlabeled-0.tar"], ["val-0.tar"]),
        (["test-0.tar", "test-1.tar"], ["test-0.tar", "test-1.tar"], [], []),
        (["train/test_1.csv", "test/test_1.csv"], ["train/test_1.csv"], [], ["test/test_1.csv"]),
        (["0.tar", "1.tar"], ["0.tar", "1.tar"], [], []),
    ],
)
def test_files_by_folder_or_name(paths: list[str], train: list[str], unlabeled: list[str], test: list[str]) -> None:
    """Folders decide before names do; what has no part's name is trained on."""
    split = split_paths(paths)
    assert [list(part) for part in (split.train, split.unlabeled, split.test)] == [train, unlabeled, test]


def test_a_second_held_out_part_is_neither() -> None:
    """Where there is a test part, validation is not trained on."""
    split = split_paths(["train.csv", "val.csv", "test.csv"])
    assert (split.test, split.validation) == (("test.csv",), ("val.csv",))
