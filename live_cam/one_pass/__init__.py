"""The one pass: model, score, gradients and heatmap as one function. Its modules load TensorFlow."""
