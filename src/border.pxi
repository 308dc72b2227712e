# The door between Python and the structs: names and dtypes that Python reads, records and arrays that it gives.


cdef dict ids_of(const cmlp_name *names):
    ids = {}
    while names.name != NULL:
        ids[names.name.decode()] = names.id
        names += 1
    return ids


ACTIVATIONS = ids_of(cmlp_activation_names)
LOSSES = ids_of(cmlp_loss_names)
RULES = ids_of(cmlp_rule_names)
SLOTS = ids_of(cmlp_slot_names)
KINDS = ids_of(cmlp_kind_names)
LAYOUTS = ids_of(cmlp_layout_names)
INPUT_GRADIENTS = ids_of(cmlp_input_gradient_names)
PER_SAMPLE_WAYS = ids_of(cmlp_per_sample_names)
BATCH_WAYS = ids_of(cmlp_batch_way_names)

cdef int N_RULES = len(RULES)


cdef list _layouts = []  # a dtype, the bytes of its defaults, and {name: (first letter of its type, offset)}


cdef object dtype_of(const cmlp_field *fields, const void *defaults):
    """The dtype of a C struct."""
    formats, places = [], {}
    while fields.name != NULL:
        formats.append(fields.type.decode())
        places[fields.name.decode()] = fields.type[0], fields.offset
        fields += 1
    layout = {"names": [*places], "formats": formats, "offsets": [offset for _, offset in places.values()]}
    dtype = np.dtype({**layout, "itemsize": fields.offset}, align=True)
    _layouts.append((dtype, (<const char *> defaults)[:fields.offset], places))
    return dtype


OPERATION = dtype_of(cmlp_op_fields, &cmlp_op_defaults)
NETWORK = dtype_of(cmlp_net_fields, &cmlp_net_defaults)
UPDATE = dtype_of(cmlp_update_fields, &cmlp_update_defaults)


def record(dtype, **fields):
    """One record of OPERATION, NETWORK or UPDATE, an array of no dimensions.

    Fields that are not given, or are None, have the default of structs.h: nothing.
    """
    cdef char type
    cdef char *at
    for known, defaults, places in _layouts:  # a dict would hash the dtype, field by field
        if known is dtype:
            break
    else:
        raise TypeError(f"expected OPERATION, NETWORK or UPDATE, not {dtype}")
    made = np.ndarray((), dtype, bytearray(defaults))
    for name, value in fields.items():
        if name not in places:
            raise TypeError(f"unknown field {name!r}: expected one of {', '.join(places)}")
        if value is None:
            continue
        type, offset = places[name]
        at = cnp.PyArray_BYTES(made) + <ptrdiff_t> offset
        if type == b"f":
            (<double *> at)[0] = value
        elif type == b"i":
            (<int *> at)[0] = value
        elif type == b"u":
            (<uint64_t *> at)[0] = value
        else:
            (<ptrdiff_t *> at)[0] = value
    return made


cdef cnp.ndarray records_of(object values, object dtype, int ndim):
    """The values as an array of records, where C finds them."""
    array = np.asarray(values)
    if array.dtype != dtype or array.ndim != ndim:
        raise TypeError(f"expected {'an array of records' if ndim else 'one record'} with the fields "
                        f"{', '.join(dtype.names)}, not an array of {array.ndim} dimensions of {array.dtype}")
    return array if cnp.PyArray_ISCARRAY_RO(array) else array.copy()


cdef cmlp_update update_of(object update) except *:
    cdef cmlp_update u = (<cmlp_update *> cnp.PyArray_DATA(records_of(update, UPDATE, 0)))[0]
    if not 0 <= u.rule < N_RULES:
        raise ValueError(f"rule={u.rule}: expected an id of RULES")
    if not 1 <= u.batch_size <= <ptrdiff_t> 1 << 60:  # so that the end of a batch is a number of 64 bits
        raise ValueError(f"batch_size must be 1 or more, and at most 2**60, not {u.batch_size}")
    return u


cdef bint updates_plainly(const cmlp_update *u) noexcept nogil:
    return (u.batch_size == 1 and u.rule == CMLP_SGD and u.momentum == 0.0 and u.weight_decay == 0.0
            and u.clip_value == INFINITY and u.clip_norm == INFINITY and u.l1 == 0.0 and u.max_norm == INFINITY
            and u.average_decay < 0.0 and not u.dropout and u.alpha == 0.0 and not u.weighted_mean)


