"""The loop.

It runs any `Task` over any `Stream`, and everything it does at step *s* is a pure function of the state
before, the seed and *s*. A run that was stopped at any moment and resumed therefore ends with the same bits.
"""

from __future__ import annotations

import itertools
import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor, nn

from limbeck.engine.checkpoint import Checkpoints
from limbeck.engine.ema import Ema
from limbeck.engine.interrupt import StopFlag, stop_flag
from limbeck.engine.machine import Machine
from limbeck.engine.meter import Meter
from limbeck.engine.progress import Progress
from limbeck.engine.schedules import constant, warmed_up
from limbeck.engine.trackers import Trackers
from limbeck.errors import CheckpointError, InputError, Interrupted, TaskError
from limbeck.protocols import Batch, Records, Stream, Task
from limbeck.seeding import seed_everything


@dataclass(frozen=True, slots=True)
class FitResult:
    """What the loop did.

    Attributes:
        steps: optimizer steps in all.
        seconds: wall time in all, over every resume.
        resumed_from: step of the checkpoint that this process began with; None for a fresh start.
        best_epoch: epoch of the weights kept under `keep="best"`.
        peak_memory_bytes: most memory held at once.
        averages: decay -> averaged state dict of the trainable module, for every decay asked for.
    """

    steps: int
    seconds: float
    resumed_from: int | None
    best_epoch: int | None
    peak_memory_bytes: int
    averages: Mapping[float, Mapping[str, Tensor]] = field(default_factory=dict)


@dataclass
class _Position:
    """Where the run stands; part of every checkpoint."""

    step: int = 0
    epoch: int = 1
    batch: int = 0
    seconds: float = 0.0
    best: float = -math.inf
    best_epoch: int | None = None


