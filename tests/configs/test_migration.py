"""``tracknet config migrate``: every old key told, and files that the training commands accept."""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
import sys
from importlib import import_module
from itertools import chain
from pathlib import Path

import pytest
import yaml

from tracknet.cli.main import main
from tracknet.cli.parsing import Parsing
from tracknet.configs.migration import convert, legacy, migrate, read_old, tracknetv3, wasb
from tracknet.errors import UsageError

LEGACY = {
    "data": {"root": "rallies"},
    "data.split": {"train_games": ["game1"], "val_games": ["game2"]},
    "data.preprocess": {"resize": [640, 360], "normalize": True, "flip_prob": 0.25},
    "data.sequence": {"enabled": True, "length": 5, "stride": 2},
    "model": {"model_name": "vit_heatmap", "pretrained_model_name": "facebook/dinov3-vitb16-x"},
    "model.backbone": {
        "freeze": False,
        "device_map": "auto",
        "local_files_only": True,
        "patch_size": 16,
        "return_stages": [1, 2, 3, 4],
    },
    "model.decoder": {
        "channels": [384, 256, 128, 64],
        "upsample": [2, 2, 2],
        "blocks_per_stage": 2,
        "norm": "gn",
        "activation": "gelu",
        "use_depthwise": True,
        "use_se": True,
        "se_reduction": 8,
        "dropout": 0.1,
    },
    "model.fpn": {"in_channels": [128, 256, 512, 1024], "lateral_dim": 64, "fuse": "concat"},
    "model.hrnet": {
        "in_channels": [128, 256, 512, 1024],
        "widths": [32, 64, 128, 256],
        "num_units": 2,
        "out_channels": 64,
    },
    "model.heatmap": {"size": [256, 144], "sigma": 2.0},
    "model.lora": {
        "enabled": True,
        "r": 8,
        "lora_alpha": 16,
        "lora_dropout": 0.1,
        "target_modules": ["q"],
        "bias": "none",
        "task_type": "FEATURE_EXTRACTION",
    },
    "model.quantization": {
        "enabled": True,
        "quant_type": "nf4",
        "compute_dtype": "bf16",
        "skip_modules": [],
        "mode": "4bit",
        "double_quant": True,
    },
    "training": {
        "seed": 7,
        "batch_size": 6,
        "epochs": 10,
        "precision": "bf16",
        "amp": True,
        "grad_clip": 3.0,
        "backbone_freeze_epochs": 2,
        "output_dir": "out",
        "log_dir": "out/l",
        "ckpt_dir": "out/c",
        "limit_train_batches": 3,
        "limit_val_batches": 2,
        "grad_clip_norm": 0.5,
    },
    "training (micro-batching)": {
        "adaptive_micro_batch": True,
        "min_micro_batch_size": 2,
        "mb_backoff_factor": 2.0,
        "oom_retries": 3,
        "micro_batch_size": 4,
    },
    "training.data_loader": {
        "num_workers": 1,
        "pin_memory": True,
        "persistent_workers": True,
        "prefetch_factor": 2,
        "drop_last": True,
    },
    "training.optimizer": {"name": "sgd", "lr": 0.01, "weight_decay": 0.1, "momentum": 0.8},
    "training.scheduler": {"name": "cosine", "warmup_epochs": 2, "warmup_start_factor": 0.1},
    "training.loss": {"name": "focal", "alpha": 1.5, "beta": 3.0},
    "training.early_stopping": {"monitor": "val/loss", "mode": "min", "patience": 4, "min_delta": 0.1},
    "runtime": {
        "seed": 7,
        "project_root": ".",
        "output_root": "out",
        "log_dir": "l",
        "ckpt_dir": "c",
        "timestamp": "20250101-000000",
        "run_id": "run-20250101-000000-s7",
    },
}
"""Every key that the older tracknet had, by group."""

KEYS = [f"{group.split(' ')[0]}.{name}" for group, names in LEGACY.items() for name in names]


def nested(groups):
    values = {}
    for group, names in groups.items():
        inner = values
        for part in group.split(" ")[0].split("."):
            inner = inner.setdefault(part, {})
        inner |= names
    return values


@pytest.fixture(scope="module")
def parsing():
    return Parsing("fit")


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("TRACKNET_ENV", raising=False)
    return tmp_path


def write(path, values):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(yaml.safe_dump(values))
    return str(path)


def run(words, capsys):
    code = main(["config", "migrate", *words])
    return code, *capsys.readouterr()


def lines_of(migration):
    return {line.key: line for line in migration.lines}


