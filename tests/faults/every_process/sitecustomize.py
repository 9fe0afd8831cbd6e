"""Every Python process with this folder on its path counts its operations on files."""

import os

if "FAULTS_ROOT" in os.environ:
    from tests.faults import counting

    counting.install()
