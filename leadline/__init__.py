"""What the command line is made of: a client of the HTTP API, and tables. Imports nothing of the server."""
