"""The module that learns to fill gaps, and its checkpoints."""

from __future__ import annotations

import csv
import sys

import numpy as np
import pytest
import torch
from lightning.pytorch import LightningDataModule, Trainer
from torch.utils.data import DataLoader

from tracknet.cli.main import main
from tracknet.cli.rectifier import choose_fill
from tracknet.data.trajectories import Windows
from tracknet.errors import TrackNetError, UsageError
from tracknet.models.inpaintnet import InpaintNet, ResidualInpaintNet
from tracknet.tracking.rectification import AccelerationFill, CubicFill, LearnedFill, LinearFill, fill_gaps
from tracknet.training.rectifier import TrajectoryRectifier, load_rectifier


def parabolas(number=12, length=12):
    """Windows of exact parabolas with a gap of 4 in the middle."""
    t = np.arange(length) - length / 2
    xy = np.stack(
        [
            np.stack([0.5 + 0.01 * t * (1 + n % 3), 0.4 + 0.002 * (n % 4) * t**2], axis=1)
            for n in range(number)
        ]
    )
    mask = np.zeros((number, length), bool)
    mask[:, 4:8] = True
    return Windows({"xy": xy.astype(np.float32), "visible": np.ones((number, length), bool), "mask": mask})


class Parabolas(LightningDataModule):
    def train_dataloader(self):
        return DataLoader(parabolas(), batch_size=4)

    val_dataloader = test_dataloader = train_dataloader


def trainer(folder, **options):
    return Trainer(
        default_root_dir=folder,
        accelerator="cpu",
        logger=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        **options,
    )


def test_figures_by_hand(tmp_path):
    torch.manual_seed(0)
    module = TrajectoryRectifier(ResidualInpaintNet(8))
    (found,) = trainer(tmp_path).test(module, Parabolas(), verbose=False)
    # Before any training the network gives the cubic, which follows a parabola exactly, as acceleration does.
    for name in ("error", "acceleration_error", "cubic_error"):
        assert found[f"test/{name}"] == pytest.approx(0, abs=1e-3)
        assert found["test/within_4px"] == 1
    # The line through both ends lies c (t + 3)(2 - t) off, for t from -2 to 1: c (4, 6, 6, 4).
    mean = np.mean([288 * 0.002 * (n % 4) * 5 for n in range(12)])
    assert found["test/linear_error"] == pytest.approx(mean, rel=1e-4)
    assert found["test/loss"] == pytest.approx(0, abs=1e-6)


def test_losses_by_hand():
    xy = torch.zeros(1, 3, 2)
    batch = {
        "xy": xy,
        "visible": torch.tensor([[True, True, False]]),
        "mask": torch.tensor([[False, True, True]]),
    }
    # One masked step with a ball; it is 1 px off to the right and 10 px down.
    filled = torch.tensor([[[9.0, 9.0], [1 / 512, 10 / 288], [9.0, 9.0]]])
    huber = TrajectoryRectifier(InpaintNet(), "huber")._loss(filled, batch)
    assert huber.item() == pytest.approx((0.5 + 4 * (10 - 2)) / 2, rel=1e-5)
    mse = TrajectoryRectifier(InpaintNet(), "mse")._loss(filled, batch)
    assert mse.item() == pytest.approx((1 + 100) / 288**2 / 2, rel=1e-5)


def test_it_learns_the_truth_from_what_a_tracker_finds():
    module = TrajectoryRectifier(ResidualInpaintNet(8), "mse")
    module.log = lambda *_, **__: None
    at = torch.arange(5.0)
    xy = torch.stack([at, at], dim=1)[None] / 10
    mask = torch.tensor([[False, False, True, False, False]])
    batch = {"xy": xy, "visible": torch.ones(1, 5, dtype=torch.bool), "mask": mask}
    assert module.training_step(batch, 0).item() == pytest.approx(0, abs=1e-10)
    # Found 0.04 of the height too low on both sides of the gap, and so is the curve through it.
    found = {"found_xy": xy + torch.tensor([0.0, 0.04]), "found": batch["visible"]}
    loss = module.training_step(batch | found, 0)
    assert loss.item() == pytest.approx(0.04**2 / 2, rel=1e-4)
    # With one ball more lost there are still two sides; without any there is nothing to go by.
    lost = {"found_xy": xy, "found": torch.tensor([[False, True, True, True, False]])}
    assert module.training_step(batch | lost, 0).item() == pytest.approx(0, abs=1e-10)
    none = {"found_xy": xy, "found": torch.zeros(1, 5, dtype=torch.bool)}
    assert module.training_step(batch | none, 0).item() > 0.01


