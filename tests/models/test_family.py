"""The networks of the family: as large as published, and every one of them learns."""

from __future__ import annotations

import pytest
import torch
import yaml
from torch.utils.flop_counter import FlopCounterMode

from tracknet.configs import find_config
from tracknet.errors import UsageError
from tracknet.models import (
    WASB,
    MonoTrack,
    ResTrackNetV2,
    TrackNetV1,
    TrackNetV2,
    TrackNetV3,
    TrackNetV4,
    TrackNetV5,
    input_channels,
    stack_frames,
)
from tracknet.models.imagenet import MEAN, STD, ImageNetInput
from tracknet.models.motion import LUMA, PowerNormalisation, by_frames, light
from tracknet.training.checkpoints import load_tracker
from tracknet.training.lightning_module import HeatmapTracker
from tracknet.training.losses import GreyLevelLoss
from tracknet.training.targets import GaussianTarget

NARROW = {
    TrackNetV1: {"width": 4},
    TrackNetV2: {"width": 4},
    TrackNetV3: {"width": 4},
    TrackNetV4: {"width": 4},
    TrackNetV5: {"width": 4, "embedding": 8, "dropout": 0.0},
    WASB: {"width": 4},
    MonoTrack: {"width": 8},
    ResTrackNetV2: {"width": 8},
}
FAMILY = list(NARROW)
MODES = ["none", "subtract", "subtract_concat", "concat"]


def narrow(network, frames=3, background="none"):
    torch.manual_seed(1)
    return network(frames=frames, background=background, **NARROW[network])


# Parameters and GMAC at 288x512 (360x640), and what was published of them.
@pytest.mark.parametrize(
    ("network", "size", "parameters", "gmac", "published"),
    [
        (TrackNetV1, (360, 640), 10_708_032, 183.804, (10.71, 183.8)),
        (TrackNetV2, (288, 512), 11_330_307, 112.227, (11.33, 112.2)),
        (TrackNetV3, (288, 512), 11_341_000, 113.803, (11.341, 113.8)),
        (TrackNetV4, (288, 512), 11_330_309, 112.227, (11.33, None)),
        (TrackNetV5, (288, 512), 14_771_458, 124.344, (14.77, None)),
        (WASB, (288, 512), 1_481_427, 27.106, (1.481, None)),
        (MonoTrack, (288, 512), 2_903_171, 26.216, (2.903, 26.2)),
        (ResTrackNetV2, (288, 512), 1_210_451, 15.954, (1.210, 15.95)),
    ],
)
def test_as_large_as_published(network, size, parameters, gmac, published):
    with torch.device("meta"):
        net = network().eval()
        with FlopCounterMode(display=False) as counter:
            heatmaps = net(torch.empty(1, net.in_channels, *size))
    assert heatmaps.shape == (1, net.outputs, *size)
    assert sum(p.numel() for p in net.parameters()) == parameters
    assert counter.get_total_flops() / 2e9 == pytest.approx(gmac, abs=6e-4)
    assert parameters / 1e6 == pytest.approx(published[0], abs=0.005 if published[0] > 2.91 else 0.0005)
    if published[1] is not None:
        assert gmac == pytest.approx(published[1], abs=0.05)


def test_the_published_gmac_of_wasb_hold_outputs_that_nothing_reads():
    with torch.device("meta"):
        net = WASB()
        sizes = [(16, 288, 512), (32, 144, 256), (64, 72, 128), (128, 36, 64)]
        branches = [torch.empty(1, *size) for size in sizes]
        unread = 0.0
        for target in (1, 2, 3):
            with FlopCounterMode(display=False) as counter:
                net.stage4[0].fuse(branches, target)
            unread += counter.get_total_flops() / 2e9
    assert 27.106 + unread == pytest.approx(28.15, abs=0.005)


def test_the_published_gmac_of_v5_leave_out_attention():
    tokens, embedding = 3 * 18 * 32, 256
    attention = 4 * (4 * tokens * embedding**2 + 2 * tokens**2 * embedding) / 1e9
    assert attention == pytest.approx(7.93, abs=0.005)
    assert 124.344 - attention == pytest.approx(117.1, abs=0.7)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("network", FAMILY)
