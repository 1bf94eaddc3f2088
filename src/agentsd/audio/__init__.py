"""Sound: WAV, PCM, G.711, resampling and voice detection."""
