"""What training on, and tracking of, very much video would take: a model of a cluster, from measured figures.

    python -m benchmarks.scaling [--hours 1000] [--gpus 64] [--train_rate F] [--track_rate F] ...

Nothing is measured here. Every figure that the model needs is an option whose help says what it stands for;
give those of your machines. The table says for each number of GPUs how fast it would go, what that costs, and
what bounds it.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import NamedTuple

from jsonargparse import auto_cli
from jsonargparse.typing import ClosedUnitInterval, PositiveFloat, PositiveInt

BYTES_A_PIXEL = 3
BYTES_A_GRADIENT = 4
GPUS_A_NODE = 8
COUNTS = (1, 2, 4, 8, 16, 32, 64, 128, 256)


class Step(NamedTuple):
    """One training step of all processes.

    Attributes:
        network: Seconds of forward and backward on a GPU.
        exchange: Seconds of the gradients' exchange that nothing hides.
        loader: Seconds in which the cores of a GPU make its batch.
        storage: Seconds in which the storage that all share delivers the batches of all.
    """

    network: float
    exchange: float
    loader: float
    storage: float

    @property
    def seconds(self) -> float:
        """Loading goes on beside computing: the slower of both counts."""
        return max(self.network + self.exchange, self.loader, self.storage)

    @property
    def bound(self) -> str:
        """What would have to be faster."""
        parts = {
            "network": self.network,
            "network and exchange": self.network + self.exchange if self.exchange > 0.1 * self.network else 0,
            "loader": self.loader,
            "storage": self.storage,
        }
        return max(parts, key=lambda name: parts[name])


def ring_seconds(gpus: int, size: float, bandwidth: float, latency: float) -> float:
    """Give the time of a ring all-reduce: 2 (n - 1) / n of the bytes pass each link, in 2 (n - 1) messages.

    Args:
        gpus: Members of the ring.
        size: Bytes that each has.
        bandwidth: Of the slowest link, bytes a second.
        latency: Of a message, seconds.

    Example:
        >>> ring_seconds(4, 8e9, 1e9, 0.0)
        12.0
    """
    return 2 * (gpus - 1) / gpus * size / bandwidth + 2 * (gpus - 1) * latency


def scaling(
    hours: PositiveFloat = 1000.0,
    fps: PositiveFloat = 30.0,
    gpus: PositiveInt = 64,
    height: PositiveInt = 288,
    width: PositiveInt = 512,
    parameters: PositiveFloat = 11.3e6,
    batch: PositiveInt = 192,
    train_rate: PositiveFloat = 3000.0,
    track_rate: PositiveFloat = 9000.0,
    decode_rate: PositiveFloat = 400.0,
    read_rate: PositiveFloat = 3000.0,
    cores: PositiveInt = 12,
    link: PositiveFloat = 200e9,
    network: PositiveFloat = 12.5e9,
    latency: PositiveFloat = 2e-5,
    hidden: ClosedUnitInterval = 0.7,
    storage: PositiveFloat = 5e9,
    local_storage: PositiveFloat | None = None,
    price: PositiveFloat = 2.5,
    epochs: PositiveInt = 30,
    labelled: ClosedUnitInterval = 1.0,
) -> int:
    """Print the tables.

    Args:
        hours: Video, hours.
        fps: Its frames a second.
        gpus: GPUs that the sums at the end are for.
        height: Height of the network's input.
        width: Width of the network's input.
        parameters: Weights of the network (TrackNetV2: 11.3 million).
        batch: Frames that a GPU takes in a step (64 windows of 3).
        train_rate: Frames a second that one GPU trains on, without waiting for data.
        track_rate: Frames a second that one GPU tracks, without waiting for data.
        decode_rate: Frames a second that one core decodes and resizes.
        read_rate: Frames a second that one core reads from the frame cache and makes a batch of.
        cores: Cores for each GPU.
        link: Bytes a second between the GPUs of a node.
        network: Bytes a second between nodes, for each node.
        latency: Seconds of a message.
        hidden: Share of the gradients' exchange that the backward pass hides.
        storage: Bytes a second that the storage shared by all nodes delivers to all of them together.
        local_storage: Bytes a second of each node's own disks, where these hold the frame cache instead.
        price: Of a GPU, an hour, its share of the node included.
        epochs: Epochs of the training.
        labelled: Share of the frames with labels, which training reads.

    Returns:
        Exit code 0.
    """
    frames = hours * 3600 * fps
    size = height * width * BYTES_A_PIXEL
    print(f"{hours:,.0f} h of video at {fps:g} frames/s: {frames:,.0f} frames")
    print(f"frame cache at {height}x{width}: {frames * labelled * size / 1e12:,.1f} TB\n")
    print("training: GPUs, frames/s, efficiency, hours an epoch, cost of all epochs, bound by")
    alone = batch / train_rate
    counts = sorted({*(one for one in COUNTS if one <= 4 * gpus), gpus})
    for count in counts:
        bandwidth = link if count <= GPUS_A_NODE else network
        exchange = 0.0
        if count > 1:
            exchange = ring_seconds(count, parameters * BYTES_A_GRADIENT, bandwidth, latency) * (1 - hidden)
        readers = count if local_storage is None else min(count, GPUS_A_NODE)
        reading = batch * size * readers / (storage if local_storage is None else local_storage)
        step = Step(alone, exchange, batch / (read_rate * cores), reading)
        rate = count * batch / step.seconds
        epoch = frames * labelled / rate / 3600
        cost = epoch * epochs * count * price
        share = alone / step.seconds
        print(f"{count:5d} {rate:12,.0f} {share:6.0%} {epoch:10.2f} {cost:12,.0f}   {step.bound}")
    print("\ntracking: GPUs, frames/s, hours for all, cost, bound by")
    for count in counts:
        limits = {"network": track_rate * count, "decoding": decode_rate * cores * count}
        bound = min(limits, key=lambda name: limits[name])
        took = frames / limits[bound] / 3600
        print(f"{count:5d} {limits[bound]:12,.0f} {took:10.2f} {took * count * price:12,.0f}   {bound}")
    need = train_rate * gpus * size
    print(f"\n{gpus} GPUs at full speed read {need / 1e9:,.1f} GB/s of cached frames,", end=" ")
    print(f"or decode on {track_rate * gpus / decode_rate:,.0f} cores to track.")
    return 0


def main(words: Sequence[str] | None = None) -> int:
    """Run it with words of the command line."""
    return int(auto_cli(scaling, args=None if words is None else list(words), as_positional=False))


if __name__ == "__main__":
    sys.exit(main())