def test_every_legacy_key_is_told_and_the_file_is_accepted(here, parsing, capsys):
    old = write(here / "old.yaml", nested(LEGACY))
    code, out, _ = run([old, "--out", "new.yaml"], capsys)
    assert code == 0
    lines = lines_of(migrate([old]))
    assert set(lines) == set(KEYS)
    assert {line.kind for line in lines.values()} == {"kept", "renamed", "changed", "dropped"}
    assert all(line.note for line in lines.values() if line.kind in ("changed", "dropped"))
    assert all(key in out for key in KEYS)
    assert "so that 'no ball' is never learned" in out
    assert f"{len(KEYS)} keys: " in out
    faults = parsing.faults(["new.yaml"], ["--trainer.accelerator=gpu", "--env=gpu"])
    assert [fault for fault in faults if "accelerator" not in fault] == []


def test_weights_without_a_word_on_downloads(here):
    old = {"model_name": "vit_heatmap", "pretrained_model_name": "facebook/dinov3-vits16-x"}
    report = migrate([write(here / "old.yaml", {"model": old})]).report()
    assert "not downloaded unless `download: true`" in report


def test_what_legacy_values_become(here):
    values = yaml.safe_load(migrate([write(here / "old.yaml", nested(LEGACY))]).yaml())
    model, data, trainer = values["model"]["init_args"], values["data"]["init_args"], values["trainer"]
    callbacks = {one["class_path"]: one.get("init_args", {}) for one in trainer["callbacks"]}
    assert model["network"]["class_path"] == "ViTUpsample"
    network = model["network"]["init_args"]
    assert network.pop("lora") == {
        "class_path": "LoRA",
        "init_args": {"r": 8, "alpha": 16, "dropout": 0.1, "target_modules": ["q"], "bias": "none"},
    }
    assert [network.pop(name) for name in ("frames", "background", "kind")] == [5, "none", "dinov3"]
    assert [network.pop(name) for name in ("embedding", "layers", "heads")] == [768, 12, 12]
    assert [network.pop(name) for name in ("blocks", "norm", "activation")] == [2, "gn", "gelu"]
    assert [network.pop(name) for name in ("depthwise", "se_reduction", "dropout")] == [True, 8, 0.1]
    assert network == {"widths": [384, 256, 128, 64], "heatmap_size": [144, 256]}
    assert model["input_size"] == [352, 640]  # 360 cut to a multiple of 16
    assert model["target"]["init_args"] == {"unit": "heatmap", "sigma": 2.0}
    assert model["loss"] == {"class_path": "MaskedFocalLoss", "init_args": {"alpha": 1.5, "beta": 3.0}}
    assert (data["root"], data["train"], data["val"], data["step"]) == ("rallies", ["game1"], ["game2"], 2)
    assert (data["batch_size"], data["num_workers"], data["augmentation"]["init_args"]["flip"]) == (
        6,
        1,
        0.25,
    )
    assert callbacks["PretrainedBackbone"] == {"weights": "facebook/dinov3-vitb16-x", "download": False}
    assert callbacks["BackboneFreeze"] == {"epochs": 2}
    assert callbacks["AdaptiveMicroBatch"] == {"min_size": 2, "backoff": 2.0, "retries": 3, "size": 4}
    assert callbacks["EarlyStopping"] == {
        "monitor": "val/loss",
        "mode": "min",
        "patience": 4,
        "min_delta": 0.1,
    }
    assert trainer["callbacks"][0]["init_args"]["dirpath"] == "out/c"
    assert trainer["logger"]["init_args"] == {"save_dir": "out/l", "name": ""}
    assert (trainer["precision"], trainer["gradient_clip_val"], trainer["max_epochs"]) == (
        "bf16-mixed",
        0.5,
        10,
    )
    assert (trainer["limit_train_batches"], trainer["limit_val_batches"]) == (3, 2)
    assert values["optimizer"] == {
        "class_path": "SGD",
        "init_args": {"lr": 0.01, "weight_decay": 0.1, "momentum": 0.8},
    }
    assert values["lr_scheduler"]["init_args"] == {"warmup": 0.2, "floor": 0.0}
    assert values["seed_everything"] == 7


def test_a_frozen_backbone_with_adapters_trains_these(here):
    old = nested(LEGACY)
    old["model"] |= {"backbone": {"freeze": True}, "lora": {"enabled": True, "r": 4}}
    migration = migrate([write(here / "old.yaml", old)])
    callbacks = yaml.safe_load(migration.yaml())["trainer"]["callbacks"]
    assert "BackboneFreeze" not in [one["class_path"] for one in callbacks]
    assert lines_of(migration)["model.backbone.freeze"].kind == "kept"


def test_comments_stand_beside_what_changed(here):
    text = migrate([write(here / "old.yaml", nested(LEGACY))]).yaml()
    assert "    input_size: [352, 640] # [height, width], was [width, height]; 640x360 cut" in text
    assert "        heatmap_size: [144, 256] # [height, width], was [width, height]" in text
    assert "    warmup: 0.2 # share of all steps, was 2 epochs" in text
    assert not any("#" in line for line in text.splitlines() if "batch_size" in line)


