"""The native libraries, as they run in an engine's process. Never imported by the server."""
