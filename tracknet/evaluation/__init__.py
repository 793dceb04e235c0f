"""From heatmaps to balls, and from balls to figures."""
