"""What watches over a run: early stop, budgets and alerts. Pure rules; training applies them."""
