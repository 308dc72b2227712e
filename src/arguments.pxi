# What users give for one row: numbers and rows of any type, as the network's own. No Python runs in here, so nothing
# that is pointed into can change meanwhile. What is not plainly right is refused: the slow path checks and explains.


cdef bint number_of(object given, double *number) noexcept:
    """Whether this is one number, alone or in an array (1,) or list, that a double holds exactly."""
    cdef bint found
    if type(given) is cnp.ndarray:
        found = (cnp.PyArray_NDIM(<cnp.ndarray> given) <= 1 and cnp.PyArray_SIZE(<cnp.ndarray> given) == 1
                 and cmlp_cast(<cnp.ndarray> given, 1, 0, number, True))
    elif type(given) is list or type(given) is tuple:
        found = (PySequence_Fast_GET_SIZE(given) == 1
                 and cmlp_number(PySequence_Fast_GET_ITEM(given, 0), number))
    else:
        found = cmlp_number(<PyObject *> given, number)
    return found and -CMLP_EXACT < number[0] < CMLP_EXACT  # not NaN


cdef bint convert_row(object given, ptrdiff_t n, void *to, bint to_double) noexcept:
    """Whether this is a row of n numbers, an array, list or tuple; `to` holds them then."""
    cdef double number = 0.0
    cdef ptrdiff_t i
    if type(given) is cnp.ndarray:
        return (cnp.PyArray_NDIM(<cnp.ndarray> given) == 1 and cnp.PyArray_DIM(<cnp.ndarray> given, 0) == n
                and cmlp_cast(<cnp.ndarray> given, n, cnp.PyArray_STRIDE(<cnp.ndarray> given, 0), to, to_double))
    if (type(given) is not list and type(given) is not tuple) or PySequence_Fast_GET_SIZE(given) != n:
        return False
    for i in range(n):
        if not cmlp_number(PySequence_Fast_GET_ITEM(given, i), &number):
            return False
        if to_double:
            (<double *> to)[i] = number
        else:
            (<float *> to)[i] = <float> number
    return True


cdef bint takes_classes(const cmlp_net *net) noexcept:
    """Whether a target may be the number of a class."""
    return net.loss == CMLP_CROSS_ENTROPY or (net.loss == CMLP_HINGE and net.n_outputs > 1)


cdef bint suits(int loss, const floating *y, ptrdiff_t n) noexcept:
    """Whether finite targets y (n,) plainly are such as the loss wants; see `check_targets`."""
    cdef double total = 0.0
    cdef ptrdiff_t i
    if loss == CMLP_POISSON:
        for i in range(n):
            if y[i] < 0:
                return False
    elif loss == CMLP_CROSS_ENTROPY or loss == CMLP_BINARY_CROSS_ENTROPY:
        for i in range(n):
            if not 0 <= y[i] <= 1:
                return False
            total += y[i]
        return loss == CMLP_BINARY_CROSS_ENTROPY or 0.9995 < total < 1.0005
    elif loss == CMLP_HINGE:
        for i in range(n):
            if y[i] != 1 and y[i] != -1 and (y[i] != 0 or n > 1):
                return False
    return True


cdef ptrdiff_t one_hot(const floating *y, ptrdiff_t n) noexcept:
    """Which one element of y (n,) is 1, if all others are 0, or -1."""
    cdef ptrdiff_t i, found = -1
    for i in range(n):
        if y[i] == 1 and found < 0:
            found = i
        elif y[i] != 0:
            return -1
    return found


cdef bint has_infinity(const floating *x, ptrdiff_t n) noexcept:
    cdef ptrdiff_t i
    for i in range(n):
        if isinf(x[i]):
            return True
    return False


cdef void fill_gaps(const floating *x, const double *means, floating *out, ptrdiff_t n) noexcept:
    """out = x with μ in place of NaN."""
    cdef ptrdiff_t i
    for i in range(n):
        out[i] = <floating> means[i] if isnan(x[i]) else x[i]
