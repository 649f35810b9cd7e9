"""How far the maps can be trusted: ``livecam evaluate``."""
