"""A network small enough to train on two CPU cores at 288x512."""

from __future__ import annotations

import torch
from jsonargparse.typing import PositiveInt
from torch import Tensor, nn

from tracknet.models.folding import Layers, folds, hooked, scale_and_offset, scaled
from tracknet.models.framewise import Features, FramewiseNetwork
from tracknet.models.network import BackgroundMode, needed, stack_frames

MEAN_LIGHT = 0.45
LIGHT = 0.25
MOTION = 0.08
"""Mean and spread of light in broadcast pictures, and spread of its difference from the background."""


class CompactTrackNet(FramewiseNetwork):
    """A U-Net that works at a quarter of the resolution and sees each frame by itself at the half one.

    What costs in a TrackNet is the full-resolution convolutions over all frames at once. Here a stem shared
    by all frames halves the picture, the window is then fused at a quarter of the resolution, where motion is
    found with a wide view, and a sub-pixel convolution (Shi et al., 2016) brings what it found back to each
    frame at half the resolution. A head, again shared by all frames, weighs it against the stem's own
    features: a slow, faint ball is seen there or nowhere. With ``concat`` the stem sees each frame beside its
    signed difference from the background, not the background again and again. At 288x512 with 8 frames:
    1.64 M parameters, 0.80 GMAC a frame.

    Args:
        frames: Frames per window, L; also the number of heatmaps.
        background: What the network sees of the median background.
        stem: Channels a frame in the stem and in the head.
        widths: Channels at 1/4, 1/8 and 1/16 of the resolution.
    """

    stride = 16

    def __init__(
        self,
        frames: PositiveInt = 8,
        background: BackgroundMode = "concat",
        stem: PositiveInt = 16,
        widths: tuple[PositiveInt, PositiveInt, PositiveInt] = (64, 96, 128),
    ) -> None:
        super().__init__(frames, background, outputs=frames)
        self._stem = stem
        self.widths = widths
        self.images = frames
        a, b, c = widths
        self._shown = frames + (background == "concat")  # pictures in the input
        per_frame = {"none": 3, "subtract": 1, "subtract_concat": 4, "concat": 6}[background]
        self.stem = nn.Sequential(  # [B*L, stem, H/2, W/2]
            _EachFrame(background, per_frame, stem), _conv(stem, stem)
        )
        self.down1 = nn.Sequential(_conv(frames * stem, a, stride=2), _Residual(a))  # [B, a, H/4, W/4]
        self.down2 = nn.Sequential(_conv(a, b, stride=2), _Residual(b))  # [B, b, H/8, W/8]
        self.down3 = nn.Sequential(_conv(b, c, stride=2), _Residual(c), _Residual(c))  # [B, c, H/16, W/16]
        self.up2 = nn.Sequential(_conv(c + b, b), _Residual(b))
        self.up1 = nn.Sequential(_conv(b + a, a), _Residual(a))
        self.context = nn.Conv2d(a, frames * 4 * stem, kernel_size=1, bias=False)  # 2x2 cells of each frame
        self.detail = nn.Conv2d(stem, stem, kernel_size=3, padding=1, bias=False)
        self.fused = nn.Sequential(nn.BatchNorm2d(stem), nn.ReLU(inplace=True))
        self.predictor = nn.Conv2d(stem, 1, kernel_size=1)
        self.upsample = nn.Upsample(scale_factor=2, mode="nearest")
        # A ball covers some 5 of 36,864 cells: start where nearly every cell says no.
        nn.init.constant_(self.predictor.bias, -5.0)  # type: ignore[arg-type]

    def stack(self, frames: Tensor, background: Tensor | None = None) -> Tensor:
        """Put the background before the frames, and leave each as it is, bytes too: ``[B, L+1, 3, H, W]``.

        The stem takes them one by one, so that nothing but bytes is brought into order; other background
        modes see a difference of frames and have `stack_frames`.
        """
        if self.background != "concat":
            return super().stack(frames, background)
        background = needed(background, self.background)
        # Colours innermost: so the decoder gives them, and so the first convolution wants them.
        if frames.stride(-1) != 1 or torch.onnx.is_in_onnx_export():
            images = [one.movedim(2, -1) for one in (background.unsqueeze(1), frames)]
            return torch.cat(images, dim=1).movedim(-1, 2)
        # A cache and crops have the colours one behind the other: one at a time takes half as long then.
        windows, count, colours, *size = frames.shape
        stacked = frames.new_empty(windows, 1 + count, *size, colours)
        for place in range(colours):
            stacked[:, 0, ..., place] = background[:, place]
            stacked[:, 1:, ..., place] = frames[:, :, place]
        return stacked.movedim(-1, 2)

    def forward(self, x: Tensor) -> Tensor:
        """Give one heatmap a frame: ``[B, C_in, H, W] -> [B, L, H/2, W/2]``; H and W divisible by 16.

        Args:
            x: As `stack` or as `stack_frames` makes it; of the former, bytes too.

        Returns:
            Logits.
        """
        if x.dim() == 4:
            x = x.view(x.shape[0], self._shown, -1, *x.shape[2:])
        return self._logits(self.stem(x), x.shape[0])

    def frame_features(self, frames: Tensor, background: Tensor | None = None) -> Features:
        """Give what the stem sees in each frame, ``[N, stem, H/2, W/2]``, see `FramewiseNetwork`."""
        still = None if background is None else background[None]
        if self.background == "concat":  # the background is convolved once for all of them
            shown = self.stack(frames[None], still)
        else:
            still = still if still is None else still.expand(len(frames), -1, -1, -1)
            shown = stack_frames(frames[:, None], still, self.background)[:, None]
        return (self.stem(shown),)

    def window_logits(self, features: Features, newest: int | None = None) -> Tensor:
        """Give the logits of windows at half the resolution, see `FramewiseNetwork`."""
        (stem,) = features
        return self._logits(stem.flatten(0, 1), stem.shape[0], newest)

    def _logits(self, stem: Tensor, windows: int, newest: int | None = None) -> Tensor:
        y1 = self.down1(_side_by_side(stem, windows))
        y2 = self.down2(y1)
        y3 = self.down3(y2)
        y2 = self.up2(torch.cat([self.upsample(y3), y2], dim=1))
        y1 = self.up1(torch.cat([self.upsample(y2), y1], dim=1))
        frames = newest or self.frames
        if frames < self.frames:
            stem = stem.reshape(windows, self.frames, *stem.shape[1:])[:, -frames:].flatten(0, 1)
        logits: Tensor = self.predictor(self._weighed(stem, y1, frames))
        return logits.reshape(windows, frames, *stem.shape[-2:])

    def _weighed(self, stem: Tensor, y: Tensor, frames: int) -> Tensor:
        """Weigh what the window's context says of its last frames against what is seen in each alone."""
        norm: nn.BatchNorm2d = self.fused[0]  # type: ignore[assignment]
        if folds(norm, y, self.detail, self.context) and not hooked(self.fused):
            scale, offset = scale_and_offset(norm, self.detail.weight.dtype)
            seen = nn.functional.conv2d(stem, scaled(self.detail.weight, scale), offset, padding=1)
            last = self.context.weight[-4 * self._stem * frames :]
            found = nn.functional.conv2d(y, scaled(last, scale.repeat(4 * frames)))
            weighed: Tensor = self.fused[1](seen.add_(_to_frames(found, frames)))
        else:
            found = self.context(y)
            if frames < self.frames:
                found = found[:, -4 * self._stem * frames :]
            weighed = self.fused(self.detail(stem) + _to_frames(found, frames))
        return weighed


