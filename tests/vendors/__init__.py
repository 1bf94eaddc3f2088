"""Servers that speak the vendors' protocols, with switches for their faults. No vendor is contacted."""
