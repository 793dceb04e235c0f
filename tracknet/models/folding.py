"""Batch normalisation as part of the convolution before it, where nothing is learned.

In evaluation, batch normalisation multiplies each channel by one number and adds another. Both can be done to
the weights of the convolution instead of to all that comes out of it, which on a processor is a pass over the
memory of whole pictures. The weights are folded at each call, which costs next to nothing: no copy of them
has to be kept up to date, and checkpoints hold what they held.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm


class Layers(nn.Sequential):
    """Layers one after the other; batch normalisation right after a convolution is folded into it."""

    def forward(self, x: Tensor) -> Tensor:
        """Give what the last layer gives.

        Args:
            x: What the first one takes.

        Returns:
            The same as of a `torch.nn.Sequential`, but for rounding.
        """
        layers = list(self)
        while layers:
            layer = layers.pop(0)
            if layers and isinstance(layer, nn.Conv2d) and isinstance(layers[0], _BatchNorm):
                x = normalised(layer, layers.pop(0), x)  # type: ignore[arg-type]
            else:
                x = layer(x)
        return x


def normalised(conv: nn.Conv2d, norm: _BatchNorm, x: Tensor) -> Tensor:
    """Give ``norm(conv(x))``, in one go where nothing is learned.

    Args:
        conv: The convolution.
        norm: The batch normalisation after it.
        x: ``[B, C_in, H, W]``.

    Returns:
        ``[B, C_out, h, w]``.
    """
    if not folds(norm, x, conv):
        y: Tensor = norm(conv(x))
        return y
    scale, offset = scale_and_offset(norm, conv.weight.dtype)
    if conv.bias is not None:
        offset = offset + scaled(conv.bias, scale)
    weight = scaled(conv.weight, scale)
    return nn.functional.conv2d(x, weight, offset, conv.stride, conv.padding, conv.dilation, conv.groups)


def folds(norm: nn.Module, x: Tensor, *convs: nn.Module) -> bool:
    """Say whether a batch normalisation is to be folded.

    Args:
        norm: The batch normalisation.
        x: What the layer before it takes.
        convs: The convolutions that it is to be folded into, where they are called as layers.

    Returns:
        Whether it only scales and shifts, on a processor. On a GPU the passes that it saves are cheap, and
        the launches that it takes are not; who runs an ONNX graph folds by itself. Layers that do something
        of their own when they are called are to be called: those with hooks, as pruning and the search for
        values that are not finite set them, and subclasses, as adapters and quantization make them.
    """
    return (
        not norm.training
        and x.device.type == "cpu"
        and not torch.onnx.is_in_onnx_export()
        and type(norm) in (nn.BatchNorm2d, nn.SyncBatchNorm)
        and bool(norm.affine and norm.track_running_stats)
        and all(type(conv) is nn.Conv2d and conv.padding_mode == "zeros" for conv in convs)
        and not any(hooked(one) for one in (norm, *convs))
    )


def hooked(module: nn.Module) -> bool:
    """Say whether something is to happen when a module is called, beside its own work.

    Args:
        module: The module.

    Returns:
        Whether it has hooks.
    """
    return bool(
        module._forward_pre_hooks
        or module._forward_hooks
        or module._backward_pre_hooks
        or module._backward_hooks
    )


def scale_and_offset(norm: _BatchNorm, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    """Give what a batch normalisation multiplies each channel by in evaluation, and what it adds then.

    Args:
        norm: The batch normalisation, with running statistics and weights of its own.
        dtype: Type of the weights of the convolution.

    Returns:
        The factors ``[C]`` in float32 or finer, and what is added ``[C]`` in `dtype`.
    """
    mean, variance, weight, bias = (
        value.to(torch.promote_types(value.dtype, torch.float32))
        for value in (norm.running_mean, norm.running_var, norm.weight, norm.bias)
        if value is not None
    )
    scale = weight * (variance + norm.eps).rsqrt()
    return scale, (bias - mean * scale).to(dtype)


def scaled(weight: Tensor, scale: Tensor) -> Tensor:
    """Multiply the channels that a convolution gives.

    Args:
        weight: Weights of the convolution, ``[C_out, ...]``.
        scale: What to multiply them by, ``[C_out]``.

    Returns:
        New weights, of the type of the old ones.
    """
    return (weight * scale.view(-1, *[1] * (weight.dim() - 1))).to(weight.dtype)
