"""The last suppression of a detector as nodes of ONNX, behind a graph that gives its candidates."""

from __future__ import annotations

from typing import Any

import numpy as np

from limbeck.models.detectors.exports.candidates import Candidates

BOXES, SCORES = "candidate_boxes", "candidate_scores"
"""The outputs of the graph that is given."""
THRESHOLD = "score_threshold"
"""An initializer, one number; whoever has the file can change it."""


def append_suppression(proto: Any, candidates: Candidates) -> None:
    """Let a graph end in `boxes` (k, 4), `labels` (k,) and `scores` (k,).

    ONNX suppresses class by class, in float32, as torchvision does where there are many candidates; "batch" and
    "class" of its operator are the two first dimensions of the candidates.

    Args:
        proto: a model with the outputs of `Candidates`, changed in place.
        candidates: its thresholds.
    """
    from onnx import TensorProto, helper, numpy_helper

    graph = proto.graph
    constants = {
        THRESHOLD: np.array([candidates.score_threshold], np.float32),
        "nms_threshold": np.array([candidates.nms_threshold], np.float32),
        "detections": np.array([candidates.most], np.int64),
        "first_label": np.array(candidates.first_label, np.int64),
        "to_pixels": candidates.scale.numpy(),
        "box_columns": np.array([0, 2], np.int64),
        "row_column": np.array(0, np.int64),
        "class_column": np.array(1, np.int64),
        "zero": np.array(0, np.int64),
    }
    graph.initializer.extend(numpy_helper.from_array(value, name) for name, value in constants.items())

    def node(operator: str, inputs: str, outputs: str, **attributes: Any) -> None:
        # A name of the node for messages of runtimes.
        graph.node.append(
            helper.make_node(
                operator, inputs.split(), outputs.split(), f"suppression/{outputs.split()[0]}", **attributes
            )
        )

    node("NonMaxSuppression", f"{BOXES} {SCORES} detections nms_threshold {THRESHOLD}", "selected")
    node("GatherND", f"{SCORES} selected", "selected_scores")
    node("Shape", "selected_scores", "selected_count")
    node("Min", "selected_count detections", "kept_count")
    node("TopK", "selected_scores kept_count", "best_scores best", axis=0)
    node("Gather", "selected best", "chosen", axis=0)
    node("Gather", "chosen row_column", "chosen_row", axis=1)
    node("Gather", "chosen class_column", "chosen_class", axis=1)
    node("Add", "chosen_row chosen_class", "chosen_column")
    node("Add", "chosen_column first_label", "all_labels")
    node("Gather", "chosen box_columns", "chosen_places", axis=1)
    node("GatherND", f"{BOXES} chosen_places", "chosen_boxes")
    node("Mul", "chosen_boxes to_pixels", "all_boxes")
    node("GreaterOrEqual", "all_labels zero", "is_object")
    for name, rows in (("boxes", "all_boxes"), ("labels", "all_labels"), ("scores", "best_scores")):
        node("Compress", f"{rows} is_object", name, axis=0)
    del graph.output[:]
    for name, kind, shape in (
        ("boxes", TensorProto.FLOAT, ["objects", 4]),
        ("labels", TensorProto.INT64, ["objects"]),
        ("scores", TensorProto.FLOAT, ["objects"]),
    ):
        graph.output.append(helper.make_tensor_value_info(name, kind, shape))


def with_threshold(proto: Any, threshold: float) -> bytes:
    """The content of a file with another score threshold."""
    import onnx
    from onnx import numpy_helper

    changed = onnx.ModelProto()
    changed.CopyFrom(proto)
    for place, one in enumerate(changed.graph.initializer):
        if one.name == THRESHOLD:
            changed.graph.initializer[place].CopyFrom(
                numpy_helper.from_array(np.array([threshold], np.float32), THRESHOLD)
            )
    content = changed.SerializeToString()
    assert isinstance(content, bytes)
    return content
