"""Put measurements together and report them."""
