"""A job's events as progress bars and words, on stderr."""

from __future__ import annotations

from types import TracebackType
from typing import TYPE_CHECKING, Any

from meshgen.cli.client import Event
from meshgen.cli.verb import count, kudos

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID


DOES = {"picture": "draws", "text": "writes", "form": "does"}


class Bars:
    """A bar for each result on a terminal; in a pipe, words alone. ``noun``: what a result is."""

    def __init__(self, noun: str, *, live: bool = True) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

        self.noun = noun
        self._console = Console(stderr=True, highlight=False)
        self._live = live and self._console.is_terminal
        columns = (
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[worker]}", markup=False),  # a stranger chose it
            TimeElapsedColumn(),
        )
        self._progress: Progress = Progress(*columns, console=self._console, transient=True)
        self._tasks: dict[int, TaskID] = {}

    def __enter__(self) -> Bars:
        if self._live:
            self._progress.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self._live:
            self._progress.stop()

    def say(self, text: str) -> None:
        self._progress.console.print(text, markup=False, soft_wrap=True)

    def step(self, index: int, step: int, steps: int, worker: str) -> None:
        task = self._tasks.get(index)
        if task is None:
            task = self._tasks[index] = self._progress.add_task(f"{self.noun} {index + 1}", total=steps, worker=worker)
        self._progress.update(task, completed=step, total=steps, worker=worker)

    def fill(self, index: int) -> None:
        if index in self._tasks:
            task = self._progress.tasks[self._progress.task_ids.index(self._tasks[index])]
            self._progress.update(task.id, completed=task.total)

    def drop(self, index: int) -> None:
        if index in self._tasks:
            self._progress.remove_task(self._tasks.pop(index))


class Watcher:
    """Says what happens, in words that need no knowledge of the mesh."""

    def __init__(self, bars: Bars, number: int) -> None:
        self._bars = bars
        self._number = number

    def see(self, event: Event) -> None:
        data = event.data
        match event.kind:
            case "progress":
                self._bars.step(data["index"], data["step"], data["steps"], data.get("alias", ""))
            case "arrived":
                self._bars.fill(data["index"])
            case "part":
                self._part(data)
            case "result":
                self._bars.drop(data["index"])
                number = f"{self._bars.noun} {data['index'] + 1} of {self._number}"
                self._bars.say(f"{number} by {data['alias']} for {kudos(data['mkudos'])} kudos")
            case "note":
                self._bars.say(data["text"])

    def _part(self, data: dict[str, Any]) -> None:
        if data["state"] == "awarded":
            self._bars.say(
                f"{data['alias']} {DOES[self._bars.noun]} {count(len(data['indices']), self._bars.noun)}"
                f" for {kudos(data['mkudos'])} kudos" + (" each" if len(data["indices"]) > 1 else "")
            )
        elif data["state"] == "lost":
            for index in data["indices"]:
                self._bars.drop(index)