def test_every_background_mode(network, mode):
    frames = torch.randint(0, 256, (2, 4, 3, 32, 64), dtype=torch.uint8)
    background = torch.randint(0, 256, (2, 3, 32, 64), dtype=torch.uint8)
    net = narrow(network, 4, mode).eval()
    x = stack_frames(frames, background, mode)
    assert x.shape[1] == net.in_channels == input_channels(4, mode)
    with torch.no_grad():
        assert net(x).shape == (2, net.outputs, 32, 64)
    assert all(side % net.stride == 0 for side in (32, 64))


@pytest.mark.parametrize("network", FAMILY)
def test_the_stride_is_the_smallest_that_works(network):
    net = narrow(network).eval()
    with torch.no_grad():
        assert net(torch.rand(1, 9, net.stride, 3 * net.stride)).shape[-2:] == (net.stride, 3 * net.stride)


@pytest.mark.parametrize("network", FAMILY)
def test_a_gradient_reaches_every_parameter(network):
    net = narrow(network)
    net(torch.rand(2, 9, 32, 64)).square().mean().backward()
    without = {
        name
        for name, parameter in net.named_parameters()
        if parameter.requires_grad and (parameter.grad is None or not parameter.grad.any())
    }
    # A bias before batch normalisation is taken away again by it.
    assert {name for name in without if not _is_lost(net, name)} == set()
    frozen = [name for name, parameter in net.named_parameters() if not parameter.requires_grad]
    assert all(name.startswith("stage4.0.fuse_layers.") for name in frozen)
    assert bool(frozen) == (network is WASB)


def _is_lost(net, name):
    return isinstance(net, (MonoTrack, ResTrackNetV2)) and name.endswith(".bias")


@pytest.mark.parametrize("network", FAMILY)
def test_it_starts_where_nearly_every_cell_says_no(network):
    net = narrow(network).train()
    p = net(torch.rand(2, 9, 32, 64)).detach().sigmoid()
    assert p.mean() < 0.1


@pytest.mark.parametrize("network", FAMILY)
def test_a_moving_ball_is_learnt_by_heart(network):
    net = narrow(network)
    x = torch.full((1, 3, 3, 32, 64), 0.2)
    target = torch.zeros(1, 3, 32, 64)
    for t, column in enumerate((10, 27, 44)):
        x[:, t, :, 12:16, column : column + 4] = 1.0
        target[:, t, 12:16, column : column + 4] = 1.0
    x, target = x.flatten(1, 2), target[:, -net.outputs :]
    optimizer = torch.optim.Adam(net.parameters(), lr=0.01)
    for _ in range(80):
        optimizer.zero_grad()
        logits = net(x)
        loss = torch.nn.functional.binary_cross_entropy_with_logits(logits, target)
        loss.backward()
        optimizer.step()
        found = logits.detach().flatten(2).argmax(-1)
        if loss < 0.02 and target.flatten(2).gather(2, found[..., None]).all():
            break
    assert loss < 0.1
    assert target.flatten(2).gather(2, found[..., None]).all()


@pytest.mark.parametrize("network", FAMILY)
def test_a_checkpoint_builds_it_again(network, tmp_path):
    from lightning.pytorch import Trainer

    tracker = HeatmapTracker(narrow(network, 4, "concat"), input_size=(32, 64)).eval()
    trainer = Trainer(logger=False, enable_checkpointing=False, accelerator="cpu")
    trainer.strategy.connect(tracker)
    trainer.save_checkpoint(tmp_path / "one.ckpt", weights_only=True)
    again = load_tracker(tmp_path / "one.ckpt")
    assert type(again.network) is network
    frames = torch.randint(0, 256, (1, 4, 3, 32, 64), dtype=torch.uint8)
    background = torch.randint(0, 256, (1, 3, 32, 64), dtype=torch.uint8)
    with torch.no_grad():
        assert torch.equal(again(frames, background), tracker(frames, background))