@pytest.mark.parametrize(
    ("override", "key", "value"),
    [
        ("training.grad_clip=3", "trainer.gradient_clip_val", 3),
        ("training.amp=true", "trainer.precision", "16-mixed"),
        ("training.scheduler=null", "lr_scheduler.class_path", "ConstantLR"),
        ("model.model_name=convnext_fpn_heatmap", "model.init_args.network.class_path", "ConvNeXtFPN"),
        ("model.model_name=convnext_hrnet_heatmap", "model.init_args.network.class_path", "ConvNeXtHRNet"),
        ("data.preprocess.resize=null", "model.init_args.input_size", [288, 512]),
        ("training.optimizer.momentum=0.9", "optimizer.class_path", "AdamW"),
        ("training.early_stopping.patience=2", "trainer.callbacks.15.init_args.monitor", "val/loss"),
        ("model.heatmap.size=[64,36]", "model.init_args.metrics.init_args.pixels", [36, 64]),
        ("training.ckpt_dir=c", "trainer.callbacks.0.init_args.dirpath", "c"),
        ("data.preprocess.flip_prob=null", "data.init_args.augmentation.init_args.flip", 0.0),
        ("training.output_dir=there", "trainer.logger.init_args.save_dir", "there/logs"),
    ],
)
def test_single_values(override, key, value, here):
    old = {"training": {"epochs": 4}, "data": {"root": "x"}, "model": {"model_name": "vit_heatmap"}}
    migration = migrate([write(here / "old.yaml", old), override])
    found = yaml.safe_load(migration.yaml())
    for name in key.split("."):
        found = found[int(name) if name.isdigit() else name]
    assert found == value
    assert lines_of(migration)[override.partition("=")[0]].place == "command line"


def test_parts_are_known_by_their_contents_and_defaults_fill_the_rest(here):
    data = write(here / "a.yaml", {"root": "games", "split": {"train_games": ["game3"]}})
    training = write(here / "b.yaml", {"epochs": 3, "log_dir": "${training.output_dir}/x", "output_dir": "o"})
    migration = migrate([training, data])
    values = yaml.safe_load(migration.yaml())
    assert values["data"]["init_args"]["train"] == ["game3"]
    assert "val" not in values["data"]["init_args"]
    assert values["trainer"]["max_epochs"] == 3
    assert values["trainer"]["logger"]["init_args"]["save_dir"] == "o/x"
    assert values["model"]["init_args"]["network"]["class_path"] == "ViTUpsample"
    assert lines_of(migration)["data.root"].place.endswith("a.yaml:1")


@pytest.mark.parametrize(
    ("override", "key", "value"),
    [
        ("training.seed=null", "seed_everything", False),
        ("data.split.train_games=[1,2]", "data.init_args.train", ["1", "2"]),
        ("data.split.train_games=game1", "data.init_args.train", ["game1"]),
        ("data.root=7", "data.init_args.root", "7"),
        ("training.epochs=4.0", "trainer.max_epochs", 4),
        ("training.limit_val_batches=null", "trainer.limit_val_batches", None),
        ("training.amp=true", "trainer.precision", "16-mixed"),
        ("training.backbone_freeze_epochs=null", "trainer.max_epochs", 20),
        ("training.scheduler.warmup_epochs=null", "lr_scheduler.init_args.warmup", 0.0),
        ("model.heatmap.size=[256.0,144.0]", "model.init_args.metrics.init_args.pixels", [144, 256]),
        ("training.limit_train_batches=3", "trainer.limit_train_batches", 3),
    ],
)
def test_values_whose_meaning_is_clear_are_taken(override, key, value, here, parsing):
    migration = migrate([write(here / "old.yaml", {"data": {"root": "x"}}), override])
    found = yaml.safe_load(migration.yaml())
    for name in key.split("."):
        found = found[name]
    assert repr(found) == repr(value)
    (here / "new.yaml").write_text(migration.yaml())
    faults = parsing.faults(["new.yaml"], [])
    assert [one for one in faults if "16-mixed on a CPU" not in one] == []


@pytest.mark.parametrize("games", [[], None])
def test_without_games_for_validation_a_share_is_held_out_in_so_many_words(games, here, parsing):
    old = {"data": {"root": "x", "split": {"train_games": ["game1"], "val_games": games}}}
    migration = migrate([write(here / "old.yaml", old)])
    assert lines_of(migration)["data.split.val_games"].kind == "changed"
    assert "15% of the training clips are held out" in migration.report()
    assert yaml.safe_load(migration.yaml())["data"]["init_args"]["holdout"] == 0.15
    (here / "new.yaml").write_text(migration.yaml())
    assert parsing.faults(["new.yaml"], []) == []


