"""An ONNX file as a module: it predicts, and has neither gradients nor layers."""

from __future__ import annotations

import json
from pathlib import Path

import torch
from torch import Tensor, nn

from limbeck.errors import CheckpointError, MissingExtraError, ModelError
from limbeck.models.data_config import DataConfig


class OnnxClassifier(nn.Module):
    """A classifier that onnxruntime runs on the processor.

    Args:
        path: a file that takes images, shape (n, c, h, w), float32, in [0, 1] unless it says otherwise, and gives
            logits, shape (n, classes); files of `limbeck export` say so.

    Raises:
        MissingExtraError: onnxruntime is not installed.
        CheckpointError: no ONNX file, or damaged.
        ModelError: it takes or gives something else.
    """

    def __init__(self, path: Path) -> None:
        super().__init__()
        self._path = path
        try:
            import onnxruntime
        except ImportError as error:
            raise MissingExtraError.of("onnxruntime", "export", f"reading {path}") from error
        try:
            self._session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
        except Exception as error:  # onnxruntime raises whatever it likes
            raise CheckpointError(f"{path} cannot be read by onnxruntime: {str(error).splitlines()[0]}") from error
        inputs = self._session.get_inputs()
        if len(inputs) != 1 or len(inputs[0].shape) != 4:
            shapes = ", ".join(f"{one.name} {one.shape}" for one in inputs)
            raise ModelError(f"{path} is no image classifier: it takes {shapes}, not images (n, c, h, w).")
        self._input = inputs[0].name
        self._output = self._session.get_outputs()[0].name
        self.limbeck_data = _facts(path, self._session.get_modelmeta().custom_metadata_map)

    def forward(self, images: Tensor) -> Tensor:
        """Logits, shape (n, classes), float32, without a graph.

        Raises:
            ModelError: onnxruntime cannot run it on such images, or it puts out something else.
        """
        given = images.detach().float().cpu().numpy()
        try:
            found = self._session.run([self._output], {self._input: given})[0]
        except Exception as error:  # onnxruntime raises whatever it likes
            raise ModelError(
                f"{self._path} cannot be run on images of shape {tuple(images.shape)}: "
                f"{str(error).splitlines()[0]}"
            ) from error
        if found.ndim != 2 or len(found) != len(images):
            raise ModelError(
                f"{self._path} is no classifier: for {len(images)} images it puts out an array of shape "
                f"{found.shape}."
            )
        return torch.from_numpy(found).to(images.device)


def _facts(path: Path, said: dict[str, str]) -> DataConfig:
    """What the file says of its input; one that normalises inside wants none outside."""
    try:
        inside = said["normalise"] == "inside"
        size = tuple(json.loads(said["input_shape"]))
        means, deviations = json.loads(said["mean"]), json.loads(said["std"])
        names = tuple(json.loads(said["class_names"]))
    except (KeyError, ValueError) as error:
        raise ModelError(
            f"{path} does not say how its images are normalised; ONNX files of limbeck export do. Audit the model "
            "that it was made from, or add metadata: normalise, input_shape, mean, std, class_names, as JSON."
        ) from error
    if inside:
        means, deviations = [0.0] * size[0], [1.0] * size[0]
    return DataConfig(input_shape=size, mean=tuple(means), std=tuple(deviations), class_names=names)
