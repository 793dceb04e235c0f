"""Callbacks that watch, time and record training."""
