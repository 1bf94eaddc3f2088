"""Example providers: a voice that beeps and a model that shouts."""
