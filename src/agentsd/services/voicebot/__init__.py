"""The voicebot: a call is listening, thinking and speaking, each as a stream, turn by turn.

call         a conversation: what comes in, turns, the agent that answers
turns        one turn, on the one agent that it leased
answering    an answer: LLM to TTS to sound, and how it is cut short
ear          microphone to utterances: detector, turn-taking, pre-roll
turntaking   when speech begins and ends, as a pure function of probabilities
conversation, playback, speakable, pipes, events, metrics: values and small parts
"""
