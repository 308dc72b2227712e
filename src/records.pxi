# Programs from Python: whether every place that their operations name lies in the buffers, so that nothing in the loops
# has to ask. Lowering makes no others; what is refused here was made, or damaged, by hand.

# More elements are no network: 64 TiB of float32. All sizes of buffers can then be computed in 64 bits.
cdef ptrdiff_t _most_elements = <ptrdiff_t> 1 << 44
MOST_ELEMENTS = _most_elements

cdef int N_KINDS = len(KINDS), N_ACTIVATIONS = len(ACTIVATIONS), N_LAYOUTS = len(LAYOUTS)
cdef int N_INPUT_GRADIENTS = len(INPUT_GRADIENTS), N_LOSSES = len(LOSSES), N_BATCH_WAYS = len(BATCH_WAYS)


cdef bint lies_in(ptrdiff_t at, ptrdiff_t n, ptrdiff_t size) noexcept:
    """Whether n elements from `at` on are part of so many."""
    return 0 <= at <= size and 0 < n <= size - at


cdef ptrdiff_t in_lines(ptrdiff_t n, ptrdiff_t lanes) noexcept:
    """n elements padded to cache lines of so many."""
    return (n + lanes - 1) // lanes * lanes


cdef str wrong_network(const cmlp_net *net, ptrdiff_t lanes):
    """What is wrong with a network whose buffers have cache lines of so many elements, or None."""
    sizes = net.n_inputs, net.n_outputs, net.n_activations, net.width, net.x_stride
    if not all([0 < size <= _most_elements for size in sizes]):
        return f"its sizes must be 1 to {_most_elements}, not {', '.join(map(str, sizes))}"
    if not (0 <= net.n_parameters <= _most_elements and 0 <= net.n_deltas <= _most_elements):
        return f"n_parameters and n_deltas must be 0 to {_most_elements}, not {net.n_parameters}, {net.n_deltas}"
    if not lies_in(net.output, net.n_outputs, net.n_activations - lanes):
        return f"output={net.output}: {net.n_outputs} outputs do not lie in the activations"
    if net.x_stride < in_lines(net.n_inputs, lanes) or net.x_stride % lanes or net.width % lanes:
        return f"x_stride={net.x_stride} and width={net.width} must be padded to whole vectors"
    if not (0 <= net.loss < N_LOSSES and 0 <= net.batches < N_BATCH_WAYS):
        return f"loss={net.loss}, batches={net.batches}: expected ids of LOSSES and BATCH_WAYS"
    return None


cdef str wrong_operation(const cmlp_op *op, const cmlp_net *net, ptrdiff_t lanes):
    """The same for an operation."""
    cdef ptrdiff_t values = net.n_activations - lanes  # vector loads may run past a slice
    cdef bint dense = op.kind == CMLP_DENSE
    if not (0 <= op.kind < N_KINDS and 0 <= op.activation < N_ACTIVATIONS and 0 <= op.layout < N_LAYOUTS
            and 0 <= op.input_gradient < N_INPUT_GRADIENTS):
        return "kind, activation, layout and input_gradient must be ids"
    if not (0 < op.n_in <= _most_elements and 0 < op.n_out <= net.width):
        return f"n_in={op.n_in}, n_out={op.n_out} are no sizes of a layer of at most {net.width} units"
    if op.source == -1 and (op.n_in > net.n_inputs or op.input_gradient != 0):
        return f"source=-1 is x, of {net.n_inputs} inputs without a gradient"
    if op.source != -1 and not lies_in(op.source, op.n_in, values):
        return f"source={op.source}: {op.n_in} inputs do not lie in the activations"
    if not lies_in(op.out, op.n_out, values) or (dense and not lies_in(op.z, op.n_out, values)):
        return f"z={op.z}, out={op.out}: {op.n_out} units do not lie in the activations"
    if not dense and (op.n_in != op.n_out or op.z != op.source):
        return "an operation without weights has as many outputs as inputs, and z is its source"
    if not 0.0 <= op.dropout < 1.0:
        return f"dropout={op.dropout} is no share"
    return wrong_weights(op, net, lanes) if dense else None


cdef str wrong_weights(const cmlp_op *op, const cmlp_net *net, ptrdiff_t lanes):
    """The same for what a dense operation has besides."""
    cdef ptrdiff_t rows = op.n_in if op.layout == CMLP_ROWS else op.n_out
    cdef ptrdiff_t columns = op.n_out if op.layout == CMLP_ROWS else op.n_in
    cdef ptrdiff_t padded = in_lines(op.n_out, lanes)
    if op.ld < columns or op.ld % lanes or op.weights < 0 or op.ld > (net.n_parameters - op.weights) // rows:
        return f"weights={op.weights}: {rows} rows, ld={op.ld} apart, do not lie in the parameters"
    if op.biases != -1 and not lies_in(op.biases, padded, net.n_parameters):
        return f"biases={op.biases} do not lie in the parameters"
    if not lies_in(op.delta, padded, net.n_deltas):
        return f"delta={op.delta} does not lie in the deltas"
    return None


cdef str wrong_lists(cnp.ndarray operations, const cmlp_net *net, ptrdiff_t lanes):
    """The same for the lists of units that are not 0: behind all values, apart from each other, written before read."""
    if not (operations["nonzero_in"] != -1).any() and not (operations["nonzero_out"] != -1).any():
        return None
    slices = operations["out"] + operations["n_out"], operations["z"] + operations["n_out"]
    cdef ptrdiff_t end = in_lines(max([int(stops.max()) for stops in slices]), lanes), size
    lists, written = [], {}
    for op in operations:
        at, place = int(op["nonzero_out"]), (int(op["out"]), int(op["n_out"]))
        if op["nonzero_in"] != -1 and written.get(int(op["nonzero_in"])) != (int(op["source"]), int(op["n_in"])):
            return f"nonzero_in={op['nonzero_in']} is no list of the operation's inputs"
        if at == -1:
            continue
        if op["kind"] == KINDS["add"] or op["activation"] != ACTIVATIONS["relu"] or op["n_out"] >= 1 << 16:
            return "nonzero_out is for a relu of less than 65536 units"
        lists.append((at, (2 * (op["n_out"] + 4) * lanes + CMLP_ALIGN - 1) // CMLP_ALIGN))
        written[at] = place
    for at, size in sorted(lists):
        if at < end or not lies_in(at, size, net.n_activations):
            return f"nonzero_out={at}: {size} elements do not lie behind all values and lists in the activations"
        end = at + size
    return None


cdef str wrong_program(const Code *p, cnp.ndarray operations, ptrdiff_t lanes):
    """What is wrong with a program, or None."""
    cdef const cmlp_op *last = &p.ops[p.n_ops - 1]
    cdef int i
    wrong = wrong_network(&p.net, lanes)
    for i in range(p.n_ops):
        if wrong is not None:
            return wrong
        wrong = wrong_operation(&p.ops[i], &p.net, lanes)
        if wrong is not None:
            return f"operation {i}: {wrong}"
    if p.net.fused and (last.out != p.net.output or last.n_out != p.net.n_outputs):
        return "fused: the last operation does not give the output"
    return wrong_lists(operations, &p.net, lanes)
