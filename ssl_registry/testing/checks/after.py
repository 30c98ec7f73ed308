"""What is left of a training: the product that is exported and evaluated, and schedules that go on."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import Callback
from lightning.pytorch.callbacks import ModelCheckpoint

from ssl_registry.nn import evaluating
from ssl_registry.testing.check import CheckFailure, check
from ssl_registry.testing.checks.repeating import first_difference
from ssl_registry.testing.subject import Subject, quietly

EPOCHS, RESUMED_AT = 3, 4


@check()
def product(subject: Subject) -> None:
    """One and the same network is evaluated while training goes on, embedded, and exported from the checkpoint.

    Why: a student that is exported where the paper evaluates the teacher costs points, and nothing tells.
    Usual cause: a hook `product` that answers by the mode or by a Python attribute, which no checkpoint holds.
    """
    subject.needs("product")
    model = subject.model()
    name = model.product_name
    trainer = subject.fit(model, max_epochs=2)
    for mode in (True, False):
        model.train(mode)
        if model.product_name != name:
            word = "train" if mode else "eval"
            raise CheckFailure(
                f"its product is {name} when it is built, and {model.product_name} later, in {word} mode"
            )
    with tempfile.TemporaryDirectory() as folder, quietly():
        path = Path(folder) / "saved.ckpt"
        trainer.save_checkpoint(path)
        again = subject.registry.load(path, backbone=subject.backbone())
    if again.product_name != name:
        raise CheckFailure(f"its product is {name}, and {again.product_name} when the checkpoint is opened for export")
    if difference := first_difference(model.product.state_dict(), again.product.state_dict()):
        raise CheckFailure(f"{difference} of the product is another one when the checkpoint is opened for export")
    x = subject.batch(count=4)
    with torch.no_grad(), evaluating(again.product):
        exported = again.product(again.view_policy.prepare(x).to(again.dtype)).float()
    if not torch.allclose(model.embed(x), exported, rtol=1e-4, atol=1e-5):
        raise CheckFailure("the features that are evaluated are not those of the product that is exported")


class _Values(Callback):
    """Notes the numbers of the optimizer's groups in each step."""

    def __init__(self) -> None:
        self.by_step: dict[int, list[dict[str, Any]]] = {}

    def on_before_optimizer_step(self, trainer: Any, pl_module: Any, optimizer: Any) -> None:
        self.by_step[trainer.global_step] = [
            {key: value for key, value in group.items() if isinstance(value, int | float)}
            for group in optimizer.param_groups
        ]


@check()
def schedules(subject: Subject) -> None:
    """Learning rate, weight decay and all that `optimizer_values` sets go on where they were when a run is resumed.

    Why: a schedule that starts anew, or that counts calls, trains with other values, and the weights tell it late.
    Usual cause: a counter in Python, a start that is noted in `on_fit_start`; `ctx.step` says where the run stands.
    """
    values = []
    with tempfile.TemporaryDirectory() as folder:
        save = ModelCheckpoint(folder, "{step}", every_n_train_steps=RESUMED_AT, save_top_k=-1)
        for checkpoint in (None, Path(folder) / f"step={RESUMED_AT}.ckpt"):
            notes = _Values()
            callbacks = [notes] if checkpoint else [notes, save]
            model = subject.model(weight_decay=0.1, final_weight_decay=0.4)
            subject.fit(
                model,
                callbacks=callbacks,
                checkpoint=checkpoint,
                max_epochs=EPOCHS,
                enable_checkpointing=not checkpoint,
            )
            values.append(notes.by_step)
    whole, resumed = values
    for step, groups in resumed.items():
        for number, group in enumerate(groups):
            for key, value in group.items():
                if value != (wanted := whole[step][number][key]):
                    raise CheckFailure(
                        f"{key} of parameter group {number} is {value:.6g} in step {step + 1} of a run that was "
                        f"resumed after step {RESUMED_AT}, and {wanted:.6g} without that; compute it from ctx.step"
                    )
