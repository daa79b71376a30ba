"""All that the service knows, in one place."""

from dataclasses import dataclass, field

from .access import Access
from .accounts import Accounts
from .clock import Clock
from .control import Journal
from .resumable import Sessions
from .storage import MemoryStorage


@dataclass
class Service:
    """What functions that answer requests are given."""

    clock: Clock
    storage: MemoryStorage
    accounts: Accounts
    access: Access
    # Whether accounts may have something signed for them.
    may_sign: bool
    # Where it listens.
    port: int = 0
    sessions: Sessions = field(default_factory=Sessions)
    journal: Journal = field(default_factory=Journal)
