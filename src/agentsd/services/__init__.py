"""Use cases over the protocols of ``providers.base``."""
