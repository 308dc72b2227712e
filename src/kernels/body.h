/* The kernels of one (instruction-set level, dtype). kernels.c includes this once for each, with VECTOR_BYTES,
 * DOUBLE_PRECISION and SUFFIX defined; NAME(x) appends the suffix. */

#if DOUBLE_PRECISION
#define REAL double
#define ROOT sqrt
#define LARGEST_REAL DBL_MAX
#define SMALLEST_REAL DBL_MIN
#define INT int64_t
#define UINT uint64_t
#else
#define REAL float
#define ROOT sqrtf
#define LARGEST_REAL FLT_MAX
#define SMALLEST_REAL FLT_MIN
#define INT int32_t
#define UINT uint32_t
#endif

/* Each stands on those before it. */
/* clang-format off */
#include "vector.h"
#include "elementary.h"
#include "activations.h"
#include "dense.h"
#include "operation.h"
#include "losses.h"
#include "block.h"
#include "batch.h"
#include "units_first.h"
#include "step.h"
#include "flat.h"
#include "chain.h"
#include "ahead.h"
/* clang-format on */

#define CMLP_KERNEL(type, name, parameters) .name = NAME(name),
static const cmlp_kernels NAME(kernels) = {CMLP_KERNELS(CMLP_KERNEL)};

#undef REAL
#undef ROOT
#undef LARGEST_REAL
#undef SMALLEST_REAL
#undef INT
#undef UINT
#undef VEC
#undef IVEC
#undef UVEC
#undef VEC16
#undef LOAD_MASKED
#undef BITS
#undef N_REGISTERS
#undef TALL
#undef LANES
#undef INLINE
#undef SUFFIX
#undef DOUBLE_PRECISION
