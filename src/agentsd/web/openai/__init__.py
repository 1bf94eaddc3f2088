"""OpenAI's interface: models, chat, speech, transcriptions, embeddings."""
