"""Windows and pages that show results live and send commands back."""
