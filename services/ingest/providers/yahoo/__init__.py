"""Yahoo Finance, by yfinance or by yahooquery."""
