"""Networks on general image backbones; they need the extra ``tracknet[backbones]``.

A backbone sees each frame by itself, so that its pretrained weights fit. What moved is found afterwards,
where the features of all frames of a window are put together. Weights start at random; the callback
`PretrainedBackbone` fetches others.
"""

from __future__ import annotations

from abc import abstractmethod
from importlib import import_module
from itertools import pairwise
from typing import Any, Literal

import torch
from jsonargparse.typing import ClosedUnitInterval, NonNegativeInt, PositiveInt
from torch import Tensor, nn
from torch.nn.functional import interpolate

from tracknet.errors import TrackNetError, UsageError
from tracknet.models.decoder_blocks import Activation, BlockStyle, Norm, conv_block
from tracknet.models.framewise import Features, FramewiseNetwork
from tracknet.models.imagenet import ImageNetInput
from tracknet.models.lora import LoRA
from tracknet.models.network import expect_no_ball, in_unit_range

ConvNeXtKind = Literal["convnext", "convnextv2", "dinov3"]
Size = tuple[PositiveInt, PositiveInt]
Four = tuple[PositiveInt, PositiveInt, PositiveInt, PositiveInt]

STAGES = ["stage1", "stage2", "stage3", "stage4"]
PATCH = 16
"""Stages of a ConvNeXt, at 1/4 to 1/32 of the resolution, and side of a patch of a ViT in pixels."""
REGISTERS = 4
"""Tokens of a DINOv3 ViT beside its patches and its class token."""


class BackboneNetwork(FramewiseNetwork):
    """A network whose layers below are a backbone that sees single images; a subclass is one.

    Args:
        frames: Frames per window, L; also the number of heatmaps.
        background: ``concat`` shows the backbone the median background as one more image.
        heatmap_size: Height and width to which heatmaps are brought; None leaves them at half the input.
        backbone: A model of Hugging Face's ``transformers``.
        lora: Adapters that are trained instead of the backbone.

    Attributes:
        backbone: The backbone.
        images: Images per window that the backbone sees: L, or L + 1 with the background.
        heatmap_size: As given.
    """

    def __init__(
        self,
        frames: int,
        background: Literal["none", "concat"],
        heatmap_size: Size | None,
        backbone: Any,
        lora: LoRA | None,
    ) -> None:
        super().__init__(frames, background, outputs=frames)
        self.images = self.in_channels // 3
        self.heatmap_size = None if heatmap_size is None else (int(heatmap_size[0]), int(heatmap_size[1]))
        self.normalise = ImageNetInput(1, "none")
        self.backbone: Any = backbone
        self._lora = lora
        if lora is not None:
            lora.adapt(backbone)

    def forward(self, x: Tensor) -> Tensor:
        """Give one heatmap a frame: ``[B, C_in, H, W] -> [B, L, H/2, W/2]``; sides divisible by `stride`."""
        features = self.image_features(self.by_image(x))
        return self.window_logits(tuple(y.reshape(-1, self.images, *y.shape[1:]) for y in features))

    def frame_features(self, frames: Tensor, background: Tensor | None = None) -> Features:
        """Give what the backbone sees in each picture; the background is one more, see `FramewiseNetwork`."""
        return self.image_features(self.by_image(in_unit_range(frames)))

    @abstractmethod
    def image_features(self, images: Tensor) -> Features:
        """Give what is seen in each image by itself, ``[N, 3, H, W] -> [N, C_i, h_i, w_i]``.

        Args:
            images: As `by_image` gives them.
        """

    def by_image(self, x: Tensor) -> Tensor:
        """Give the images one by one, normalised: ``[B, 3N, H, W] -> [B*N, 3, H, W]``."""
        images: Tensor = self.normalise(x.reshape(-1, 3, *x.shape[-2:]))
        return images.contiguous(memory_format=torch.channels_last)

    def sized(self, logits: Tensor, newest: int | None = None) -> Tensor:
        """Bring logits, of all frames or of the newest ones, to the wanted size.

        The outer edges of picture and heatmap stay on each other.
        """
        if newest is not None:
            logits = logits[:, -newest:]
        size = self.heatmap_size
        if size is None or size == tuple(logits.shape[-2:]):
            return logits
        shrinks = size[0] < logits.shape[-2] or size[1] < logits.shape[-1]
        if logits.dtype.itemsize < 4:  # processors cannot do this in half precision
            logits = logits.float()
        return interpolate(logits, size=size, mode="bilinear", align_corners=False, antialias=shrinks)


