"""Least squares: Levenberg-Marquardt with a Huber loss, and logistic regression with a prior."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

Residuals = Callable[[np.ndarray], np.ndarray]
"""Guesses (g x parameters) -> the residuals of each (g x residuals), in units in which 1 is an ordinary error."""

_STEP = 1e-6
_SMALLEST_GAIN = 1e-6  # of the cost
_MOST_DAMPING = 1e8


def fit(residuals: Residuals, start: np.ndarray, steps: int) -> tuple[np.ndarray, float]:
    """The parameters near ``start`` with the least Huber loss, and that loss. Tries at most ``steps`` steps."""
    best, damping = start.astype(float), 1e-3
    errors = residuals(best[None])[0]
    cost = _huber(errors)
    for _ in range(steps):
        moved = residuals(best + _STEP * np.eye(len(best)))
        slopes = (moved - errors).T / _STEP
        weights = 1 / np.maximum(np.abs(errors), 1)
        curvature = slopes.T @ (weights[:, None] * slopes)
        downhill = slopes.T @ (weights * errors)
        while damping < _MOST_DAMPING:
            guess = best - np.linalg.solve(curvature + damping * np.diag(np.diag(curvature) + 1e-12), downhill)
            guessed_errors = residuals(guess[None])[0]
            guessed_cost = _huber(guessed_errors)
            if guessed_cost < cost:
                break
            damping *= 4
        else:
            break
        gain = cost - guessed_cost
        best, errors, cost, damping = guess, guessed_errors, guessed_cost, damping / 4
        if gain < _SMALLEST_GAIN * cost:
            break
    return best, cost


def _huber(errors: np.ndarray) -> float:
    size = np.abs(errors)
    return float(np.where(size <= 1, size**2 / 2, size - 0.5).sum())


def regress(evidence: np.ndarray, right: np.ndarray, prior: np.ndarray) -> np.ndarray:
    """Weights of a logistic regression (bias first), regularized towards the prior weights.

    evidence: n x k; right: n, bool; prior: k + 1. Without evidence, the weights are the prior.
    """
    inputs = np.hstack([np.ones((len(evidence), 1)), evidence.reshape(len(evidence), len(prior) - 1)])
    weights = prior.astype(float)
    for _ in range(50):
        chance = 1 / (1 + np.exp(-np.clip(inputs @ weights, -50, 50)))
        slope = inputs.T @ (chance - right) + weights - prior
        curvature = inputs.T @ ((chance * (1 - chance))[:, None] * inputs) + np.eye(len(prior))
        step = np.linalg.solve(curvature, slope)
        weights = weights - step
        if np.abs(step).max() < 1e-9:
            break
    return weights
