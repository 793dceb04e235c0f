"""Why no ball is found: each cause is made for real, and named."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from lightning.pytorch import Trainer
from matplotlib.figure import Figure
from PIL import Image
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from tracknet.data.datamodules import FlatVideoDataModule
from tracknet.data.labels import Labels, write_labels
from tracknet.evaluation.decoding import ComponentDecoder
from tracknet.evaluation.metrics import BallMetrics
from tracknet.models import CompactTrackNet
from tracknet.training.callbacks import NoDetectionsDiagnosis
from tracknet.training.callbacks.monitoring import diagnosis
from tracknet.training.callbacks.monitoring.evidence import Evidence, place_findings, threshold_finding
from tracknet.training.lightning_module import HeatmapTracker
from tracknet.training.loggers import RunLogger

SIZE = (64, 96)


class Descent(HeatmapTracker):
    """Trained by plain descent."""

    rate = 0.0

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=self.rate)


@pytest.fixture
def relabelled(tmp_path, write_rally):
    """Writes clips whose labels a test changes; ``v`` is validated, ``t`` trained on."""

    def write(change, clips=("t", "v"), **options):
        root = tmp_path / "rallies"
        root.mkdir()
        for phase, name in enumerate(("t", "v")):
            labels = write_rally(root, name, 24, phase=float(phase), **options)
            if name in clips:
                write_labels(root / f"{name}.csv", change(labels), "trajectory", options.get("size", SIZE))
        return root

    return write


def unchanged(labels):
    return labels


def moved(function):
    return lambda labels: Labels(function(labels.xy).astype(np.float32), labels.visible, labels.labelled)


def later(frames):
    """Labels that come some frames too late."""

    def change(labels):
        return Labels(
            np.roll(labels.xy, frames, axis=0),
            np.roll(labels.visible, frames),
            np.roll(labels.labelled, frames),
        )

    return change


def hidden(labels):
    return Labels(labels.xy, np.zeros_like(labels.visible), labels.labelled)


@pytest.fixture(autouse=True)
def quick(monkeypatch, request):
    """Draws next to nothing, which takes a second less, where no test looks at the picture."""
    if request.node.name != "test_a_threshold_that_is_too_high":
        small = Figure(figsize=(1, 1))
        monkeypatch.setattr(diagnosis, "draw_diagnosis", lambda *_: small)


def diagnose(folder, root, network, capsys, rate=0.0, threshold=0.5, validations=1, **options):
    callback = NoDetectionsDiagnosis(validations=validations)
    decoder = ComponentDecoder(threshold=threshold)
    tracker = Descent(network, input_size=SIZE, decoder=decoder)
    tracker.rate = rate
    trainer = Trainer(
        **{
            "accelerator": "cpu",
            "max_epochs": validations,
            "limit_train_batches": 2,
            "logger": RunLogger(folder, name="", version="run"),
            "enable_progress_bar": False,
            "enable_model_summary": False,
            "enable_checkpointing": False,
            "num_sanity_val_steps": 1,
            "log_every_n_steps": 1,
            "callbacks": [callback],
        }
        | options
    )
    data = FlatVideoDataModule(
        root, train=["t"], val=["v"], size=SIZE, outputs=tracker.outputs, faults="mask"
    )
    trainer.fit(tracker, datamodule=data)
    said = [line for line in capsys.readouterr().out.splitlines() if line.startswith("notice")]
    return callback, said


@pytest.mark.parametrize(
    ("change", "cause", "words"),
    [
        (later(1), "time", "the ball of label t+1, so the labels come 1 frame too late"),
        (later(-2), "time", "the ball of label t-2, so the labels come 2 frames too early"),
        (moved(lambda xy: xy + np.array([-7.0, 6.0])), "space", "+7.0 px right and -4.0 px below"),
        (moved(lambda xy: xy[:, ::-1]), "space", "x and y of the labels are swapped"),
        (moved(lambda xy: (xy + 0.5) / 2 - 0.5), "space", "2 times their x and 2 times their y"),
    ],
)
def test_labels_that_are_moved(change, cause, words, tmp_path, relabelled, bright_network, capsys):
    # Square pictures keep positions with x and y swapped inside.
    root = relabelled(change, size=(96, 96))
    found, said = diagnose(tmp_path, root, bright_network(), capsys, 0.001)
    assert [finding.cause for finding in found.findings] == [cause]
    assert words in found.findings[0].words
    assert len(said) == 1
    assert words in said[0]
    assert said[0].endswith(f"(picture: {tmp_path / 'run' / 'diagnosis.png'})")


def test_a_threshold_that_is_too_high(tmp_path, relabelled, bright_network, capsys):
    found, said = diagnose(tmp_path, relabelled(unchanged), bright_network(), capsys, 0.001, threshold=1.0)
    [finding] = found.findings
    assert finding.cause == "threshold"
    assert "at 100% of the balls the heatmap is highest" in finding.words
    assert "below decoder.init_args.threshold=1;" in finding.words
    assert "% of the balls (false ones in 0% of the other frames)" in finding.words
    with Image.open(tmp_path / "run" / "diagnosis.png") as picture:
        assert picture.size == (1500, 900)
    events = EventAccumulator(str(tmp_path / "run"), {"images": 0})
    events.Reload()
    assert [event.step for event in events.Images("diagnosis")] == [2]
    assert len(said) == 1


def a_network():
    torch.manual_seed(2)
    return CompactTrackNet(3, "none", 4, (8, 8, 8))


def test_a_learning_rate_of_nothing(tmp_path, relabelled, capsys):
    found, _ = diagnose(tmp_path, relabelled(unchanged), a_network(), capsys, rate=0.0)
    assert [finding.cause for finding in found.findings] == ["learning_rate"]


def test_a_learning_rate_that_explodes(tmp_path, relabelled, capsys):
    root = relabelled(unchanged)
    found, _ = diagnose(tmp_path, root, a_network(), capsys, rate=1e12, limit_train_batches=4)
    assert "loss" in [finding.cause for finding in found.findings]
    assert "has exploded" in found.findings[0].words


def test_training_targets_without_a_ball(tmp_path, relabelled, capsys):
    root = relabelled(hidden, clips=("t",))
    found, _ = diagnose(tmp_path, root, a_network(), capsys, rate=0.1)
    [finding] = found.findings
    assert finding.cause == "targets"
    assert "of the 24 labelled frames of the training batches looked at none has a ball" in finding.words


def test_validation_clips_without_a_ball(tmp_path, relabelled, capsys):
    found, _ = diagnose(tmp_path, relabelled(hidden, clips=("v",)), a_network(), capsys, rate=0.1)
    assert "the validation clips have no labelled ball" in found.findings[0].words


def test_it_waits_for_some_validations_and_says_it_once(tmp_path, relabelled, capsys):
    root = relabelled(unchanged)
    found, said = diagnose(tmp_path, root, a_network(), capsys, rate=1e-6, validations=2, max_epochs=4)
    assert found.findings == []
    assert len(said) == 1
    assert said[0].startswith("notice, epoch 2: no ball has been found in 2 validations: no cause found")


def test_nothing_is_said_where_balls_are_found(tmp_path, relabelled, bright_network, capsys):
    _, said = diagnose(tmp_path, relabelled(unchanged), bright_network(), capsys)
    assert said == []
    assert not (tmp_path / "run" / "diagnosis.png").exists()


def test_evidence_in_numbers():
    # Eight balls on a curve, found where the next one is, with heights of 0.1 to 0.8.
    frame = torch.arange(8)
    xy = torch.stack([frame * 20.0, (frame * 7.0) % 30], dim=1)
    visible = torch.ones(8, dtype=torch.bool)
    found = torch.cat([xy[1:], torch.zeros(1, 2)])
    evidence = Evidence(
        torch.zeros(8, dtype=torch.int64),
        frame,
        found,
        (frame + 1) / 10,
        xy,
        visible,
        torch.tensor([[288, 512]]).expand(8, 2),
        (288, 512),
        BallMetrics(),
        0.9,
    )
    assert evidence.share(xy) == 0.0
    assert evidence.shift_shares()[6] == 1.0
    assert [one.cause for one in place_findings(evidence)] == ["time"]
    assert threshold_finding(evidence) is None
    right = Evidence(**{**vars(evidence), "found": xy})
    assert right.recall_at(0.45) == 0.5
    assert right.alarms_at(0.0) == 0.0
    assert place_findings(right) == []
    told = threshold_finding(right)
    assert told is not None
    # The middle and the lowest tenth of the heights 0.1 to 0.8, less one per cent.
    assert "0.45 would find 50% of the balls" in told.words
    assert "0.17 would find 88% of the balls" in told.words