class ConvNeXtNetwork(BackboneNetwork):
    """A network on the four stages of a ConvNeXt; a subclass is one.

    Args:
        frames: As in `BackboneNetwork`.
        background: As in `BackboneNetwork`.
        heatmap_size: As in `BackboneNetwork`.
        kind: Whose weights fit: ``convnext`` and ``convnextv2`` (ImageNet), ``dinov3`` (self-supervised).
        widths: Channels of the four stages: 96 192 384 768 tiny and small, 128 256 512 1024 base.
        depths: Blocks of the four stages: 3 3 9 3 tiny, 3 3 27 3 small and base.
        lora: As in `BackboneNetwork`.
    """

    stride = 32

    def __init__(
        self,
        frames: int,
        background: Literal["none", "concat"],
        heatmap_size: Size | None,
        kind: ConvNeXtKind,
        widths: Four,
        depths: Four,
        lora: LoRA | None,
    ) -> None:
        name = {"convnext": "ConvNext", "convnextv2": "ConvNextV2", "dinov3": "DINOv3ConvNext"}[kind]
        hub = transformers()
        config = getattr(hub, f"{name}Config")(
            hidden_sizes=list(widths), depths=list(depths), out_features=STAGES
        )
        super().__init__(frames, background, heatmap_size, getattr(hub, f"{name}Backbone")(config), lora)
        self.kind: ConvNeXtKind = kind
        self.widths, self.depths = widths, depths

    def image_features(self, images: Tensor) -> Features:
        """Give the stages of each image, ``[N, widths[i], H/4/2^i, W/4/2^i]``; sides divisible by 32."""
        return tuple(self.backbone(images).feature_maps)


class ConvNeXtFPN(ConvNeXtNetwork):
    """ConvNeXt with a feature pyramid, heatmaps at half the resolution (144x256 of 288x512).

    Liu et al., "A ConvNet for the 2020s", CVPR 2022; Lin et al., "Feature Pyramid Networks for Object
    Detection", CVPR 2017. The four stages of each frame are brought to one width and added from the smallest
    to the largest; at a quarter of the resolution all frames are fused, and a sub-pixel convolution doubles
    the size. With the defaults (the tiny size) 28.6 M parameters.

    Args:
        frames: Frames per window, L; also the number of heatmaps.
        background: ``concat`` shows the backbone the median background as one more image.
        kind: Whose weights fit: ``convnext`` and ``convnextv2`` (ImageNet), ``dinov3`` (self-supervised).
        widths: Channels of the four stages: 96 192 384 768 tiny and small, 128 256 512 1024 base.
        depths: Blocks of the four stages: 3 3 9 3 tiny, 3 3 27 3 small and base.
        lateral: Channels of the pyramid.
        fuse: How the levels of the pyramid come together: their ``sum``, or all side by side (``concat``).
        heatmap_size: Height and width to which heatmaps are brought; None leaves them at half the input.
        lora: Adapters that are trained instead of the backbone.
    """

    def __init__(
        self,
        frames: PositiveInt = 3,
        background: Literal["none", "concat"] = "none",
        kind: ConvNeXtKind = "convnext",
        widths: Four = (96, 192, 384, 768),
        depths: Four = (3, 3, 9, 3),
        lateral: PositiveInt = 128,
        fuse: Literal["sum", "concat"] = "sum",
        heatmap_size: Size | None = None,
        lora: LoRA | None = None,
    ) -> None:
        super().__init__(frames, background, heatmap_size, kind, widths, depths, lora)
        self._lateral = lateral
        self._fuse: Literal["sum", "concat"] = fuse
        self.lateral = nn.ModuleList(nn.Conv2d(width, lateral, kernel_size=1) for width in widths)
        self.upsample = nn.Upsample(scale_factor=2, mode="nearest")
        seen = self.images * lateral * (len(widths) if fuse == "concat" else 1)
        self.fuse = nn.Sequential(conv_block(seen, lateral), conv_block(lateral, lateral))
        self.predictor = nn.Conv2d(lateral, 4 * frames, kernel_size=1)
        self.shuffle = nn.PixelShuffle(2)
        expect_no_ball(self.predictor)

    def image_features(self, images: Tensor) -> Features:
        """Give the pyramid of each image, ``[N, lateral, H/4, W/4]``, or ``4 * lateral`` with ``concat``."""
        stages = super().image_features(images)
        levels = [lateral(stage) for lateral, stage in zip(self.lateral, stages, strict=True)]
        y = levels.pop()
        while levels:
            level, y = levels.pop(), self.upsample(y)
            y = level + y if self._fuse == "sum" else torch.cat([level, y], dim=1)
        return (y,)

    def window_logits(self, features: Features, newest: int | None = None) -> Tensor:
        """Give the logits of windows, see `FramewiseNetwork`."""
        logits = self.shuffle(self.predictor(self.fuse(features[0].flatten(1, 2))))
        return self.sized(logits, newest)


