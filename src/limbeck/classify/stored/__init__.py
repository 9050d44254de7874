"""What a teacher says of every view, kept on disk, so that it runs once and teaches as often as you like."""

from __future__ import annotations

from typing import TYPE_CHECKING

from limbeck.lazy import make_lazy

_PUBLIC = {
    "StoredTeacher": "reading",
    "StorePlan": "contents",
    "Views": "views",
    "contents_of": "writing",
    "open_store": "reading",
    "plan": "contents",
    "write_store": "writing",
}

if TYPE_CHECKING:
    from limbeck.classify.stored.contents import StorePlan, plan
    from limbeck.classify.stored.reading import StoredTeacher, open_store
    from limbeck.classify.stored.views import Views
    from limbeck.classify.stored.writing import contents_of, write_store

__all__ = ["StorePlan", "StoredTeacher", "Views", "contents_of", "open_store", "plan", "write_store"]

make_lazy(__name__)
