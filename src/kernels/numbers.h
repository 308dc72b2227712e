/* Numbers from Python in any of NumPy's types (but half and long double): scalars, and rows of arrays. _core alone
 * includes this, behind NumPy's own headers: it is no kernel. */
#ifndef CMLP_NUMBERS_H
#define CMLP_NUMBERS_H

#include <Python.h>
#include <numpy/arrayobject.h>
#include <numpy/arrayscalars.h>
#include <stddef.h>
#include <string.h>

/* X(name of the scalar, type number, C type, its value) */
#define CMLP_NUMBERS(X)                            \
    X(Bool, BOOL, npy_bool, number != 0)           \
    X(Byte, BYTE, npy_byte, number)                \
    X(UByte, UBYTE, npy_ubyte, number)             \
    X(Short, SHORT, npy_short, number)             \
    X(UShort, USHORT, npy_ushort, number)          \
    X(Int, INT, npy_int, number)                   \
    X(UInt, UINT, npy_uint, number)                \
    X(Long, LONG, npy_long, number)                \
    X(ULong, ULONG, npy_ulong, number)             \
    X(LongLong, LONGLONG, npy_longlong, number)    \
    X(ULongLong, ULONGLONG, npy_ulonglong, number) \
    X(Float, FLOAT, npy_float, number)             \
    X(Double, DOUBLE, npy_double, number)

#define CMLP_EXACT 0x1p53 /* a double holds every whole number up to this */

static inline int cmlp_is_bool(PyObject *o) { return PyBool_Check(o) || Py_TYPE(o) == &PyBoolArrType_Type; }

/* Whether o is a number that a double holds exactly: of Python or NumPy, of exactly their types; no Python runs. */
static int cmlp_number(PyObject *o, double *value) {
    if (PyFloat_CheckExact(o)) {
        *value = PyFloat_AS_DOUBLE(o);
        return 1;
    }
    if (PyLong_CheckExact(o) || PyBool_Check(o)) {
        int overflow;
        *value = (double)PyLong_AsLongLongAndOverflow(o, &overflow);
        return !overflow && -CMLP_EXACT < *value && *value < CMLP_EXACT;
    }
#define CMLP_SCALAR(name, ID, type, value_of)                                   \
    if (Py_TYPE(o) == &Py##name##ArrType_Type) {                                \
        const type number = PyArrayScalar_VAL(o, name);                         \
        *value = (double)(value_of);                                            \
        return (type)0.5 != 0 || (-CMLP_EXACT < *value && *value < CMLP_EXACT); \
    }
    CMLP_NUMBERS(CMLP_SCALAR)
#undef CMLP_SCALAR
    return 0;
}

/* The number of `size` bytes at `from`, in the other byte order if it is swapped. */
static inline void cmlp_load(void *number, const char *from, size_t size, int swapped) {
    char *to = (char *)number;
    if (!swapped)
        memcpy(to, from, size);
    else
        for (size_t i = 0; i < size; i++) to[i] = from[size - 1 - i];
}

/* n numbers of an array, `stride` bytes apart, as the float or double numbers `to`; 0 if they are of no known type. */
static int cmlp_cast(PyArrayObject *array, ptrdiff_t n, ptrdiff_t stride, void *to, int to_double) {
    const char *from = PyArray_BYTES(array);
    const int swapped = PyArray_ISBYTESWAPPED(array);
    float *floats = (float *)to;
    double *doubles = (double *)to;
    switch (PyArray_TYPE(array)) {
#define CMLP_CAST(name, ID, type, value_of)                                 \
    case NPY_##ID:                                                          \
        for (ptrdiff_t i = 0; i < n; i++) {                                 \
            type number;                                                    \
            cmlp_load(&number, from + i * stride, sizeof(number), swapped); \
            if (to_double)                                                  \
                doubles[i] = (double)(value_of);                            \
            else                                                            \
                floats[i] = (float)(value_of);                              \
        }                                                                   \
        return 1;
        CMLP_NUMBERS(CMLP_CAST)
#undef CMLP_CAST
    default: return 0;
    }
}

#endif