class ViTUpsample(BackboneNetwork):
    """A vision transformer, and three doublings to heatmaps at half the resolution (144x256 of 288x512).

    Dosovitskiy et al., "An Image is Worth 16x16 Words", ICLR 2021. The patches of all frames are put together
    at 1/16 of the resolution and doubled three times by nearest upsampling and convolution. With the defaults
    (the small size) 26.8 M parameters.

    Args:
        frames: Frames per window, L; also the number of heatmaps.
        background: ``concat`` shows the backbone the median background as one more image.
        kind: Whose weights fit: ``vit`` (ImageNet) or ``dinov3`` (self-supervised); patches of 16x16 px.
        embedding: Channels of a patch: 384 small, 768 base, 1024 large.
        layers: Layers of the transformer: 12 small and base, 24 large.
        heads: Attention heads: 6 small, 12 base, 16 large.
        widths: Channels of the decoder at 1/16, 1/8, 1/4 and 1/2 of the resolution.
        blocks: Convolutions after each doubling.
        norm: Batch (``bn``) or group normalisation (``gn``) in the decoder.
        activation: What follows it.
        depthwise: Whether convolutions of the decoder are split into a depthwise and a pointwise one.
        se_reduction: By how much squeeze-and-excitation after each convolution narrows the channels; 0
            leaves it out.
        dropout: Share of the channels that is dropped after each convolution in training.
        heatmap_size: Height and width to which heatmaps are brought; None leaves them at half the input.
        lora: Adapters that are trained instead of the backbone.

    Raises:
        UsageError: The embedding cannot be divided among the heads.
    """

    stride = PATCH

    def __init__(
        self,
        frames: PositiveInt = 3,
        background: Literal["none", "concat"] = "none",
        kind: Literal["vit", "dinov3"] = "dinov3",
        embedding: PositiveInt = 384,
        layers: PositiveInt = 12,
        heads: PositiveInt = 6,
        widths: Four = (384, 256, 128, 64),
        blocks: PositiveInt = 1,
        norm: Norm = "bn",
        activation: Activation = "relu",
        depthwise: bool = False,
        se_reduction: NonNegativeInt = 0,
        dropout: ClosedUnitInterval = 0.0,
        heatmap_size: Size | None = None,
        lora: LoRA | None = None,
    ) -> None:
        if embedding % heads:
            raise UsageError(f"ViTUpsample: embedding is {embedding}; expected a multiple of heads ({heads})")
        size = {
            "hidden_size": embedding,
            "num_hidden_layers": layers,
            "num_attention_heads": heads,
            "intermediate_size": 4 * embedding,
            "patch_size": PATCH,
        }
        hub = transformers()
        if kind == "vit":
            backbone = hub.ViTModel(hub.ViTConfig(**size), add_pooling_layer=False)
        else:
            backbone = hub.DINOv3ViTModel(hub.DINOv3ViTConfig(**size, num_register_tokens=REGISTERS))
            # Only DINOv3's own training masks patches.
            backbone.embeddings.mask_token.requires_grad_(False)
        super().__init__(frames, background, heatmap_size, backbone, lora)
        self.kind: Literal["vit", "dinov3"] = kind
        self.embedding, self.layers, self.heads, self.widths = embedding, layers, heads, widths
        self.blocks, self.norm, self.activation = blocks, norm, activation
        self.depthwise, self.se_reduction, self.dropout = depthwise, se_reduction, dropout
        style = BlockStyle(norm, activation, depthwise, se_reduction, dropout)
        self.fuse = conv_block(self.images * embedding, widths[0], style)  # [B, widths[0], H/16, W/16]
        steps: list[nn.Module] = []
        for before, after in pairwise(widths):
            steps.append(nn.Upsample(scale_factor=2, mode="nearest"))
            steps += [conv_block(before if n == 0 else after, after, style) for n in range(blocks)]
        self.decoder = nn.Sequential(*steps)  # [B, widths[3], H/2, W/2]
        self.predictor = nn.Conv2d(widths[-1], frames, kernel_size=1)
        expect_no_ball(self.predictor)

    def image_features(self, images: Tensor) -> Features:
        """Give the patches of each image, ``[N, embedding, H/16, W/16]``; sides divisible by 16."""
        h, w = images.shape[-2] // PATCH, images.shape[-1] // PATCH
        if self.kind == "vit":
            tokens: Tensor = self.backbone(images, interpolate_pos_encoding=True).last_hidden_state
        else:
            tokens = self.backbone(images).last_hidden_state
        patches = tokens[:, -h * w :].transpose(1, 2)  # the patches are the last ones: [N, E, h*w]
        return (patches.reshape(images.shape[0], -1, h, w),)

    def window_logits(self, features: Features, newest: int | None = None) -> Tensor:
        """Give the logits of windows, see `FramewiseNetwork`."""
        logits = self.predictor(self.decoder(self.fuse(features[0].flatten(1, 2))))
        return self.sized(logits, newest)


def transformers() -> Any:
    """Import Hugging Face's ``transformers``, late: it takes seconds, and only backbones need it.

    Returns:
        The package.

    Raises:
        TrackNetError: It is not installed.
    """
    try:
        return import_module("transformers")
    except ImportError as error:
        raise TrackNetError("backbones need transformers: pip install 'tracknet[backbones]'") from error
