"""Tools in a turn: what a model is offered, the rounds in which it calls them, and the user's consent."""
