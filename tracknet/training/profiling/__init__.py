"""How fast a training is and what bounds it: measures, results, verdict and page."""
