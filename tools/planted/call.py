"""Calls one of the planted faults: python call.py LIBRARY overread|overflow|race."""

import ctypes
import sys

import numpy as np

library = ctypes.CDLL(sys.argv[1])
if sys.argv[2] == "overread":
    values = np.ones(1000)
    library.overread(values.ctypes.data_as(ctypes.c_void_p), ctypes.c_ssize_t(values.size))
elif sys.argv[2] == "overflow":
    library.overflow(ctypes.c_int(2**31 - 1))
else:
    library.race(ctypes.c_long(100_000))