def test_a_clip_of_true_names_no_norm(here):
    migration = migrate([write(here / "t.yaml", {"training": {"grad_clip": True, "grad_clip_norm": None}})])
    assert lines_of(migration)["training.grad_clip"].kind == "dropped"
    assert yaml.safe_load(migration.yaml())["trainer"]["gradient_clip_val"] is None
    with pytest.raises(UsageError, match=r"training.grad_clip: found inf; expected a number from 0, or null"):
        migrate([write(here / "t.yaml", {"training": {"grad_clip": float("inf")}})])


@pytest.mark.parametrize(
    ("model", "name", "kind", "size"),
    [
        ("vit_heatmap", "/models/small_data/dinov3-vitb16-x/", "dinov3", {"embedding": 768}),
        ("vit_heatmap", "google/vit-large-patch16-224", "vit", {"embedding": 1024}),
        ("vit_heatmap", "facebook/dino_vits16", "vit", {"embedding": 384}),
        ("vit_heatmap", "/hub/models--google--vit-base-patch16-224", "vit", {"embedding": 768}),
        ("convnext_fpn_heatmap", "/m/small/dinov3-convnext-base", "dinov3", {"depths": [3, 3, 27, 3]}),
        ("convnext_fpn_heatmap", "facebook/convnextv2-tiny-1k", "convnextv2", {"depths": [3, 3, 9, 3]}),
    ],
)
def test_the_backbone_is_told_by_the_last_part_of_its_name(model, name, kind, size, here):
    old = {"model": {"model_name": model, "pretrained_model_name": name}}
    migration = migrate([write(here / "old.yaml", old)])
    network = yaml.safe_load(migration.yaml())["model"]["init_args"]["network"]["init_args"]
    assert {"kind": kind, **size}.items() <= network.items()
    assert f"(backbone {kind}, size " in migration.report()


@pytest.mark.parametrize(
    ("model", "name"),
    [
        ("vit_heatmap", "/models/dino_local"),
        ("vit_heatmap", "facebook/dinov2-small"),
        ("vit_heatmap", "google/vit-base-patch32-384"),
        ("vit_heatmap", "openai/clip-vit-base-patch16"),
        ("vit_heatmap", "/hub/models--openai--clip-vit-base-patch16"),
        ("convnext_fpn_heatmap", "laion/CLIP-convnext_base_w-laion2B-s13B-b82K"),
        ("convnext_fpn_heatmap", "/data/convnext-base/snapshot"),
        ("convnext_fpn_heatmap", "facebook/convnext-xlarge-224"),
    ],
)
def test_a_backbone_that_is_not_known_is_not_guessed(model, name, here):
    old = write(here / "old.yaml", {"model": {"model_name": model, "pretrained_model_name": name}})
    with pytest.raises(UsageError, match="whose last part tells no backbone that") as caught:
        migrate([old])
    assert f"found {name!r}" in str(caught.value)


def test_the_newest_checkpoints_lie_beside_the_best_only_if_they_tell_their_run(here):
    found = read_old([write(here / "old.yaml", nested(LEGACY))])
    for run_id, name, newest in ((None, "best", None), ("r7", "best_r7", "out/c")):
        callbacks = yaml.safe_load(convert(found, run_id).yaml())["trainer"]["callbacks"]
        saving = [one["init_args"] for one in callbacks if one["class_path"].endswith("Checkpoint")]
        assert (saving[0]["filename"], saving[0]["dirpath"]) == (name, "out/c")
        assert [options.get("dirpath") for options in saving[1:]] == [newest, newest]


def test_references_find_the_defaults_of_parts_that_are_not_named(here, capsys):
    old = {"log_dir": "${data.root}/logs", "ckpt_dir": "${runtime.output_root}/c${model.heatmap.size.0}"}
    values = yaml.safe_load(migrate([write(here / "training/t.yaml", {**old, "epochs": 2})]).yaml())
    assert values["trainer"]["logger"]["init_args"]["save_dir"] == "data/tracknet/logs"
    assert values["trainer"]["callbacks"][0]["init_args"]["dirpath"] == "outputs/c256"
    assert "root" not in lines_of(migrate([str(here / "training/t.yaml")]))
    wrong = write(here / "training/w.yaml", {"epochs": 2, "log_dir": "${nowhere.x}"})
    code, _, err = run([wrong], capsys)
    assert code == 2
    assert f"{wrong}:2: training.log_dir: " in err


@pytest.mark.parametrize(
    ("named", "override"),
    [
        ("data/tracknet", "training.epochs=3"),
        ("training/default", "data.root=rallies"),
        ("training/default", "model.heatmap.sigma=3"),
    ],
)
def test_a_section_that_only_a_word_touches_keeps_its_defaults(named, override, here, capsys):
    shutil.copytree(legacy.folder(), here / "configs")
    names = [f"{section}/{usual}" for section, usual in legacy.SECTIONS.items()]
    whole = [f"configs/{name}.yaml" for name in names]
    code, out, _ = run([f"configs/{named}.yaml", override], capsys)
    assert code == 0
    assert yaml.safe_load(out) == yaml.safe_load(run([*whole, override], capsys)[1])