class _EachFrame(nn.Sequential):
    """The first layer: looks at each frame, and at what moved in it.

    A passing ball changes a pixel by a tenth of what separates light from dark; unscaled, the first layers
    take long to notice it. The scales lie in the weights, and with ``concat``, where
    ``light(frame) + motion(frame - background) = (light + motion)(frame) - motion(background)``, the
    background is convolved once a window: no scaled copies of all frames are made. The mean goes first, so
    that what pads the borders is neither light nor dark.
    """

    def __init__(self, background: BackgroundMode, channels_in: int, channels_out: int) -> None:
        super().__init__(*_conv(channels_in, channels_out, stride=2))
        self.background = background

    def forward(self, x: Tensor) -> Tensor:
        """Give ``[B*L, stem, H/2, W/2]`` of ``[B, n, C, H, W]``, bytes or in 0..1."""
        conv, norm, relu = self
        weight: Tensor = conv.weight / (255.0 if x.dtype == torch.uint8 else 1.0)  # type: ignore[operator, assignment]
        offset = None
        if folds(norm, x):
            scale, offset = scale_and_offset(norm, weight.dtype)  # type: ignore[arg-type]
            weight, norm = scaled(weight, scale), nn.Identity()
        coloured = 0 if self.background == "subtract" else 3
        light, motion = weight[:, :coloured] / LIGHT, weight[:, coloured:] / MOTION
        if self.background == "concat":
            y = _convolved(_centred(x[:, 1:], weight.dtype).flatten(0, 1), light + motion)
            still = _convolved(_centred(x[:, 0], weight.dtype), -motion, offset)
            y.view(x.shape[0], x.shape[1] - 1, *y.shape[1:]).add_(still[:, None])
        else:
            x = x.flatten(0, 1)
            x = torch.cat([_centred(x[:, :coloured], weight.dtype), x[:, coloured:]], dim=1)
            y = _convolved(x, torch.cat([light, motion], dim=1), offset)
        seen: Tensor = relu(norm(y))
        return seen


