"""Track a video with an exported graph: numpy, onnxruntime and av are enough.

Usage: tracknet export best.ckpt --format onnx --positions     # once, where tracknet is installed
       python onnx_without_torch.py best.onnx rally.mp4 > rally_ball.csv

All frames are held in memory, 0.4 MB each: meant for rallies, not for whole matches.
"""

import json
import sys

import av
import numpy as np
import onnxruntime


def main(graph: str, video: str) -> None:
    """Print ``Frame,Visibility,X,Y,Confidence``, positions in pixels of the video."""
    session = onnxruntime.InferenceSession(graph, providers=["CPUExecutionProvider"])
    info = json.loads(session.get_modelmeta().custom_metadata_map["tracknet"])
    if not info["positions"]:
        sys.exit(f"{graph}: gives heatmaps; export it with --positions")
    length, (height, width) = info["frames"], info["input_size"]
    with av.open(video) as container:
        shape = (container.streams.video[0].height, container.streams.video[0].width)
        pictures = [
            frame.reformat(width, height, "rgb24", interpolation="AREA").to_ndarray().transpose(2, 0, 1)
            for frame in container.decode(video=0)
        ]
    given = {}
    if info["needs_background"]:
        some = pictures[:: max(1, len(pictures) // 100)]
        given["background"] = np.median(some, axis=0).astype(np.uint8)[None]
    print("Frame,Visibility,X,Y,Confidence")
    total, outputs = len(pictures), info["outputs"]
    for done in range(0, total, outputs):
        # Windows do not overlap; the last one is moved back so that it is full. The positions are those of a
        # window's last frames; what lies before the first frame or behind the last one is that frame.
        stop = max(min(done + outputs, total), outputs)
        window = np.stack([pictures[min(max(at, 0), total - 1)] for at in range(stop - length, stop)])
        xy, confidence = session.run(None, {"frames": window[None], **given})
        for frame in range(done, min(stop, total)):
            at = frame - (stop - outputs)
            x, y = (xy[0, at] + 0.5) * (shape[1] / width, shape[0] / height) - 0.5
            seen = confidence[0, at] >= info["threshold"]
            print(f"{frame},{int(seen)},{x * seen:.2f},{y * seen:.2f},{confidence[0, at]:.4f}")


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2])