def test_unknown_keys_have_a_nearest_name(here, capsys):
    old = write(here / "old.yaml", {"training": {"optimizer": {"lrr": 1}, "epochs": 2}, "data": {"zzzz": 1}})
    out, report = run([old], capsys)[1:]
    assert yaml.safe_load(out)["trainer"]["max_epochs"] == 2
    assert "did you mean 'training.optimizer.lr'?)" in report
    assert f"[{old}:" in report
    assert report.splitlines()[-1].endswith("2 unknown")


def test_packaged_defaults_are_accepted(here, parsing):
    for model in sorted(path.stem for path in (legacy.folder() / "model").glob("*.yaml")):
        words = [str(legacy.folder() / part) for part in ("data/tracknet.yaml", f"model/{model}.yaml")]
        migration = migrate([*words, str(legacy.folder() / "training/default.yaml")])
        assert not [line for line in migration.lines if line.kind == "unknown"]
        (here / "new.yaml").write_text(migration.yaml())
        assert parsing.faults(["new.yaml"], []) == []


def test_tracknetv3_command_line(here, parsing, capsys):
    words = "python train.py --model_name TrackNet --seq_len 8 --epochs 30 --batch_size 10 --bg_mode concat"
    words += " --alpha 0.5 --optim SGD --lr_scheduler StepLR --save_dir exp --verbose --learning_rate=0.01"
    code, out, _ = run([*words.split(), "--out=new.yaml"], capsys)
    assert code == 0
    assert out.splitlines()[-2].startswith("11 keys: 0 kept, 11 renamed")
    values = yaml.safe_load((here / "new.yaml").read_text())
    model = values["model"]["init_args"]
    assert model["network"] == {
        "class_path": "TrackNetV3",
        "init_args": {"frames": 8, "background": "concat"},
    }
    assert (model["mixup"], values["trainer"]["max_epochs"], values["seed_everything"]) == (0.5, 30, 13)
    assert values["optimizer"]["init_args"] == {"lr": 0.01, "momentum": 0.9, "weight_decay": 0.0}
    assert values["lr_scheduler"] == {"class_path": "StepLR", "init_args": {"step_size": 10, "gamma": 0.1}}
    assert values["data"]["init_args"]["batch_size"] == 10
    assert parsing.faults(["new.yaml"], []) == []


def test_tracknetv3_inpaintnet_in_a_script(here, parsing):
    script = here / "train.sh"
    script.write_text(
        "#!/bin/sh\npython3 train.py --model_name InpaintNet --seq_len 16 \\\n"
        "  --epochs 300 --batch_size 32 --mask_ratio 0.3 --tolerance 4\n"
    )
    migration = migrate([str(script)])
    values = yaml.safe_load(migration.yaml())
    assert values["model"]["init_args"]["network"] == "InpaintNet"
    data = values["data"]["init_args"]
    assert (data["window"], data["longest_gap"], data["scattered"], data["mask_share"]) == (16, 14, 1.0, 0.3)
    assert lines_of(migration)["tolerance"].kind == "dropped"
    (here / "new.yaml").write_text(migration.yaml())
    assert parsing.faults(["new.yaml"], []) == []


def test_every_flag_of_tracknetv3_has_a_rule():
    assert {rule.old for rule in tracknetv3.RULES} == {*tracknetv3.DEFAULTS, *tracknetv3.SWITCHES}


WASB = {
    "model/wasb": {
        "name": "hrnet",
        "frames_in": 3,
        "frames_out": 3,
        "inp_height": 288,
        "inp_width": 512,
        "out_height": 288,
        "out_width": 512,
        "rgb_diff": False,
        "out_scales": [0],
        "MODEL": {"EXTRA": {"STAGE2": {"NUM_CHANNELS": [24, 48]}}, "INIT_WEIGHTS": True},
    },
    "dataset/tennis": {
        "name": "tennis",
        "ext": ".jpg",
        "root_dir": "tennis",
        "visible_flags": [1, 2],
        "train": {"matches": ["game1", "game2"], "num_clip_ratio": 1.0, "refine_npz_path": None},
        "test": {"matches": ["game8"], "num_clip_ratio": 1.0},
    },
    "dataloader/default": {
        "train_clip": False,
        "sampler": {
            "name": "random",
            "train_batch_size": 5,
            "train_drop_last": True,
            "test_drop_last": False,
        },
        "train_num_workers": 2,
        "heatmap": {"name": "real_fixed_size", "sigmas": [3.5], "mags": [1.0], "min_value": 0.7},
    },
    "detector/tracknetv2": {
        "name": "tracknetv2",
        "step": 1,
        "postprocessor": {"score_threshold": 0.4, "blob_det_method": "concomp", "use_hm_weight": False},
    },
    "transform/full": {
        "train": {
            "color_jitter": {"p": 0.5, "brightness": 0.2, "contrast": 0.1, "saturation": 0.1, "hue": 0.1},
            "horizontal_flip": {"p": 0.5},
            "crop": {"p": 0.5, "max_rescale": 0.125},
        },
        "test": {"crop": {"p": 0.0}},
    },
    "tracker/online": {"name": "online", "max_disp": 65},
    "loss/hm_focal": {
        "name": "heatmap",
        "sub_name": "focal",
        "gamma": 1.0,
        "auto_weight": False,
        "scales": [0],
    },
    "optimizer/adam": {
        "name": "adam",
        "learning_rate": 0.002,
        "weight_decay": 0,
        "scheduler": {"name": "multistep", "stepsize": [4, 8], "gamma": 0.5},
    },
    "runner/eval": {
        "name": "eval",
        "device": "cuda",
        "gpus": [0, 1],
        "split": "test",
        "max_epochs": 12,
        "eval": {"score_threshold": 0.2, "dist_threshold": 5},
    },
}