@dataclass
class _Loop:
    """The loop with all it holds; `fit` builds it."""

    task: Task
    stream: Stream
    module: nn.Module
    machine: Machine
    records: Records
    optimizer: Any
    checkpoints: Checkpoints
    trackers: Trackers
    averages: Sequence[Ema]
    learning_rate: Callable[[float], float]
    total: int
    epoch_steps: int
    accumulation: int
    clip_norm: float | None
    seed: int
    evaluate: Callable[[], Mapping[str, float]] | None
    best_key: str | None
    position: _Position = field(default_factory=_Position)

    def __post_init__(self) -> None:
        self.meter = Meter(self.machine, self._rescue)
        self._began = time.perf_counter()
        self._saved_at = time.perf_counter()
        self._saved: tuple[int, Path] | None = None

    def done(self) -> bool:
        return self.position.step >= self.total

    @property
    def ema(self) -> Ema | None:
        """The average that is evaluated and kept; the others are only written down."""
        return self.averages[0] if self.averages else None

    @property
    def seconds(self) -> float:
        return self.position.seconds + time.perf_counter() - self._began

    @property
    def seconds_since_save(self) -> float:
        return time.perf_counter() - self._saved_at

    def groups(self) -> Iterator[list[Batch]]:
        """What is left of the epoch, in groups of batches that make one step."""
        batches = self.stream.epoch(self.position.epoch, start=self.position.batch)
        while group := self._next(batches):
            yield group

    def _next(self, batches: Iterator[Batch]) -> list[Batch]:
        """The next group; where the stream breaks off, what was learnt until then is saved before the error."""
        try:
            return list(itertools.islice(batches, self.accumulation))
        except InputError:
            # Saving is done together, and only this process may have met the error.
            if self.machine.world == 1 and self.position.step and self._saved_step != self.position.step:
                self.save()
            raise

    @property
    def _saved_step(self) -> int | None:
        return self._saved[0] if self._saved is not None else None

    def step(self, group: Sequence[Batch]) -> None:
        """One optimizer step over a group of batches whose gradients are averaged."""
        at, accelerator = self.position, self.machine.accelerator
        factor = self.learning_rate(at.step / self.epoch_steps)
        for parameters in self.optimizer.param_groups:
            parameters["lr"] = parameters["initial_lr"] * factor
        for number, batch in enumerate(group):
            seed_everything(self.seed, "step", at.step, number, self.machine.rank)
            syncs = number == len(group) - 1 or self.machine.world == 1
            with nullcontext() if syncs else accelerator.no_sync(self.task.trainable):
                with self.machine.autocast():
                    output = self.task.step(batch)
                self.meter.add(output, step=at.step + 1)
                accelerator.backward(output.loss / len(group))
        if self.clip_norm is not None:
            accelerator.clip_grad_norm_(self.module.parameters(), self.clip_norm)
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        at.step += 1
        for average in self.averages:
            average.update(at.step)
        at.batch += len(group)

    def log(self, bar: Progress) -> None:
        """Write the averages since the last line."""
        at = self.position
        values = self.meter.read(step=at.step, last=self.done())
        if values:
            self.write({**values, "lr": self.optimizer.param_groups[0]["lr"]}, at.epoch)
            bar.update(step=at.step, epoch=at.epoch, loss=values["loss"])

    def judge(self, epoch: int) -> None:
        """Evaluate the weights that would be kept now, and keep them if they are the best."""
        if self.evaluate is None:
            return
        self.agree()
        with self.ema.swapped(self.module) if self.ema is not None else nullcontext():
            values = dict(self.evaluate())
            self.write(values, epoch)
            if self.best_key is not None and values[self.best_key] > self.position.best:
                self.position.best, self.position.best_epoch = values[self.best_key], epoch
                if self.machine.main:
                    self.checkpoints.save_best(epoch, {"module": self.module.state_dict()})

    def write(self, values: Mapping[str, float], epoch: int) -> None:
        if self.machine.main:
            self.records.write_scalars({"step": self.position.step, "epoch": epoch, **values})
            self.trackers.log(values, step=self.position.step)

    def save(self) -> None:
        """Checkpoint everything that a resumed run needs.

        Raises:
            NonFiniteError: the state is not worth keeping; the one before stays the last good one.
        """
        self.meter.check(step=self.position.step)
        scaler = self.machine.accelerator.scaler
        if self.machine.main:
            self.checkpoints.save(
                {
                    "position": {**asdict(self.position), "seconds": self.seconds},
                    "module": self.module.state_dict(),
                    "optimizer": self.optimizer.state_dict(),
                    "averages": [average.state for average in self.averages],
                    "scaler": scaler.state_dict() if scaler is not None else None,
                    "meter": self.meter.state(),
                }
            )
            self.checkpoints.forget_best(but=self.position.best_epoch)
        self._saved_at = time.perf_counter()
        self._saved = (self.position.step, self.checkpoints.last)
        self.machine.wait()

    def resume(self) -> int | None:
        """Go back to the newest intact checkpoint; its step, or None where there is none."""
        found = self.checkpoints.latest() if self.machine.main else None
        self.machine.wait()
        if not self.machine.main:
            found = self.checkpoints.latest()
        if found is None:
            if self.machine.main:
                self.records.truncate_scalars(0)  # what a run left that died before its first checkpoint
            return None
        path, state = found
        try:
            self.module.load_state_dict(state["module"])
            self.optimizer.load_state_dict(state["optimizer"])
            self.position = _Position(**state["position"])
            self.meter.load(state["meter"])
        except (KeyError, RuntimeError, TypeError, ValueError) as error:
            raise CheckpointError(
                f"{path} belongs to another network or optimizer than this stage's: {error} "
                "Start the stage again with --fresh, or in another folder."
            ) from error
        for average, kept in zip(self.averages, state["averages"], strict=True):
            average.load(kept)
        if self.machine.accelerator.scaler is not None and state["scaler"] is not None:
            self.machine.accelerator.scaler.load_state_dict(state["scaler"])
        if self.position.best_epoch is not None:
            self.checkpoints.read_best(self.position.best_epoch)  # better missed now than at the end
        self._saved = (self.position.step, path)
        if self.machine.main:
            self.records.truncate_scalars(self.position.step)
        return self.position.step

    def leave_if_asked(self, flag: StopFlag) -> None:
        """Save and leave once a signal has come, in any of the processes."""
        if not self.done() and self.machine.any(bool(flag)):
            if self._saved is None or self._saved[0] != self.position.step:
                self.save()
            raise Interrupted(
                f"stopped by {flag.name or 'another process'} after step {self.position.step} of {self.total}; "
                "the state is saved. The same command continues from there."
            )

    def finish(self) -> None:
        """Put the weights that are kept into the module."""
        self.machine.wait()
        self.agree()
        if self.best_key is not None and self.position.best_epoch is not None:
            self.module.load_state_dict(self.checkpoints.read_best(self.position.best_epoch)["module"])
        elif self.ema is not None:
            self.module.load_state_dict(self.ema.state)

    def agree(self) -> None:
        """The main process's running statistics everywhere: each process gathers those of its own batches."""
        self.machine.broadcast(self.module.buffers())
        for average in self.averages:
            self.machine.broadcast(average.state.values())

    def _rescue(self) -> str:
        if self._saved is None:
            return "No checkpoint was written yet."
        return f"The last good checkpoint is that of step {self._saved[0]}: {self._saved[1]}."


