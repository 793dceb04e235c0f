"""WASB: the Hydra files of its evaluation code, by group or merged."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tracknet.configs.migration import wasb_values as of
from tracknet.configs.migration.draft import Draft, values_of
from tracknet.configs.migration.rules import Line, Rule, apply, flatten

GROUPS: dict[str, frozenset[str]] = {
    "model": frozenset({"frames_in", "frames_out", "inp_height", "rgb_diff"}),
    "dataloader": frozenset({"sampler", "heatmap", "train_clip", "test_clip"}),
    "dataset": frozenset({"root_dir", "csv_filename", "visible_flags"}),
    "detector": frozenset({"postprocessor"}),
    "transform": frozenset({"train", "test"}),
    "tracker": frozenset({"max_disp"}),
    "loss": frozenset({"sub_name", "auto_weight"}),
    "optimizer": frozenset({"learning_rate"}),
    "runner": frozenset({"gpus", "vis_result", "device"}),
}
"""Groups of files, and keys by which a file of the group is known."""

DEFAULTS: dict[str, Any] = {
    "model.name": "hrnet",
    "model.frames_in": 3,
    "dataset.name": "badminton",
    "dataset.root_dir": "datasets/badminton",
    "dataloader.heatmap.name": "binary_fixed_size",
    "dataloader.heatmap.sigmas": [2.5],
    "optimizer.name": "adam",
    "optimizer.learning_rate": 0.001,
    "optimizer.weight_decay": 0.0,
    "optimizer.scheduler.name": "multistep",
    "loss.sub_name": "quality_focal",
    "seed": 1234,
}
"""What is taken for groups that are not given."""

_BUILT = "built into the network, as published"
_LAYOUT = "the data module knows the names of folders and files"
_EVALUATION = "every frame is evaluated, in order"
_JITTER = "transform.train.color_jitter"
_SAMPLER = "dataloader.sampler"
_FOUND = "detector.postprocessor"
_STAGES = "model.MODEL.EXTRA"

RULES = (
    Rule("model.name", "model.network", convert=of.one_of(of.NETWORKS, "model.name")),
    Rule("model.frames_in", "model.network.frames"),
    Rule(
        "model.frames_out",
        convert=of.same_as("model.frames_in", "networks here give a heatmap for every frame"),
    ),
    Rule("model.inp_height", "model.input_size", convert=of.height),
    Rule("model.inp_width", "model.input_size", convert=of.width),
    Rule(
        "model.out_height", convert=of.same_as("model.inp_height", "the network gives the size of its input")
    ),
    Rule("model.out_width", convert=of.same_as("model.inp_width", "the network gives the size of its input")),
    Rule("model.rgb_diff", convert=of.equal(False, "differences of frames are not offered; see TrackNetV4")),
    Rule("model.out_scales", convert=of.equal([0], "networks here give one scale")),
    Rule(f"{_STAGES}.STAGE2.NUM_CHANNELS", "model.network.width", convert=of.channels),
    Rule("model.MODEL.*", note=_BUILT),
    *(
        Rule(f"model.{name}", note=_BUILT)
        for name in (
            "bilinear",
            "halve_channel",
            "mode",
            "blocks",
            "channels",
            "neck_channels",
            "out_mid_channels",
        )
    ),
    Rule("dataset.name", "data.class_path", convert=of.data),
    Rule("dataset.root_dir", "data.root"),
    *(
        Rule(f"dataset.{part}.{name}", f"data.{part}", convert=of.names)
        for part in ("train", "test")
        for name in ("matches", "videos")
    ),
    *(
        Rule(
            f"dataset.{part}.num_clip_ratio", convert=of.equal(1.0, "all clips are taken; name fewer instead")
        )
        for part in ("train", "test")
    ),
    *(
        Rule(f"dataset.{part}.refine_npz_path", note="HardFrameMining finds the hard frames while training")
        for part in ("train", "test")
    ),
    Rule("dataset.visible_flags", note="labels say where a ball is visible; 0 is the only flag without one"),
    *(
        Rule(f"dataset.{name}", note=_LAYOUT)
        for name in (
            *(
                "ext",
                "csv_filename",
                "video_dirname",
                "frame_dirname",
                "csv_dirname",
                "anno_dirname",
                "img_ext",
            ),
            *("video_ext", "annos_dir", "videos_dir"),
        )
    ),
    Rule(f"{_SAMPLER}.train_batch_size", "data.batch_size", convert=of.batch),
    Rule(f"{_SAMPLER}.name", note="training windows are shuffled by seed and epoch"),
    Rule(f"{_SAMPLER}.train_shuffle_batch", convert=of.equal(True, "training windows are always shuffled")),
    Rule(f"{_SAMPLER}.train_drop_last", convert=of.equal(True, "a smaller last batch is always left out")),
    Rule(f"{_SAMPLER}.test_batch_size", note="data.batch_size counts for all parts"),
    Rule(f"{_SAMPLER}.test_shuffle_batch", note=_EVALUATION),
    Rule(f"{_SAMPLER}.test_drop_last", note=_EVALUATION),
    Rule(f"{_SAMPLER}.inference_video_batch_size", note="tracknet track has --batch_size"),
    Rule(f"{_SAMPLER}.*", note=_EVALUATION),
    Rule("dataloader.train_num_workers", "data.num_workers"),
    Rule("dataloader.test_num_workers", note="data.num_workers counts for all parts"),
    Rule("dataloader.inference_video_num_workers", note="tracknet track decodes by itself"),
    *(
        Rule(f"dataloader.{name}", note="the command says what is run: tracknet fit, test, predict or track")
        for name in ("train", "test", "train_clip", "test_clip", "inference_video")
    ),
    Rule("dataloader.heatmap.name", "model.target", convert=of.target),
    Rule("dataloader.heatmap.sigmas", "model.target.radius", convert=of.radius),
    Rule("dataloader.heatmap.min_value", "model.target.floor", convert=of.floor),
    Rule("dataloader.heatmap.mags", note="targets have the height 1"),
    Rule(f"{_FOUND}.blob_det_method", "model.decoder", convert=of.blobs),
    Rule(f"{_FOUND}.score_threshold", "model.decoder.threshold"),
    Rule(f"{_FOUND}.use_hm_weight", "model.decoder.select", convert=of.weighed),
    Rule(f"{_FOUND}.scales", convert=of.equal([0], "networks here give one scale")),
    Rule(f"{_FOUND}.*", note="the decoder of the module takes its place"),
    Rule("detector.step", "model.eval_mode", convert=of.step),
    Rule("detector.model_path", note="tracknet checkpoint import FILE makes a checkpoint for --ckpt_path"),
    Rule("detector.*", note="the decoder of the module takes its place"),
    Rule("tracker.*", note="candidates are followed by `tracknet track`, not in training"),
    Rule("transform.train.horizontal_flip.p", "data.augmentation.flip"),
    Rule(f"{_JITTER}.brightness", "data.augmentation.brightness", convert=of.at_half),
    Rule(f"{_JITTER}.contrast", "data.augmentation.contrast", convert=of.at_half),
    Rule(f"{_JITTER}.saturation", note="told by hue"),
    Rule(f"{_JITTER}.hue", "data.augmentation.colour", convert=of.at_half),
    Rule(f"{_JITTER}.p", note="colours change in all windows"),
    Rule("transform.train.crop.max_rescale", "data.augmentation.scale", convert=of.zoom),
    Rule("transform.train.crop.p", note="the magnification is drawn for all windows"),
    Rule("transform.test.*", note="pictures are never changed in evaluation"),
    Rule("loss.sub_name", "model.loss", convert=of.loss),
    Rule("loss.beta", "model.loss.beta"),
    Rule("loss.gamma", "model.loss.gamma"),
    Rule("loss.alpha", "model.loss.alpha", convert=of.combined),
    Rule("loss.epsilon", "model.loss.epsilon", convert=of.combined),
    Rule("loss.name", convert=of.equal("heatmap", "losses here compare heatmaps")),
    Rule("loss.auto_weight", convert=of.equal(False, "weights of several losses are not learned here")),
    Rule("loss.scales", convert=of.equal([0], "networks here give one scale")),
    Rule("optimizer.name", "optimizer", convert=of.one_of(of.OPTIMIZERS, "optimizer.name")),
    Rule("optimizer.learning_rate", "optimizer.lr"),
    Rule("optimizer.weight_decay", "optimizer.weight_decay"),
    Rule("optimizer.momentum", "optimizer.momentum"),
    Rule("optimizer.scheduler.name", "lr_scheduler", convert=of.schedule),
    Rule("optimizer.scheduler.stepsize", "lr_scheduler.milestones", convert=of.stepped),
    Rule("optimizer.scheduler.gamma", "lr_scheduler.gamma", convert=of.stepped),
    Rule("optimizer.scheduler.factor", "lr_scheduler.factor", convert=of.factor),
    Rule("runner.device", "trainer.accelerator", convert=of.accelerator),
    Rule("runner.gpus", "trainer.devices", convert=of.devices),
    Rule("runner.max_epochs", "trainer.max_epochs"),
    Rule("runner.eval.dist_threshold", "model.metrics.tolerance"),
    Rule("runner.eval.score_threshold", note=f"was never read, {_FOUND}.score_threshold counts"),
    Rule("runner.split", note="the command says it: tracknet validate or tracknet test"),
    Rule("runner.model_path", note="tracknet checkpoint import FILE makes a checkpoint for --ckpt_path"),
    Rule("runner.*", note="the commands and callbacks here see to it"),
    Rule("seed", "seed_everything"),
    Rule("output_dir", "trainer.logger.save_dir", convert=lambda value, _: value or "runs"),
    Rule("hydra.*", note="runs have numbered folders below trainer.logger.save_dir"),
    Rule("defaults", note="the files that it names are read where they lie beside it"),
)
"""Every key of the files; the first rule that covers a key counts."""


def migrate(given: Mapping[str, Any]) -> tuple[Draft, list[Line]]:
    """Convert a configuration of WASB.

    Args:
        given: The groups that there are, each under its name, and the keys of the main file.

    Returns:
        The new configuration, and a line for every given key.
    """
    flat = flatten(given, RULES)
    groups = {key.partition(".")[0] for key in flat}
    filled = {key: value for key, value in DEFAULTS.items() if key.partition(".")[0] not in groups}
    needed = {
        key: value for key, value in DEFAULTS.items() if key.endswith("name") or key.startswith("model.")
    }
    old = {**needed, **filled, **flat}
    old.setdefault("dataloader.heatmap.sigmas", [2.5])
    old.setdefault(f"{_SAMPLER}.train_batch_size", 8)
    if not old.get("output_dir"):
        old["output_dir"] = "runs"
    draft = Draft(_skeleton())
    return draft, apply(RULES, flat, old, draft)


def _skeleton() -> dict[str, Any]:
    values = values_of("base.yaml")
    values["trainer"] |= {"devices": 1, "gradient_clip_val": None}
    values["trainer"]["logger"]["init_args"]["name"] = "wasb"
    arguments = values["model"]["init_args"]
    values["model"]["init_args"] = {
        "network": {},
        "loss": {},
        "target": {},
        "decoder": {"class_path": "ComponentDecoder", "init_args": {"select": "score"}},
        "metrics": {"class_path": "BallMetrics", "init_args": {"preset": "wasb"}},
        "input_size": arguments["input_size"],
    }
    still = {"flip": 0.0, "brightness": 0.0, "contrast": 0.0, "colour": 0.0}
    values["data"] = {
        "class_path": "",
        "init_args": {
            "root": "data",
            "augmentation": {"class_path": "Augmentation", "init_args": still},
        },
    }
    values |= {"optimizer": {}, "lr_scheduler": {}}
    return values
