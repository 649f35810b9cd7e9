"""The grad-model: model, score, gradients and heatmap as one function. Most of its modules load TensorFlow."""
