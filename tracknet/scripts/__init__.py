"""The commands of the older tracknet: ``python -m tracknet.scripts.train`` and others, on the new engine."""
