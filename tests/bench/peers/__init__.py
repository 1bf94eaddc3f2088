"""The same agent in other frameworks: programs for the interpreters of their own environments.

Nothing here is imported by a bench, and these programs import nothing of agentsd. Each prints its URL, and
serves a WebSocket at ``/silence`` (500 ms of silence end a turn), at ``/smart`` (an end-of-turn model) and at
``/slow`` (silence, and a voice in real time): bare 16-bit sound both ways, and ``confirmed`` when speech has
interrupted an answer. The path is the model of the voice that the vendors' server is asked for.
"""
