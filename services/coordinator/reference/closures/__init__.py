"""Days the exchange stays closed, or closes early, that its calendar does not know: entered, and taken back."""
