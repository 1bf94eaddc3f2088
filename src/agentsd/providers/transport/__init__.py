"""How vendors are reached: sessions, endpoints, sockets, event streams."""