NAMES = ["tracknetv1", "tracknetv2", "tracknetv3", "tracknetv4", "tracknetv5"]
NAMES += ["wasb", "monotrack", "restracknetv2"]


@pytest.mark.parametrize("name", NAMES)
def test_its_yaml_names_the_published_network(name):
    given = yaml.safe_load(find_config(f"configs/model/{name}.yaml").read_text())
    network = given["model"]["init_args"]["network"]
    cls = next(one for one in FAMILY if one.__name__.lower() == name)
    assert network["class_path"] == cls.__name__
    default = cls()
    assert network["init_args"] == {"frames": default.frames, "background": default.background}


class TestV1:
    def test_the_logit_is_that_of_the_expected_intensity(self):
        levels = torch.randn(1, 256, 2, 2, dtype=torch.float64) * 3
        expected = (levels.softmax(dim=1) * torch.arange(256)[:, None, None]).sum(dim=1, keepdim=True) / 255
        found = narrow(TrackNetV1).logit(levels).sigmoid()
        assert torch.allclose(found, expected, atol=1e-6)

    def test_the_likeliest_intensity(self):
        net = TrackNetV1(width=1, reading="likeliest")
        levels = torch.zeros(1, 256, 1, 4)
        for column, level in enumerate((0, 127, 128, 255)):
            levels[0, level, 0, column] = 1.0
        found = net.logit(levels).sigmoid()
        assert found.flatten().tolist() == pytest.approx([0.5 / 255, 127 / 255, 128 / 255, 254.5 / 255])
        assert (found >= 0.5).flatten().tolist() == [False, False, True, True]

    def test_only_grey_levels_are_learnt_by_what_reads_the_likeliest(self):
        net, x = TrackNetV1(width=1, reading="likeliest"), torch.rand(1, 9, 16, 16)
        with pytest.raises(UsageError, match="has no gradient; train with GreyLevelLoss"):
            net(x)
        with torch.no_grad():
            assert net(x).shape == (1, 1, 16, 16)
        assert net.eval()(x).shape == (1, 1, 16, 16)

    @pytest.mark.parametrize("reading", ["expected", "likeliest"])
    def test_grey_levels_are_learnt(self, reading):
        torch.manual_seed(0)
        net = TrackNetV1(width=2, reading=reading)
        tracker = HeatmapTracker(net, GreyLevelLoss(), GaussianTarget(1.6), input_size=(16, 32))
        tracker.log = lambda *args, **kwargs: None
        batch = {
            "frames": torch.randint(0, 256, (2, 3, 3, 16, 32), dtype=torch.uint8),
            "xy": torch.tensor([20.0, 5.0]).expand(2, 3, 2),
            "visible": torch.ones(2, 3, dtype=torch.bool),
            "labelled": torch.ones(2, 3, dtype=torch.bool),
        }
        optimizer = torch.optim.Adadelta(tracker.parameters(), rho=0.95)
        losses = []
        for _ in range(30):
            loss = tracker.training_step(batch, 0)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
        assert losses[-1] < 0.8 * losses[0]

    def test_certainty_stays_finite(self):
        levels = torch.zeros(1, 256, 1, 2)
        levels[0, 0, 0, 0] = levels[0, 255, 0, 1] = 1000.0
        levels.requires_grad_()
        logits = narrow(TrackNetV1).logit(levels)
        assert logits.isfinite().all()
        assert logits[0, 0, 0, 0] < -900 < 900 < logits[0, 0, 0, 1]
        logits.sum().backward()
        assert levels.grad.isfinite().all()

    def test_published_weights_see_the_input_backwards(self):
        net = narrow(TrackNetV1).eval()
        frames = torch.rand(1, 3, 3, 8, 8)
        published = frames.flip(1, 2).flatten(1, 2)  # newest first, blue, green, red
        conv = net.down1[0][0]
        seen = torch.nn.functional.conv2d(published, conv.weight.flip(1), conv.bias, padding=1)
        assert torch.allclose(seen, conv(stack_frames(frames, None, "none")), atol=1e-6)

    def test_only_the_last_frame_has_a_heatmap(self):
        assert TrackNetV1(width=1).outputs == 1


