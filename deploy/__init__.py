"""Deployment: the embedded run, the image, the broker for development."""

import os

# Before anything imports numpy. The matrices are small, so BLAS threads only wait for each other: on two busy cores they cost
# six to twenty times the processor time, and their number has a say in the last digit. The image sets the same.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
