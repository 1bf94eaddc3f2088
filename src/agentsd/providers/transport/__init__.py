"""Transport to vendors: sessions, endpoints, sockets, event streams."""
