"""The golden tests of the numbers: what must hold whatever the portfolio, each under its own name."""
