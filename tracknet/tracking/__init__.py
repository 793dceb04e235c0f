"""From a video to a trajectory."""
