"""Video and labels in, batches out."""
