"""Random changes of training windows, made on the device just before a batch is used."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jsonargparse.typing import ClosedUnitInterval, PositiveFloat
from torch import Tensor, nn
from torch.nn.functional import affine_grid, grid_sample

from tracknet.errors import TrackNetError, UsageError

_MID_GREY = 127.5


@dataclass(frozen=True)
class _Change:
    """What happens to one window: to all its frames and its background alike.

    Attributes:
        flip: Whether left and right change places.
        gain: Factor of each of the channels R, G, B.
        offset: What is added to each channel after that, in grey levels.
        zoom: Magnification.
        shift: Where the left and the top edge of the new picture lie in the old one, as a share of what the
            magnification cuts off (or adds).
    """

    flip: bool
    gain: tuple[float, float, float]
    offset: tuple[float, float, float]
    zoom: float
    shift: tuple[float, float]


class Augmentation(nn.Module):
    """Flips, recolours and zooms training windows; all frames of a window and its background change alike.

    A channel value v becomes ``((v - 127.5) c + 127.5) b g``, rounded and kept within 0..255, with the
    contrast c drawn from 1 +- ``contrast``, the brightness b from 1 +- ``brightness`` and the gain g of each
    channel from 1 +- ``colour``. Labels follow the picture; a ball that leaves it becomes not visible, and
    stays labelled. Draws come from torch's default generator, so that ``seed_everything`` repeats them on any
    device.

    Args:
        flip: Probability that left and right change places.
        brightness: Largest relative change of the brightness (light of the hall, exposure).
        contrast: Largest relative change of the contrast around mid grey (haze, camera profile).
        colour: Largest relative change of each colour channel by itself (white balance).
        scale: Smallest and largest magnification, drawn evenly on a log scale; the place is drawn too, so
            that a range around 1 also shifts the picture. Beyond the old picture its border is repeated.
            ``[1, 1]`` leaves the pixels where they are and costs nothing.

    Raises:
        UsageError: The smallest magnification is above the largest.
    """

    def __init__(
        self,
        flip: ClosedUnitInterval = 0.5,
        brightness: ClosedUnitInterval = 0.2,
        contrast: ClosedUnitInterval = 0.2,
        colour: ClosedUnitInterval = 0.05,
        scale: tuple[PositiveFloat, PositiveFloat] = (1.0, 1.0),
    ) -> None:
        super().__init__()
        if scale[0] > scale[1]:
            raise UsageError(
                f"Augmentation: scale is {list(scale)}; expected the smaller magnification first"
            )
        self.flip: float = flip
        self.brightness: float = brightness
        self.contrast: float = contrast
        self.colour: float = colour
        self.scale: tuple[float, float] = (float(scale[0]), float(scale[1]))

    def forward(self, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        """Change a batch of windows.

        Args:
            batch: At least ``frames`` uint8 ``[B, L, 3, H, W]``, ``xy`` float32 ``[B, L, 2]`` in input pixels
                and ``visible`` bool ``[B, L]``; ``background`` uint8 ``[B, 3, H, W]`` changes too where there
                is one.

        Returns:
            A new batch; the tensors of the old one are left as they are, and those that do not change are
            shared.

        Raises:
            TrackNetError: Frames or background are not uint8.
        """
        frames = batch["frames"]
        for name in ("frames", "background"):
            if name in batch and batch[name].dtype != torch.uint8:
                raise TrackNetError(
                    f"Augmentation: {name} are {batch[name].dtype}; expected torch.uint8 in 0..255, as grey "
                    "levels are counted; networks normalise them behind it"
                )
        changes = self._draw(len(frames))
        changed = dict(batch)
        changed["frames"] = self._pictures(frames, changes)
        if "background" in batch:
            changed["background"] = self._pictures(batch["background"].unsqueeze(1), changes).squeeze(1)
        size = (frames.shape[-2], frames.shape[-1])
        changed["xy"], changed["visible"] = self._labels(batch["xy"], batch["visible"], size, changes)
        return changed

    def _draw(self, windows: int) -> list[_Change]:
        # Always as many draws, and on the processor: settings and devices do not shift those that follow.
        changes = []
        for flip, light, haze, red, green, blue, zoom, left, top in torch.rand(windows, 9).tolist():
            contrast = 1 + self.contrast * (2 * haze - 1)
            brightness = 1 + self.brightness * (2 * light - 1)
            r, g, b = (brightness * (1 + self.colour * (2 * share - 1)) for share in (red, green, blue))
            lift = _MID_GREY * (1 - contrast)
            low, high = self.scale
            changes.append(
                _Change(
                    flip=flip < self.flip,
                    gain=(contrast * r, contrast * g, contrast * b),
                    offset=(lift * r, lift * g, lift * b),
                    zoom=low * (high / low) ** zoom,
                    shift=(left, top),
                )
            )
        return changes

    def _pictures(self, images: Tensor, changes: list[_Change]) -> Tensor:
        """Change the pictures ``[B, n, 3, H, W]`` of each window."""
        recolour = bool(self.brightness or self.contrast or self.colour)
        out = torch.empty_like(images)
        # As much of a window at a time, in the same place, as stays in the cache of a processor: one channel
        # of its frames, or all three of its background.
        pictures, channels, height, width = images.shape[1:]
        at_once = channels if pictures == 1 else 1
        light = images.new_empty((pictures, at_once, height, width), dtype=torch.float32)
        levels = torch.empty_like(light, dtype=torch.int16)
        offsets = light.new_tensor([change.offset for change in changes]) + 0.5
        for old, new, change, offset in zip(images, out, changes, offsets, strict=True):
            window = old.flip(-1) if change.flip else old
            if change.zoom != 1:
                window = _zoomed(window, change)
            if recolour:
                for first in range(0, channels, at_once):
                    part = slice(first, first + at_once)
                    light.copy_(window[:, part])
                    for channel, plane in enumerate(light.unbind(1), first):
                        torch.add(offset[channel], plane, alpha=change.gain[channel], out=plane)
                    # By way of 16 bits: PyTorch makes bytes of floats one by one.
                    new[:, part] = levels.copy_(light).clamp_(0, 255)
            else:
                new.copy_(window + 0.5 if window.is_floating_point() else window)
        return out

    def _labels(
        self, xy: Tensor, visible: Tensor, size: tuple[int, int], changes: list[_Change]
    ) -> tuple[Tensor, Tensor]:
        """Move the balls with the pictures."""
        height, width = size
        flip = torch.tensor([change.flip for change in changes], device=xy.device)[:, None]
        x = torch.where(flip, width - 1 - xy[..., 0], xy[..., 0])
        xy = torch.stack([x, xy[..., 1]], dim=-1)
        if self.scale == (1.0, 1.0):
            return xy, visible
        zoom = xy.new_tensor([change.zoom for change in changes])[:, None, None]
        extent = xy.new_tensor([width, height])
        corner = xy.new_tensor([change.shift for change in changes])[:, None] * extent * (1 - 1 / zoom)
        xy = (xy + 0.5 - corner) * zoom - 0.5
        inside = ((xy >= -0.5) & (xy < extent - 0.5)).all(dim=-1)
        return xy, visible & inside


def _zoomed(window: Tensor, change: _Change) -> Tensor:
    """Magnify pictures ``[n, 3, H, W]``; float, in grey levels."""
    flat = window.flatten(0, 1)[None].float()
    # The grid spans -1..1 over the whole picture, edges included: x = 2 (column + 0.5) / W - 1.
    share = 1 / change.zoom
    left, top = ((2 * place - 1) * (1 - share) for place in change.shift)
    theta = flat.new_tensor([[[share, 0.0, left], [0.0, share, top]]])
    grid = affine_grid(theta, list(flat.shape), align_corners=False)
    return grid_sample(flat, grid, padding_mode="border", align_corners=False)[0].view(window.shape)
