"""Images changed at random: each as its name says, the same for a seed, and for a resumed run."""

from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F

from counterpoise import data, models, norms, train
from counterpoise.train import AUGMENTS


def generator():
    return torch.Generator().manual_seed(3)


@pytest.mark.parametrize("dtype", [torch.uint8, torch.float32])
def test_each_image_is_mirrored_or_not(dtype):
    x = torch.arange(1, 401 * 2 * 3 * 5 + 1)[: 400 * 2 * 3 * 5].reshape(400, 2, 3, 5).to(dtype)
    y = AUGMENTS["flip"](x, generator())
    mirrored = (y == x.flip(3)).flatten(1).all(1)
    assert (mirrored | (y == x).flatten(1).all(1)).all()
    assert 150 < mirrored.sum() < 250
    assert y.dtype == dtype


def test_each_image_is_shifted_by_an_eighth_at_most():
    x = torch.rand(500, 2, 16, 24) + 1
    y = AUGMENTS["crop"](x, generator())
    padded = F.pad(x, (3, 3, 2, 2))
    found = torch.zeros(len(x), 5, 7)
    for top in range(5):
        for left in range(7):
            window = padded[:, :, top : top + 16, left : left + 24]
            found[:, top, left] = (y == window).flatten(1).all(1)
    assert (found.sum((1, 2)) == 1).all()
    assert (found.sum(0) > 0).all()  # every shift occurs


def test_both_are_one_after_the_other():
    x, g = torch.rand(9, 1, 8, 8), generator()
    wanted = AUGMENTS["crop"](AUGMENTS["flip"](x, g), g)
    assert torch.equal(AUGMENTS["flip+crop"](x, generator()), wanted)


@pytest.mark.parametrize("word", ["flip", "crop", "flip+crop"])
def test_features_are_refused(word):
    with pytest.raises(ValueError, match=r"made for images .* but got \(2, 5\)"):
        AUGMENTS[word](torch.zeros(2, 5), generator())


class Kept(torch.nn.Linear):
    """Remembers what it was given in training."""

    def __init__(self):
        super().__init__(4, 2)
        self.seen = []

    def forward(self, x):
        if self.training:
            self.seen.append(x.flatten().tolist())
        return super().forward(x.flatten(1))


def test_only_training_sees_changed_images_and_a_resumed_one_the_same():
    images = torch.tensor([[1.0, 2.0, 3.0, 4.0]]).repeat(64, 1).view(64, 1, 1, 4)
    part = data.Split(images, torch.arange(64) % 2)

    def run(epochs, net, seed=0, **keywords):
        return train.fit(
            net,
            torch.nn.CrossEntropyLoss(),
            part,
            epochs=epochs,
            seed=seed,
            augment=AUGMENTS["flip"],
            **keywords,
        )

    whole, states = Kept(), []
    run(3, whole, on_state=lambda s: states.append({**s, "rows": list(s["rows"])}))
    assert len({tuple(x) for x in whole.seen}) == len(whole.seen)  # anew in each epoch and batch
    other = Kept()
    run(3, other, seed=1)
    assert other.seen != whole.seen
    resumed = Kept()
    run(1, resumed, on_state=lambda s: states.append(s))
    run(3, resumed, state=states[-1])
    assert resumed.seen == whole.seen


def test_a_study_augments_and_refuses_features(tmp_path):
    from counterpoise.study import Plan, Training, stream
    from counterpoise.study.events import Epoch, Failed, Finished

    digits = data.digits()
    training = Training("mlp", epochs=8, batch_size=128, lr=0.1, augment="flip+crop")
    plan = Plan("digits", losses=("focal",), seeds=(0,), training=training, references=False)
    plain = replace(plan, training=replace(training, augment="none"))
    losses = []
    for folder, p in ((tmp_path / "a", plan), (tmp_path / "b", plain)):
        events = list(stream({folder: p}))
        assert [type(e) for e in events if isinstance(e, Finished | Failed)] == [Finished]
        losses.append([e.row["loss"] for e in events if isinstance(e, Epoch)][-1])
    assert losses[0] > losses[1] * 1.5  # mirrored and shifted digits are harder

    flat = data.Splits(
        "flat",
        *(data.Split(p.inputs.flatten(1), p.targets) for p in (digits.train, digits.test)),
        digits.class_names,
        digits.source,
    )
    with pytest.raises(ValueError, match="made for images"):
        list(
            stream({tmp_path / "c": Plan("given", training=training)}, data={tmp_path / "c": flat})
        )


def test_a_net_learns_from_augmented_images():
    digits = data.digits()
    torch.manual_seed(0)
    net = models.DeeperCNN(norms.ALL["group"], image_size=8)
    rows = train.fit(
        net,
        torch.nn.CrossEntropyLoss(),
        digits.train,
        digits.test,
        epochs=8,
        lr=0.1,
        augment=AUGMENTS["crop"],
    )
    assert rows[-1]["test_accuracy"] > 0.5
