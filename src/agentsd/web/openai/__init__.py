"""OpenAI-compatible API: models, chat, speech, transcriptions, embeddings."""
