"""HTTP server: sockets, connections and their limits."""
