from __future__ import annotations

import subprocess
import sys

import pytest

CODE = """
import resource
from tracknet.data.open_files import allow_open_files

resource.setrlimit(resource.RLIMIT_NOFILE, ({soft}, {hard}))
allow_open_files({files})
print(*resource.getrlimit(resource.RLIMIT_NOFILE))
"""


@pytest.mark.parametrize(
    ("soft", "hard", "files", "after"),
    [
        (256, 4096, 1000, (1512, 4096)),
        (256, 1200, 1000, (1200, 1200)),  # as far as the system lets it
        (2048, 4096, 1000, (2048, 4096)),  # enough
    ],
)
def test_the_limit_grows_with_the_data_set(soft, hard, files, after):
    code = CODE.format(soft=soft, hard=hard, files=files)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert tuple(map(int, done.stdout.split())) == after
