"""Reads template.yaml as AWS would: SAM's own translator expands it, moto's CloudFormation resolves its references."""

from dataclasses import dataclass, field
from pathlib import Path


class TemplateError(Exception):
    """template.yaml cannot be run; the text is one line that says what is wrong and where."""


@dataclass(frozen=True)
class FunctionSpec:
    """One Lambda function, with everything that its processes need to start."""

    logical_id: str
    name: str
    handler: str
    code_folder: Path
    layer_folders: tuple[Path, ...]
    timeout_seconds: float
    memory_mb: int
    environment: dict[str, str]
    reserved_concurrency: int | None = None


@dataclass(frozen=True)
class Route:
    """One route of the HTTP API; `path` is as in the template ("/tenants/{id}", "$default"), `method` may be ANY."""

    method: str
    path: str
    function_id: str
    rate: float | None = None
    burst: int | None = None

    @property
    def key(self) -> str:
        """Return the route key as API Gateway writes it: "POST /webhooks/stripe" or "$default"."""
        return self.path if self.path == "$default" else f"{self.method} {self.path}"


@dataclass(frozen=True)
class QueueMapping:
    """One event source mapping from a queue to a function."""

    function_id: str
    queue_url: str
    queue_name: str
    batch_size: int
    window_seconds: int
    reports_item_failures: bool
    maximum_concurrency: int | None = None


@dataclass(frozen=True)
class Schedule:
    """One schedule of a function: `rate(1 minute)` or `cron(…)`, in UTC."""

    function_id: str
    name: str
    expression: str
    enabled: bool
    input: str | None = None


@dataclass(frozen=True)
class Stack:
    """Everything that the template asks for, resolved for this machine."""

    functions: dict[str, FunctionSpec]
    routes: tuple[Route, ...]
    mappings: tuple[QueueMapping, ...]
    schedules: tuple[Schedule, ...]
    queues: dict[str, str]
    dead_letter_of: dict[str, tuple[str, int]]
    outputs: dict[str, str] = field(default_factory=dict)
