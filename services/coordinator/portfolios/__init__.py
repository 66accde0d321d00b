"""The user's own data: portfolios, lots, flows. A change and everything it makes necessary are one transaction."""
