"""Every exception that Limbeck raises on purpose.

Two families matter to whoever catches them. An `InputError` means that something the user gave (a recipe,
data, a checkpoint, the environment) has to change; the command line leaves with code 2. Any other
`LimbeckError` means that the work itself failed; the command line leaves with code 1. `Interrupted` is the
third case: the state is saved and the same command continues, which a scheduler reads from code 75. The fourth is
`ConditionFailed`, code 3: the work is done, and its outcome is not what a pipeline asked for.

Each class also derives from the built-in that it refines, so `except ValueError` keeps working.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class LimbeckError(Exception):
    """Base of every error raised on purpose.

    Example:
        >>> LimbeckError("the disk is gone").exit_code
        1
    """

    exit_code = 1


class InputError(LimbeckError):
    """Something given by the user is wrong; nothing was changed."""

    exit_code = 2


class ConfigError(InputError, ValueError):
    """A recipe, a setting or an override is wrong.

    Example:
        >>> print(ConfigError.of("my.yaml", ["stages.a.kind: unknown stage 'x'."]))
        my.yaml has 1 problem:
          stages.a.kind: unknown stage 'x'.
    """

    problems: tuple[str, ...] = ()

    @classmethod
    def of(cls, where: str, problems: Iterable[str]) -> ConfigError:
        """Collect every problem of one file into one error."""
        found = tuple(problems)
        noun = "problem" if len(found) == 1 else "problems"
        error = cls(f"{where} has {len(found)} {noun}:\n" + "\n".join(f"  {line}" for line in found))
        error.problems = found
        return error


class UnknownNameError(InputError, LookupError):
    """A component, stage, module or file name that nothing answers to."""


class ShapeError(InputError, ValueError):
    """Tensors whose shapes do not fit together."""


class DataError(InputError, ValueError):
    """Images or labels that cannot be used."""


class TapError(InputError, LookupError):
    """A module path that does not exist, or a tap that did not fire."""


class ModelError(InputError, ValueError):
    """A model that cannot be built, or a teacher and a student that do not fit together."""


class CheckpointError(InputError, ValueError):
    """A checkpoint or model file that is damaged, foreign or of a forbidden kind."""


class RunFolderError(InputError, OSError):
    """A run folder that cannot be used: locked, changed, not writable, or not one of ours."""


class MissingExtraError(InputError, ImportError):
    """An optional package is needed and absent.

    Example:
        >>> print(MissingExtraError.of("pyarrow", "hf", "reading it"))
        reading it needs the package 'pyarrow', which is not installed. Install it with: pip install 'limbeck[hf]'
    """

    @classmethod
    def of(cls, package: str, extra: str, purpose: str) -> MissingExtraError:
        """Name the package, what needs it and the extra that brings it."""
        return cls(
            f"{purpose} needs the package '{package}', which is not installed. "
            f"Install it with: pip install 'limbeck[{extra}]'"
        )


class TaskError(LimbeckError, RuntimeError):
    """A training task broke its contract: a term that is zero or never computed, a teacher that trains."""


class NonFiniteError(LimbeckError, ArithmeticError):
    """A loss became infinite or not a number; no checkpoint was made of it."""


class StorageError(LimbeckError, OSError):
    """Writing failed (a full disk, say); what was written before is intact."""


class ConditionFailed(LimbeckError):
    """Everything was done and written, and a condition that the user set on the outcome does not hold."""

    exit_code = 3


class Interrupted(LimbeckError):
    """Training was asked to stop, saved its state and can be continued."""

    exit_code = 75


def did_you_mean(name: str, options: Iterable[str]) -> str:
    """A suggestion sentence with a leading space, or nothing when no option is close.

    Example:
        >>> did_you_mean("temprature", ["temperature", "reg"])
        " Did you mean 'temperature'?"
        >>> did_you_mean("zebra", ["temperature"])
        ''
    """
    close = difflib.get_close_matches(name, list(options), n=1, cutoff=0.6)
    return f" Did you mean '{close[0]}'?" if close else ""