def test_wasb_main_file_with_its_groups(here, parsing, capsys):
    for name, values in WASB.items():
        write(here / "configs" / f"{name}.yaml", values)
    groups = [dict([name.split("/")]) for name in WASB]
    main_file = {
        "defaults": ["_self_", *groups],
        "seed": 5,
        "output_dir": None,
        "hydra": {"run": {"dir": "/o/${now:%Y}"}},
    }
    code, out, _ = run([write(here / "configs/eval.yaml", main_file), "--out", "new.yaml"], capsys)
    assert code == 0
    assert out.splitlines()[-2].endswith(", 0 unknown")
    values = yaml.safe_load((here / "new.yaml").read_text())
    model, data = values["model"]["init_args"], values["data"]["init_args"]
    assert model["network"] == {"class_path": "WASB", "init_args": {"frames": 3, "width": 24}}
    assert model["target"] == {"class_path": "PeakTarget", "init_args": {"radius": 3.5, "floor": 0.7}}
    assert model["decoder"]["init_args"] == {"select": "area", "threshold": 0.4}
    assert model["loss"] == {"class_path": "FocalLoss", "init_args": {"gamma": 1.0}}
    assert (model["eval_mode"], model["metrics"]["init_args"]["tolerance"]) == ("average", 5)
    assert (values["data"]["class_path"], data["train"], data["test"]) == (
        *("TennisDataModule", ["game1", "game2"], ["game8"]),
    )
    assert data["augmentation"]["init_args"]["scale"] == [1.0, 1.125]
    assert data["batch_size"] == 2
    assert values["lr_scheduler"]["init_args"] == {"milestones": [4, 8], "gamma": 0.5}
    assert (values["trainer"]["devices"], values["trainer"]["max_epochs"]) == (2, 12)
    assert values["seed_everything"] == 5
    assert parsing.faults(["new.yaml"], ["--trainer.devices=1"]) == []


BASKETBALL = {
    "name": "basketball",
    "root_dir": "basketball",
    "anno_dirname": "ball-annos",
    "train": {"videos": None},
    "test": {"videos": ["21800974"]},
}


def test_further_groups_of_wasb(here, parsing, capsys):
    scheduler = {"name": "constant", "factor": 0.5}
    files = {
        "dataset": BASKETBALL,
        "loss": {"name": "heatmap", "sub_name": "combo", "alpha": 0.2, "epsilon": 0.01},
        "optimizer": {"name": "sgd", "learning_rate": 0.1, "momentum": 0.9, "scheduler": scheduler},
        "runner": {"name": "train", "device": "cuda", "gpus": [0, 1], "max_epochs": 3},
    }
    words = [write(here / f"{name}/x.yaml", values) for name, values in files.items()]
    code, out, err = run([*words, "--out", "new.yaml"], capsys)
    assert (code, err) == (0, "")
    assert out.splitlines()[-2].endswith(", 0 unknown")
    values = yaml.safe_load((here / "new.yaml").read_text())
    data = values["data"]["init_args"]
    assert (data["train"], data["test"], data["batch_size"]) == (None, ["21800974"], 4)
    loss = {"class_path": "ComboLoss", "init_args": {"alpha": 0.2, "epsilon": 0.01}}
    assert values["model"]["init_args"]["loss"] == loss
    assert values["lr_scheduler"] == {"class_path": "ConstantLR", "init_args": {"factor": 0.5}}
    assert parsing.faults(["new.yaml"], ["--trainer.devices=1"]) == []


