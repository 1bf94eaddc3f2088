"""Bounded work on hostile data: a function in a worker process with limits, killed where it exceeds one.

``pool.py`` starts and keeps the workers, ``worker.py`` is one of them, ``wire.py`` is their protocol.
This file imports nothing, because a worker imports it each time that one starts.
"""
