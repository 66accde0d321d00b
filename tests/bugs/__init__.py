"""The bugs of the engine that this replaces: none may come back."""