class _Residual(nn.Module):
    """Two 3x3 convolutions around a skip."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv_1 = _conv(channels, channels)
        self.conv_2 = Layers(
            nn.Conv2d(channels, channels, 3, padding=1, bias=False), nn.BatchNorm2d(channels)
        )

    def forward(self, x: Tensor) -> Tensor:
        return nn.functional.relu(x + self.conv_2(self.conv_1(x)))


def _conv(channels_in: int, channels_out: int, stride: int = 1, kernel: int = 3) -> Layers:
    return Layers(
        nn.Conv2d(channels_in, channels_out, kernel, stride, padding=kernel // 2, bias=False),
        nn.BatchNorm2d(channels_out),
        nn.ReLU(inplace=True),
    )


def _centred(images: Tensor, dtype: torch.dtype) -> Tensor:
    """Take the mean off bytes or what is in 0..1; the order in memory stays."""
    if images.dtype == torch.uint8:
        return images.to(dtype).sub_(255.0 * MEAN_LIGHT)
    return images - MEAN_LIGHT


def _convolved(x: Tensor, weight: Tensor, offset: Tensor | None = None) -> Tensor:
    return nn.functional.conv2d(_channels_last(x), weight, offset, stride=2, padding=1)


def _to_frames(x: Tensor, frames: int) -> Tensor:
    """Give each frame its cells at twice the resolution: ``[B, L*4*C, h, w] -> [B*L, C, 2h, 2w]``.

    The channels hold frame, row, column and C in this order: C then stays innermost in channels_last.
    """
    batch, _, height, width = x.shape
    cells = x.permute(0, 2, 3, 1).reshape(batch, height, width, frames, 2, 2, -1)
    cells = cells.permute(0, 3, 1, 4, 2, 5, 6)  # [B, L, h, 2, w, 2, C]
    return cells.reshape(batch * frames, 2 * height, 2 * width, -1).permute(0, 3, 1, 2)


def _side_by_side(x: Tensor, windows: int) -> Tensor:
    """Put the channels of all frames of a window beside each other: ``[B*L, C, h, w] -> [B, L*C, h, w]``."""
    if torch.onnx.is_in_onnx_export():  # no channels_last there: a reshape costs nothing
        return x.reshape(windows, -1, *x.shape[2:])
    # In one copy: a reshape gives up channels_last, which takes another one to come back to.
    each = x.permute(0, 2, 3, 1).reshape(windows, -1, *x.shape[2:], x.shape[1])  # [B, L, h, w, C]
    return each.permute(0, 2, 3, 1, 4).flatten(3).permute(0, 3, 1, 2)


def _channels_last(x: Tensor) -> Tensor:
    # 3x3 convolutions run two to four times faster in this format, and reshaping loses it.
    return x.contiguous(memory_format=torch.channels_last)
