"""A loss for imbalanced classes as the `compute_loss_func` of the Hugging Face Trainer."""

import tempfile

import torch
from sklearn.datasets import load_digits
from torch import nn
from transformers import Trainer, TrainingArguments

from counterpoise.losses import FocalLoss

images, labels = load_digits(return_X_y=True)
data = [
    {"inputs": torch.tensor(image, dtype=torch.float32) / 16, "labels": int(label)}
    for image, label in zip(images, labels, strict=True)
]


class Digits(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.net = nn.Sequential(nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 10))

    def forward(self, inputs: torch.Tensor, labels: torch.Tensor | None = None) -> dict:
        return {"logits": self.net(inputs)}


# "batchmean" divides by samples, and so does the Trainer: by all those of an accumulated batch,
# which it counts when it hands them over. Without the normalizer each micro-batch would be a mean.
criterion = FocalLoss(gamma=2.0, reduction="batchmean")


def loss_of(outputs: dict, labels: torch.Tensor, num_items_in_batch: torch.Tensor | None = None):
    return criterion(outputs["logits"], labels, normalizer=num_items_in_batch)


net = Digits()
with tempfile.TemporaryDirectory() as folder:
    trainer = Trainer(
        model=net,
        args=TrainingArguments(
            folder,
            num_train_epochs=10,
            per_device_train_batch_size=32,
            gradient_accumulation_steps=2,
            learning_rate=1e-2,
            lr_scheduler_type="constant",
            report_to="none",
            save_strategy="no",
            logging_strategy="no",
            disable_tqdm=True,
            remove_unused_columns=False,
            label_names=["labels"],
            use_cpu=True,
            seed=0,
        ),
        train_dataset=data,  # type: ignore[bad-argument-type]  # a list is one
        compute_loss_func=loss_of,
    )
    trainer.train()

inputs = torch.stack([sample["inputs"] for sample in data])
accuracy = (net(inputs)["logits"].argmax(1).numpy() == labels).mean()
print(f"accuracy {accuracy:.3f}")
