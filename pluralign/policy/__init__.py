"""Score = a language model's log-probabilities.

`encode` decides what the tokens of a response are, `batch` pads them, `logprobs` scores them, `reference` remembers
the scores of a frozen model. Nothing here knows an objective. Import the modules; they need torch, this page does not.
"""