def fit(
    task: Task,
    stream: Stream,
    *,
    machine: Machine,
    records: Records,
    optimizer: Callable[[list[Any]], torch.optim.Optimizer],
    schedule: Callable[[float, float], float] = constant,
    epochs: int = 1,
    steps: int | None = None,
    warmup_epochs: float = 0.0,
    accumulation: int = 1,
    clip_norm: float | None = None,
    lr_factors: Mapping[str, float] | None = None,
    ema_decay: float | Sequence[float] | None = None,
    ema_start: int = 0,
    ema_warm_up: bool = False,
    compile_module: bool = False,
    seed: int = 0,
    evaluate: Callable[[], Mapping[str, float]] | None = None,
    evaluate_every: int = 1,
    keep: Literal["last", "best"] = "last",
    best_key: str = "validation/accuracy",
    checkpoint_every: int | None = None,
    checkpoint_seconds: float = 5.0,
    log_every: int = 10,
    trackers: Sequence[str] = (),
    title: str = "training",
    progress: bool = False,
) -> FitResult:
    """Train a task, resuming from the records' folder if there is something to resume.

    Args:
        task: what is optimised; `task.trainable` is left holding the final weights, unwrapped.
        stream: training batches; its batch size is that of all processes together.
        machine: device, processes and precision.
        records: where scalars go; checkpoints go to `checkpoints/` beside them.
        optimizer: builds the optimizer from groups of the trainable parameters.
        schedule: (epochs done, epochs in all) to the factor of the learning rate.
        epochs: passes over the stream.
        steps: stop after this many optimizer steps instead; schedules then span these steps.
        warmup_epochs: epochs of linear warm-up.
        accumulation: batches a step.
        clip_norm: largest norm of the gradient.
        lr_factors: parameter's name in the trainable module -> factor of its learning rate; 1 unless given.
        ema_decay: keep an average of the weights; it is what is evaluated and kept. Of several decays that is the
            first, and all are in the result.
        ema_start: steps up to which an average is a copy of the weights.
        ema_warm_up: let averages forget a random initialisation quickly.
        compile_module: compile the trainable module.
        seed: for what layers draw during training.
        evaluate: called at epoch ends, with the weights to be judged in place; numbers go to the records.
        evaluate_every: epochs between evaluations; the last epoch is always evaluated.
        keep: "best" keeps the epoch with the largest `best_key` among the evaluation's numbers.
        best_key: which number.
        checkpoint_every: steps between checkpoints within an epoch.
        checkpoint_seconds: an epoch's end saves if the last checkpoint is older than this.
        log_every: steps between lines of the records.
        trackers: trackers by Accelerate's names.
        title: for the progress line.
        progress: show it.

    Raises:
        TaskError: the task breaks its contract.
        NonFiniteError: a loss became infinite or not a number.
        Interrupted: a signal asked for a stop; the state is saved.
        CheckpointError: there are checkpoints and none is usable.
    """
    epoch_steps = math.ceil(len(stream) / accumulation)
    total = steps if steps is not None else epochs * epoch_steps
    module = task.trainable
    settle_frozen(task, machine)
    own_mode = module.training
    machine.forget_peak()
    learnt = _groups(module, lr_factors or {})
    if not learnt:
        raise TaskError("nothing in the trainable module requires a gradient. Was it frozen, as a teacher is?")
    if len(stream) == 0:
        raise TaskError("the training stream is empty: there is no batch to learn from.")
    if keep == "best" and evaluate is None:
        raise TaskError("keep='best' chooses by an evaluation, and none was given.")
    if compile_module:
        task.trainable = torch.compile(module)  # type: ignore[assignment]
    built = optimizer(learnt)
    for group in built.param_groups:
        group["initial_lr"] = group["lr"] * group.get("lr_factor", 1.0)
    task.trainable, prepared = machine.accelerator.prepare(task.trainable, built)

    def learning_rate(done: float) -> float:
        return warmed_up(schedule(done, total / epoch_steps), done, warmup_epochs)

    loop = _Loop(
        task=task,
        stream=stream,
        module=module,
        machine=machine,
        records=records,
        optimizer=prepared,
        checkpoints=Checkpoints(Path(records.path) / "checkpoints"),
        trackers=Trackers(trackers if machine.main else (), folder=Path(records.path), run_name=title),
        averages=[
            Ema(module, decay, start=ema_start, warm_up=ema_warm_up)
            for decay in ((ema_decay,) if isinstance(ema_decay, float | int) else ema_decay or ())
        ],
        learning_rate=learning_rate,
        total=total,
        epoch_steps=epoch_steps,
        accumulation=accumulation,
        clip_norm=clip_norm,
        seed=seed,
        evaluate=evaluate,
        best_key=best_key if keep == "best" else None,
    )
    try:
        resumed_from = loop.resume()
        module.train()
        bar = Progress(
            title,
            steps=total,
            done=resumed_from or 0,
            images_per_step=stream.batch_size * accumulation,
            shown=progress and machine.main,
        )
        with stop_flag() as flag, bar:
            _run(loop, bar, flag, evaluate_every, checkpoint_every, checkpoint_seconds, log_every)
        loop.finish()
    finally:
        loop.trackers.finish()
        # Mixed precision was put around the module's own forward, and would stay there.
        machine.accelerator.unwrap_model(task.trainable, keep_fp32_wrapper=False)
        task.trainable = module
        module.train(own_mode)
        machine.release()
    return FitResult(
        loop.position.step,
        loop.seconds,
        resumed_from,
        loop.position.best_epoch,
        machine.peak_memory_bytes(),
        {average.decay: average.state for average in loop.averages},
    )


