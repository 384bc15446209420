"""A state folder with any name: spaces, other letters, quotes, percent signs."""

from stack import programs, up
from stack.progress import Progress
from stack.supervisor import Supervisor
from tests.support import stack


def test_postgres_and_the_object_store_run_in_it(tmp_path, monkeypatch):
    monkeypatch.setenv("LC_ALL", "C")
    tmp_path.chmod(0o711)
    folder = tmp_path / '100% ñ 患者\'s "data"'
    folder.mkdir(mode=0o711)
    with stack.environment(stack.write_env(folder)) as settings:
        assert settings.readmit_home == folder / "stack"
        listed = programs.all_programs(settings)
        supervisor = Supervisor(settings)
        up.start_supervisor(settings, listed, supervisor)
        storage = [programs.find(name, settings) for name in up.STORAGE]
        up._start(storage, settings, supervisor, Progress(), "storage")
        assert supervisor.running() == {"postgres", "s3"}
        assert stack.run("stack.down").returncode == 0
        assert stack.leftovers(settings) == []