@pytest.mark.parametrize("network", [InpaintNet(), ResidualInpaintNet(8)])
def test_it_learns_and_is_read_back(tmp_path, network, capsys):
    torch.manual_seed(0)
    module = TrajectoryRectifier(network, "mse")
    module.configure_optimizers = lambda: torch.optim.Adam(module.parameters(), 1e-3)
    before = [weight.clone() for weight in network.parameters()]
    fitting = trainer(tmp_path, max_epochs=2, num_sanity_val_steps=0)
    fitting.fit(module, Parabolas())
    assert any(not torch.equal(a, b) for a, b in zip(before, network.parameters(), strict=True))
    assert "epoch 2: mean error (within 4 px): network " in capsys.readouterr().out
    fitting.save_checkpoint(tmp_path / "a.ckpt")
    back = load_rectifier(tmp_path / "a.ckpt")
    assert type(back) is type(network)
    for name, weight in network.state_dict().items():
        torch.testing.assert_close(back.state_dict()[name], weight)
    assert not back.training


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ([1], "not a checkpoint of a rectifier"),
        ({"state_dict": {"network.x": torch.zeros(1)}}, "it holds a tracker, or something else"),
        (
            {"state_dict": {}, "rectifier": {"class_path": "torch.nn.Linear", "init_args": {}}},
            "Linear is not a TrajectoryNetwork",
        ),
        (
            {
                "state_dict": {},
                "rectifier": {"class_path": "tracknet.models.inpaintnet.InpaintNet", "init_args": {}},
            },
            "cannot be built from it .*Missing key",
        ),
    ],
)
def test_other_checkpoints_are_refused(tmp_path, content, message):
    torch.save(content, tmp_path / "a.ckpt")
    with pytest.raises(TrackNetError, match=message):
        load_rectifier(tmp_path / "a.ckpt")


def test_rectifiers_by_name(tmp_path):
    assert isinstance(choose_fill("linear"), LinearFill)
    assert isinstance(choose_fill("acceleration"), AccelerationFill)
    assert isinstance(choose_fill("cubic"), CubicFill)
    with pytest.raises(UsageError, match="no file 'linea'; did you mean 'linear'"):
        choose_fill("linea")


@pytest.mark.parametrize(
    "wrapped",
    [
        # As TrackNetV3 writes it: the best accuracy is a NumPy number, which is no plain value.
        lambda weights: {
            "epoch": 3,
            "max_val_acc": np.float64(0.9),
            "model": weights,
            "param_dict": {"a": 1},
        },
        lambda weights: weights,
        lambda weights: {"state_dict": {f"module.{name}": weight for name, weight in weights.items()}},
    ],
)
def test_a_published_inpaintnet_fills_as_it_is(tmp_path, wrapped):
    torch.manual_seed(3)
    network = InpaintNet()
    torch.save(wrapped(network.state_dict()), tmp_path / "InpaintNet_best.pt")
    fill = choose_fill(str(tmp_path / "InpaintNet_best.pt"))
    assert isinstance(fill, LearnedFill)
    assert not fill.network.training
    xy, visible = np.linspace([100, 90], [400, 30], 16), np.ones(16, bool)
    visible[6:9] = False
    found, filled = fill_gaps(xy, visible, fill, (288, 512))
    same, _ = fill_gaps(xy, visible, LearnedFill(network.eval()), (288, 512))
    np.testing.assert_array_equal(found, same)
    assert filled.tolist() == (~visible).tolist()


def test_the_command_trains_on_label_files_alone(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["tracknet"])
    for match in (1, 2):
        folder = tmp_path / "labels" / f"match{match}" / "csv"
        folder.mkdir(parents=True)
        rows = [f"{n},1,{100 + 20 * n},{300 - 30 * n + n * n}" for n in range(30)]
        (folder / "1_01_00_ball.csv").write_text("Frame,Visibility,X,Y\n" + "\n".join(rows) + "\n")
    words = ["--config", "configs/experiment/rectifier.yaml", "--data.root", "labels", "--data.val=[match2]"]
    words += ["--trainer.max_epochs=1", "--model.network.channels=8", "--trainer.enable_progress_bar=false"]
    assert main(["fit", *words]) == 0
    best = "runs/rectifier/version_0/checkpoints/best.ckpt"
    assert f"tracknet track VIDEO --ckpt TRACKER --rectifier {best}" in capsys.readouterr().out
    with open("runs/rectifier/version_0/metrics.csv", newline="") as file:
        figures = next(row for row in csv.DictReader(file) if row["val/error"])
    assert float(figures["val/cubic_error"]) == pytest.approx(0, abs=1e-2)
    assert isinstance(choose_fill(best).network, ResidualInpaintNet)
    assert main(["test", "--ckpt_path", best]) == 0


@pytest.mark.parametrize(
    ("chosen", "said"),
    [
        (
            ["configs/base.yaml", "--data=TrajectoryDataModule"],
            "HeatmapTracker cannot learn from TrajectoryDataModule, but from rallies",
        ),
        (
            ["configs/experiment/rectifier.yaml", "--data=FlatVideoDataModule"],
            "TrajectoryRectifier cannot learn from FlatVideoDataModule, but from a TrajectoryDataModule",
        ),
    ],
)
def test_trackers_learn_from_rallies_and_rectifiers_from_trajectories(
    chosen, said, tmp_path, monkeypatch, capsys
):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["tracknet"])
    assert main(["fit", "--config", *chosen]) == 2
    assert said in capsys.readouterr().err