def is_plain(update):
    """Whether by this update (a record of UPDATE) one sample's δ goes straight into the weights."""
    cdef cmlp_update u = update_of(update)
    return bool(updates_plainly(&u))


cdef int expect(str what, ptrdiff_t size, ptrdiff_t wanted) except -1:
    if size != wanted:
        raise ValueError(f"{what} must have {wanted} elements, not {size}")
    return 0


cdef int expect_rows(str what, ptrdiff_t rows, ptrdiff_t columns, ptrdiff_t n, ptrdiff_t wanted) except -1:
    if rows != n or columns != wanted:
        raise ValueError(f"{what} must have the shape ({n}, {wanted}), not ({rows}, {columns})")
    return 0


cdef tuple set_samples(Samples *s, const cmlp_net *net, object given, floating number, object samples):
    """Returns what the pointers point into, to be kept until the call is over; number: of the type that is meant."""
    keep = samples.Y, samples.labels, samples.weights
    cdef const floating[:, ::1] X = given
    cdef const floating[:, ::1] Y = keep[0]
    cdef const int64_t[::1] labels = keep[1]
    cdef const double[::1] weights = keep[2]
    if not X.shape[0]:
        raise ValueError("samples.X has no rows")
    memset(s, 0, sizeof(Samples))
    s.X, s.n, s.n_rows, s.checked = <const char *> &X[0, 0], X.shape[0], X.shape[0], samples.checked
    expect_rows("samples.X", s.n, X.shape[1], s.n, net.n_inputs)
    if Y is None and labels is None:
        raise ValueError("samples need targets, Y or labels: both are None")
    if Y is not None:
        expect_rows("samples.Y", Y.shape[0], Y.shape[1], s.n, net.n_outputs)
        s.Y = <const char *> &Y[0, 0]
    if labels is not None:
        expect("samples.labels", labels.shape[0], s.n)
        if Y is None and net.loss != CMLP_CROSS_ENTROPY and net.loss != CMLP_HINGE:
            raise ValueError("samples.labels are for cross_entropy and hinge: other losses need Y")
        s.labels = &labels[0]
    if weights is not None:
        expect("samples.weights", weights.shape[0], s.n)
        s.weights = &weights[0]
    return given, keep, held((given, keep[0], keep[1], keep[2]))


cdef cnp.ndarray vector(object values, int type_number, str name):
    """The values, if they are a vector that C reads as it is."""
    if (not isinstance(values, np.ndarray) or not cnp.PyArray_EquivTypenums(cnp.PyArray_TYPE(values), type_number)
            or cnp.PyArray_NDIM(values) != 1 or not cnp.PyArray_ISCARRAY_RO(values)):
        raise TypeError(f"{name} must be a contiguous vector of {cnp.PyArray_DescrFromType(type_number)}")
    return values


cdef char *scale_of(object values, ptrdiff_t n, int type_number, str name) except NULL:
    """Where a live array of the scale of n inputs lies."""
    expect(name, cnp.PyArray_DIM(vector(values, type_number, name), 0), n)
    if not cnp.PyArray_ISWRITEABLE(values):
        raise ValueError(f"{name} must be writable")
    return cnp.PyArray_BYTES(values)


cdef char *vector_of(object values, floating[::1] params, str name) except? NULL:
    """Where a vector like the parameters lies; NULL for None."""
    cdef floating[::1] vector = values
    if vector is None:
        return NULL
    expect(name, vector.shape[0], params.shape[0])
    return <char *> &vector[0]


cdef list set_vectors(cmlp_vectors *v, const cmlp_net *net, floating[::1] params, object buffers):
    """Returns what the pointers point into besides the parameters."""
    keep = [buffers.gradient, buffers.average, held((params.base,))]
    expect("params", params.shape[0], net.n_parameters)
    v.params = <char *> &params[0]
    v.gradient = vector_of(keep[0], params, "buffers.gradient")
    v.average = vector_of(keep[1], params, "buffers.average")
    for name, values in buffers.slots.items():
        if name not in SLOTS:
            raise ValueError(f"unknown slot {name!r}: expected one of {', '.join(SLOTS)}")
        v.slots[<int> SLOTS[name]] = vector_of(values, params, name)
        keep.append(values)
    return keep


