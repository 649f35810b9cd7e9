"""Faithfulness of heatmaps, measured by ``livecam evaluate``; plots of evaluations and recordings."""