def test_words_of_hydra_choose_files_and_add_values(here, capsys):
    for name, values in (WASB | {"dataset/basketball": BASKETBALL}).items():
        write(here / "configs" / f"{name}.yaml", values)
    groups = [dict([name.split("/")]) for name in WASB if name.split("/")[0] != "optimizer"]
    main_file = write(here / "configs/eval.yaml", {"defaults": groups, "seed": 1})
    words = ["dataset.test.videos=[7]", "dataset=basketball", "+optimizer=adam", "++runner.max_epochs=6"]
    code, out, report = run([main_file, *words], capsys)
    assert code == 0
    assert report.splitlines()[-1].endswith(", 0 unknown")
    values = yaml.safe_load(out)
    assert values["data"]["class_path"] == "BasketballDataModule"
    assert (values["data"]["init_args"]["root"], values["data"]["init_args"]["test"]) == ("basketball", ["7"])
    assert (values["optimizer"]["init_args"]["lr"], values["trainer"]["max_epochs"]) == (0.002, 6)
    assert "dataset.visible_flags" not in report


def test_settings_of_the_combined_loss_are_dropped_with_another(here):
    loss = {"name": "heatmap", "sub_name": "focal", "gamma": 1.0, "alpha": 0.25, "auto_weight": False}
    migration = migrate([write(here / "loss/x.yaml", loss)])
    assert lines_of(migration)["loss.alpha"].kind == "dropped"
    assert "alpha" not in migration.yaml()


@pytest.mark.parametrize("name", WASB)
def test_wasb_files_are_known_by_their_contents(name, here):
    migration = migrate([write(here / "x.yaml", WASB[name])])
    assert migration.source == "wasb"
    assert {line.kind for line in migration.lines} & {"unknown"} == set()


def test_rules_are_unambiguous():
    for rules in (legacy.RULES, tracknetv3.RULES, wasb.RULES):
        names = [rule.old for rule in rules]
        assert len(names) == len(set(names))
        # A wildcard that came first would hide what follows it.
        for place, name in enumerate(names):
            hidden = [one for one in names[place + 1 :] if name.endswith(".*") and one.startswith(name[:-1])]
            assert hidden == []
    assert all(rule.new or rule.note or rule.convert for rule in chain(legacy.RULES, wasb.RULES))


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ([], "name the old files"),
        (["our.yaml"], "no file 'our.yaml'; did you mean 'ours.yaml'?"),
        (["dataset"], "is a folder; expected the files in it: dataset/soccer.yml, dataset/tennis.yaml"),
        (["ours.yaml"], "is no old configuration"),
        (["piece.yaml"], "piece.yaml: is no old configuration; tracknet fit --config takes it as it is"),
        (["strange.yaml"], "not recognised by its keys (colour, size)"),
        (["old.yaml", "runner.yaml"], "different sources: legacy and wasb"),
        (["old.yaml", "--from", "wsab"], "'wsab'; did you mean 'wasb'?"),
        (["old.yaml", "--from"], "--from: expected a value"),
        (["old.yaml", "--out", "ours.yaml"], "ours.yaml is there already"),
        (["old.yaml", "model.model_name=vit_heatmp"], "no network 'vit_heatmp'; did you mean 'vit_heatmap'?"),
        (["old.yaml", "training.precision=fp12"], "'fp12'; did you mean 'fp32'?"),
        (
            ["old.yaml", "training.adaptive_micro_batch=true", "training.mb_backoff_factor=1"],
            "expected a number above 0 other than 1",
        ),
        (["old.yaml", "training.loss.name=mae"], "did you mean 'mse'?"),
        (["old.yaml", "training.optimizer.name=adam"], "did you mean 'adamw'?"),
        (["old.yaml", "training.scheduler.name=step"], "expected cosine or null"),
        (["old.yaml", "data.preprocess.resize=512"], "expected [width, height]"),
        (["old.yaml", "training.log_dir=${nowhere}"], "nowhere"),
        (["old.yaml", "training=default"], "training has settings; expected one, as training.epochs=VALUE"),
        (["runner.yaml", "model.name=deepball"], "nothing here takes the place of 'deepball'"),
        (["runner.yaml", "dataset=tenis"], "expected dataset/tenis.yaml; did you mean 'tennis'?"),
        (["dataset=tennis", "--from", "wasb"], "dataset=tennis: expected a main file"),
        (["python main.py --config-name=eval dataset=tennis"], "the older tracknet read none of these"),
        (["dataset=tennis", "model=wasb"], "the older tracknet read none of these: 'dataset' (did you mean"),
        (["train.py --model_name TrackNot"], "did you mean 'TrackNet'?"),
        (["train.py --epochs ten"], "--epochs: expected a whole number, found 'ten'"),
        (["train.py --epochs"], "--epochs: expected a value"),
        (["train.py --verbose ten"], "found 'ten'"),
    ],
)
def test_mistakes_are_told(words, told, here, capsys):
    write(here / "old.yaml", {"training": {"epochs": 2}})
    write(here / "ours.yaml", {"trainer": {"max_epochs": 2}})
    write(here / "piece.yaml", {"data": {"class_path": "TennisDataModule"}})
    write(here / "strange.yaml", {"colour": 1, "size": 2})
    write(here / "runner.yaml", WASB["runner/eval"])
    write(here / "dataset/tennis.yaml", WASB["dataset/tennis"])
    write(here / "dataset/soccer.yml", WASB["dataset/tennis"])
    code, _, err = run(words, capsys)
    assert code == 2
    assert told in err
    assert "Traceback" not in err


