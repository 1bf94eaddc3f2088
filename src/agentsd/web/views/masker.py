"""Masker of replies: the one of every other view."""

from agentsd.core.masker import Masker

__all__ = ["Masker"]
