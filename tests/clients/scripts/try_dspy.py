"""DSPy, which asks through LiteLLM."""

from __future__ import annotations

import dspy
from verdicts import ANSWER, API_KEY, BASE_URL, MODEL, feature, run_features


@feature("LM")
def _() -> None:
    model = dspy.LM(f"openai/{MODEL}", api_base=BASE_URL, api_key=API_KEY, cache=False)
    assert ANSWER in model("What is the capital of France?")[0]


@feature("LM: responses")
def _() -> None:
    model = dspy.LM(
        f"openai/{MODEL}", api_base=BASE_URL, api_key=API_KEY, cache=False, model_type="responses"
    )
    answer = model("What is the capital of France?")[0]
    assert ANSWER in (answer["text"] if isinstance(answer, dict) else answer)


@feature("Predict")
def _() -> None:
    model = dspy.LM(f"openai/{MODEL}", api_base=BASE_URL, api_key=API_KEY, cache=False)
    with dspy.context(lm=model, adapter=dspy.JSONAdapter()):
        assert dspy.Predict("question -> answer")(question="Which city?").answer == "Paris"


@feature("Embedder")
def _() -> None:
    embed = dspy.Embedder(f"openai/{MODEL}", api_base=BASE_URL, api_key=API_KEY, caching=False)
    assert len(embed(["one", "two"])) == 2


run_features()