cdef int expect_slots(const cmlp_vectors *v, const cmlp_update *u) except -1:
    """Whether all vectors are there that the rule of the update reads (step.h)."""
    needed = []
    if u.rule == CMLP_ADAM or u.momentum != 0.0 and (u.rule == CMLP_SGD or u.rule == CMLP_RMSPROP):
        needed.append("velocity")
    if u.rule == CMLP_ADAM or u.rule == CMLP_RMSPROP or u.rule == CMLP_ADAGRAD:
        needed.append("squares")
    if u.rule == CMLP_ADAM and u.amsgrad:
        needed.append("largest_squares")
    if u.rule == CMLP_RMSPROP and u.centered:
        needed.append("means")
    if u.rule == CMLP_RPROP:
        needed += ["last_signs", "step_sizes"]
    for name in needed:
        if v.slots[<int> SLOTS[name]] == NULL:
            raise ValueError(f"buffers.slots has no {name!r}, which this update needs")
    if v.gradient == NULL and not updates_plainly(u):
        raise ValueError("buffers.gradient is None, but this update needs one: it is not plain")
    return 0


cdef int expect_visits(const int64_t *order, ptrdiff_t n, ptrdiff_t n_rows) except -1:
    """Whether an order visits rows that there are: a sum of signs, which vectors make of many visits at once."""
    cdef uint64_t signs = 0, last = n_rows - 1
    cdef ptrdiff_t i
    for i in range(n):
        signs |= <uint64_t> order[i] | (last - <uint64_t> order[i])
    if signs >> 63 == 0:
        return 0
    for i in range(n):
        if not 0 <= order[i] < n_rows:
            raise ValueError(f"order visits row {order[i]}: expected rows 0 to {n_rows - 1}")
    return 0


cdef list held(tuple objects):
    """Weak references to arrays and to those that their memory belongs to, None left out.

    As long as they exist, NumPy refuses to resize these arrays, even with refcheck=False, in callbacks and threads. Other
    objects give their memory by an export, which holds them.
    """
    cdef list references = []
    cdef object array
    for array in objects:
        if array is not None and not cnp.PyArray_Check(array):
            references.append(memoryview(array))
        while cnp.PyArray_Check(array):
            references.append(PyWeakref_NewRef(array, None))
            array = cnp.get_array_base(array)
    return references


cdef int expect_threads(int n_threads) except -1:
    if not 1 <= n_threads <= CMLP_MOST_THREADS:
        raise ValueError(f"n_threads must be 1 to {CMLP_MOST_THREADS}, not {n_threads}")
    return 0


cdef int expect_room(const Code *p, ptrdiff_t size, ptrdiff_t rows, ptrdiff_t n_threads) except -1:
    cdef ptrdiff_t wanted = workspace_elements(&p.net, rows, n_threads)
    if size < wanted:
        raise ValueError(f"the workspace must have {wanted} elements (see workspace_size), not {size}")
    return 0


cdef Workspace workspace_in(const Code *p, floating[::1] values, ptrdiff_t rows, ptrdiff_t n_threads) except *:
    expect_room(p, values.shape[0], rows, n_threads)
    return split(p, <char *> &values[0], rows, n_threads)


cdef Workspace workspace_for_one(const Code *p, cnp.ndarray params, cnp.ndarray workspace) except *:
    """The same for what works on arrays of any type, one row at a time."""
    if params.dtype not in (np.float32, np.float64) or params.dtype != workspace.dtype:
        raise TypeError(f"params and workspace must both be float32 or float64, not {params.dtype}, {workspace.dtype}")
    if not (cnp.PyArray_ISCARRAY(params) and cnp.PyArray_ISCARRAY(workspace)):
        raise ValueError("params and workspace must be contiguous, aligned and writable")
    expect("params", params.size, p.net.n_parameters)
    expect_room(p, workspace.size, 1, 1)
    return split(p, <char *> cnp.PyArray_DATA(workspace), 1, 1)
