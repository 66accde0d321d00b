"""Days the exchange stays closed, or closes early, that its calendar does not know: added and removed."""
