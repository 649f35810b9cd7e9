"""Memory between the frames of one source: smoothing, class hysteresis, scene cuts."""
