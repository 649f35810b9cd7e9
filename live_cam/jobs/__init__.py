"""From settings to outputs: one job, a batch, resuming, drawing again."""