def _run(
    loop: _Loop,
    bar: Progress,
    flag: StopFlag,
    evaluate_every: int,
    checkpoint_every: int | None,
    checkpoint_seconds: float,
    log_every: int,
) -> None:
    at = loop.position
    while not loop.done():
        loop.task.start_epoch(at.epoch, loop.total / loop.epoch_steps)
        for group in loop.groups():
            loop.step(group)
            ends = loop.done() or at.batch >= len(loop.stream)
            due = at.step % log_every == 0
            if due or ends:
                loop.log(bar)
            # Several processes have to agree on stopping, which costs a message: ask less often there.
            if not ends and (due or loop.machine.world == 1):
                loop.leave_if_asked(flag)
            if not ends and checkpoint_every and at.step % checkpoint_every == 0:
                loop.save()
            if loop.done():
                break
        epoch, at.epoch, at.batch = at.epoch, at.epoch + 1, 0
        if loop.done() or epoch % evaluate_every == 0:
            loop.judge(epoch)
        # Clocks differ between processes, and saving is done together: one that is due makes it due for all.
        if loop.done() or loop.machine.any(loop.seconds_since_save >= checkpoint_seconds):
            loop.save()
        loop.leave_if_asked(flag)


def _groups(module: nn.Module, lr_factors: Mapping[str, float]) -> list[dict[str, Any]]:
    """Parameters that want a gradient, grouped by the factor of their learning rate."""
    by_factor: dict[float, list[nn.Parameter]] = {}
    for name, parameter in module.named_parameters():
        if parameter.requires_grad:
            by_factor.setdefault(lr_factors.get(name, 1.0), []).append(parameter)
    return [{"params": found, "lr_factor": factor} for factor, found in by_factor.items()]


def settle_frozen(task: Task, machine: Machine) -> None:
    """Move the teachers to the device and make sure that nothing can train them.

    Raises:
        TaskError: a teacher shares parameters with what is trained.
    """
    trained = {id(p) for p in task.trainable.parameters()}
    for name, module in task.frozen.items():
        if any(id(p) in trained for p in module.parameters()):
            raise TaskError(
                f"'{name}' shares parameters with the trainable module, so it would be trained. "
                "Give the teacher weights of its own: copy.deepcopy(model)."
            )
        module.to(machine.device).eval().requires_grad_(False)
        if any(m.training for m in module.modules()) or any(p.requires_grad for p in module.parameters()):
            raise TaskError(f"'{name}' refuses eval mode or keeps gradients; a teacher must do neither.")
