"""The embedded engine: weights, LoRA training in a worker process, serving on loopback."""
