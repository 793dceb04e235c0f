"""What every heatmap network has in common: its input needs, and how its input is stacked."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar, Literal

import torch
from torch import Tensor, nn

BackgroundMode = Literal["none", "subtract", "subtract_concat", "concat"]
"""What a network sees of the median background, as in TrackNetV3."""


def input_channels(frames: int, background: BackgroundMode) -> int:
    """Number of input channels of a network.

    Args:
        frames: Frames per window, L.
        background: ``none`` 3L, ``subtract`` L, ``subtract_concat`` 4L, ``concat`` 3(L + 1).

    Returns:
        C_in, as `stack_frames` makes it.
    """
    return {
        "none": 3 * frames,
        "subtract": frames,
        "subtract_concat": 4 * frames,
        "concat": 3 * (frames + 1),
    }[background]


def stack_frames(frames: Tensor, background: Tensor | None, mode: BackgroundMode) -> Tensor:
    """Stack a window of frames along the channels, oldest first.

    With the background B of a clip, ``subtract`` gives one channel a frame, the difference
    ``min(1, sum_c |frame_c - B_c|)``; ``subtract_concat`` gives R, G, B and that difference for each frame;
    ``concat`` puts B before the frames (TrackNetV3, Chen and Wang 2023).

    Args:
        frames: RGB frames, uint8 in 0..255 or float in 0..1, shape ``[B, L, 3, H, W]``.
        background: Median background of the same type, shape ``[B, 3, H, W]``; unused with ``none``.
        mode: Background mode.

    Returns:
        Float input in 0..1, shape ``[B, C_in, H, W]``, in channels_last memory format.

    Raises:
        ValueError: The mode needs a background and there is none.
    """
    if mode != "none":
        background = needed(background, mode).unsqueeze(1)
        if mode == "concat":
            frames = torch.cat([background, frames], dim=1)
        else:
            frames, background = in_unit_range(frames), in_unit_range(background)
            difference = (frames - background).abs_().sum(dim=2, keepdim=True).clamp_(max=1.0)
            frames = difference if mode == "subtract" else torch.cat([frames, difference], dim=2)
    # Bytes are brought into order before they become floats, four times their size.
    return in_unit_range(frames.flatten(1, 2).contiguous(memory_format=torch.channels_last))


def in_unit_range(images: Tensor) -> Tensor:
    """Bring bytes to 0..1; floats are there already.

    Args:
        images: uint8 in 0..255 or float in 0..1, of any shape.

    Returns:
        Float in 0..1.
    """
    return images.float().div_(255.0) if images.dtype == torch.uint8 else images


def needed(background: Tensor | None, mode: BackgroundMode) -> Tensor:
    """Insist on a background.

    Args:
        background: Median background.
        mode: The background mode that needs it, for the message.

    Returns:
        The background.

    Raises:
        ValueError: There is none.
    """
    if background is None:
        raise ValueError(f"background mode {mode!r} needs the median background of the clip")
    return background


class HeatmapNetwork(nn.Module, ABC):
    """A network from stacked frames to one heatmap a frame.

    A subclass is chosen by its class name in YAML; its input needs are attributes, which the command line
    links to the data, so that they are written once. Its other parameters are kept as attributes too (with an
    underscore before the name where a layer has it): checkpoints tell from them how to build it again.

    Args:
        frames: Frames per window, L.
        background: Background mode, see `stack_frames`.
        outputs: Heatmaps a window: L (one for each frame) or 1 (the last frame only).

    Attributes:
        frames: As given.
        background: As given.
        outputs: As given.
        in_channels: C_in, see `input_channels`.
        stride: What height and width of the input must be divisible by.
    """

    stride: ClassVar[int] = 1

    def __init__(self, frames: int, background: BackgroundMode, outputs: int) -> None:
        super().__init__()
        self.frames = frames
        self.background: BackgroundMode = background
        self.outputs = outputs
        self.in_channels = input_channels(frames, background)

    @property
    def needs_background(self) -> bool:
        """Whether the input holds the median background."""
        return self.background != "none"

    def stack(self, frames: Tensor, background: Tensor | None = None) -> Tensor:
        """Make what `forward` takes of a batch of windows: `stack_frames`, unless a network overrides it.

        Args:
            frames: RGB frames, uint8 in 0..255 or float in 0..1, ``[B, L, 3, H, W]``.
            background: Median background of the same type, ``[B, 3, H, W]``, where the network wants it.

        Returns:
            The input, ``[B, ...]``.

        Raises:
            ValueError: The network wants a background and there is none.
        """
        return stack_frames(frames, background, self.background)

    @abstractmethod
    def forward(self, x: Tensor) -> Tensor:
        """Give the heatmap logits of a batch of windows.

        Args:
            x: Stacked frames in 0..1, shape ``[B, C_in, H, W]``.

        Returns:
            Logits, shape ``[B, outputs, h, w]``; h and w may be smaller than H and W.
        """


def expect_no_ball(layer: nn.Conv2d) -> None:
    """Let a last layer start where nearly every cell says that there is no ball.

    A ball covers some 20 of 147,456 pixels; from a probability of 0.5 everywhere, training would first have
    to unlearn all the others.

    Args:
        layer: The layer that makes logits; its bias becomes -5, a probability of 0.7 %.
    """
    nn.init.constant_(layer.bias, -5.0)  # type: ignore[arg-type]