class TestMotion:
    def test_light_of_each_background_mode(self):
        frames, background = torch.rand(1, 2, 3, 4, 4), torch.rand(1, 3, 4, 4)
        expected = (frames * torch.tensor(LUMA)[:, None, None]).sum(dim=2)
        for mode in ("none", "concat", "subtract_concat"):
            x = stack_frames(frames, background, mode)
            assert torch.allclose(light(x, 2, mode), expected)
            assert torch.equal(by_frames(x, 2, mode)[:, :, :3], frames)
        x = stack_frames(frames, background, "subtract")
        assert torch.equal(light(x, 2, "subtract"), x)
        assert by_frames(x, 2, "subtract").shape == (1, 2, 1, 4, 4)

    def test_power_normalisation(self):
        normalise = PowerNormalisation(a=0.1, b=0.2)
        slope, threshold = 5 / (0.45 * 0.0996680 + 1e-6), 0.6 * 0.1973753
        d = torch.tensor([0.0, 0.1184252, -0.1184252, 0.2])
        expected = [torch.tensor(slope * (abs(one) - threshold)).sigmoid().item() for one in d.tolist()]
        assert normalise(d).tolist() == pytest.approx(expected, rel=1e-4)
        assert normalise(d)[1].item() == pytest.approx(0.5, abs=1e-4)


class TestV4:
    @staticmethod
    def moved():
        """Four frames of 8x8, the second of which alone is bright."""
        x = torch.zeros(1, 4, 3, 8, 8)
        x[:, 1] = 1.0
        return x.flatten(1, 2)

    @pytest.mark.parametrize(
        ("fusion", "expected"), [("before", [1.0, 1.0, 1.0, 0.5]), ("around", [1.0, 1.0, 0.75, 0.5])]
    )
    def test_which_map_scales_which_frame(self, fusion, expected):
        net = TrackNetV4(frames=4, fusion=fusion, width=1)
        found = net.attention(self.moved())[0, :, 0, 0]
        assert found.tolist() == pytest.approx(expected, abs=1e-6)

    def test_attention_scales_the_logits(self):
        net = narrow(TrackNetV4, 4).eval()
        x = self.moved()
        with torch.no_grad():
            plain = net.predictor(net.features(x))
            assert torch.equal(net(x), plain * net.attention(x))

    @pytest.mark.parametrize("network", [TrackNetV4, TrackNetV5])
    def test_one_frame_does_not_move(self, network):
        with pytest.raises(UsageError, match=f"{network.__name__}: frames is 1; motion needs at least 2"):
            network(frames=1)


