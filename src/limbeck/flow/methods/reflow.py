"""Reflow: the flow of a flow's own pairs, which is nearly straight (Liu et al. 2023; Lee et al. 2024)."""

from __future__ import annotations

from limbeck.flow.methods._base import Ground, Method, Plain


def reflow(ground: Ground) -> Method:
    """Train a velocity on stored pairs, at times and with an objective of one's choice.

    Args:
        ground: student, times, objective.

    References:
        Lee et al., Improving the Training of Rectified Flows, NeurIPS 2024 [lee2024improving]; Liu et al., Flow
        Straight and Fast, ICLR 2023 [liu2023flow].
    """
    return Plain(ground)
