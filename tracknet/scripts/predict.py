"""``python -m tracknet.scripts.predict``: the heatmap of one picture; now `tracknet track`."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from tracknet.data.whole_file import whole_file
from tracknet.errors import TrackNetError
from tracknet.scripts.old_interface import guarded, parser, prepare, tell

if TYPE_CHECKING:
    from tracknet.training.lightning_module import HeatmapTracker


def main(argv: Sequence[str] | None = None) -> int:
    """Write the heatmap of a picture, and the picture with the ball that was found.

    Args:
        argv: Words of the command line; default those of the process.

    Returns:
        Exit code.
    """
    words = list(sys.argv[1:] if argv is None else argv)
    return guarded("predict", lambda: _run(words))


def _run(words: list[str]) -> int:
    made = parser("predict", "Find the ball in a picture.")
    made.add_argument("--image", type=Path, required=True, metavar="FILE", help="the picture")
    made.add_argument("--checkpoint", type=Path, metavar="FILE", help="default the newest best_* of ckpt_dir")
    options, overrides = made.parse_known_args(words)
    prepared = prepare(options, overrides)
    from tracknet.cli.bare_weights import load_weights
    from tracknet.scripts.weights import new_form, newest_best, read

    picture = _read(options.image)
    checkpoint = options.checkpoint or newest_best(Path(prepared.runtime["ckpt_dir"]))
    content = read(checkpoint)
    command = new_form(checkpoint, content, "tracknet track VIDEO --overlay OVERLAY.mp4 --ckpt")
    tell(prepared, options, "predict", command)
    tracker = load_weights(prepared.migration.draft.values["model"], content, checkpoint)
    heatmap, (x, y), confidence = find_ball(tracker, picture)
    folder = Path(prepared.runtime["output_root"]) / "predictions"
    stem = options.image.stem
    grey = (np.clip(heatmap, 0, 1) * 255).round().astype(np.uint8)
    _write(folder / f"{stem}_heatmap.png", grey)
    _write(folder / f"{stem}_overlay.png", overlaid(picture, grey, (x, y)))
    print(f"ball: x {x:.1f}, y {y:.1f}, confidence {confidence:.3f}")
    print(f"written: {folder / f'{stem}_heatmap.png'}, {folder / f'{stem}_overlay.png'}")
    return 0


def find_ball(tracker: HeatmapTracker, picture: np.ndarray) -> tuple[np.ndarray, tuple[float, float], float]:
    """Find the ball in one picture, which fills the whole window.

    Args:
        tracker: The tracker.
        picture: RGB, uint8 ``[H, W, 3]``.

    Returns:
        The heatmap in 0..1, float ``[h, w]``; x and y in pixels of the picture; the confidence in 0..1.
    """
    import torch
    from av import VideoFrame

    from tracknet.data.frame_source import FrameResizer
    from tracknet.data.geometry import resize_xy

    frame = FrameResizer(tracker.input_size)(VideoFrame.from_ndarray(picture, format="rgb24"))
    pixels = torch.from_numpy(np.ascontiguousarray(frame)).permute(2, 0, 1)
    window = pixels.expand(1, tracker.frames, *pixels.shape)
    background = pixels[None] if tracker.needs_background else None
    with torch.inference_mode():
        heatmap = tracker.heatmaps(window, background)[0, -1:]
        found = tracker.decoder(heatmap, tracker.input_size)
    x, y = resize_xy(found.xy[0], tracker.input_size, (picture.shape[0], picture.shape[1])).tolist()
    return heatmap[0].numpy(), (x, y), float(found.confidence[0])


def overlaid(picture: np.ndarray, heatmap: np.ndarray, xy: tuple[float, float]) -> np.ndarray:
    """Colour a picture by its heatmap and ring the ball.

    Args:
        picture: RGB, uint8 ``[H, W, 3]``.
        heatmap: Grey, uint8 ``[h, w]``.
        xy: The ball in pixels of the picture.

    Returns:
        RGB, uint8 ``[H, W, 3]``.
    """
    from PIL import Image, ImageDraw

    height, width = picture.shape[:2]
    heat = np.asarray(Image.fromarray(heatmap).resize((width, height), Image.Resampling.BILINEAR))
    share = heat[..., None] / 255 * 0.6
    mixed = picture * (1 - share) + np.array([255.0, 0.0, 0.0]) * share
    image = Image.fromarray(mixed.round().astype(np.uint8))
    radius = max(4, height // 60)
    box = (xy[0] - radius, xy[1] - radius, xy[0] + radius, xy[1] + radius)
    ImageDraw.Draw(image).ellipse(box, outline=(255, 255, 0), width=max(1, height // 300))
    return np.asarray(image)


def _read(path: Path) -> np.ndarray:
    from PIL import Image, UnidentifiedImageError

    try:
        with Image.open(path) as image:
            return np.array(image.convert("RGB"))
    except UnidentifiedImageError as error:
        raise TrackNetError(f"--image: {path} is no picture") from error
    except OSError as error:
        raise TrackNetError(f"--image: {path}: {error.strerror or error}") from error


def _write(path: Path, pixels: np.ndarray) -> None:
    from PIL import Image

    with whole_file(path) as part:
        Image.fromarray(pixels).save(part)


if __name__ == "__main__":
    sys.exit(main())