class TestV5:
    def test_brighter_and_darker_lie_between_the_frames(self):
        x = torch.tensor([0.0, 1.0, 0.0]).repeat_interleave(3).reshape(1, 9, 1, 1).expand(1, 9, 16, 16)
        net = narrow(TrackNetV5)
        maps = net.motion_maps(x)
        assert maps.shape == (1, 2, 2, 16, 16)
        low = net.motion(torch.zeros(1)).item()
        seen = net.interleave(x, maps)[0, :, 0, 0].tolist()
        assert seen == pytest.approx([0, 0, 0, 1, low, 1, 1, 1, low, 1, 0, 0, 0], abs=1e-5)
        assert low < 0.01

    def test_the_background_comes_first(self):
        x = stack_frames(torch.rand(1, 3, 3, 16, 16), torch.rand(1, 3, 16, 16), "concat")
        net = narrow(TrackNetV5, background="concat")
        seen = net.interleave(x, net.motion_maps(x))
        assert seen.shape[1] == 16
        assert torch.equal(seen[:, :6], x[:, :6])
        assert torch.equal(seen[:, -3:], x[:, -3:])

    def test_the_residual_is_added_to_each_frame_in_its_place(self):
        refine = narrow(TrackNetV5).refine.eval()
        with torch.no_grad():
            refine.decode.weight.zero_()
            refine.decode.bias.copy_(torch.arange(256.0))
            draft = torch.rand(1, 3, 32, 48)
            residual = refine(draft) - draft
        expected = torch.arange(256.0).reshape(16, 16).repeat(2, 3)
        assert torch.allclose(residual, expected.expand(1, 3, 32, 48), atol=1e-4)

    def test_places_are_those_of_288x512_stretched(self):
        refine = narrow(TrackNetV5).refine.eval()
        assert refine.place.shape[-2:] == (18, 32)
        with torch.no_grad():
            refine.place.fill_(0.3)
            a = refine(torch.ones(1, 3, 288, 512))[..., :16, :16]
            b = refine(torch.ones(1, 3, 144, 256))[..., :16, :16]
        assert torch.allclose(a, b, atol=1e-4)

    def test_an_odd_embedding_is_refused(self):
        with pytest.raises(UsageError, match="embedding is 7; expected an even number"):
            TrackNetV5(embedding=7)


class TestInputOfImageNet:
    def test_colours_are_normalised_and_differences_are_not(self):
        grey = 0.5
        normal = [(grey - mean) / std for mean, std in zip(MEAN, STD, strict=True)]
        expected = {
            "none": normal * 2,
            "subtract": [grey] * 2,
            "subtract_concat": [*normal, grey] * 2,
            "concat": normal * 3,
        }
        for mode, values in expected.items():
            found = ImageNetInput(2, mode)(torch.full((1, input_channels(2, mode), 1, 1), grey))
            assert found.flatten().tolist() == pytest.approx(values)

    @pytest.mark.parametrize("network", [WASB, MonoTrack, ResTrackNetV2])
    def test_it_is_not_in_the_state_dictionary(self, network):
        assert not any("normalise" in name for name in narrow(network).state_dict())


@pytest.mark.parametrize(
    ("network", "shapes"),
    [
        (
            WASB,
            {
                "conv1.weight": (64, 9, 3, 3),
                "layer1.0.downsample.0.weight": (128, 64, 1, 1),
                "transition1.0.0.weight": (16, 128, 3, 3),
                "transition1.1.0.0.weight": (32, 128, 3, 3),
                "stage2.0.branches.1.1.bn2.running_mean": (32,),
                "stage3.0.fuse_layers.2.0.0.0.weight": (16, 16, 3, 3),
                "stage3.0.fuse_layers.2.0.1.0.weight": (64, 16, 3, 3),
                "stage4.0.fuse_layers.0.3.0.weight": (16, 128, 1, 1),
                "stage4.0.fuse_layers.3.2.0.1.weight": (128,),
                "final_layers.0.weight": (3, 16, 1, 1),
            },
        ),
        (
            MonoTrack,
            {
                "inc.conv1.0.weight": (32, 9, 3, 3),
                "down2.maxpool_conv.1.convs.conv2.weight": (128, 128, 3, 3),
                "down2.maxpool_conv.1.convs.bn2.bias": (128,),
                "up1.up.weight": (256, 128, 2, 2),
                "up1.conv.conv0.weight": (128, 256, 1, 1),
                "outc.conv.bias": (3,),
            },
        ),
        (
            ResTrackNetV2,
            {
                "inc.conv2.1.weight": (64,),
                "down1.convs.block0.conv0.1.weight": (16, 64, 1, 1),
                "down3.convs.block3.conv1.8.bias": (64,),
                "up1.conv0.conv1.5.weight": (128, 128, 2, 2),
                "up4.conv0.2.running_var": (16,),
                "outc.convs.6.weight": (3, 64, 1, 1),
            },
        ),
    ],
)
def test_names_are_those_of_public_weights(network, shapes):
    with torch.device("meta"):
        state = network().state_dict()
    assert {name: tuple(state[name].shape) for name in shapes} == shapes
