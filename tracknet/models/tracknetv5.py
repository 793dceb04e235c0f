"""TrackNetV5 (Tang et al., 2025): signed motion in, and a transformer that corrects the draft."""

from __future__ import annotations

import torch
from jsonargparse.typing import ClosedUnitInterval, PositiveInt
from torch import Tensor, nn

from tracknet.errors import UsageError
from tracknet.models.motion import PowerNormalisation, by_frames, light
from tracknet.models.network import BackgroundMode, expect_no_ball, input_channels
from tracknet.models.unet import UNet

PATCH = 16
GRID = (18, 32)
"""Side of a patch in pixels, and the patches of 288x512, for which the position embedding is made."""


class TrackNetV5(UNet):
    """TrackNetV2 that sees which way the light changed, and revises its draft over the whole window.

    Tang et al., "TrackNetV5: Residual-Driven Spatio-Temporal Refinement and Motion Direction Decoupling for
    Fast Object Tracking", arXiv 2512.02789, in the form of the released weights.

    *Motion direction decoupling*: the difference of light between neighbouring frames is split into what got
    brighter and what got darker; two maps a step (`PowerNormalisation`) lie between the frames in the input,
    13 channels for 3 frames. *Refinement*: the draft logits, each scaled by the brightening map of the step
    before it as in TrackNetV4, are cut into patches of 16x16 px; a transformer over all patches of all
    frames, with an embedding of place and one of time, gives a residual that is added to them.

    3 frames: 14,771,458 parameters (published 14.77 M) and 124.3 GMAC a forward at 288x512. The published
    117.1 leaves out the attention and its projections, 7.9 GMAC (and counts more than convolutions and
    linear layers elsewhere).

    Args:
        frames: Frames per window, L, at least 2; also the number of heatmaps. Published with 3.
        background: What the network sees of the median background; published without.
        dropout: Share of the draft's logits that is dropped in training, and dropout of the transformer.
        width: Channels at full resolution, doubled with each level; published with 64.
        embedding: Channels of a patch in the transformer, an even number; published with 256.

    Raises:
        UsageError: There is only one frame, or the embedding is odd.
    """

    stride = PATCH

    def __init__(
        self,
        frames: PositiveInt = 3,
        background: BackgroundMode = "none",
        dropout: ClosedUnitInterval = 0.1,
        width: PositiveInt = 64,
        embedding: PositiveInt = 256,
    ) -> None:
        if frames < 2:
            raise UsageError("TrackNetV5: frames is 1; motion needs at least 2")
        if embedding % 2:
            raise UsageError(f"TrackNetV5: embedding is {embedding}; expected an even number")
        channels = input_channels(frames, background) + 2 * (frames - 1)
        super().__init__(frames, background, width, channels, relu_first=True, upsampling="bilinear")
        self.dropout: float = dropout
        self.embedding = embedding
        self.motion = PowerNormalisation(a=0.2, b=0.15)
        self.predictor = nn.Conv2d(width, frames, kernel_size=1, bias=False)
        self.refine = _Refinement(frames, dropout, embedding)

    def forward(self, x: Tensor) -> Tensor:
        """Give one heatmap a frame: ``[B, C_in, H, W] -> [B, L, H, W]``; H and W divisible by 16."""
        maps = self.motion_maps(x)
        draft: Tensor = self.predictor(self.features(self.interleave(x, maps)))
        brighter = maps[:, :, 0]  # [B, L-1, H, W]
        draft = torch.cat([draft[:, :1], draft[:, 1:] * brighter], dim=1)
        return self.refine(draft)  # type: ignore[no-any-return]

    def motion_maps(self, x: Tensor) -> Tensor:
        """Give where each step made the picture brighter and darker: ``-> [B, L-1, 2, H, W]`` in 0..1."""
        step = light(x, self.frames, self.background).diff(dim=1)
        maps: Tensor = self.motion(torch.stack([step.relu(), (-step).relu()], dim=2))
        return maps

    def interleave(self, x: Tensor, maps: Tensor) -> Tensor:
        """Put the maps of a step between its two frames: ``-> [B, C_in + 2(L-1), H, W]``."""
        frames = by_frames(x, self.frames, self.background)  # [B, L, C, H, W]
        parts = [x[:, :3]] if self.background == "concat" else []
        parts.append(frames[:, 0])
        for i in range(self.frames - 1):
            parts += [maps[:, i], frames[:, i + 1]]
        return torch.cat(parts, dim=1).contiguous(memory_format=torch.channels_last)


class _Refinement(nn.Module):
    """Add what a transformer over the patches of all frames says to the draft."""

    def __init__(self, frames: int, dropout: float, embedding: int) -> None:
        super().__init__()
        self.context_dropout = nn.Dropout(dropout)
        self.embed = nn.Conv2d(1, embedding, kernel_size=PATCH, stride=PATCH)
        self.place = nn.Parameter(torch.randn(1, embedding, *GRID))
        self.time = nn.Parameter(torch.randn(1, frames, 1, embedding))
        layer = nn.TransformerEncoderLayer(
            embedding, nhead=2, dim_feedforward=4 * embedding, dropout=dropout, batch_first=True
        )
        self.transformer = nn.TransformerEncoder(layer, num_layers=4, enable_nested_tensor=False)
        self.decode = nn.Conv2d(embedding, PATCH * PATCH, kernel_size=1)
        self.shuffle = nn.PixelShuffle(PATCH)
        # Where nothing moves the draft is scaled to nearly 0: only this layer can then say no.
        expect_no_ball(self.decode)

    def forward(self, draft: Tensor) -> Tensor:
        batch, frames, height, width = draft.shape
        draft = self.context_dropout(draft)
        patches = self.embed(draft.reshape(batch * frames, 1, height, width))  # [B*L, E, h, w]
        _, _, h, w = patches.shape
        place: Tensor = self.place
        if (h, w) != GRID:
            place = nn.functional.interpolate(place, size=(h, w), mode="bilinear", align_corners=False)
        tokens = (patches + place).flatten(2).transpose(1, 2)  # [B*L, h*w, E]
        tokens = tokens.reshape(batch, frames, h * w, -1) + self.time
        tokens = self.transformer(tokens.flatten(1, 2))  # [B, L*h*w, E]
        cells = tokens.reshape(batch * frames, h, w, -1).permute(0, 3, 1, 2)  # [B*L, E, h, w]
        residual = self.shuffle(self.decode(cells))  # [B*L, 1, H, W]
        revised: Tensor = draft + residual.reshape(batch, frames, height, width)
        return revised
