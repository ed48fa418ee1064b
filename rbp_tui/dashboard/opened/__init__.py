"""What the screens that follow the opened run have in common."""