GUIDE = Path(__file__).resolve().parents[2] / "docs" / "guides" / "migration.md"


def test_commands_of_the_guide(here, capsys):
    shutil.copytree(legacy.folder(), here / "configs")
    for name, values in WASB.items():
        write(here / "src/configs" / f"{name}.yaml", values)
    write(here / "src/configs/eval.yaml", {"defaults": [dict([name.split("/")]) for name in WASB], "seed": 1})
    blocks = re.findall(r"```bash\n(.*?)```", GUIDE.read_text(encoding="utf-8"), re.DOTALL)
    commands = [shlex.split(line) for block in blocks for line in block.splitlines()]
    assert len(commands) == 8
    for words in commands:
        if words[0] == "tracknet":
            assert main(words[1:]) == 0, words
        else:
            assert import_module(words[2]).main(words[3:]) == 0, words
    out, err = capsys.readouterr()
    assert ", 0 unknown" in out
    assert ", 0 unknown" in err
    assert not re.search("[1-9] unknown", out + err)
    written = {path.name for path in here.glob("*.yaml")}
    assert written == {"new.yaml", "tracking.yaml", "rectification.yaml", "wasb.yaml", "tennis.yaml"}


def test_torch_is_not_imported(here):
    old = write(here / "old.yaml", nested(LEGACY))
    program = f"import sys; from tracknet.cli.main import main; main(['config', 'migrate', {old!r}]); "
    program += "print('torch' in sys.modules)"
    out = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout
    assert out.splitlines()[-1] == "False"


@pytest.mark.parametrize(
    ("override", "told"),
    [
        ("training.epochs=abc", "training.epochs: found 'abc'; expected a whole number from 1"),
        ("training.epochs=0", "training.epochs: found 0; expected a whole number from 1"),
        ("model.heatmap.size=256", "model.heatmap.size: found 256; expected [width, height], whole"),
        ("model.heatmap.size=null", "model.heatmap.size: found null; expected [width, height], whole"),
        ("data.preprocess.resize=[0,-5]", "resize: found [0, -5]; expected [width, height], whole"),
        ("data.preprocess.resize=[true,9]", "expected [width, height], whole numbers from 1, or null"),
        ("model.lora.bias=[1]", "model.lora.bias: found [1]; expected none or all or lora_only"),
        ("training.optimizer.lr=.inf", "training.optimizer.lr: found inf; expected a number from 0"),
        ("training.grad_clip_norm=.inf", "found inf; expected a number from 0, or null"),
        ("training.mb_backoff_factor=.inf", "found inf; expected a number above 0"),
        ("model.heatmap.sigma=.nan", "found nan; expected a number above 0"),
        ("training.loss.name=[mse]", "training.loss.name: found ['mse']; expected text"),
        ("training.precision=[fp16]", "training.precision: found ['fp16']; expected text"),
        ("training.batch_size=???", "found '???', which stands for a value that is still to be given"),
        ("training.adaptive_micro_batch=perhaps", "found 'perhaps'; expected true or false"),
        ("training.early_stopping.mode=low", "found 'low'; expected min or max"),
        ("training.grad_clip_norm=true", "found true; expected a number from 0, or null"),
        ("training.seed=x", "found 'x'; expected a whole number from 0, or null"),
        ("data.split.train_games=[[1]]", "found [[1]]; expected a list of names"),
        ("data.preprocess.flip_prob=2", "found 2; expected a number from 0 to 1"),
        ("training.mb_backoff_factor=0", "found 0; expected a number above 0"),
        ("data.root=null", "found null; expected text"),
    ],
)
def test_values_that_were_never_valid_are_one_line(override, told, here):
    old = nested(LEGACY)
    with pytest.raises(UsageError) as caught:
        migrate([write(here / "old.yaml", old), override])
    assert told in str(caught.value)
    assert "\n" not in str(caught.value)


def test_what_was_never_valid_is_told_with_its_line_and_what_is_not_read_is_passed_over(here):
    old = nested(LEGACY)
    old["training"]["batch_size"] = "???"
    old["model"]["fpn"]["lateral_dim"] = "???"
    path = write(here / "old.yaml", old)
    line = (here / "old.yaml").read_text().splitlines().index("  batch_size: ???") + 1
    with pytest.raises(UsageError, match=rf"^{path}:{line}: training.batch_size: found '\?\?\?'"):
        migrate([path])
    assert lines_of(migrate([path, "training.batch_size=2"]))["model.fpn.lateral_dim"].kind == "dropped"
