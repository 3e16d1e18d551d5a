"""What golden files say about logits, rounded far below the tolerances of the tests."""

import numpy


def log_softmax(logits):
    """[n, vocab] -> [n, vocab] float64."""
    logits = logits.astype(numpy.float64)
    peak = logits.max(axis=-1, keepdims=True)
    return logits - peak - numpy.log(numpy.exp(logits - peak).sum(axis=-1, keepdims=True))


def next_token(logits, targets):
    """Per row: log-probability of its target, best token, and lead of the best over the second."""
    logprobs = log_softmax(logits)
    second, first = numpy.sort(logprobs, axis=-1)[:, -2:].T
    return {
        "logprob": _rounded(logprobs[numpy.arange(len(targets)), targets], 5),
        "top1": logits.argmax(axis=-1).tolist(),
        "margin": _rounded(first - second, 4),
    }


def _rounded(values, digits):
    return [round(float(value), digits) for value in values]
