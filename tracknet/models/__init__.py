"""The networks: stacked frames in, heatmap logits out."""
