"""Voicebot: a call listens, thinks and speaks, each as a stream, turn by turn.

call             a conversation: incoming sound, turns, the agent that answers
turn_runner      one turn, on the one agent that it leased
answer           an answer: LLM to TTS to sound, and its interruption
speech_detector  microphone to utterances: detector, turn-taking, pre-roll
turn_detection   when speech begins and ends, as a pure function of probabilities
conversation, playback, speech_text, pipe, events, metrics: values and small parts
"""
