"""The Network screen: what the layers of the opened run do while it trains, a tab for each question."""
