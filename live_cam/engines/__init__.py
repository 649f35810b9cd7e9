"""Engines that execute the grad-model: LiteRT and TensorFlow."""
