"""Train, evaluate and run sports-ball trackers of the TrackNet family from YAML."""

__version__ = "0.1.0"
