"""The generate stage run in several processes, and small parameters for it."""

from concurrent.futures import ThreadPoolExecutor

from tests.processes import rest_of

SMALL = {"windows": {"train": 2000, "validation": 300, "test": 1}, "shard_windows": 200}  # 10, 2 and 1 shards
MANY = {"windows": {"train": 40_000, "validation": 300, "test": 1}, "shard_windows": 100}  # 400, 3 and 1 shards


def launch(folder, world_size, *arguments, **options):
    """Runs the stage in `world_size` processes at once, as torchrun does; returns the log of each."""
    variables = [{"RANK": str(rank), "WORLD_SIZE": str(world_size)} for rank in range(world_size)]
    with ThreadPoolExecutor(world_size) as starters:
        started = [starters.submit(folder.stage, "generate", *arguments, **options, **own) for own in variables]
        return [each.result().stderr for each in started]


def ended(process):
    """Waits for a process; returns its exit code and its log."""
    log = rest_of(process)[1]
    return process.returncode, log


def content(folder):
    """Returns the content of every file by path, including hidden files."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
