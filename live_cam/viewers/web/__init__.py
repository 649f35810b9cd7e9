"""The web page that shows all sources live, and the interface for programs beside it."""
