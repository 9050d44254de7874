"""Put an exported folder on the Hugging Face hub."""

from __future__ import annotations

import re
from typing import Any

from limbeck.errors import InputError, LimbeckError, MissingExtraError
from limbeck.models.exports.exported import Exported, first_line

_REPOSITORY = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")
_REFUSED = {401: "the token is not accepted", 403: "the token may not write there"}


def checked_repository(repository: str) -> str:
    """Make sure, before any work, that a push can begin: a name, the package, a token.

    Args:
        repository: `owner/name` on the hub.

    Raises:
        InputError: no such name can be, or nobody is logged in.
        MissingExtraError: huggingface_hub is not installed.
    """
    if not _REPOSITORY.fullmatch(repository) or "--" in repository or ".." in repository:
        raise InputError(
            f"--push {repository}: a repository is owner/name, of letters, digits, '-', '_' and '.', "
            "e.g. --push me/my-student."
        )
    hub = _hub()
    if hub.constants.HF_HUB_OFFLINE:
        raise InputError("HF_HUB_OFFLINE is set, so nothing is uploaded. Unset it to push.")
    if hub.get_token() is None:
        raise InputError(
            "nobody is logged in to the Hugging Face hub, so nothing was uploaded. Run `hf auth login`, or put a "
            "token that may write (huggingface.co/settings/tokens) into HF_TOKEN."
        )
    return repository


def push(exported: Exported, repository: str, *, private: bool = False) -> str:
    """Upload an exported folder, the files that were just written and no others, as one commit.

    Args:
        exported: what an exporter gave back; its path is a folder.
        repository: `owner/name`; made if it is not there.
        private: the repository is for its owner's eyes; one that is public already is refused.

    Returns:
        The address of the commit.

    Raises:
        InputError: a file instead of a folder, nobody logged in, no right to write, or a public repository where a
            private one was asked for.
        LimbeckError: the hub cannot be reached or refused.
    """
    if not exported.path.is_dir():
        raise InputError(f"--push uploads a folder with a model card; {exported.path} is a file. Name a folder.")
    checked_repository(repository)
    hub = _hub()
    api = hub.HfApi()
    try:
        api.create_repo(repository, repo_type="model", private=private, exist_ok=True)
        if private and not api.repo_info(repository, repo_type="model").private:
            raise InputError(
                f"{repository} exists and is public, and --private was asked for; nothing was uploaded. Make it "
                "private in its settings, or choose another name."
            )
        commit = api.upload_folder(
            repo_id=repository,
            repo_type="model",
            folder_path=exported.path,
            allow_patterns=list(exported.files),
            commit_message="Model exported by Limbeck",
        )
    except InputError:
        raise
    except Exception as error:  # of its download client, of sockets, of the hub
        raise _explained(error, repository) from error
    return str(commit)


def _hub() -> Any:
    try:
        import huggingface_hub
    except ImportError as error:
        raise MissingExtraError.of("huggingface_hub", "hf", "pushing to the Hugging Face hub") from error
    return huggingface_hub


def _explained(error: Exception, repository: str) -> LimbeckError:
    status = getattr(getattr(error, "response", None), "status_code", None)
    if status in _REFUSED:
        return InputError(
            f"the hub refused {repository}: {_REFUSED[status]} ({status}). Log in as its owner, with a token "
            "that may write: `hf auth login`."
        )
    return LimbeckError(
        f"pushing to {repository} failed: {first_line(error)}. The folder is complete; push it again."
    )
