"""OpenAI's realtime interface over a WebSocket."""
